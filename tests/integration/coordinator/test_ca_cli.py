"""``printfarm-coordinator ca``, as an administrator calls it."""

import asyncio
import re
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes

from printfarm_coordinator.adapters.ca.authority import Authority
from printfarm_coordinator.adapters.sql.store import SqlStore
from printfarm_rpc.identity import PeerRole, from_certificate
from printfarm_rpc.tls import CredentialFiles, check


class Ca:
    """The command with a data folder of its own; nothing of this process's environment but the path."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {"PRINTFARM_DATA_DIR": str(folder / "data"), "PRINTFARM_SERVER_NAMES": "farm.lan,10.0.0.9"}

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "printfarm_coordinator", "ca", *arguments]
        return subprocess.run(
            command, env=self.environment, cwd=self.folder, capture_output=True, text=True, check=False, timeout=60
        )

    def says(self, *arguments: str) -> str:
        done = self(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    @property
    def authority(self) -> Authority:
        return Authority.open(self.folder / "data" / "ca")


@pytest.fixture
def ca(tmp_path: Path) -> Ca:
    Authority.create(tmp_path / "data" / "ca")
    return Ca(tmp_path)


def test_create_says_the_hash_and_never_overwrites(tmp_path: Path) -> None:
    ca = Ca(tmp_path)
    assert ca.says("create").split()[-1] == ca.authority.fingerprint
    again = ca("create")
    assert again.returncode == 2
    assert (
        again.stderr == "printfarm-coordinator: there is a CA in that folder already; `ca rotate` replaces its root\n"
    )


def test_without_a_ca_one_line_says_so(tmp_path: Path) -> None:
    for arguments in (("show",), ("rotate",), ("token", "a1"), ("issue", "gateway", "g", "--out", "x")):
        done = Ca(tmp_path)(*arguments)
        assert done.returncode == 2
        assert re.fullmatch(
            r"printfarm-coordinator: key\.pem cannot be read \(.*\): issue or enrol it first\n", done.stderr
        )


@pytest.mark.parametrize("role", ["gateway", "operator"])
def test_issue_writes_what_a_program_needs_for_its_owner_only(ca: Ca, role: str) -> None:
    ca.says("issue", role, "main", "--out", str(ca.folder / role))
    files = CredentialFiles.in_folder(ca.folder / role)
    found = from_certificate(check(files, time.time()))
    assert (found.role, found.name) == (PeerRole(role), "main")
    assert files.roots.read_bytes() == ca.authority.roots_pem
    assert stat.S_IMODE(files.key.stat().st_mode) == 0o600


def test_issue_makes_neither_agents_nor_coordinators_nor_odd_names(ca: Ca) -> None:
    for role, name in (("agent", "a1"), ("coordinator", "c"), ("gateway", "G/..")):
        assert ca("issue", role, name, "--out", str(ca.folder / "x")).returncode == 2
        assert not (ca.folder / "x").exists()


def test_a_rotation_from_beginning_to_end(ca: Ca) -> None:
    old = ca.authority.fingerprint
    ca.says("rotate")
    assert ca("rotate").returncode == 2
    first, second = ca.says("show").splitlines()
    assert first.startswith(ca.authority.fingerprint)
    assert first.endswith("signs")
    assert second.startswith(old)
    assert "1 older root" in ca.says("retire")
    (only,) = ca.authority.roots
    assert ca.says("show").split()[0] == only.fingerprint(hashes.SHA256()).hex() != old


def test_token_prints_the_line_to_run_and_keeps_only_the_hash(ca: Ca) -> None:
    line = ca.says("token", "mk4-host").splitlines()[-1]
    match = re.fullmatch(
        r"printfarm-agent enroll --enrollment farm\.lan:4103 --token ([0-9a-f]{64}) --ca-sha256 ([0-9a-f]{64})", line
    )
    assert match is not None
    assert match[2] == ca.authority.fingerprint

    async def actors() -> list[tuple[str, str]]:
        store = SqlStore(f"sqlite:///{ca.folder / 'data' / 'farm.db'}")
        try:
            async with store.read() as look:
                return [(row.entry.action, row.entry.actor) for row in await look.audit(10, None, "mk4-host")]
        finally:
            await store.close()

    assert asyncio.run(actors()) == [("agent.token_created", "local-administrator")]
    assert match[1].encode() not in b"".join(path.read_bytes() for path in (ca.folder / "data").glob("farm.db*"))
    assert "lower case" in ca("token", "No Such/Name").stderr
