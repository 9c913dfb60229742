"""How times, sizes and options of both ends relate. Each relation is one that a farm breaks without, silently."""

import configparser
import itertools
from pathlib import Path

import pytest
from grpc._cython import cygrpc

from printfarm.agent.v1 import agent_service_pb2 as pb
from printfarm.control.v1 import artifact_service_pb2
from printfarm.model.v1 import telemetry_pb2
from printfarm_agent.execution import Event
from printfarm_agent.telemetry import Telemetry
from printfarm_agent.wire import agent_event
from printfarm_coordinator.app.leading import PROLONG_SECONDS, TERM_US
from printfarm_coordinator.domain.wishes import LONGEST_AUTHORITY_US
from printfarm_rpc import limits
from printfarm_rpc.limits import Options

BINARY = Path(cygrpc.__file__).read_bytes()
DEPLOY = Path(__file__).parents[3] / "deploy"
LISTS: dict[str, Options] = {
    name: value for name, value in vars(limits).items() if name.endswith(("_SERVER", "_CHANNEL")) and name[0] != "_"
}
SERVERS = {name: options for name, options in LISTS.items() if name.endswith("_SERVER")}
CHANNELS = {name: options for name, options in LISTS.items() if name.endswith("_CHANNEL")}
# Whom a channel reaches.
PEERS = {
    "AGENT_CONTROL_CHANNEL": "AGENT_SERVER",
    "AGENT_STREAMS_CHANNEL": "AGENT_SERVER",
    "AGENT_FILES_CHANNEL": "AGENT_SERVER",
    "CONTROL_CHANNEL": "CONTROL_SERVER",
}
# Four bytes.
CHARACTER = "\N{PILE OF POO}"


def option(options: Options, name: str) -> float:
    """Milliseconds as seconds."""
    return dict(options)[name] / (1_000 if name.endswith("_ms") else 1)


def test_every_list_is_looked_at() -> None:
    assert set(PEERS) == set(CHANNELS)
    assert len(SERVERS) == 3


@pytest.mark.parametrize("name", sorted({name for options in LISTS.values() for name, _ in options}))
def test_an_options_name_is_in_the_binary(name: str) -> None:
    """A name that C-core does not know is ignored without a word."""
    assert name.encode() + b"\0" in BINARY
    # The test can fail: the widely copied name of this one is only a macro's.
    assert b"grpc.http2.min_recv_ping_interval_without_data_ms" not in BINARY


@pytest.mark.parametrize("name", sorted(LISTS))
def test_no_option_is_given_twice(name: str) -> None:
    names = [option for option, _ in LISTS[name]]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(("channel", "server"), PEERS.items())
def test_a_client_never_pings_more_often_than_its_server_bears(channel: str, server: str) -> None:
    pings = option(CHANNELS[channel], "grpc.keepalive_time_ms")
    assert pings >= 2 * option(SERVERS[server], "grpc.http2.min_ping_interval_without_data_ms")


@pytest.mark.parametrize("name", sorted(LISTS))
def test_a_peer_that_hangs_is_noticed_within_the_lease(name: str) -> None:
    """Of its kernel or of the way: ping timeout and keepalive timeout are different clocks in C-core."""
    options = LISTS[name]
    for timeout in ("grpc.keepalive_timeout_ms", "grpc.http2.ping_timeout_ms"):
        assert option(options, "grpc.keepalive_time_ms") + option(options, timeout) < limits.LEASE_SECONDS
    assert dict(options)["grpc.keepalive_permit_without_calls"] == 1
    assert dict(options)["grpc.http2.max_pings_without_data"] == 0


def test_times_of_the_protocol() -> None:
    assert limits.LEASE_SECONDS >= 4 * limits.HEARTBEAT_SECONDS
    assert limits.START_TTL_SECONDS < limits.LEASE_SECONDS
    assert 0 < limits.START_MARGIN_SECONDS < limits.START_TTL_SECONDS
    # A lost answer is asked for again while the authority lasts.
    assert 2 * limits.AUTHORISE_DEADLINE_SECONDS < limits.START_TTL_SECONDS
    assert limits.START_TTL_SECONDS * 1e6 <= LONGEST_AUTHORITY_US
    assert limits.FIRST_ANSWER_SECONDS < limits.LEASE_SECONDS
    # Two prolongations may fail before the term lapses.
    assert 3 * PROLONG_SECONDS < TERM_US / 1e6


