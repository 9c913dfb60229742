"""Input that no stub of ours would send (bad input 71, 72, 75): refused, and the next caller notices nothing."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from printfarm.control.v1 import event_service_pb2, farm_service_pb2, job_service_pb2, printer_service_pb2
from printfarm.control.v1.artifact_service_pb2 import StoreArtifactRequest
from printfarm_rpc.errors import Code
from printfarm_rpc.identity import Identity, PeerRole
from printfarm_rpc.limits import FILE_MESSAGE_BYTES, METADATA_BYTES
from printfarm_rpc.tls import client_credentials
from tests.support.control_plane import Client, ControlPlane, eventually

STORE = "/printfarm.control.v1.ArtifactService/StoreArtifact"
GET_JOB = "/printfarm.control.v1.JobService/GetJob"


async def raw(client: Client, method: str, body: bytes, **more: Any) -> grpc.StatusCode:
    """The status of a call with these bytes for a message."""
    call = client.channel.unary_unary(method)(body, timeout=20, **more)
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


async def streamed(client: Client, body: bytes) -> grpc.StatusCode:
    """The status of a stream that sends these bytes after a good message."""

    async def messages() -> AsyncIterator[bytes]:
        yield StoreArtifactRequest(display_name="x").SerializeToString()
        yield body

    try:
        await client.channel.stream_unary(STORE)(messages(), timeout=20)
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


async def still_serves(plane: ControlPlane) -> None:
    client = plane.operator
    await client(client.jobs.ListJobs, job_service_pb2.ListJobsRequest())


def varint(number: int) -> bytes:
    out = b""
    while number > 0x7F:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def nested(depth: int) -> bytes:
    """A message in a message in a message, in a field that the schema does not know."""
    body = b""
    for _ in range(depth):
        body = varint(99 << 3 | 2) + varint(len(body)) + body
    return body


def groups(depth: int) -> bytes:
    """The old way to nest, which parsers follow even through unknown fields."""
    return varint(99 << 3 | 3) * depth + varint(99 << 3 | 4) * depth


async def test_a_hundred_thousand_unknown_fields_are_passed_over(plane: ControlPlane) -> None:
    unknown = b"".join(varint((1_000 + number) << 3) + b"\1" for number in range(100_000))
    known = job_service_pb2.GetJobRequest(job_id="none").SerializeToString()
    assert await raw(plane.operator, GET_JOB, unknown + known) is grpc.StatusCode.NOT_FOUND
    await still_serves(plane)


@pytest.mark.parametrize(
    "body",
    [
        b"\xff" * 100,
        groups(10_000),
        varint(1 << 3 | 2) + varint(1 << 40),
        varint(1 << 3 | 2) + varint(2) + b"\xff\xfe",
        varint(99 << 3 | 4),
        b"\x0a",
    ],
    ids=[
        "noise",
        "10,000 groups deep",
        "longer than it is",
        "text that is no UTF-8",
        "an end without a start",
        "cut off",
    ],
)
async def test_bytes_that_are_no_message(plane: ControlPlane, body: bytes) -> None:
    client = plane.operator
    assert await raw(client, GET_JOB, body) is grpc.StatusCode.INVALID_ARGUMENT
    assert await streamed(client, body) is grpc.StatusCode.INVALID_ARGUMENT
    await still_serves(plane)


async def test_ten_thousand_messages_deep(plane: ControlPlane) -> None:
    assert await raw(plane.operator, GET_JOB, nested(10_000)) is grpc.StatusCode.NOT_FOUND
    await still_serves(plane)


async def test_a_message_beyond_the_cap(plane: ControlPlane) -> None:
    """Compressed it is small; what counts is what it unpacks to."""
    client = plane.operator
    body = varint(3 << 3 | 2) + varint(64 << 20) + b"\0" * (64 << 20)
    channel = grpc.aio.secure_channel(
        plane.address,
        _credentials(plane),
        options=[("grpc.ssl_target_name_override", "coordinator"), ("grpc.max_send_message_length", -1)],
    )
    plane.channels.append(channel)
    assert len(body) > FILE_MESSAGE_BYTES
    for compression in (grpc.Compression.Gzip, grpc.Compression.NoCompression):
        status = await raw(Client(channel), GET_JOB, body, compression=compression)
        assert status is grpc.StatusCode.RESOURCE_EXHAUSTED
    await client(client.jobs.ListJobs, job_service_pb2.ListJobsRequest())


def _credentials(plane: ControlPlane) -> grpc.ChannelCredentials:
    files = plane.authority.issue(plane.folder / "raw", Identity(PeerRole.OPERATOR, "raw"))
    return client_credentials(files)


async def test_a_method_that_is_not_there(plane: ControlPlane) -> None:
    client = plane.operator
    for method in ("/printfarm.control.v1.JobService/DropTables", "/x", "/printfarm.agent.v1.AgentService/Connect"):
        assert await raw(client, method, b"") is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("size", [METADATA_BYTES * 2 + 1, 1 << 17])
async def test_metadata_beyond_the_cap(plane: ControlPlane, size: int) -> None:
    client = plane.operator
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.jobs.ListJobs(job_service_pb2.ListJobsRequest(), metadata=(("x-filler", "x" * size),), timeout=20)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    await still_serves(plane)


@pytest.mark.parametrize("request_id", ["", "x" * 65, "x" * 4_000])
async def test_a_request_id_that_is_none_is_replaced(plane: ControlPlane, request_id: str) -> None:
    admin = plane.gateway.acting_for("user/eva", "admin", **{"x-request-id": request_id})
    await plane.add_printer("left")
    await admin(admin.printers.HoldPrinter, printer_service_pb2.HoldPrinterRequest(printer_id="left", reason="r"))
    audit = await admin(admin.farm.ListAuditEntries, farm_service_pb2.ListAuditEntriesRequest())
    [entry] = audit.entries
    assert len(entry.request_id) == 32
    assert entry.request_id.isalnum()


async def test_binary_metadata_is_nobody(plane: ControlPlane) -> None:
    gateway = plane.gateway
    said = (("x-printfarm-actor-bin", b"key/k"), ("x-printfarm-role-bin", b"admin"))
    client = Client(gateway.channel, said)  # type: ignore[arg-type]
    error = await client.refused(client.jobs.ListJobs, job_service_pb2.ListJobsRequest())
    assert error.code is Code.UNAUTHENTICATED


async def test_ten_thousand_calls_cancelled_at_once(plane: ControlPlane) -> None:
    """Rapid reset: each call is given up as soon as it is made."""
    client = plane.operator
    for _ in range(100):
        calls = [client.jobs.ListJobs(job_service_pb2.ListJobsRequest()) for _ in range(100)]
        await asyncio.sleep(0)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
    await still_serves(plane)


async def test_more_watchers_than_a_connection_may_have(plane: ControlPlane) -> None:
    """What is beyond the cap waits on its own connection; others are served, and all are forgotten when they go."""
    client = plane.operator
    calls = [client.events.Watch(event_service_pb2.WatchRequest()) for _ in range(1_100)]
    watchers = plane.farm.hints._watchers

    async def full() -> bool:
        return len(watchers) == 1_024

    async def empty() -> bool:
        return not watchers

    await eventually(full)
    await still_serves(plane)
    for call in calls:
        call.cancel()
    await asyncio.gather(*[call.code() for call in calls])
    await eventually(empty)
