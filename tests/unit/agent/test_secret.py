"""Secrets by reference: found where they lie, read anew, and never shown."""

from pathlib import Path

import pytest

from printfarm_agent.secret import find_secret

KEY = "a1b2c3d4"


def test_each_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mk4").write_text(f"{KEY}\n")
    monkeypatch.setenv("MK4_KEY", KEY)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    for options in (
        {"api_key_file": str(tmp_path / "mk4")},
        {"api_key_env": "MK4_KEY"},
        {"api_key_credential": "mk4"},
    ):
        secret = find_secret(options, "api_key")
        assert secret is not None
        assert secret.reveal() == KEY


def test_none_is_none() -> None:
    assert find_secret({"address": "x"}, "api_key") is None


def test_it_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("old")
    secret = find_secret({"api_key_file": str(path)}, "api_key")
    assert secret is not None
    path.write_text("new")
    assert secret.reveal() == "new"


def test_its_text_shows_neither_secret_nor_place(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(KEY)
    secret = find_secret({"api_key_file": str(path)}, "api_key")
    assert KEY not in f"{secret} {secret!r}" and str(path) not in f"{secret} {secret!r}"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"api_key": KEY}, "api_key_file"),
        ({"api_key_file": "/a", "api_key_env": "A"}, "leave one"),
        ({"api_key_file": 3}, "must be a text"),
        ({"api_key_env": ""}, "must be a text"),
    ],
)
def test_a_wrong_reference_names_the_key_and_the_mend(options: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        find_secret(options, "api_key")
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"a\nb", "one line"),
        (b"\xff\xfe", "UTF-8"),
        (b"x" * 5000, "longer than"),
        (None, "cannot be read"),
    ],
)
def test_what_is_no_secret(tmp_path: Path, content: bytes | None, words: str) -> None:
    path = tmp_path / "key"
    if content is not None:
        path.write_bytes(content)
    secret = find_secret({"api_key_file": str(path)}, "api_key")
    assert secret is not None
    with pytest.raises(ValueError, match=rf"api_key_file.*{words}"):
        secret.reveal()


def test_a_variable_or_a_credential_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    for options, words in (({"k_env": "NO_SUCH_KEY"}, "NO_SUCH_KEY"), ({"k_credential": "a"}, "LoadCredential")):
        secret = find_secret(options, "k")
        assert secret is not None
        with pytest.raises(ValueError, match=words):
            secret.reveal()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    outside = find_secret({"k_credential": "../key"}, "k")
    assert outside is not None
    with pytest.raises(ValueError, match="not a path"):
        outside.reveal()
