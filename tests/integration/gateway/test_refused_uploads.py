"""Uploads that are refused while their bytes are on the way: the client reads why, and is not merely cut off.

The client sends all that it has before it reads, as most do.
"""

from collections import Counter
from collections.abc import AsyncIterator

import httpx
import pytest

from printfarm_gateway.bodies import PIECE_BYTES
from tests.support.gateway import TestedGateway

pytestmark = pytest.mark.asyncio(loop_scope="module")
UPLOADS = "/api/v1/uploads"
PIECE = b"x" * (1 << 20)
TRIES = 60


async def upload(gateway: TestedGateway) -> str:
    async with gateway.client() as client:
        order = {"size_bytes": PIECE_BYTES, "sha256": "0" * 64, "name": "x.gcode"}
        made = await client.post(UPLOADS, json=order)
        assert made.status_code == 201, made.text
        return str(made.json()["upload_id"])


async def pieces(count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield PIECE


async def answers(gateway: TestedGateway, path: str, offset: str, *, role: str = "operator") -> Counter[str]:
    """What clients read who send 4 MiB, with a length and without."""
    seen: Counter[str] = Counter()
    async with gateway.client(role) as client:
        for number in range(TRIES):
            content = pieces(4) if number % 2 else PIECE * 4
            try:
                answer = await client.patch(path, content=content, headers={"Upload-Offset": offset})
            except httpx.TransportError as error:
                seen[type(error).__name__] += 1
                continue
            fields = ",".join(each["field"] for each in answer.json().get("errors", []))
            seen[f"{answer.status_code} {answer.json()['code']} {fields}".strip()] += 1
    return seen


async def test_a_refusal_of_the_coordinator(gateway: TestedGateway) -> None:
    path = f"{UPLOADS}/{await upload(gateway)}"
    assert await answers(gateway, path, "7") == {"409 OFFSET_MISMATCH": TRIES}
    async with gateway.client() as client:
        assert (await client.get(path)).json()["offset"] == 0


async def test_a_refusal_of_the_gateway_names_the_field(gateway: TestedGateway) -> None:
    path = f"{UPLOADS}/{await upload(gateway)}"
    assert await answers(gateway, path, "soon") == {"400 INVALID_ARGUMENT Upload-Offset": TRIES}


async def test_a_refusal_before_anything_is_looked_at(gateway: TestedGateway) -> None:
    path = f"{UPLOADS}/{await upload(gateway)}"
    assert await answers(gateway, path, "0", role="viewer") == {"403 PERMISSION_DENIED": TRIES}


@pytest.mark.parametrize("job", [b"{", b'{"quantity": 0}'])
async def test_a_form_that_is_refused_before_its_file(gateway: TestedGateway, job: bytes) -> None:
    """A part that is none, in front of 4 MiB."""
    head = b'--b\r\nContent-Disposition: form-data; name="order"\r\n\r\n' + job
    body = head + b'\r\n--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n' + PIECE * 4
    async with gateway.client() as client:
        for _ in range(TRIES // 4):
            answer = await client.post(
                "/api/v1/jobs/receive", content=body, headers={"Content-Type": "multipart/form-data; boundary=b"}
            )
            assert answer.status_code == 422
            assert answer.json()["errors"][0]["field"] == "order"
