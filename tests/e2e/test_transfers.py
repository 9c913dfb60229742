"""Files on their way to a printer, and afterwards."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.test_farm import checked, finish
from tests.support.farm import GCODE, RealFarm, real_farm, until

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def farm(tmp_path: Path) -> Iterator[RealFarm]:
    with real_farm(tmp_path, printer_count=1) as running:
        yield running


def files_on_the_printer(farm: RealFarm) -> list[str]:
    folder = farm.folder / "printers" / "0" / "virtual-1" / "files"
    return sorted(path.name for path in folder.iterdir())


def test_nothing_stays_on_the_printer(farm: RealFarm) -> None:
    for name in ("one", "two"):
        finish(farm, farm.submit(name, quantity=1))
    until(lambda: files_on_the_printer(farm) == [], why="its storage is as it was")
    assert checked(farm)["physical_start"] == 2


def test_a_cancel_breaks_a_slow_transfer_off(farm: RealFarm) -> None:
    """The transfer would take 90 s; the printer is free for the next job at once, and people saw how far it was."""
    farm.printers.admin("fault", name="slow_transfer", argument=40_000.0)
    slow = farm.submit("slow", gcode=GCODE + b"; filler\n" * 400_000, quantity=1)
    farm.wait_run(slow, "accepted")

    def is_told() -> bool:
        found = farm.try_get("/api/v1/printers/p0")
        return bool(found and "sending the file" in ((found["latest"] or {}).get("message") or ""))

    until(is_told, why="the transfer tells how far it is")
    assert farm.post(f"/api/v1/jobs/{slow}/cancel").status_code == 202
    assert farm.status(slow)["state"] == "cancelled"
    farm.printers.admin("clear_fault")
    second = farm.submit("next", quantity=1)
    finish(farm, second)
    assert checked(farm)["physical_start"] == 1
