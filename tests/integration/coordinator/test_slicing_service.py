"""SlicingService and ProfileService over real gRPC, by certificates of their roles."""

import asyncio
import signal
from collections.abc import AsyncIterator
from typing import Any

import pytest

from printfarm.control.v1 import artifact_service_pb2 as artifacts_pb
from printfarm.control.v1 import job_service_pb2 as jobs_pb
from printfarm.control.v1 import profile_service_pb2 as profiles_pb
from printfarm.control.v1 import profile_service_pb2_grpc as profiles_rpc
from printfarm.model.v1 import job_pb2
from printfarm.slicer.v1 import slicing_service_pb2 as pb
from printfarm.slicer.v1 import slicing_service_pb2_grpc as rpc
from printfarm_coordinator.adapters.artifacts.folder import ArtifactFolder
from printfarm_coordinator.app.farm import transact
from printfarm_coordinator.app.file_ports import Artifact
from printfarm_coordinator.app.leading import Leadership
from printfarm_coordinator.app.ports import Writing
from printfarm_coordinator.app.prepare import Models, prepare_once
from printfarm_coordinator.app.slicing import CLAIM_US
from printfarm_coordinator.app.slicing_ports import UNASKED_US
from printfarm_coordinator.app.workshop import WORKER_ALIVE_US
from printfarm_coordinator.domain.printer import Abilities
from printfarm_coordinator.domain.profile import ProfileKind
from printfarm_files import Kind
from printfarm_rpc.errors import Code
from printfarm_rpc.identity import PeerRole
from tests.support.control_plane import GCODE, Client, ControlPlane, sha256_of
from tests.support.slicings import MATERIAL_SETTINGS, PRINTER_SETTINGS, QUALITY_SETTINGS

MODEL = b"solid cube\nendsolid cube\n" * 50_000
ENGINE = pb.Engine(name="prusaslicer", version="2.5.0")
SETTINGS = {"printer": PRINTER_SETTINGS, "material": MATERIAL_SETTINGS, "quality": QUALITY_SETTINGS}


async def put_profiles(client: Client) -> Any:
    """One of each kind, for the model M. Returns the profiles' stub."""
    stub = profiles_rpc.ProfileServiceStub(client.channel)
    for kind in ProfileKind:
        request = profiles_pb.PutProfileRequest(
            name=kind.value,
            kind=profiles_pb.ProfileKind.Value(f"PROFILE_KIND_{kind.name}"),
            engine="prusaslicer",
            settings=SETTINGS[kind.value],
            printer_models=["M"] if kind is ProfileKind.PRINTER else [],
            is_default=True,
        )
        await client(stub.PutProfile, request)
    return stub


async def store_model(plane: ControlPlane, content: bytes = MODEL) -> str:
    """A model's bytes and its row."""
    sha256 = sha256_of(content)
    async with plane.farm.blobs.incoming() as incoming:
        await incoming.write(content)
        await incoming.received()
        await incoming.keep()

    async def work(tx: Writing) -> None:
        await tx.put_artifact(Artifact(sha256, len(content), "stl", "cube.stl", tx.now))

    await transact(plane.farm, "test", work)
    return sha256


class Workers:
    """Two workers, and what the leader does."""

    def __init__(self, plane: ControlPlane) -> None:
        self.one, self.two = (plane.client(PeerRole.SLICER, name) for name in ("w1", "w2"))
        self.stub = rpc.SlicingServiceStub(self.one.channel)
        self.other = rpc.SlicingServiceStub(self.two.channel)
        self.plane = plane
        self.leadership = Leadership("test")

    async def prepare(self) -> None:
        await self.leadership.prolong(self.plane.farm)
        await prepare_once(self.plane.farm, self.leadership)

    async def claim(self, *, by_other: bool = False) -> pb.Task | None:
        client, stub = (self.two, self.other) if by_other else (self.one, self.stub)
        answer = await client(stub.ClaimWork, pb.ClaimWorkRequest(engines=[ENGINE]))
        return answer.task if answer.HasField("task") else None

    async def finish(self, task: pb.Task, content: bytes = GCODE) -> str:
        sha256 = sha256_of(content)
        await self.one(self.stub.StoreResult, result_chunks(task, content))
        request = pb.CompleteWorkRequest(
            slicing_id=task.slicing_id, claim_token=task.claim_token, result_sha256=sha256, filament_grams=3.5
        )
        request.estimated_duration.FromSeconds(90)
        await self.one(self.stub.CompleteWork, request)
        return sha256


