"""What the metrics tell of slicing: by real calls of workers, and by the database."""

from prometheus_client import generate_latest

from printfarm.slicer.v1 import slicing_service_pb2 as pb
from printfarm_coordinator.app.slicing import CLAIM_US
from printfarm_coordinator.app.workshop import WORKER_ALIVE_US
from printfarm_coordinator.metrics import Metrics
from tests.support.control_plane import ControlPlane

from .test_slicing_service import MODEL, Workers, furnish, store_model

_SECOND = 1_000_000


class Told:
    """Metrics of the plane's farm, as Prometheus reads them."""

    def __init__(self, plane: ControlPlane) -> None:
        self.metrics = Metrics()
        self._farm = plane.farm
        plane.farm.slicing.observe_claim = self.metrics.observe_claim
        plane.farm.slicing.count_file = self.metrics.count_file

    def value(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, labels)

    def claims(self) -> dict[str, tuple[float, float]]:
        """Outcome -> how many, and their seconds."""
        outcomes = ("done", "slicer_lost", "slicer_refused", "worker_fault")
        name, engine = "printfarm_slicing_seconds", "prusaslicer"
        found = {
            how: (
                self.value(f"{name}_count", engine=engine, outcome=how),
                self.value(f"{name}_sum", engine=engine, outcome=how),
            )
            for how in outcomes
        }
        return {how: (count, total or 0.0) for how, (count, total) in found.items() if count}

    async def backlog(self) -> tuple[float | None, ...]:
        """Waiting, running, workers."""
        await self.metrics.refresh(self._farm)
        states = (self.value("printfarm_slicings", state=state) for state in ("waiting", "running"))
        return *states, self.value("printfarm_slicer_workers")


async def _claimed(workers: Workers, *, by_other: bool = False) -> pb.Task:
    task = await workers.claim(by_other=by_other)
    assert task is not None
    return task


async def test_claims_are_told_with_their_seconds_and_jobs_by_what_was_there(plane: ControlPlane) -> None:
    workers, client, sha256 = await furnish(plane)
    told = Told(plane)
    assert await told.backlog() == (0, 0, 1)
    await client.submit(sha256)
    await workers.prepare()
    assert await told.backlog() == (1, 0, 1)

    # The first worker falls silent; the second takes over and does it, saying so twice.
    await _claimed(workers)
    assert await told.backlog() == (0, 1, 1)
    plane.clock.forward(CLAIM_US + WORKER_ALIVE_US)
    assert await told.backlog() == (1, 0, 0)
    task = await _claimed(workers, by_other=True)
    assert told.claims() == {"slicer_lost": (1, (CLAIM_US + WORKER_ALIVE_US) / _SECOND)}
    plane.clock.forward(7 * _SECOND)
    sha256_made = await workers.finish(task)
    again = pb.CompleteWorkRequest(
        slicing_id=task.slicing_id, claim_token=task.claim_token, result_sha256=sha256_made, filament_grams=3.5
    )
    await workers.one(workers.stub.CompleteWork, again)
    await workers.prepare()
    assert told.claims()["done"] == (1, 7.0)
    assert await told.backlog() == (0, 0, 1)

    # The same part once more: its file was there.
    plane.clock.forward(_SECOND)
    await client.submit(sha256)
    for _ in range(2):
        await workers.prepare()
    results = {result: told.value("printfarm_slicing_cache_total", result=result) for result in ("hit", "miss")}
    assert results == {"hit": 1, "miss": 1}


async def test_failures_are_told_by_their_codes_and_labels_come_from_no_client(plane: ControlPlane) -> None:
    workers, client, _ = await furnish(plane)
    told = Told(plane)
    await client.submit(await store_model(plane, MODEL + b"solid another\n"), name="a job with a name of its own")
    await workers.prepare()
    for code in (pb.FAILURE_CODE_WORKER_FAULT, pb.FAILURE_CODE_SLICER_REFUSED):
        task = await _claimed(workers)
        plane.clock.forward(2 * _SECOND)
        named = {"slicing_id": task.slicing_id, "claim_token": task.claim_token}
        await workers.one(workers.stub.FailWork, pb.FailWorkRequest(**named, code=code, reason="its own words"))
    assert told.claims() == {"worker_fault": (1, 2.0), "slicer_refused": (1, 2.0)}
    await told.metrics.refresh(plane.farm)
    lines = [line for line in generate_latest(told.metrics.registry).decode().splitlines() if "slic" in line]
    assert not any("own" in line for line in lines)
