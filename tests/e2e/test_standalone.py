"""``make run``: the whole farm in one process, as a newcomer meets it."""

import contextlib
import re
import shutil
import signal
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import cura
from tests.conftest import need, need_sandbox
from tests.support.farm import GCODE, until
from tests.support.models import box_stl
from tests.support.standalone import Standalone
from tests.support.virtual_printer import VirtualPrinters

pytestmark = pytest.mark.timeout(240)
EXTRA = """
[[printer]]
id = "beside"
driver = "virtual"
initial_bed = "clear"
options = {{ address = "{address}" }}
"""


def processes_on(folder: Path) -> list[str]:
    """Command lines that name it."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        # A process may end while it is looked at.
        with contextlib.suppress(OSError):
            found.append(path.read_bytes().decode(errors="replace"))
    return [line for line in found if str(folder) in line]


@pytest.fixture
def farm(tmp_path: Path) -> Iterator[Standalone]:
    made = Standalone(tmp_path)
    yield made
    made.close()


def test_the_first_start_prints_a_sample_and_the_second_keeps_everything(farm: Standalone) -> None:
    farm.start().says("Serving.")
    said = farm.output()
    assert "Sample job: completed" in said
    assert f"http://localhost:{farm.port}" in said
    key = farm.data / "admin-api-key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert re.search(r"\d+ %", said), "its progress is shown"
    jobs = farm.get("/api/v1/jobs")["items"]
    assert [job["state"] for job in jobs] == ["completed"]
    before = key.read_text()
    # Not an orderly end: what it said is kept all the same, and nobody waits for a term to lapse.
    farm.end(signal.SIGKILL)
    until(lambda: not processes_on(farm.data), why="its printers went with it")
    farm.start().says("Serving.")
    assert "Sample job" not in farm.output(), "once"
    assert farm.get("/api/v1/jobs")["items"] == jobs
    assert key.read_text() == before
    until(lambda: set(farm.states().values()) == {"idle"}, why="its printers are back")
    assert farm.end() == 0


def test_a_printer_of_the_file_prints_beside_the_virtual_ones(farm: Standalone) -> None:
    with VirtualPrinters(farm.folder / "beside", time_scale=500.0) as beside:
        farm.data.mkdir(mode=0o700)
        (farm.data / "printers.toml").write_text(EXTRA.format(address=beside.address()))
        farm.start(PRINTFARM_SAMPLE="0", PRINTFARM_VIRTUAL_PRINTERS="1").says("Serving.")
        assert "Real printers: beside" in farm.output()
        until(lambda: farm.states() == {"beside": "idle", "virtual-1": "idle"})
        job = '{"name": "there", "requirements": {"printer_ids": ["beside"]}}'
        files = {"file": ("part.gcode", GCODE), "job": (None, job, "application/json")}
        made = farm.post("/api/v1/jobs/receive", files=files)
        assert made.status_code == 202, made.text
        until(lambda: beside.starts() or None, 60, "it prints there")


def test_the_sample_is_printed_by_no_real_printer(farm: Standalone) -> None:
    """Whatever stands first in the alphabet: nobody asked for a cube on a machine, or has looked at it."""
    with VirtualPrinters(farm.folder / "beside", time_scale=500.0) as beside:
        farm.data.mkdir(mode=0o700)
        table = EXTRA.replace('"beside"', '"a-real-one"').format(address=beside.address())
        (farm.data / "printers.toml").write_text(table)
        farm.start(PRINTFARM_VIRTUAL_PRINTERS="1").says("Serving.")
        assert "Sample job: completed" in farm.output()
        [run] = farm.get("/api/v1/runs")["items"]
        assert run["printer_id"] == "virtual-1"
        assert beside.starts() == []


def test_a_model_is_sliced_and_printed_as_it_comes(farm: Standalone) -> None:
    need("prusa-slicer")
    need_sandbox()
    sliced_and_printed(farm, "prusaslicer")


@pytest.fixture
def programs() -> Iterator[Path]:
    """Links to what CuraEngine needs, and to no other slicer. Who runs as nobody can reach it: pytest's own is closed."""
    with tempfile.TemporaryDirectory(prefix="printfarm-test-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        for program in ("CuraEngine", "bwrap", "prlimit"):
            if found := shutil.which(program):
                (folder / program).symlink_to(found)
        yield folder


def test_a_host_with_curaengine_alone_slices_with_it(farm: Standalone, programs: Path) -> None:
    need("cura")
    need_sandbox()
    definitions = str(cura.definitions())
    sliced_and_printed(farm, "curaengine", PATH=str(programs), PRINTFARM_SLICER_CURA_DEFINITIONS=definitions)


def sliced_and_printed(farm: Standalone, engine: str, **environment: str) -> None:
    """By the profiles that a first start brings."""
    farm.start(PRINTFARM_SAMPLE="0", PRINTFARM_VIRTUAL_PRINTERS="1", PRINTFARM_TIME_SCALE="2000", **environment).says(
        "Serving."
    )
    assert f"Models are sliced with {engine}" in farm.output()
    files = {"file": ("box.stl", box_stl()), "job": (None, '{"name": "box"}', "application/json")}

    def accepted() -> str | None:
        # Until its worker has said Hello, models are refused.
        answer = farm.post("/api/v1/jobs/receive", files=files)
        return str(answer.json()["job_id"]) if answer.status_code == 202 else None

    job_id = until(accepted, 60, "its worker is there")
    until(lambda: [r for r in farm.get(f"/api/v1/jobs/{job_id}")["slicings"] if r["state"] == "done"], 120, "sliced")
    assert [each["engine"] for each in farm.get(f"/api/v1/jobs/{job_id}")["slicings"]] == [engine]
    until(lambda: farm.get(f"/api/v1/jobs/{job_id}/status")["runs"] or None, 60, "printed")
    assert farm.end() == 0


def test_a_host_without_a_slicer_says_so(farm: Standalone) -> None:
    farm.start(PRINTFARM_SAMPLE="0", PRINTFARM_VIRTUAL_PRINTERS="0", PATH="/nowhere").says("Serving.")
    assert "Models (STL, 3MF) are refused: no slicer is installed" in farm.output()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[[printer]]\nid = 'x'\ndriver = 'telex'\n", "telex"),
        ("[agent]\ncoordinator = 'x:1'\n", "agent is not a setting"),
        ("[[printer]]\nid = 'virtual-1'\ndriver = 'virtual'\noptions = { address = '127.0.0.1:1' }\n", "id of its own"),
    ],
)
def test_a_wrong_file_is_told_in_one_line(farm: Standalone, text: str, named: str) -> None:
    path = farm.folder / "mine.toml"
    path.write_text(text)
    farm.start(PRINTFARM_PRINTERS=str(path), PRINTFARM_SAMPLE="0", PRINTFARM_VIRTUAL_PRINTERS="1")
    until(farm.is_over, 90, "it ends")
    assert farm.end() == 2
    assert named in farm.output()
    assert "Traceback" not in farm.output()


def test_a_second_farm_in_the_same_folder_is_told_so(farm: Standalone) -> None:
    farm.start(PRINTFARM_SAMPLE="0", PRINTFARM_VIRTUAL_PRINTERS="0").says("Serving.")
    second = Standalone(farm.folder)
    (farm.folder / "second").mkdir()
    second.folder, second.data = farm.folder / "second", farm.data
    second.start()
    until(second.is_over, 60)
    assert second.end() == 2
    assert "another farm runs in" in second.output()
    assert farm.get("/health")["status"] == "ok"