async def result_chunks(task: pb.Task, content: bytes) -> AsyncIterator[pb.StoreResultRequest]:
    yield pb.StoreResultRequest(
        slicing_id=task.slicing_id, claim_token=task.claim_token, sha256=sha256_of(content), chunk=content
    )


async def furnish(plane: ControlPlane) -> tuple[Workers, Client, str]:
    """Profiles, a printer that they are for, a model, and workers that the farm knows."""
    client = plane.operator
    await put_profiles(client)
    await plane.add_printer("p1", abilities=Abilities("M", nozzle_diameter_mm=0.4, material="PLA"))
    workers = Workers(plane)
    assert await workers.claim() is None
    return workers, client, await store_model(plane)


async def test_a_model_is_sliced_and_then_its_job_is_queued(plane: ControlPlane) -> None:
    workers, client, sha256 = await furnish(plane)
    job = await client.submit(sha256)
    assert job.state == job_pb2.JOB_STATE_PREPARING
    await workers.prepare()
    task = await workers.claim()
    assert task is not None
    assert dict(task.settings) == PRINTER_SETTINGS | MATERIAL_SETTINGS | QUALITY_SETTINGS
    assert (task.model_sha256, task.model_kind, task.parts, task.engine) == (sha256, "stl", 1, ENGINE)
    read = [
        chunk.chunk
        async for chunk in workers.stub.ReadModel(
            pb.ReadModelRequest(slicing_id=task.slicing_id, claim_token=task.claim_token)
        )
    ]
    assert b"".join(read) == MODEL
    await workers.one(
        workers.stub.RenewClaim,
        pb.RenewClaimRequest(slicing_id=task.slicing_id, claim_token=task.claim_token, progress=0.45),
    )
    seen = (await client(client.jobs.GetJob, _get(job))).job
    assert [(s.state, s.progress) for s in seen.slicings] == [(job_pb2.SLICING_STATE_RUNNING, 0.45)]
    assert "45%" in (await client(client.jobs.ExplainJob, _explain(job))).reasons[0].explanation
    result = await workers.finish(task)
    await workers.prepare()
    seen = (await client(client.jobs.GetJob, _get(job))).job
    assert (seen.state, seen.estimated_run_duration.seconds) == (job_pb2.JOB_STATE_QUEUED, 90)
    assert [(s.result_sha256, s.filament_grams, list(s.profiles)) for s in seen.slicings] == [
        (result, 3.5, ["printer@1", "material@1", "quality@1"])
    ]
    run = (await client(client.jobs.AssignJob, _assign(job))).run
    assert run.artifact_sha256 == result


async def test_a_result_is_taken_while_another_file_is_looked_at(plane: ControlPlane) -> None:
    workers, client, sha256 = await furnish(plane)
    job = await client.submit(sha256)
    await workers.prepare()
    task = await workers.claim()
    assert task is not None
    other = await client.store(GCODE + b"; a large one\n")
    blobs = plane.farm.blobs
    assert isinstance(blobs, ArtifactFolder)
    await blobs.inspect(other, Kind.GCODE)
    process = blobs._inspector._process
    assert process is not None
    process.send_signal(signal.SIGSTOP)
    looking = asyncio.ensure_future(blobs.inspect(other, Kind.GCODE))
    try:
        await workers.finish(task)
    finally:
        process.send_signal(signal.SIGCONT)
        await looking
    await workers.prepare()
    assert (await client(client.jobs.GetJob, _get(job))).job.state == job_pb2.JOB_STATE_QUEUED


