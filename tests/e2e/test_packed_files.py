"""Packed G-code from POST to a verified print, on a printer that takes text alone: it gets what was unpacked and checked."""

import hashlib
from pathlib import Path

import pytest

from tests.e2e.test_farm import checked, finish
from tests.support.farm import GCODE, real_farm, until
from tests.support.print_files import binary_gcode, sliced_3mf

pytestmark = pytest.mark.timeout(300)
COMMENTS = "; estimated printing time (normal mode) = 1m 40s\n; filament_type = PLA\n; filament used [mm] = 20\n"


def test_binary_and_zipped_gcode_are_printed_and_what_is_bad_within_is_not(tmp_path: Path) -> None:
    shorter = GCODE.replace(b"G1 X10 Y200\n", b"G1 X11 Y200\n")
    plates = sliced_3mf({1: shorter, 2: GCODE + b"M997\n"})
    with real_farm(tmp_path, printer_count=1) as farm:
        cases = (
            ("binary", binary_gcode(GCODE.decode(), COMMENTS), {}, GCODE),
            ("zipped", plates, {"plate": 1}, shorter),
        )
        for name, content, fields, printed in cases:
            job_id = farm.submit(name, gcode=content, quantity=1, **fields)
            finish(farm, job_id)
            job = farm.status(job_id)
            [run] = job["runs"]
            sha256 = hashlib.sha256(printed).hexdigest()
            assert (job["state"], job["gcode_sha256"], run["artifact_sha256"]) == ("completed", sha256, sha256)
            assert job["artifact_sha256"] == hashlib.sha256(content).hexdigest()
            assert run["verified"], (run["reason_code"], run["reason"], run)
        bad = farm.submit("bad plate", gcode=plates, plate=2)
        failure = until(lambda: farm.status(bad)["failure_reason"], 60, "its file is checked")
        assert "line 26: M997 is not allowed" in failure
        assert checked(farm)["physical_start"] == 2
