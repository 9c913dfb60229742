"""A file that no printer may run: the farm goes on, and says why that one waits."""

from pathlib import Path

import pytest

from tests.e2e.test_farm import checked, finish
from tests.support.farm import GCODE, real_farm, until

pytestmark = pytest.mark.timeout(240)
# Nobody is asked for it: the printer's own limits refuse it.
KNOWN = {"PRINTFARM_ALLOWED_COMMANDS": "G54"}


def test_a_bad_file_waits_with_its_reason_and_keeps_no_printer_from_good_work(tmp_path: Path) -> None:
    with real_farm(tmp_path, printer_count=1, environment=KNOWN) as farm:
        # Only who knows the machine can tell that this leaves its volume.
        bad = farm.submit("shifted", gcode=GCODE.replace(b"G28\n", b"G28\nG54\n"), quantity=1, priority=50)
        run = farm.wait_run(bad, "fenced")
        assert run["reason_code"] == "limits"
        assert "line " in run["reason"]
        finish(farm, farm.submit("good", quantity=2))
        status = farm.status(bad)
        assert status["state"] == "queued"
        assert len(status["runs"]) == 1, "it is not offered there again and again"
        [why] = status["waiting"]["reasons"]
        assert why["code"].lower() == "file_refused"
        assert run["reason"] in why["explanation"]
        # A person may want it tried again, after the printer's limits were changed.
        assert farm.post("/api/v1/printers/p0/assign", {"job_id": bad}).status_code in (200, 201, 202)
        until(lambda: len(farm.status(bad)["runs"]) == 2, why="it is tried")
        farm.wait_run(bad, "fenced")
        assert farm.post(f"/api/v1/jobs/{bad}/cancel").status_code == 202
        assert checked(farm)["physical_start"] == 2