async def test_the_second_job_of_the_same_part_is_not_sliced_again(plane: ControlPlane) -> None:
    workers, client, sha256 = await furnish(plane)
    first, second = await client.submit(sha256), await client.submit(sha256)
    await workers.prepare()
    task = await workers.claim()
    assert task is not None
    assert await workers.claim(by_other=True) is None
    await workers.finish(task)
    third = await client.submit(sha256)
    await workers.prepare()
    assert await workers.claim() is None
    for job in (first, second, third):
        assert (await client(client.jobs.GetJob, _get(job))).job.state == job_pb2.JOB_STATE_QUEUED


async def test_a_worker_that_fell_silent_is_taken_over_and_then_loses(plane: ControlPlane) -> None:
    workers, client, sha256 = await furnish(plane)
    await client.submit(sha256)
    await workers.prepare()
    lost = await workers.claim()
    assert lost is not None
    assert await workers.claim(by_other=True) is None
    plane.clock.forward(CLAIM_US)
    taken = await workers.claim(by_other=True)
    assert taken is not None
    assert taken.slicing_id == lost.slicing_id and taken.claim_token != lost.claim_token
    named = {"slicing_id": lost.slicing_id, "claim_token": lost.claim_token}
    for method, request in (
        (workers.stub.RenewClaim, pb.RenewClaimRequest(**named, progress=0.5)),
        (workers.stub.StoreResult, result_chunks(lost, GCODE)),
        (workers.stub.FailWork, pb.FailWorkRequest(**named, code=pb.FAILURE_CODE_SLICER_REFUSED, reason="late")),
    ):
        assert (await workers.one.refused(method, request)).code is Code.CLAIM_LOST
    await workers.finish(taken)
    complete = pb.CompleteWorkRequest(**named, result_sha256=sha256_of(GCODE))
    assert (await workers.one.refused(workers.stub.CompleteWork, complete)).code is Code.CLAIM_LOST


@pytest.mark.parametrize(
    "code", ["slicer_refused", "slicer_crashed", "slicer_limit", "model_refused", "result_refused"]
)
async def test_what_the_slicer_said_fails_the_job(plane: ControlPlane, code: str) -> None:
    workers, client, sha256 = await furnish(plane)
    job = await client.submit(sha256)
    await workers.prepare()
    task = await workers.claim()
    assert task is not None
    request = pb.FailWorkRequest(
        slicing_id=task.slicing_id,
        claim_token=task.claim_token,
        code=pb.FailureCode.Value(f"FAILURE_CODE_{code.upper()}"),
        reason="No layers were detected",
    )
    for _ in range(2):
        await workers.one(workers.stub.FailWork, request)
    await workers.prepare()
    seen = (await client(client.jobs.GetJob, _get(job))).job
    assert (seen.state, seen.failure_reason) == (job_pb2.JOB_STATE_FAILED, "No layers were detected")
    assert [each.error_code for each in seen.slicings] == [code]
    assert await workers.claim() is None, "it is not tried again"


async def test_only_workers_reach_the_service_and_they_reach_nothing_else(plane: ControlPlane) -> None:
    await put_profiles(plane.operator)
    stub = rpc.SlicingServiceStub(plane.operator.channel)
    refused = await plane.operator.refused(stub.ClaimWork, pb.ClaimWorkRequest(engines=[ENGINE]))
    assert refused.code is Code.PERMISSION_DENIED
    worker = plane.client(PeerRole.SLICER, "w1")
    refused = await worker.refused(worker.jobs.GetJob, _get(job_pb2.Job(job_id="x")))
    assert refused.code is Code.PERMISSION_DENIED


