"""A driver's options: whatever is wrong is named, with printer, key and mend."""

from pathlib import Path

import pytest

from printfarm_agent.driver import PrinterConfig
from printfarm_agent.driver_options import DriverOptions


def options(**given: str | float | bool) -> DriverOptions:
    return DriverOptions(PrinterConfig("mk4-1", given))


def test_what_is_right_is_taken(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("k")
    given = options(url="192.168.1.20", seconds=5, kind="b", on=True, key_file=str(tmp_path / "key"))
    assert given.url("url") == "http://192.168.1.20"
    assert given.number("seconds", 1.0, 0.1, 60.0) == 5.0
    assert given.integer("retries", 3, 0, 9) == 3
    assert given.choice("kind", ("a", "b"), "a") == "b"
    assert given.flag("on", False)
    assert given.needed_secret("key").reveal() == "k"
    given.finish()


@pytest.mark.parametrize("url", ["http://a.lan:8080/octoprint/", "https://[fe80::1]:80", "mk4-1.lan"])
def test_addresses(url: str) -> None:
    assert options(url=url).url("url").endswith(url.rstrip("/"))


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ftp://a",
        "http://",
        "http://a:99999",
        "http://a:b",
        "http://a?x=1",
        "http://a#x",
        "http://a b",
        "http://u:p@a",
        "a\nb",
    ],
)
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(ValueError, match=r"printer mk4-1: options\.url must"):
        options(url=url).url("url")


def test_wrong_values_name_the_key() -> None:
    with pytest.raises(ValueError, match=r"options\.seconds must be a number from 0\.1 to 60"):
        options(seconds=float("nan")).number("seconds", 1.0, 0.1, 60.0)
    with pytest.raises(ValueError, match=r"options\.seconds must be a number"):
        options(seconds=True).number("seconds", 1.0, 0.1, 60.0)
    with pytest.raises(ValueError, match=r"options\.tries must be a whole number"):
        options(tries=1.5).integer("tries", 1, 0, 9)
    with pytest.raises(ValueError, match=r"options\.on must be true or false"):
        options(on="yes").flag("on", False)
    with pytest.raises(ValueError, match=r"options\.kind must be one of a, b"):
        options(kind="c").choice("kind", ("a", "b"), "a")
    with pytest.raises(ValueError, match=r"options\.key_file is missing"):
        options().needed_secret("key")
    with pytest.raises(ValueError, match=r"options\.key_env: the environment has no variable NO_SUCH"):
        options(key_env="NO_SUCH").secret("key")


def test_an_unknown_key_is_named_with_those_there_are() -> None:
    given = options(url="a", adress="b")
    given.url("url")
    with pytest.raises(ValueError, match=r"options\.adress is not an option of this driver; there are url"):
        given.finish()