@pytest.mark.parametrize("unit", sorted((DEPLOY / "systemd").glob("*.service")), ids=lambda path: path.name)
def test_whoever_is_stopped_has_the_time_to_say_so(unit: Path) -> None:
    settings = configparser.ConfigParser(strict=False, interpolation=None)
    settings.read(unit)
    patience = float(settings["Service"]["TimeoutStopSec"])
    assert patience == limits.SYSTEMD_STOP_SECONDS
    assert limits.DRAIN_NOTICE_SECONDS < limits.STOP_GRACE_SECONDS < patience
    # Three listeners are stopped one after the other, after the notice.
    assert patience > limits.DRAIN_NOTICE_SECONDS + 3 * limits.STOP_GRACE_SECONDS


def test_a_certificate_outlives_a_night_without_a_coordinator() -> None:
    """Renewed at half life: the other half is the longest absence that locks no agent out. docs/operations.md says 12 hours."""
    assert limits.AGENT_CERTIFICATE_SECONDS / 2 >= 12 * 3_600


def test_the_server_refuses_a_second_listener_and_shares_no_connection() -> None:
    assert all(dict(options)["grpc.so_reuseport"] == 0 for options in SERVERS.values())
    for options in CHANNELS.values():
        assert dict(options)["grpc.use_local_subchannel_pool"] == 1
        assert dict(options)["grpc.enable_retries"] == 0


# -- messages: a cap, and a tenth to spare


def fits(message: pb.ConnectRequest | pb.StreamTelemetryRequest, cap: int) -> bool:
    return message.ByteSize() * 1.1 < cap


def test_the_largest_batch_of_facts_fits() -> None:
    word = CHARACTER * 2_000
    event = agent_event("p" * 63, Event("failed", "r" * 36, 1 << 62, {"code": word, "reason": word}))  # type: ignore[arg-type]
    batch = pb.EventBatch(events=itertools.repeat(event, limits.EVENTS_PER_BATCH))
    assert fits(pb.ConnectRequest(events=batch), limits.MESSAGE_BYTES)


def test_the_largest_batch_of_readings_fits() -> None:
    """However long a printer's words are: what does not fit waits for the next batch."""
    telemetry = Telemetry()
    heaters = [telemetry_pb2.HeaterReading(name="h" * 32, current_celsius=1.1, target_celsius=1.1)] * 8
    for printer in range(50):
        for _ in range(limits.TELEMETRY_RING // 10):
            sample = telemetry_pb2.TelemetrySample(printer_id=f"p{printer}", message=CHARACTER * 256, heaters=heaters)
            telemetry.put(f"p{printer}", 1.0, sample, urgent=False)
    taken = 0
    while (batch := telemetry.take(2.0)) is not None:
        assert fits(batch, limits.MESSAGE_BYTES)
        assert 0 < len(batch.samples) <= limits.SAMPLES_PER_BATCH
        taken += len(batch.samples)
    assert (taken, telemetry.dropped) == (50 * limits.TELEMETRY_RING // 10, 0)


def test_readings_that_cannot_be_sent_push_out_the_oldest_and_are_counted() -> None:
    """I14: a blocked way costs no more than the ring."""
    telemetry = Telemetry()
    for number in range(limits.TELEMETRY_RING + 5):
        telemetry.put("p0", float(number), telemetry_pb2.TelemetrySample(message=f"{number}"), urgent=False)
    assert telemetry.dropped == 5
    first = telemetry.take(limits.TELEMETRY_RING + 5.0)
    assert first is not None
    assert (first.dropped, first.samples[0].message) == (5, "5")
    taken = len(first.samples)
    while (batch := telemetry.take(0.0)) is not None:
        taken += len(batch.samples)
    assert taken == limits.TELEMETRY_RING


def test_the_largest_chunk_and_the_largest_picture_fit() -> None:
    chunk = artifact_service_pb2.StoreArtifactRequest(chunk=bytes(limits.LARGEST_CHUNK_BYTES))
    assert chunk.ByteSize() * 1.1 < limits.FILE_MESSAGE_BYTES
    frame = pb.UploadFramesRequest(printer_id="p" * 64, camera="c" * 64, jpeg=bytes(limits.LARGEST_FRAME_BYTES))
    assert frame.ByteSize() * 1.1 < limits.MESSAGE_BYTES
    assert limits.CHUNK_BYTES <= limits.LARGEST_CHUNK_BYTES
