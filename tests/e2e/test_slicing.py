"""A model is sliced by a real slicer, printed and completed; workers die, and nothing is sliced twice."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from printfarm_coordinator.domain.profile import ProfileKind
from tests.conftest import need, need_sandbox
from tests.support.farm import RealFarm, real_farm, until
from tests.support.models import box_3mf, box_stl
from tests.support.slicings import MATERIAL_SETTINGS, OF_ENGINE, PRINTER_SETTINGS, QUALITY_SETTINGS

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def farm(tmp_path: Path) -> Iterator[RealFarm]:
    """With two workers that nobody has started yet, and profiles for the virtual printer."""
    need("prusa-slicer")
    with bare_farm(tmp_path) as made:
        put(made, "virtual", "printer", PRINTER_SETTINGS, printer_models=["Virtual One"])
        put(made, "pla", "material", MATERIAL_SETTINGS)
        put(made, "standard", "quality", QUALITY_SETTINGS, is_default=True)
        put(made, "draft", "quality", {**QUALITY_SETTINGS, "layer_height": "0.3"})
        yield made


@contextmanager
def bare_farm(folder: Path) -> Iterator[RealFarm]:
    """With two workers that nobody has started yet, and no profile."""
    need_sandbox()
    with real_farm(folder, printer_count=1, time_scale=2_000.0, slicer_count=2) as made:
        yield made


def put_all(farm: RealFarm, engine: str) -> None:
    """The virtual printer's profiles for that slicer, named after it."""
    for kind, settings in OF_ENGINE[engine].items():
        more: dict[str, Any] = {"printer_models": ["Virtual One"]} if kind == "printer" else {}
        put(farm, f"{engine}-{kind}", kind, settings, engine=engine, is_default=kind == "quality", **more)


def put(farm: RealFarm, name: str, kind: str, settings: dict[str, str], **more: Any) -> None:
    with farm.client() as client:
        answer = client.put(f"/api/v1/profiles/{name}", json={"kind": kind, "settings": settings, **more})
    assert answer.status_code == 200, answer.text


def start_worker(farm: RealFarm, number: int = 0, fail_at: str = "") -> None:
    farm.slicers[number].start(fail_at)
    until(lambda: "slicer works" in farm.slicers[number].log(), 60, "the worker is up")


def submit(farm: RealFarm, key: str, content: bytes, **fields: Any) -> str:
    return farm.submit(key, gcode=content, file_name="box.stl", **fields)


def in_state(farm: RealFarm, job_id: str, *states: str, seconds: float = 120.0) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        job = farm.status(job_id)
        return job if job["state"] in states else None

    return until(look, seconds, f"{states}; last: {farm.try_get(f'/api/v1/jobs/{job_id}/status')}")


def test_a_model_is_sliced_once_and_printed(farm: RealFarm) -> None:
    start_worker(farm)
    job_id = submit(farm, "first", box_stl())
    run = farm.wait_run(job_id, "finished", seconds=150)
    job = farm.status(job_id)
    [slicing] = job["slicings"]
    assert (slicing["state"], slicing["engine"], slicing["profiles"]) == (
        "done",
        "prusaslicer",
        ["virtual@1", "pla@1", "standard@1"],
    )
    assert run["artifact_sha256"] == slicing["result_sha256"] != job["artifact_sha256"]
    assert slicing["filament_grams"] > 0 and job["estimated_run_seconds"] == slicing["estimated_run_seconds"]
    farm.sign_off(run)
    in_state(farm, job_id, "completed")

    # The same part again: nothing is sliced, and the same file is printed.
    again = submit(farm, "second", box_stl())
    run = farm.wait_run(again, "finished", seconds=150)
    assert run["artifact_sha256"] == slicing["result_sha256"]
    assert [each["slicing_id"] for each in farm.status(again)["slicings"]] == [slicing["slicing_id"]]
    assert farm.slicers[0].log().count("sliced ") + farm.slicers[0].log().count('"sliced"') == 1
    farm.sign_off(run)
    for line in (
        'printfarm_slicing_seconds_count{engine="prusaslicer",outcome="done"} 1.0',
        'printfarm_slicing_cache_total{result="hit"} 1.0',
        'printfarm_slicing_cache_total{result="miss"} 1.0',
        "printfarm_slicer_workers 1.0",
    ):
        # The gauges are looked at every few seconds.
        until(lambda told=line: told in farm.metrics().splitlines(), why=line)

    # A named profile is another setup; what no printer has room for fails with the slicer's word.
    draft = submit(farm, "draft", box_3mf(), profile="draft")
    large = submit(farm, "large", box_stl(400, 400, 10))
    assert "fit" in in_state(farm, large, "failed")["failure_reason"]
    slicings = in_state(farm, draft, "queued", "active")["slicings"]
    assert [each["profiles"][2] for each in slicings] == ["draft@1"]