async def test_a_model_without_any_slicer_or_with_an_unknown_profile_is_refused(plane: ControlPlane) -> None:
    client, sha256 = plane.operator, await store_model(plane)
    order = {"name": "x", "artifact_sha256": sha256, "quantity": 1, "parts_per_plate": 1}
    refused = await client.refused(client.jobs.CreateJob, _create(order))
    assert refused.code is Code.UNSUPPORTED_MEDIA and "printfarm-slicer" in refused.detail
    await Workers(plane).claim()
    for wrong, field in (({"profile": "nope"}, "profile"), ({"parts_per_plate": 101}, "parts_per_plate")):
        refused = await client.refused(client.jobs.CreateJob, _create(order | wrong))
        assert [each.field for each in refused.fields] == [field]
    gcode = await client.store()
    refused = await client.refused(
        client.jobs.CreateJob, _create(order | {"artifact_sha256": gcode, "profile": "draft"})
    )
    assert [each.field for each in refused.fields] == ["profile"]


async def test_profiles_are_versioned_and_the_late_writer_loses(plane: ControlPlane) -> None:
    client = plane.operator
    stub = await put_profiles(client)
    again = profiles_pb.PutProfileRequest(
        name="quality",
        kind=profiles_pb.PROFILE_KIND_QUALITY,
        engine="prusaslicer",
        settings=QUALITY_SETTINGS,
        is_default=True,
    )
    assert (await client(stub.PutProfile, again)).profile.version == 1
    again.settings["layer_height"] = "0.1"
    again.version = 1
    assert (await client(stub.PutProfile, again)).profile.version == 2
    again.settings["layer_height"] = "0.15"
    assert (await client.refused(stub.PutProfile, again)).code is Code.VERSION_CONFLICT
    again.version, again.settings["post_process"] = 2, "/bin/id"
    refused = await client.refused(stub.PutProfile, again)
    assert [each.field for each in refused.fields] == ["settings.post_process"]
    versions = (await client(stub.GetProfile, profiles_pb.GetProfileRequest(name="quality"))).versions
    assert [(p.version, p.settings["layer_height"]) for p in versions] == [(1, "0.2"), (2, "0.1")]
    await client(stub.RetireProfile, profiles_pb.RetireProfileRequest(name="quality", reason="worse"))
    listed = (await client(stub.ListProfiles, profiles_pb.ListProfilesRequest())).profiles
    assert [p.name for p in listed] == ["material", "printer"]


NEWER = pb.Engine(name="prusaslicer", version="2.9.1")


async def states_of(plane: ControlPlane, model: str) -> list[tuple[str, str, str]]:
    async with plane.farm.store.read() as look:
        return [(t.key.engine_version, t.state.value, t.error_code) for t in await look.slicings_of([model])]


async def test_a_slicing_for_a_version_that_is_gone_ends_and_its_job_gets_the_new_one(plane: ControlPlane) -> None:
    workers, client, sha256 = await furnish(plane)
    job = await client.submit(sha256)
    await workers.prepare()
    plane.clock.forward(2 * WORKER_ALIVE_US)
    assert not (await workers.two(workers.other.ClaimWork, pb.ClaimWorkRequest(engines=[NEWER]))).HasField("task")
    await workers.prepare()
    assert await states_of(plane, sha256) == [("2.5.0", "failed", "not_needed"), ("2.9.1", "queued", "")]
    # Another model's is not in its way, and the old worker's return changes nothing.
    assert await workers.claim() is None
    answer = await workers.two(workers.other.ClaimWork, pb.ClaimWorkRequest(engines=[NEWER]))
    assert answer.task.engine == NEWER
    assert (await client(client.jobs.GetJob, _get(job))).job.state == job_pb2.JOB_STATE_PREPARING


