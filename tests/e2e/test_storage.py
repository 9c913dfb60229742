"""Disks that are full, and uploads whose gateway or coordinator dies under them. A limit of the kernel plays the full disk."""

import hashlib
import random
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.test_farm import checked, finish
from tests.support.farm import GCODE, Program, RealFarm, real_farm, until

pytestmark = pytest.mark.timeout(300)
MIB = 1 << 20


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealFarm]:
    """One for all: each test leaves it whole."""
    with real_farm(tmp_path_factory.mktemp("storage"), printer_count=1, time_scale=20.0) as running:
        yield running


@contextmanager
def largest_file(program: Program, size: int) -> Iterator[None]:
    """No file of the program grows beyond that: writing fails with EFBIG, as on a disk that is full."""
    assert program.process is not None
    pid = program.process.pid
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


def big_gcode(size: int, seed: int) -> bytes:
    """A good file with a short print in it."""
    return GCODE + b"; %d\n" % seed + b";" + b"x" * (size - len(GCODE)) + b"\n"


def test_a_full_disk_of_files_is_507_and_leaves_nothing(farm: RealFarm) -> None:
    before = stored(farm)
    job = {"file": ("big.gcode", big_gcode(12 * MIB, 1)), "job": (None, '{"name": "big"}', "application/json")}
    with largest_file(farm.coordinator, 8 * MIB):
        until(lambda: is_refused(farm, job), why="507")
        assert stored(farm) == before
        # What fits is taken as ever.
        small = farm.submit("small", quantity=1)
    finish(farm, small)
    checked(farm)


def is_refused(farm: RealFarm, job: dict[str, Any]) -> bool:
    """As the full disk demands. A busy machine may be late to answer; it must never say yes."""
    try:
        with farm.client() as client:
            answer = client.post("/api/v1/jobs/receive", files=job)
    except httpx.TransportError:
        return False
    assert answer.status_code in (503, 507), answer.text
    return (answer.status_code, answer.json()["code"]) == (507, "STORAGE_FULL")


def stored(farm: RealFarm) -> set[Path]:
    return {path for path in (farm.data / "artifacts").rglob("*") if path.is_file()}


def test_a_full_disk_of_the_database_is_503_and_the_print_goes_on(farm: RealFarm) -> None:
    """Nothing is answered as done that is not on the disk; what printed is told afterwards."""
    job_id = farm.submit("under way", quantity=1)
    run = farm.wait_run(job_id, "printing")
    ends = len([e for e in farm.printers.log(0) if e["event"] == "end"])
    with largest_file(farm.coordinator, 4_096):
        answers: list[httpx.Response] = []

        def refused() -> bool:
            with suppress(httpx.TransportError):
                answers.append(farm.post(f"/api/v1/jobs/{job_id}/hold"))
            return bool(answers) and answers[-1].status_code == 503

        until(refused, why="503 while the database cannot be written")
        assert answers[-1].headers["retry-after"]
        until(lambda: len([e for e in farm.printers.log(0) if e["event"] == "end"]) > ends, 60, "it printed to its end")
    assert farm.coordinator.is_alive
    farm.post(f"/api/v1/jobs/{job_id}/release")
    assert farm.wait_run(job_id, "finished")["run_id"] == run["run_id"]
    finish(farm, job_id)
    checked(farm)


@pytest.mark.parametrize("victim", ["gateway", "coordinator"])
def test_killed_in_the_middle_of_an_upload_it_goes_on_where_it_was(farm: RealFarm, victim: str) -> None:
    content = big_gcode(6 * MIB, len(victim))
    digest = hashlib.sha256(content).hexdigest()
    chance = random.Random(victim)
    with farm.client() as client:
        begun = client.post("/api/v1/uploads", json={"size_bytes": len(content), "sha256": digest, "name": "big.gcode"})
        assert begun.status_code == 201, begun.text
        path = begun.headers["location"]
    send_some(farm, path, content, chance.randrange(MIB, len(content)))
    program: Program = getattr(farm, victim)
    program.kill()
    program.start()
    until(lambda: farm.try_get("/api/v1/files"), 60, "it answers again")
    # A partial upload is no file.
    assert all(digest not in path.name for path in stored(farm))

    def go_on() -> bool:
        try:
            with farm.client() as client:
                offset = int(client.head(path).headers["upload-offset"])
                answer = client.patch(path, content=content[offset:], headers={"Upload-Offset": str(offset)})
                return answer.status_code == 200
        except (httpx.TransportError, KeyError):
            return False

    until(go_on, 60, "the rest is taken")
    with farm.client() as client:
        done = client.post(f"{path}/finish")
    assert done.json()["artifact"]["sha256"] == digest, done.text
    kept = [path for path in stored(farm) if path.name == digest]
    assert [hashlib.sha256(path.read_bytes()).hexdigest() for path in kept] == [digest]


def send_some(farm: RealFarm, path: str, content: bytes, size: int) -> None:
    """The beginning of a request whose end never comes."""
    head = f"PATCH {path} HTTP/1.1\r\nHost: farm\r\nX-API-Key: {farm.key}\r\nUpload-Offset: 0\r\n"
    head += f"Content-Length: {len(content)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", farm.ports["gateway"]), 20) as way:
        way.sendall(head.encode() + content[:size])
        until(lambda: offset_of(farm, path), 30, "some of it is there")


def offset_of(farm: RealFarm, path: str) -> Any:
    with farm.client() as client:
        return int(client.head(path).headers.get("upload-offset", 0))
