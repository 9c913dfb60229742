"""What the way through the farm costs over the bare slicer command: the same model, the same settings, in turn.

The farm's worker reads the model, writes its triangles anew, slices in its sandbox, checks the print file and stores it; the
coordinator inspects that for what no printer may do. Two spans, both by the database's clock: from the worker's claim until the
result is stored, and from the client's POST until then.
"""

import hashlib
import itertools
import json
import resource
import sqlite3
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

import trimesh

from printfarm_slicer.sandbox import NoSandbox, Sandbox
from tests.servers import program
from tests.support.farm import RealFarm, until
from tests.support.models import box_stl
from tests.support.slicings import MATERIAL_SETTINGS, PRINTER_SETTINGS, QUALITY_SETTINGS

from .farms import pid_of, whole_farm
from .figures import NO_TARGET, compared, tell
from .processes import cpu_seconds_of_tree

_HEADER = 80
_PROFILES = {"printer": PRINTER_SETTINGS, "material": MATERIAL_SETTINGS, "quality": QUALITY_SETTINGS}
_SETTINGS = {key: value for each in _PROFILES.values() for key, value in each.items()}
_SECONDS = 300.0
_ROUNDS = 5


@dataclass(frozen=True, slots=True)
class _Spans:
    """Seconds of one slicing. ``cpu``: of the farm's programs from POST on, without the slicer, which ends in its sandbox
    unseen; or of the bare command."""

    from_claim: float
    from_post: float
    cpu: float


def slicing() -> None:
    """A box, where the program's start is most of it, and a sphere of 20,480 triangles."""
    name = "slicing"
    if program("prusa-slicer") is None:
        print(json.dumps({"benchmark": name, "skipped": "no PrusaSlicer on this machine"}), flush=True)
        return
    try:
        Sandbox.open()
    except NoSandbox as error:
        print(json.dumps({"benchmark": name, "skipped": str(error)}), flush=True)
        return
    with whole_farm(printer_count=1, slicer_count=1) as farm:
        _furnish(farm)
        for what, stl in (("a box", box_stl()), ("a sphere of 20,480 triangles", _sphere())):
            _compare(farm, what, stl)


def _furnish(farm: RealFarm) -> None:
    """Profiles for the printer, which is held: nothing is printed beside."""
    with farm.client() as client:
        for kind, settings in _PROFILES.items():
            models = ["Virtual One"] if kind == "printer" else []
            body = {"kind": kind, "settings": settings, "printer_models": models, "is_default": True}
            answer = client.put(f"/api/v1/profiles/{kind}", json=body)
            assert answer.status_code == 200, answer.text
        answer = client.post("/api/v1/printers/p0/hold", json={"reason": "a benchmark of slicing"})
        assert answer.status_code == 200, answer.text
    farm.slicers[0].start()
    until(lambda: "slicer_workers 1.0" in farm.metrics(), _SECONDS, "the worker asks for work")


def _sphere() -> bytes:
    return bytes(trimesh.exchange.stl.export_stl(trimesh.creation.icosphere(subdivisions=5, radius=15.0)))


def _compare(farm: RealFarm, what: str, stl: bytes) -> None:
    """In turn, so that a noisy minute falls on both; the first round is thrown away."""
    copies = _copies(stl)
    rounds = [(_sliced(farm, next(copies)), _bare(stl)) for _ in range(_ROUNDS + 1)][1:]
    # What the farm does around the slicer, which a busy machine disturbs less than the times.
    cpu = statistics.median((ours.cpu + bare.cpu) / bare.cpu for ours, bare in rounds)
    is_what = "prusa-slicer --export-gcode of the same STL with the same settings"
    for span, read in (("claim", attrgetter("from_claim")), ("POST", attrgetter("from_post"))):
        found = compared([(read(ours), read(bare)) for ours, bare in rounds])
        more = {"cpu_ratio": round(cpu, 3)} if span == "POST" else {}
        tell(f"{what} sliced, from {span} to result stored", found, "s", NO_TARGET, yardstick_is=is_what, **more)


def _copies(stl: bytes) -> Iterator[bytes]:
    """The same triangles under a header of their own: what was sliced once is not sliced again."""
    for number in itertools.count():
        yield f"copy {number}".encode().ljust(_HEADER) + stl[_HEADER:]


def _sliced(farm: RealFarm, stl: bytes) -> _Spans:
    done = _done(farm)
    before, began = _farm_cpu(farm), time.time()
    job_id = farm.submit(f"{began}", gcode=stl, file_name="model.stl")
    claimed, stored = until(lambda: _claim_of(farm, hashlib.sha256(stl).hexdigest()), _SECONDS, "the model is sliced")
    # The worker tidies up after it has said that it is done.
    until(lambda: _done(farm) > done, _SECONDS, "the worker is done")
    cpu = _farm_cpu(farm) - before
    answer = farm.post(f"/api/v1/jobs/{job_id}/cancel")
    assert answer.status_code in (200, 202), answer.text
    return _Spans(stored - claimed, stored - began, cpu)


def _farm_cpu(farm: RealFarm) -> float:
    return sum(cpu_seconds_of_tree(pid_of(each)) for each in (farm.slicers[0], farm.coordinator, farm.gateway))


def _done(farm: RealFarm) -> int:
    """How many slicings the worker has said to be done."""
    return farm.slicers[0].log().count('"event": "sliced"')


def _claim_of(farm: RealFarm, sha256: str) -> tuple[float, float] | None:
    """When the model was claimed and its result stored, in seconds of the epoch, once it is."""
    with closing(sqlite3.connect(f"file:{farm.data / 'farm.db'}?mode=ro", uri=True)) as connection:
        query = "SELECT state, claimed_at, ended_at FROM slicing WHERE model_sha256 = ? AND ended_at IS NOT NULL"
        row = connection.execute(query, (sha256,)).fetchone()
    if row is None:
        return None
    state, claimed, ended = row
    assert state == "done", state
    return claimed / 1e6, ended / 1e6


def _bare(stl: bytes) -> _Spans:
    """The command alone: no sandbox, no limits, no check of what it made."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "model.stl").write_bytes(stl)
        lines = [f"{key} = {value}".replace("\n", "\\n") for key, value in _SETTINGS.items()]
        (folder / "setup.ini").write_text("\n".join(lines))
        command = ["prusa-slicer", "--export-gcode", "--load", "setup.ini", "--post-process", ""]
        command += ["--loglevel", "1", "--output", "out.gcode", "model.stl"]
        environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "HOME": name}
        before, began = _children_cpu(), time.perf_counter()
        # In a session of its own, as the worker: a kernel may share a busy processor among sessions.
        subprocess.run(command, env=environment, cwd=folder, capture_output=True, check=True, start_new_session=True)
        took = time.perf_counter() - began
        assert (folder / "out.gcode").stat().st_size > 1_000
        return _Spans(took, took, _children_cpu() - before)


def _children_cpu() -> float:
    """Of all that this process has waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