async def test_a_cancelled_jobs_slicing_is_not_made_and_an_estimates_is(plane: ControlPlane) -> None:
    workers, client, sha256 = await furnish(plane)
    models = Models()

    async def prepare() -> None:
        await workers.leadership.prolong(plane.farm)
        await prepare_once(plane.farm, workers.leadership, models)

    job = await client.submit(sha256)
    await prepare()
    await client(client.jobs.CancelJob, jobs_pb.CancelJobRequest(job_id=job.job_id))
    await prepare()
    assert await states_of(plane, sha256) == [("2.5.0", "failed", "not_needed")]
    assert await workers.claim() is None
    order = jobs_pb.EstimateJobRequest(artifact_sha256=sha256, quantity=3, parts_per_plate=1)
    assert (await client(client.jobs.EstimateJob, order)).preparing
    await prepare()
    await prepare()
    assert await states_of(plane, sha256) == [("2.5.0", "queued", "")]
    # Whoever asked does not come back.
    plane.clock.forward(UNASKED_US)
    await prepare()
    assert await states_of(plane, sha256) == [("2.5.0", "failed", "not_needed")]
    workers.leadership = Leadership("later")
    await workers.claim()
    assert (await client(client.jobs.EstimateJob, order)).preparing
    task = await workers.claim()
    assert task is not None
    await workers.finish(task)
    assert (await client(client.jobs.EstimateJob, order)).run_duration.seconds == 90


async def test_a_model_that_only_a_waiting_slicing_needs_can_be_deleted(plane: ControlPlane) -> None:
    workers, client, sha256 = await furnish(plane)
    order = jobs_pb.EstimateJobRequest(artifact_sha256=sha256, quantity=3, parts_per_plate=1)
    await client(client.jobs.EstimateJob, order)
    delete = artifacts_pb.DeleteArtifactRequest(sha256=sha256)
    task = await workers.claim()
    assert task is not None
    assert (await client.refused(client.artifacts.DeleteArtifact, delete)).code is Code.FILE_NEEDED
    plane.clock.forward(CLAIM_US)
    await client(client.artifacts.DeleteArtifact, delete)
    assert await states_of(plane, sha256) == [("2.5.0", "failed", "not_needed")]
    assert await workers.claim() is None


async def test_long_profiles_are_listed_in_pages_and_all_their_versions_can_be_read(plane: ControlPlane) -> None:
    client = plane.operator
    stub = await put_profiles(client)
    code = "G4 P1\n" * 2_700
    long = dict.fromkeys(("start_gcode", "end_gcode", "before_layer_gcode", "layer_gcode"), code)

    async def put(name: str, number: int) -> None:
        request = profiles_pb.PutProfileRequest(
            name=name,
            kind=profiles_pb.PROFILE_KIND_PRINTER,
            engine="prusaslicer",
            settings=PRINTER_SETTINGS | long | {"end_gcode": f"{code}G4 P{number}"},
            printer_models=["M"],
        )
        await client(stub.PutProfile, request)

    for number in range(34):
        await put("often", number)
        await put(f"one-{number:02}", number)
    versions: list[int] = []
    while not versions or versions[0] > 1:
        request = profiles_pb.GetProfileRequest(name="often", before_version=versions[0] if versions else 0)
        found = (await client(stub.GetProfile, request)).versions
        assert 1 < len(found) < 34
        versions = [p.version for p in found] + versions
    assert versions == list(range(1, 35))
    listed: list[str] = []
    token = ""
    while True:
        page = await client(stub.ListProfiles, profiles_pb.ListProfilesRequest(page_size=500, page_token=token))
        listed += [p.name for p in page.profiles]
        if not (token := page.next_page_token):
            break
    assert listed == sorted(["material", "often", "printer", "quality", *(f"one-{n:02}" for n in range(34))])
    wrong = profiles_pb.ListProfilesRequest(page_token="forged")
    assert [each.field for each in (await client.refused(stub.ListProfiles, wrong)).fields] == ["page_token"]
    wrong_version = profiles_pb.GetProfileRequest(name="often", before_version=-1)
    assert (await client.refused(stub.GetProfile, wrong_version)).code is Code.INVALID_ARGUMENT


def _get(job: job_pb2.Job) -> Any:
    return jobs_pb.GetJobRequest(job_id=job.job_id)


