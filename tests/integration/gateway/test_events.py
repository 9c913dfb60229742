"""Live events: in order, each at least once, from where the reader left off, to whoever may still see them."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager

import httpx
import pytest

from printfarm.control.v1 import access_service_pb2 as pb
from printfarm_gateway import streams
from tests.support.gateway import TestedGateway, gateway_over

pytestmark = pytest.mark.asyncio(loop_scope="module")
STREAM = "/api/v1/events/stream"


class Reader:
    """The events of one stream."""

    def __init__(self, answer: httpx.Response) -> None:
        self.answer = answer
        self._lines = answer.aiter_lines()

    async def block(self) -> dict[str, str]:
        """The next block, event or comment. Empty once it has ended."""
        fields: dict[str, str] = {}
        async with asyncio.timeout(30):
            async for line in self._lines:
                if not line:
                    return fields
                name, _, value = line.partition(":")
                fields[name] = value.strip()
        return {}

    async def event(self) -> dict[str, str]:
        """The next event."""
        while "data" not in (block := await self.block()):
            assert block, "the stream has ended"
        return block


@asynccontextmanager
async def stream(client: httpx.AsyncClient, path: str = STREAM, last: str = "") -> AsyncGenerator[Reader]:
    headers = {"Last-Event-ID": last} if last else {}
    async with client.stream("GET", path, headers=headers) as answer:
        assert answer.status_code == 200, await answer.aread()
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield Reader(answer)


async def test_new_events_come_as_they_happen(gateway: TestedGateway) -> None:
    async with gateway.client("viewer") as client, stream(client) as reader:
        # The first block says from where on: nothing that happens from here is missed.
        first = await reader.block()
        assert int(first["id"]) >= 0
        job_id = await gateway.submit(name="seen")
        await gateway.plane.position()
        event = await reader.event()
        assert event["event"].startswith("job.")
        assert job_id in event["data"]
        assert int(event["id"]) > int(first["id"])


async def test_a_reader_goes_on_where_it_left_off(gateway: TestedGateway) -> None:
    jobs = [await gateway.submit(name=f"event-{number}") for number in range(3)]
    await gateway.plane.position()
    async with gateway.client("viewer") as client:
        async with stream(client, f"{STREAM}?after=0&type=job.") as reader:
            seen = [await reader.event()]
            while jobs[-1] not in seen[-1]["data"]:
                seen.append(await reader.event())
        assert [int(event["id"]) for event in seen] == sorted({int(event["id"]) for event in seen})
        async with stream(client, f"{STREAM}?type=job.", last=seen[0]["id"]) as reader:
            assert [await reader.event() for _ in seen[1:]] == seen[1:]
        listed = (await client.get("/api/v1/events", params={"type": "job.", "limit": 500})).json()
        assert [str(event["position"]) for event in listed["items"]] == [event["id"] for event in seen]
        async with stream(client, f"{STREAM}?after=0&subject_id={jobs[1]}") as reader:
            assert jobs[1] in (await reader.event())["data"]


async def test_what_is_wrong_is_said_before_the_stream_begins(gateway: TestedGateway) -> None:
    async with gateway.client("viewer") as client:
        for last in ("x", "-1", "1.5", "9" * 30, str(10**17), "\u0663"):
            answer = await client.get(STREAM, headers=[("Last-Event-ID", last.encode())])  # type: ignore[list-item]
            assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_ARGUMENT"), last
        for query in ("type=", "type=" + "x" * 65, "&".join(["type=a"] * 51)):
            assert (await client.get(f"{STREAM}?{query}")).status_code == 422, query
    async with gateway.client(None) as client:
        assert (await client.get(STREAM)).status_code == 401


async def test_so_many_streams_and_no_more(gateway: TestedGateway) -> None:
    async with gateway_over(gateway.plane, gateway.keys, streams_per_principal=2) as strict, strict.client() as client:
        async with stream(client) as one, stream(client) as two:
            await one.block()
            await two.block()
            third = await client.get(STREAM)
            assert (third.status_code, third.json()["code"]) == (429, "RATE_LIMITED")
            async with strict.client("viewer") as other, stream(other) as reader:
                assert await reader.block()
        # Until the gateway has noticed that they are gone.
        while (answer := await _status(client)) == 429:
            continue
        assert answer == 200


async def _status(client: httpx.AsyncClient) -> int:
    async with client.stream("GET", STREAM) as answer:
        return answer.status_code


async def test_a_stream_ends_in_order_with_the_gateway(gateway: TestedGateway) -> None:
    async with gateway.client("viewer") as client, AsyncExitStack() as serving:
        brief = await serving.enter_async_context(gateway_over(gateway.plane, gateway.keys))
        async with stream(client, f"{brief.url}{STREAM}") as reader:
            await reader.block()
            await serving.aclose()
            assert await _rest(reader) == "end"


async def _rest(reader: Reader) -> str:
    while await reader.block():
        pass
    return "end"


async def test_a_stream_ends_with_the_right_to_see_it(gateway: TestedGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "RECHECK_SECONDS", 0.05)
    operator = gateway.plane.operator
    made = await operator(operator.access.CreateApiKey, pb.CreateApiKeyRequest(name="watcher", role=pb.ROLE_VIEWER))
    async with gateway.client(headers={"X-API-Key": made.secret}) as client, stream(client) as reader:
        await reader.block()
        await operator(operator.access.RevokeApiKey, pb.RevokeApiKeyRequest(key_id=made.api_key.key_id))
        assert await _rest(reader) == "end"