def test_plates_are_filled_and_the_last_one_holds_what_is_left(farm: RealFarm) -> None:
    start_worker(farm)
    job_id = submit(farm, "fit", box_stl(90, 90, 0.6), quantity=6, parts_per_plate="fit")

    def ended(at: int) -> dict[str, Any] | None:
        runs = farm.status(job_id)["runs"]
        return runs[at] if len(runs) > at and runs[at]["state"] == "finished" else None

    made = []
    for at in range(2):
        run = until(partial(ended, at), 200, f"plate {at}; last: {farm.status(job_id)}")
        made.append(run["parts"])
        farm.sign_off(run)
    job = in_state(farm, job_id, "completed")
    # Six do not fit; four do; two are left.
    assert (made, job["good_parts"], job["fit_plate"], job["parts_per_plate"]) == ([4, 2], 6, True, 4)


def test_without_a_worker_a_model_is_refused_and_a_killed_one_is_taken_over(farm: RealFarm) -> None:
    with farm.client() as client:
        files = {"file": ("box.stl", box_stl()), "job": (None, '{"name": "x"}', "application/json")}
        answer = client.post("/api/v1/jobs/receive", files=files)  # type: ignore[arg-type]
    assert (answer.status_code, answer.json()["code"]) == (422, "UNSUPPORTED_MEDIA")
    assert "printfarm-slicer" in answer.json()["detail"]

    # The first worker dies with the model in its hands; the second takes over when the claim lapses.
    start_worker(farm, 0, fail_at="slicer_before_storing")
    job_id = submit(farm, "orphan", box_stl())
    assert farm.slicers[0].wait(90) != 0
    job = farm.status(job_id)
    assert (job["state"], job["slicings"][0]["state"]) == ("preparing", "running")
    assert "sliced" in job["waiting"]["summary"]
    start_worker(farm, 1)
    job = in_state(farm, job_id, "queued", "active")
    assert [each["state"] for each in job["slicings"]] == ["done"]


def test_a_model_is_sliced_by_curaengine_and_printed(tmp_path: Path) -> None:
    need("cura")
    with bare_farm(tmp_path) as farm:
        put_all(farm, "curaengine")
        start_worker(farm)
        job_id = submit(farm, "cura", box_stl(), quantity=2, parts_per_plate=2)
        run = farm.wait_run(job_id, "finished", seconds=150)
        job = farm.status(job_id)
        [slicing] = job["slicings"]
        assert (slicing["state"], slicing["engine"]) == ("done", "curaengine")
        assert slicing["profiles"] == ["curaengine-printer@1", "curaengine-material@1", "curaengine-quality@1"]
        assert run["artifact_sha256"] == slicing["result_sha256"]
        assert slicing["filament_grams"] > 0 and job["estimated_run_seconds"] == slicing["estimated_run_seconds"]
        farm.sign_off(run)
        in_state(farm, job_id, "completed")


def test_a_slicer_that_no_worker_has_is_named_and_another_one_is_taken(tmp_path: Path) -> None:
    need("cura")
    with bare_farm(tmp_path) as farm:
        put_all(farm, "orcaslicer")
        start_worker(farm)
        job_id = submit(farm, "orca", box_stl())
        job = farm.status(job_id)
        assert job["state"] == "preparing" and job["slicings"] == []
        assert "no worker with orcaslicer is connected" in job["waiting"]["summary"]
        [reason] = job["waiting"]["reasons"]
        assert reason["code"] == "no_slicer"
        # A dry run says so, too, and orders nothing.
        with farm.client() as client:
            asked = {"artifact_sha256": job["artifact_sha256"], "quantity": 1}
            found = client.post("/api/v1/jobs/estimate", json=asked).json()
        assert (found["able_printer_ids"], found["preparing"]) == ([], False)
        assert [each["code"] for each in found["reasons"]] == ["no_slicer"]

        # Profiles of a slicer that the worker has: the job takes those, whatever their names.
        put_all(farm, "curaengine")
        put(farm, "orcaslicer-printer", "printer", OF_ENGINE["orcaslicer"][ProfileKind.PRINTER], engine="orcaslicer",
            is_default=True, printer_models=["Virtual One"])  # fmt: skip
        run = farm.wait_run(job_id, "finished", seconds=150)
        assert [each["engine"] for each in farm.status(job_id)["slicings"]] == ["curaengine"]
        farm.sign_off(run)
        in_state(farm, job_id, "completed")