def _explain(job: job_pb2.Job) -> Any:
    return jobs_pb.ExplainJobRequest(job_id=job.job_id)


def _assign(job: job_pb2.Job) -> Any:
    return jobs_pb.AssignJobRequest(job_id=job.job_id, printer_id="p1")


def _create(fields: dict[str, Any]) -> Any:
    return jobs_pb.CreateJobRequest(**fields)


async def test_a_dry_run_says_what_a_file_of_gcode_would_need(plane: ControlPlane) -> None:
    client = plane.operator
    await plane.add_printer("p1", abilities=Abilities("M", nozzle_diameter_mm=0.4, material="PLA"))
    await plane.add_printer("p2", abilities=Abilities("M", nozzle_diameter_mm=0.4, material="PETG"))
    weighed = b"; generated by PrusaSlicer 2.5.0 on 2026-11-24\n" + GCODE + b"; filament used [g] = 3.5\n"
    order = jobs_pb.EstimateJobRequest(
        artifact_sha256=await client.store(weighed), quantity=5, parts_per_plate=2, requirements={"material": "PLA"}
    )
    found = await client(client.jobs.EstimateJob, order)
    assert (found.plates, found.preparing, found.run_duration.seconds, found.run_filament_grams) == (
        3,
        False,
        3_600,
        3.5,
    )
    assert list(found.able_printer_ids) == ["p1"]
    assert [(r.printer_id, r.code) for r in found.reasons] == [("p2", "material")]
    assert not (await client(client.jobs.ListJobs, jobs_pb.ListJobsRequest())).jobs
    unknown = jobs_pb.EstimateJobRequest(artifact_sha256="0" * 64, quantity=1, parts_per_plate=1)
    assert (await client.refused(client.jobs.EstimateJob, unknown)).code is Code.ARTIFACT_NOT_FOUND


async def test_a_dry_run_of_a_model_slices_it_once_and_its_job_finds_that(plane: ControlPlane) -> None:
    workers, client, sha256 = await furnish(plane)
    await plane.add_printer("p2", abilities=Abilities("N", nozzle_diameter_mm=0.4, material="PLA"))
    order = jobs_pb.EstimateJobRequest(artifact_sha256=sha256, quantity=3, parts_per_plate=1)
    for _ in range(2):
        found = await client(client.jobs.EstimateJob, order)
        assert found.preparing and not found.HasField("run_duration") and len(found.slicings) == 1
    assert list(found.able_printer_ids) == ["p1"]
    assert [(r.printer_id, r.code) for r in found.reasons] == [("p2", "no_profile")]
    task = await workers.claim()
    assert task is not None
    result = await workers.finish(task)
    found = await client(client.jobs.EstimateJob, order)
    assert (found.preparing, found.plates, found.run_duration.seconds, found.run_filament_grams) == (False, 3, 90, 3.5)
    job = await client.submit(sha256)
    await workers.prepare()
    seen = (await client(client.jobs.GetJob, _get(job))).job
    assert [s.result_sha256 for s in seen.slicings] == [result]
    assert await workers.claim() is None


async def test_a_dry_run_says_why_nobody_could_print_it(plane: ControlPlane) -> None:
    workers, client, sha256 = await furnish(plane)
    order = jobs_pb.EstimateJobRequest(artifact_sha256=sha256, quantity=1, parts_per_plate=1)
    await client(client.jobs.EstimateJob, order)
    task = await workers.claim()
    assert task is not None
    named = {"slicing_id": task.slicing_id, "claim_token": task.claim_token}
    await workers.one(
        workers.stub.FailWork, pb.FailWorkRequest(**named, code=pb.FAILURE_CODE_SLICER_REFUSED, reason="too big")
    )
    found = await client(client.jobs.EstimateJob, order)
    assert (found.failure, found.preparing, list(found.able_printer_ids)) == ("too big", False, [])
    assert [r.code for r in found.reasons] == ["slicing_failed"]
