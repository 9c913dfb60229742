"""Events over gRPC: in order, none left out, from any position, live."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import pytest

from printfarm.control.v1 import event_service_pb2 as pb
from printfarm.control.v1 import job_service_pb2
from printfarm_coordinator.app import watch
from printfarm_coordinator.app.janitor import forget_events_once
from printfarm_rpc.errors import Code, from_rpc_error
from tests.support.control_plane import HOUR, Client, ControlPlane, eventually


@asynccontextmanager
async def watching(client: Client, after: int, **fields: object) -> AsyncIterator["asyncio.Queue[pb.WatchResponse]"]:
    """What comes, in a queue; the call ends with the block."""
    came: asyncio.Queue[pb.WatchResponse] = asyncio.Queue()
    call = client.events.Watch(pb.WatchRequest(after_position=after, **fields), metadata=client.metadata)  # type: ignore[arg-type]

    async def read() -> None:
        async for response in call:
            came.put_nowait(response)

    reading = asyncio.create_task(read())
    try:
        yield came
    finally:
        call.cancel()
        await asyncio.gather(reading, return_exceptions=True)


async def events(came: "asyncio.Queue[pb.WatchResponse]", count: int) -> list[tuple[int, str]]:
    """The next events, heartbeats left out."""
    found: list[tuple[int, str]] = []
    async with asyncio.timeout(20):
        while len(found) < count:
            response = await came.get()
            if response.HasField("event"):
                assert response.event.position == response.position
                found.append((response.position, response.event.type))
    return found


async def held_and_released(client: Client, job_id: str) -> None:
    await client(client.jobs.HoldJob, job_service_pb2.HoldJobRequest(job_id=job_id))
    await client(client.jobs.ReleaseJob, job_service_pb2.ReleaseJobRequest(job_id=job_id))


async def test_from_the_beginning_and_live(plane: ControlPlane) -> None:
    client = plane.operator
    job = await client.submit(await client.store())
    await plane.position()
    async with watching(client, 0) as came:
        assert (await came.get()).position == 0
        assert await events(came, 1) == [(1, "job.received")]
        await held_and_released(client, job.job_id)
        assert came.empty()
        await plane.position()
        assert await events(came, 2) == [(2, "job.held"), (3, "job.released")]


async def test_only_new_ones(plane: ControlPlane) -> None:
    client = plane.operator
    job = await client.submit(await client.store())
    await plane.position()
    async with watching(client, -1) as came:
        assert (await came.get()).position == 1
        await held_and_released(client, job.job_id)
        await plane.position()
        assert await events(came, 2) == [(2, "job.held"), (3, "job.released")]


async def test_filtered_by_type_and_subject(plane: ControlPlane) -> None:
    client = plane.operator
    sha256 = await client.store()
    one, two = await client.submit(sha256), await client.submit(sha256)
    await held_and_released(client, one.job_id)
    await held_and_released(client, two.job_id)
    await plane.position()
    async with watching(client, 0, types=["job.re"], subject_id=two.job_id) as came:
        assert await events(came, 2) == [(2, "job.received"), (6, "job.released")]
    async with watching(client, 0, types=["run."]) as came:
        await held_and_released(client, one.job_id)
        await plane.position()
        response = await came.get()
        assert (response.position, response.HasField("event")) == (0, False)


async def test_more_than_a_batch(plane: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "BATCH", 3)
    client = plane.operator
    job = await client.submit(await client.store())
    for _ in range(5):
        await held_and_released(client, job.job_id)
    await plane.position()
    async with watching(client, 0) as came:
        assert [position for position, _ in await events(came, 11)] == list(range(1, 12))


async def test_a_heartbeat_says_how_far_it_is(plane: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    assert watch.HEARTBEAT_SECONDS + watch._TICK_SECONDS < 15
    monkeypatch.setattr(watch, "HEARTBEAT_SECONDS", 0.0)
    monkeypatch.setattr(watch, "_TICK_SECONDS", 0.01)
    client = plane.operator
    job = await client.submit(await client.store())
    await held_and_released(client, job.job_id)
    async with watching(client, 0, types=["printer."]) as came:
        assert (await came.get()).position == 0
        await plane.position()

        async def has_passed() -> bool:
            response = await came.get()
            assert not response.HasField("event")
            return response.position == 3

        await eventually(has_passed)


@pytest.mark.parametrize("after", [1, 99, -2, -(1 << 63), (1 << 63) - 1])
async def test_a_position_that_was_never_given(plane: ControlPlane, after: int) -> None:
    client = plane.operator
    error = await client.refused(client.events.ListEvents, pb.ListEventsRequest(after_position=after))
    assert (error.code, error.fields[0].field) == (Code.INVALID_ARGUMENT, "after_position")
    call = client.events.Watch(pb.WatchRequest(after_position=after))
    with pytest.raises(Exception, match="newest position"):
        await call.read()


@pytest.mark.parametrize("types", [[""], ["x"] * 51])
async def test_filters_that_cannot_be(plane: ControlPlane, types: list[str]) -> None:
    client = plane.operator
    error = await client.refused(client.events.ListEvents, pb.ListEventsRequest(types=types))
    assert (error.code, error.fields[0].field) == (Code.INVALID_ARGUMENT, "types")


async def test_who_stops_watching_is_forgotten(plane: ControlPlane) -> None:
    client = plane.operator
    watchers = plane.farm.hints._watchers

    async def none_is_left() -> bool:
        return not watchers

    calls = [client.events.Watch(pb.WatchRequest()) for _ in range(20)]
    for call in calls:
        await call.read()
    assert len(watchers) == 20
    for call in calls:
        call.cancel()
    for after in (5, -3):
        with pytest.raises(Exception, match="newest position"):
            await client.events.Watch(pb.WatchRequest(after_position=after)).read()
    await eventually(none_is_left)


async def test_pages_of_events(plane: ControlPlane) -> None:
    client = plane.operator
    sha256 = await client.store()
    jobs = [await client.submit(sha256) for _ in range(3)]
    for job in jobs:
        await held_and_released(client, job.job_id)
    await plane.position()

    async def paged(**fields: object) -> list[int]:
        found: list[int] = []
        position = 0
        while True:
            request = pb.ListEventsRequest(after_position=position, page_size=2, **fields)  # type: ignore[arg-type]
            page = await client(client.events.ListEvents, request)
            assert len(page.events) <= 2
            found.extend(event.position for event in page.events)
            assert page.next_position >= position
            position = page.next_position
            if not page.more:
                return found

    assert await paged() == list(range(1, 10))
    assert await paged(types=["job.held"]) == [4, 6, 8]
    assert await paged(subject_id=jobs[1].job_id) == [2, 6, 7]
    assert await paged(types=["run."]) == []


async def test_what_is_no_longer_kept_is_told_apart(plane: ControlPlane) -> None:
    client = plane.operator
    job = await client.submit(await client.store())
    for _ in range(3):
        await held_and_released(client, job.job_id)
    await plane.position()
    plane.clock.forward(HOUR)
    await client(client.jobs.HoldJob, job_service_pb2.HoldJobRequest(job_id=job.job_id))
    await plane.position()
    assert await forget_events_once(plane.farm, HOUR - 1, has_broker=True) == 0
    assert await forget_events_once(plane.farm, HOUR - 1, has_broker=False) == 7
    error = await client.refused(client.events.ListEvents, pb.ListEventsRequest(after_position=3))
    assert error.code is Code.POSITION_EXPIRED
    call = client.events.Watch(pb.WatchRequest(after_position=3))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call.read()
    assert from_rpc_error(refused.value).code is Code.POSITION_EXPIRED
    for after in (0, 7):
        page = await client(client.events.ListEvents, pb.ListEventsRequest(after_position=after))
        assert [event.position for event in page.events] == [8]
