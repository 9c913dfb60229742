"""What an agent must not say, over real TLS (bad input 67 to 77): refused by a code of the catalogue, and others are served."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio

from printfarm.agent.v1 import agent_service_pb2 as pb
from printfarm.model.v1 import printer_pb2, telemetry_pb2
from printfarm_coordinator.app.file_ports import Artifact
from printfarm_coordinator.domain.job import Job, JobState, Requirements
from printfarm_coordinator.domain.printer import PrinterState
from printfarm_coordinator.domain.reunion import LARGEST_BELIEVED_LEAD
from printfarm_coordinator.domain.run import Run, RunState
from printfarm_coordinator.domain.slice import Slice
from printfarm_rpc.errors import Code, FarmError, from_rpc_error
from printfarm_rpc.limits import EVENTS_PER_BATCH, LARGEST_FRAME_BYTES, MESSAGE_BYTES, METADATA_BYTES, SAMPLES_PER_BATCH
from tests.support.agent_plane import Host, Plane, answer, code_of, open_agent_plane
from tests.support.control_plane import eventually

SECONDS = 15.0
SMALL_JPEG = b"\xff\xd8\xff\xc0\x00\x11\x08\x01\xe0\x02\x80\x03" + bytes(9) + b"\xff\xd9"


@pytest_asyncio.fixture
async def plane(tmp_path: Path) -> AsyncGenerator[Plane]:
    async with open_agent_plane(f"sqlite:///{tmp_path / 'farm.db'}", tmp_path) as made:
        yield made


def hello(*printers: pb.PrinterReport, **changes: Any) -> pb.Hello:
    plain: dict[str, Any] = {
        "boot_id": "boot",
        "journal_id": "journal",
        "protocol_version": 1,
        "agent_version": "1",
        "printers": printers or (report(),),
    }
    return pb.Hello(**plain | changes)


def report(printer_id: str = "p1", **changes: Any) -> pb.PrinterReport:
    plain: dict[str, Any] = {
        "printer_id": printer_id,
        "driver": "virtual",
        "observed_state": telemetry_pb2.PRINTER_STATE_IDLE,
        "initial_bed": printer_pb2.BED_STATE_CLEAR,
    }
    return pb.PrinterReport(**plain | changes)


class Talk:
    """One control stream, as a bad agent would use it."""

    def __init__(self, host: Host, printer_id: str = "p1") -> None:
        self.stream = host.stub.Connect()
        self.printer_id = printer_id

    async def say(self, **message: Any) -> None:
        # It may have been ended before this is written: then reading tells why.
        with contextlib.suppress(asyncio.InvalidStateError, grpc.aio.AioRpcError):
            await self.stream.write(pb.ConnectRequest(**message))

    async def hear(self) -> pb.ConnectResponse:
        async with asyncio.timeout(SECONDS):
            try:
                heard = await self.stream.read()
            except grpc.aio.AioRpcError as error:
                raise from_rpc_error(error) from error
        assert heard is not grpc.aio.EOF
        said: pb.ConnectResponse = heard
        return said

    async def until(self, kind: str) -> pb.ConnectResponse:
        while True:
            said = await self.hear()
            if said.WhichOneof("message") == kind:
                return said

    async def ended_with(self) -> FarmError:
        """The error that ends the stream."""
        while True:
            try:
                await self.hear()
            except FarmError as error:
                return error

    async def is_served(self, sequence: int = 1) -> None:
        """An event of it is applied and acknowledged."""
        await self.say(events=pb.EventBatch(events=[changed(sequence, self.printer_id)]))
        assert (await self.until("event_ack")).event_ack.sequence == sequence


async def greeted(host: Host, said: pb.Hello | None = None) -> Talk:
    """A stream after Welcome and its first assignments."""
    said = said or hello()
    talk = Talk(host, said.printers[0].printer_id)
    await talk.say(hello=said)
    await talk.until("assignments")
    return talk


async def still_serves(plane: Plane) -> None:
    """Another agent connects, reports and is acknowledged."""
    other = await plane.enrolled("a9")
    talk = await greeted(other, hello(report("p9")))
    await talk.is_served()
    talk.stream.cancel()


def changed(sequence: int, printer_id: str = "p1", **changes: Any) -> pb.AgentEvent:
    state = pb.PrinterChanged(observed_state=telemetry_pb2.PRINTER_STATE_ERROR)
    return pb.AgentEvent(**{"sequence": sequence, "printer_id": printer_id, "printer_changed": state} | changes)


async def printing(plane: Plane, epoch: int = 1) -> Run:
    """A run that prints on p1, in the database."""
    run = Run("r1", "j1", "p1", "a1", epoch, 1, 1, 1, RunState.PRINTING, started_at=1)

    async with plane.farm.store.write("test") as tx:
        await tx.put_artifact(Artifact("a" * 64, 1, "gcode", "n", 1))
        await tx.add_jobs(
            [Job("j1", "n", "c", "a" * 64, 1, 1, 0, None, Requirements(), 3, None, 1, 1, JobState.QUEUED)]
        )
        job, printer = await tx.lock_job("j1"), await tx.lock_printer("p1")
        assert job is not None
        assert printer is not None
        counted = replace(job, state=JobState.ACTIVE, active_runs=1, pending_parts=1)
        await tx.add_offer(job, printer, Slice(counted, run, replace(printer, epoch=epoch, active_run_id="r1")))
    return run


async def run_state(plane: Plane) -> RunState:
    async with plane.farm.store.read() as look:
        run = await look.run("r1")
    assert run is not None
    return run.state


# -- 67, 68: who, and what first


async def test_67_a_printer_of_another_agent_is_not_taken(plane: Plane) -> None:
    mine, thief = await plane.enrolled("a1"), await plane.enrolled("a2")
    await greeted(mine)
    talk = Talk(thief)
    await talk.say(hello=hello(report("p1")))
    assert (await talk.ended_with()).code is Code.WRONG_AGENT
    async with plane.farm.store.read() as look:
        printer = await look.printer("p1")
    assert printer is not None
    assert printer.agent_id == "a1"
    assert (await plane.told()).count("agent.hello_refused") == 1


async def test_67_events_telemetry_and_frames_of_anothers_printer_change_nothing(plane: Plane) -> None:
    mine, thief = await plane.enrolled("a1"), await plane.enrolled("a2")
    await greeted(mine)
    await printing(plane)
    talk = await greeted(thief, hello(report("p2")))
    failed = pb.RunFailed(code="x", reason="y")
    await talk.say(
        events=pb.EventBatch(
            events=[pb.AgentEvent(sequence=1, printer_id="p1", run_id="r1", epoch=1, failed=failed), changed(2, "p1")]
        )
    )
    # A wrong event does not block those behind it.
    assert (await talk.until("event_ack")).event_ack.sequence == 2
    assert await run_state(plane) is RunState.PRINTING
    await send_samples(thief, [telemetry_pb2.TelemetrySample(printer_id="p1", message="mine")])
    assert plane.farm.latest.get("p1") is None
    frames = thief.stub.UploadFrames(many([pb.UploadFramesRequest(printer_id="p1", camera="c", jpeg=SMALL_JPEG)]))
    assert await code_of(frames.read()) is Code.WRONG_AGENT
    asked = pb.AuthoriseStartRequest(run_id="r1", printer_id="p1", epoch=1, nonce="n" * 16, bed_token="t")
    assert await code_of(thief.stub.AuthoriseStart(asked, timeout=SECONDS)) in {Code.FENCED, Code.NOT_FOUND}
    assert await run_state(plane) is RunState.PRINTING
    assert (await plane.told()).count("agent.event_refused") == 2


async def test_68_hello_comes_first(plane: Plane) -> None:
    host = await plane.enrolled()
    for message in ({"heartbeat": pb.Heartbeat(sequence=1)}, {"events": pb.EventBatch(events=[changed(1)])}, {}):
        talk = Talk(host)
        await talk.say(**message)
        assert (await talk.ended_with()).code is Code.HELLO_REQUIRED
    closed = Talk(host)
    await closed.stream.done_writing()
    assert (await closed.ended_with()).code is Code.HELLO_REQUIRED


async def test_68_hello_comes_once(plane: Plane) -> None:
    talk = await greeted(await plane.enrolled())
    await talk.say(hello=hello())
    assert (await talk.ended_with()).code is Code.HELLO_REPEATED


async def test_67_telemetry_and_frames_under_a_superseded_certificate_change_nothing(plane: Plane) -> None:
    old = await plane.enrolled()
    frames = [pb.UploadFramesRequest(printer_id="p1", camera="c", jpeg=SMALL_JPEG)]
    sample = telemetry_pb2.TelemetrySample(printer_id="p1", message="old")
    turns = Turns()
    await greeted(old)
    # Begun while its certificate was good, and gone on with under the next one's session.
    early = old.stub.UploadFrames(turns.each(frames * 2))
    turns.next.release()
    assert (await early.read()).refused == ""
    new = await plane.renewed(old)
    talk = await greeted(new)
    turns.next.release()
    assert await code_of(early.read()) is Code.STALE_CONNECTION
    # Begun anew.
    assert await code_of(old.stub.UploadFrames(many(frames)).read()) is Code.CERTIFICATE_SUPERSEDED
    assert await code_of(send_samples(old, [sample])) is Code.CERTIFICATE_SUPERSEDED
    assert plane.farm.latest.get("p1") is None
    # Whose session it is goes on.
    await send_samples(new, [sample])
    assert plane.farm.latest.get("p1") is not None
    assert (await new.stub.UploadFrames(many(frames)).read()).refused == ""
    await talk.is_served()


async def test_68_other_channels_wait_for_hello(plane: Plane) -> None:
    host = await plane.enrolled()
    assert await code_of(send_samples(host, [telemetry_pb2.TelemetrySample(printer_id="p1")])) is Code.STALE_CONNECTION
    frames = host.stub.UploadFrames(many([pb.UploadFramesRequest(printer_id="p1", camera="c", jpeg=SMALL_JPEG)]))
    assert await code_of(frames.read()) is Code.STALE_CONNECTION


@pytest.mark.parametrize(
    ("said", "field"),
    [
        (hello(boot_id=""), "hello.boot_id"),
        (hello(boot_id="b" * 65), "hello.boot_id"),
        (hello(journal_id=""), "hello.journal_id"),
        (hello(journal_max_sequence=-1), "hello.journal_max_sequence"),
        (hello(report(), report()), "hello.printers"),
        (hello(*[report(f"p{n}") for n in range(501)]), "hello.printers"),
        (hello(report("../p1")), "hello.printers[0].printer_id"),
        (hello(report(), report("P2")), "hello.printers[1].printer_id"),
        (hello(report(max_epoch=-1)), "hello.printers[0].max_epoch"),
        (hello(report(local_run=pb.LocalRun(run_id="r1", epoch=1))), "hello.printers[0].local_run.stage"),
        (hello(report(local_run=pb.LocalRun(run_id="r1", stage=99))), "hello.printers[0].local_run.stage"),  # type: ignore[arg-type]
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_68_a_hello_that_is_none_names_its_field(plane: Plane, said: pb.Hello, field: str) -> None:
    talk = Talk(await plane.enrolled())
    await talk.say(hello=said)
    error = await talk.ended_with()
    assert error.code is Code.INVALID_ARGUMENT
    assert [wrong.field for wrong in error.fields] == [field]
    async with plane.farm.store.read() as look:
        assert await look.printers() == []


async def test_68_a_protocol_of_another_time(plane: Plane) -> None:
    host = await plane.enrolled()
    for version in (0, 2):
        talk = Talk(host)
        await talk.say(hello=hello(protocol_version=version))
        assert (await talk.ended_with()).code is Code.AGENT_TOO_OLD


async def test_68_a_newer_stream_ends_the_older(plane: Plane) -> None:
    host = await plane.enrolled()
    old = await greeted(host)
    await greeted(host, hello(boot_id="boot-2"))
    await old.say(events=pb.EventBatch(events=[changed(1)]))
    assert (await old.ended_with()).code is Code.STALE_CONNECTION
    async with plane.farm.store.read() as look:
        printer = await look.printer("p1")
    assert printer is not None
    assert printer.observed_state is PrinterState.IDLE


# -- 69, 70, 71: events


async def test_69_a_gap_ends_the_stream_and_applies_nothing_of_the_batch(plane: Plane) -> None:
    host = await plane.enrolled()
    talk = await greeted(host)
    await talk.say(events=pb.EventBatch(events=[changed(1), changed(3)]))
    assert (await talk.ended_with()).code is Code.EVENT_GAP
    again = Talk(host)
    await again.say(hello=hello(journal_max_sequence=3))
    assert (await again.until("welcome")).welcome.last_applied_sequence == 0


async def test_69_repeated_and_old_events_are_acknowledged_and_applied_once(plane: Plane) -> None:
    talk = await greeted(await plane.enrolled())
    alarm = pb.RunAlarm(code="overdue", text="t")
    first = pb.AgentEvent(sequence=1, printer_id="p1", alarm=alarm)
    await talk.say(events=pb.EventBatch(events=[first, first]))
    assert (await talk.until("event_ack")).event_ack.sequence == 1
    await talk.say(events=pb.EventBatch(events=[first, pb.AgentEvent(sequence=2, printer_id="p1", alarm=alarm)]))
    assert (await talk.until("event_ack")).event_ack.sequence == 2
    assert await alarms(plane) == 2


async def alarms(plane: Plane) -> int:
    await plane.told()
    async with plane.farm.store.read() as look:
        return sum(stored.event.type == "printer.alarm" for stored in await look.events(0, 500))


@pytest.mark.parametrize(
    ("events", "field"),
    [
        ([changed(0)], "events[0].sequence"),
        ([changed(1), changed(-2)], "events[1].sequence"),
        ([changed(1, epoch=-1)], "events[0].epoch"),
        ([changed(n + 1) for n in range(EVENTS_PER_BATCH + 1)], "events"),
    ],
    ids=["zero", "negative", "epoch", "too many"],
)
async def test_69_events_that_cannot_be(plane: Plane, events: list[pb.AgentEvent], field: str) -> None:
    talk = await greeted(await plane.enrolled())
    await talk.say(events=pb.EventBatch(events=events))
    error = await talk.ended_with()
    assert (error.code, [wrong.field for wrong in error.fields]) == (Code.INVALID_ARGUMENT, [field])
    agent = await plane.agent()
    assert agent is not None
    assert agent.last_applied_sequence == 0


@pytest.mark.parametrize("epoch", [2, 2**63 - 1])
async def test_70_an_event_of_an_epoch_that_was_never_given(plane: Plane, epoch: int) -> None:
    talk = await greeted(await plane.enrolled())
    await printing(plane)
    failed = pb.RunFailed(code="x", reason="y")
    event = pb.AgentEvent(sequence=1, printer_id="p1", run_id="r1", epoch=epoch, failed=failed)
    await talk.say(events=pb.EventBatch(events=[event]))
    assert (await talk.until("event_ack")).event_ack.sequence == 1
    assert await run_state(plane) is RunState.PRINTING
    assert "agent.event_refused" in await plane.told()


@pytest.mark.parametrize(
    ("claimed", "taken", "locked"),
    [
        (LARGEST_BELIEVED_LEAD, LARGEST_BELIEVED_LEAD, False),
        (LARGEST_BELIEVED_LEAD + 1, 0, True),
        (2**63 - 1, 0, True),
    ],
)
async def test_70_an_epoch_in_hello_is_believed_only_so_far(
    plane: Plane, claimed: int, taken: int, locked: bool
) -> None:
    host = await plane.enrolled()
    await greeted(host)
    await greeted(host, hello(report(max_epoch=claimed)))
    async with plane.farm.store.read() as look:
        printer = await look.printer("p1")
    assert printer is not None
    assert (printer.epoch, printer.locked) == (taken, locked)


async def test_71_what_this_coordinator_does_not_know(plane: Plane) -> None:
    """A fact of a later version is passed over and told; a message of no known kind ends the stream."""
    host = await plane.enrolled()
    talk = await greeted(host)
    unknown = pb.AgentEvent(sequence=1, printer_id="p1")
    odd_state = pb.PrinterChanged(observed_state=99)  # type: ignore[arg-type]
    odd = pb.AgentEvent(sequence=2, printer_id="p1", printer_changed=odd_state)
    await talk.say(events=pb.EventBatch(events=[unknown, odd]))
    assert (await talk.until("event_ack")).event_ack.sequence == 2
    async with plane.farm.store.read() as look:
        printer = await look.printer("p1")
    assert printer is not None
    # Never idle.
    assert printer.observed_state is PrinterState.UNKNOWN
    await talk.say()
    assert (await talk.ended_with()).code is Code.INVALID_ARGUMENT


async def test_71_a_hundred_thousand_unknown_fields_and_ten_thousand_levels(plane: Plane) -> None:
    await plane.enrolled()
    many_fields = b"".join(_varint((1_000 + n) << 3) + b"\1" for n in range(100_000))
    said = pb.ConnectRequest(hello=hello()).SerializeToString()
    channel = plane.channels[-1]
    stream = channel.stream_stream("/printfarm.agent.v1.AgentService/Connect")()
    await stream.write(many_fields + said)
    first = pb.ConnectResponse.FromString(await stream.read())
    assert first.WhichOneof("message") == "welcome"
    groups = _varint(99 << 3 | 3) * 10_000 + _varint(99 << 3 | 4) * 10_000
    await stream.write(groups)
    assert await status_of(stream) is grpc.StatusCode.INVALID_ARGUMENT
    await still_serves(plane)


async def status_of(stream: Any) -> grpc.StatusCode:
    """How the stream ended, after all that came before."""
    try:
        async with asyncio.timeout(SECONDS):
            while await stream.read() is not grpc.aio.EOF:
                pass
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def _varint(number: int) -> bytes:
    out = b""
    while number > 0x7F:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


# -- 72: floods


async def test_72_ten_thousand_streams_opened_and_dropped(plane: Plane) -> None:
    host = await plane.enrolled()
    steady = await greeted(host)
    for _ in range(100):
        calls = [host.stub.Connect() for _ in range(100)]
        for call in calls:
            call.cancel()
        await asyncio.sleep(0)
    await steady.is_served()
    await still_serves(plane)


async def test_72_more_streams_than_a_connection_may_have(plane: Plane) -> None:
    """The cap holds them back, other agents notice nothing, and when they are gone this one is served again."""
    host = await plane.enrolled()
    talks = [Talk(host) for _ in range(40)]
    await still_serves(plane)
    for talk in talks:
        talk.stream.cancel()

    async def is_served() -> bool:
        # A stream opened while the server still counts the cancelled ones may be reset; an agent comes again.
        with contextlib.suppress(FarmError):
            await greeted(host)
            return True
        return False

    await eventually(is_served)


# -- 73, 74: pictures and readings


def jpeg(width: int, height: int) -> bytes:
    size = height.to_bytes(2) + width.to_bytes(2)
    return b"\xff\xd8\xff\xc0\x00\x11\x08" + size + b"\x03" + bytes(9) + b"\xff\xd9"


@pytest.mark.parametrize(
    ("picture", "why"),
    [
        (b"", "empty"),
        (b"<html>", "not_a_jpeg"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "not_a_jpeg"),
        (b"\xff\xd8\xff\xd9", "not_a_jpeg"),
        (SMALL_JPEG[:-2], "not_a_jpeg"),
        (jpeg(0, 10), "not_a_jpeg"),
        (jpeg(20_000, 20_000), "too_many_pixels"),
        (b"\xff\xd8" + bytes(LARGEST_FRAME_BYTES), "too_large"),
    ],
    ids=["0 bytes", "html", "png", "no size", "cut off", "no width", "20,000 px", "large"],
)
async def test_73_what_is_no_picture_is_refused_and_the_next_is_taken(plane: Plane, picture: bytes, why: str) -> None:
    host = await plane.enrolled()
    await greeted(host)
    requests = [pb.UploadFramesRequest(printer_id="p1", camera="c", jpeg=said) for said in (picture, jpeg(640, 480))]
    stream = host.stub.UploadFrames(many(requests))
    answers = [(await stream.read()).refused, (await stream.read()).refused]
    assert answers == [why, ""]
    kept = plane.farm.frames.get("p1", "c")
    assert kept is not None
    assert kept.jpeg == jpeg(640, 480)


async def test_73_cameras_have_a_limit(plane: Plane) -> None:
    host = await plane.enrolled()
    await greeted(host)
    requests = [pb.UploadFramesRequest(printer_id="p1", camera=f"c{n}", jpeg=SMALL_JPEG) for n in range(9)]
    stream = host.stub.UploadFrames(many(requests))
    assert [(await stream.read()).refused for _ in requests] == [""] * 8 + ["too_many_cameras"]


async def many(messages: list[Any]) -> AsyncIterator[Any]:
    for message in messages:
        yield message


class Turns:
    """Sends a message whenever it is let."""

    def __init__(self) -> None:
        self.next = asyncio.Semaphore(0)

    async def each(self, messages: list[Any]) -> AsyncIterator[Any]:
        for message in messages:
            await self.next.acquire()
            yield message


async def send_samples(host: Host, samples: list[telemetry_pb2.TelemetrySample], dropped: int = 0) -> None:
    batch = pb.StreamTelemetryRequest(samples=samples, dropped=dropped)
    await answer(host.stub.StreamTelemetry(many([batch]), timeout=SECONDS))


def a_sample(**changes: Any) -> telemetry_pb2.TelemetrySample:
    plain: dict[str, Any] = {"printer_id": "p1", "state": telemetry_pb2.PRINTER_STATE_PRINTING}
    return telemetry_pb2.TelemetrySample(**plain | changes)


def heater(current: float, target: float = 0.0) -> telemetry_pb2.TelemetrySample:
    return a_sample(
        heaters=[telemetry_pb2.HeaterReading(name="hotend", current_celsius=current, target_celsius=target)]
    )


@pytest.mark.parametrize(
    "sample",
    [
        heater(float("nan")),
        heater(-400.0),
        heater(9_999.0),
        heater(20.0, float("inf")),
        a_sample(progress=1.5),
        a_sample(progress=float("nan")),
        a_sample(progress=-0.1),
        a_sample(position=telemetry_pb2.Position(x_mm=float("inf"))),
    ],
)
async def test_74_readings_that_cannot_be_are_counted_and_dropped(
    plane: Plane, sample: telemetry_pb2.TelemetrySample
) -> None:
    host = await plane.enrolled()
    await greeted(host)
    await send_samples(host, [sample, heater(21.5)])
    assert (plane.farm.latest.refused, plane.farm.latest.taken) == (1, 1)
    kept = plane.farm.latest.get("p1")
    assert kept is not None
    assert kept.heaters[0].current == 21.5


async def test_74_ages_from_beyond_time_break_nothing(plane: Plane) -> None:
    host = await plane.enrolled()
    await greeted(host)
    for seconds in (2**63 - 1, -(2**63), 315_576_000_000):
        odd = a_sample(message="odd")
        odd.age.seconds = seconds
        before = time.time_ns() // 1000
        await send_samples(host, [odd])
        kept = plane.farm.latest.get("p1")
        assert kept is not None
        assert before - 86_400_000_000 <= kept.at <= time.time_ns() // 1000
        odd.elapsed.seconds = seconds
        await send_samples(host, [odd])
    assert (plane.farm.latest.taken, plane.farm.latest.refused) == (3, 3)
    await send_samples(host, [a_sample(message="m" * 10_000)], dropped=-5)
    kept = plane.farm.latest.get("p1")
    assert kept is not None
    assert len(kept.message) == 256
    assert plane.farm.latest.dropped == 0


async def test_74_a_flood_of_readings_keeps_one_each(plane: Plane) -> None:
    host = await plane.enrolled()
    talk = await greeted(host)

    async def flood() -> AsyncIterator[pb.StreamTelemetryRequest]:
        for _ in range(100):
            yield pb.StreamTelemetryRequest(samples=[heater(20.0)] * SAMPLES_PER_BATCH)

    flooding = asyncio.ensure_future(answer(host.stub.StreamTelemetry(flood(), timeout=60)))
    await talk.is_served()
    await flooding
    assert plane.farm.latest.taken == 100 * SAMPLES_PER_BATCH
    over = [heater(20.0)] * (SAMPLES_PER_BATCH + 1)
    assert await code_of(send_samples(host, over)) is Code.INVALID_ARGUMENT


# -- 65, 76, 77


async def test_65_a_message_beyond_the_cap_ends_its_stream_alone(plane: Plane) -> None:
    host = await plane.enrolled()
    steady = await greeted(await plane.enrolled("a2"), hello(report("p2")))
    channel = grpc.aio.secure_channel(
        plane.agents_address,
        grpc.ssl_channel_credentials(
            host.files.roots.read_bytes(), host.files.key.read_bytes(), host.files.chain.read_bytes()
        ),
        options=[("grpc.ssl_target_name_override", "coordinator"), ("grpc.max_send_message_length", -1)],
    )
    plane.channels.append(channel)
    stream = channel.stream_stream("/printfarm.agent.v1.AgentService/Connect")()
    await stream.write(bytes(4 << 20) + b"\0")
    assert await status_of(stream) is grpc.StatusCode.RESOURCE_EXHAUSTED
    await steady.is_served()


async def test_65_the_sender_itself_refuses_it(plane: Plane) -> None:
    """Nobody is told "sent" of what the reader would never take."""
    host = await plane.enrolled()
    steady = await greeted(await plane.enrolled("a2"), hello(report("p2")))
    talk = await greeted(host)
    huge = pb.AgentEvent(sequence=1, printer_id="p1", alarm=pb.RunAlarm(code="overdue", text="t" * MESSAGE_BYTES))
    with pytest.raises(grpc.aio.AioRpcError):
        await talk.stream.write(pb.ConnectRequest(events=pb.EventBatch(events=[huge])))
    await steady.is_served()
    agent = await plane.agent()
    assert agent is not None
    assert agent.last_applied_sequence == 0


@pytest.mark.parametrize("key", ["x-filler", "x-filler-bin"])
async def test_75_metadata_beyond_the_cap(plane: Plane, key: str) -> None:
    host = await plane.enrolled()
    talk = await greeted(host)
    filler = "x" * (4 * METADATA_BYTES)
    metadata = ((key, filler.encode() if key.endswith("-bin") else filler),)
    asked = pb.AuthoriseStartRequest(run_id="r1", printer_id="p1", epoch=1, nonce="n" * 16, bed_token="t")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await host.stub.AuthoriseStart(asked, timeout=SECONDS, metadata=metadata)
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    await talk.is_served()


@pytest.mark.parametrize("offset", [-1, -(2**63), 11, 2**62])
async def test_76_an_offset_outside_of_the_file(plane: Plane, offset: int) -> None:
    host = await plane.enrolled()
    await greeted(host)
    await printing(plane)
    async with plane.farm.blobs.incoming() as incoming:
        await incoming.write(b"0123456789")
        kept = await incoming.received()
        await incoming.keep()
    async with plane.farm.store.write("test") as tx:
        await tx.put_artifact(Artifact(kept.sha256, 10, "gcode", "n", 1))
        job = await tx.lock_job("j1")
        assert job is not None
        await tx.save_job(job, replace(job, artifact_sha256=kept.sha256))
    asked = pb.DownloadArtifactRequest(sha256=kept.sha256, offset=offset)
    assert await code_of(host.stub.DownloadArtifact(asked, timeout=SECONDS).read()) is Code.INVALID_ARGUMENT
    rest = host.stub.DownloadArtifact(pb.DownloadArtifactRequest(sha256=kept.sha256, offset=4), timeout=SECONDS)
    assert (await rest.read()).chunk == b"456789"


@pytest.mark.parametrize("sha256", ["", "../../etc/passwd", "A" * 64, "b" * 64, "a" * 64])
async def test_76_a_file_that_is_not_this_agents(plane: Plane, sha256: str) -> None:
    host = await plane.enrolled()
    await greeted(host)
    asked = pb.DownloadArtifactRequest(sha256=sha256)
    assert await code_of(host.stub.DownloadArtifact(asked, timeout=SECONDS).read()) is Code.NOT_FOUND


@pytest.mark.parametrize("nonce", ["", "short", "n" * 65])
async def test_76_a_nonce_that_is_none(plane: Plane, nonce: str) -> None:
    host = await plane.enrolled()
    await greeted(host)
    asked = pb.AuthoriseStartRequest(run_id="r1", printer_id="p1", epoch=1, nonce=nonce, bed_token="t")
    assert await code_of(host.stub.AuthoriseStart(asked, timeout=SECONDS)) is Code.INVALID_ARGUMENT


async def test_77_half_closed_and_never_reading(plane: Plane) -> None:
    """A stream without Goodbye was a crash: the lease decides. What it said before counts."""
    host = await plane.enrolled()
    stream = host.stub.Connect()
    await stream.write(pb.ConnectRequest(hello=hello()))
    await stream.write(pb.ConnectRequest(events=pb.EventBatch(events=[changed(1)])))
    await stream.done_writing()
    await still_serves(plane)

    async def gone() -> bool:
        return plane.farm.hints.session("a1") is None

    await eventually(gone)
    agent = await plane.agent()
    assert agent is not None
    assert (agent.last_applied_sequence, agent.reachable) == (1, True)
