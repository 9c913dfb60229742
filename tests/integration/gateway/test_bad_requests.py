"""The catalogue of bad requests, by its numbers: 1 to 19 are refused before anything of the farm is touched."""

import asyncio
import base64
import gzip
import json
import os
import time
from pathlib import Path
from typing import Any

import jwt
import pytest

from printfarm.control.v1 import access_service_pb2 as pb
from printfarm_gateway.auth import REMEMBERED_SECONDS
from printfarm_gateway.bodies import JSON_BYTES, MULTIPART_BYTES
from printfarm_gateway.protocol import HEAD_BYTES
from tests.support.gateway import JWT_SECRET, TestedGateway, close, gateway_over, read_answer

pytestmark = pytest.mark.asyncio(loop_scope="module")
JOBS = "/api/v1/jobs"
RECEIVE = f"{JOBS}/receive"
# A busy machine may be late by so many seconds.
PATIENCE = 20


def is_problem(answer: Any, status: int, code: str) -> bool:
    """Whether it is the document that clients rely on."""
    body = answer.json()
    assert answer.headers["content-type"] == "application/problem+json", answer.headers
    assert body["request_id"] == answer.headers["x-request-id"]
    assert "Traceback" not in json.dumps(body)
    found = answer.status if hasattr(answer, "status") else answer.status_code
    return (found, body["status"], body["code"]) == (status, status, code)


async def refused(gateway: TestedGateway, headers: dict[str, str] | list[tuple[str, str]], path: str = JOBS) -> bool:
    async with gateway.client(None) as client:
        answer = await client.get(path, headers=headers)
    assert "www-authenticate" in answer.headers
    return is_problem(answer, 401, "UNAUTHENTICATED")


async def person(gateway: TestedGateway, name: str, role: int = pb.ROLE_OPERATOR) -> dict[str, str]:
    """A user with that name and the tokens of it."""
    access = gateway.plane.operator.access
    await gateway.plane.operator(
        access.CreateUser, pb.CreateUserRequest(name=name, password="correct horse battery", role=role)
    )
    async with gateway.client(None) as client:
        answer = await client.post("/api/v1/auth/token", json={"name": name, "password": "correct horse battery"})
    assert answer.status_code == 200, answer.text
    tokens: dict[str, str] = answer.json()
    return tokens


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def forged(changes: dict[str, Any], header: dict[str, Any] | None = None, secret: str = JWT_SECRET, **more: Any) -> str:
    """A token as ours, but for that. None takes a claim away."""
    now = int(time.time())
    claims = {
        "iss": "printfarm",
        "aud": "printfarm-api",
        "sub": "forged",
        "iat": now,
        "nbf": now,
        "exp": now + 600,
        "gen": 1,
        "use": "access",
        **changes,
    }
    kept = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(kept, secret, more.get("algorithm", "HS256"), headers={"typ": "JWT", **(header or {})})


# -- who asks


async def test_01_no_key_and_no_token(gateway: TestedGateway) -> None:
    assert await refused(gateway, {})
    assert await refused(gateway, {"X-API-Key": "pf_wrong"})
    both = [("X-API-Key", gateway.keys["viewer"]), ("X-API-Key", gateway.keys["admin"])]
    assert await refused(gateway, both)


async def test_02_a_key_in_the_query_is_no_key_and_is_not_logged(
    gateway: TestedGateway, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    key = gateway.keys["admin"]
    with caplog.at_level("DEBUG"):
        for name in ("api_key", "X-API-Key", "key", "access_token"):
            answer = await gateway.raw(gateway.head("GET", f"{JOBS}?{name}={key}", role=None))
            assert is_problem(answer, 401, "UNAUTHENTICATED")
    logged = "".join(capsys.readouterr()) + caplog.text
    assert logged.count("/api/v1/jobs") >= 4
    assert key not in logged


@pytest.mark.parametrize("bad", [b"\x00", b"\n", b"\xff", b"\xc3\xa9", b" ", b"\x7f"])
async def test_03_a_key_with_odd_bytes(gateway: TestedGateway, bad: bytes) -> None:
    good = gateway.keys["admin"].encode()
    head = b"GET /api/v1/jobs HTTP/1.1\r\nHost: farm\r\nX-API-Key: " + good[:20] + bad + good[20:] + b"\r\n\r\n"
    answer = await gateway.raw(head)
    # Some of these are no HTTP at all: the parser says so before anybody looks for a key.
    assert answer.status in (400, 401)
    assert answer.headers["content-type"] == "application/problem+json"


async def test_04_a_token_without_a_signature(gateway: TestedGateway) -> None:
    claims = forged({}).split(".")[1]
    for algorithm in ("none", "None", "NONE", "nOnE"):
        head = base64.urlsafe_b64encode(json.dumps({"alg": algorithm, "typ": "JWT"}).encode()).rstrip(b"=").decode()
        for signature in ("", forged({}).split(".")[2]):
            assert await refused(gateway, bearer(f"{head}.{claims}.{signature}"))


async def test_05_a_token_signed_with_what_is_public(gateway: TestedGateway) -> None:
    roots = (gateway.settings.credentials / "roots.pem").read_text()
    for public in (roots.replace("-----", "====="), json.dumps({"kty": "oct", "k": "AAAA"}) * 3, "printfarm" * 5):
        assert await refused(gateway, bearer(forged({}, secret=public)))


@pytest.mark.parametrize(
    "header",
    [
        pytest.param({"crit": ["exp"]}, id="06-crit"),
        pytest.param({"crit": ["x-unknown"], "x-unknown": 1}, id="06-unknown-crit"),
        pytest.param({"kid": "../../dev/null"}, id="07-path"),
        pytest.param({"kid": "x' UNION SELECT 'k"}, id="07-sql"),
        pytest.param({"jku": "https://evil.example/keys"}, id="08-jku"),
        pytest.param({"x5u": "https://evil.example/cert"}, id="08-x5u"),
        pytest.param({"jwk": {"kty": "oct", "k": "AAAA"}}, id="08-jwk"),
        pytest.param({"typ": "at+jwt"}, id="other-typ"),
    ],
)
async def test_06_07_08_a_token_that_says_how_to_check_it(gateway: TestedGateway, header: dict[str, Any]) -> None:
    assert await refused(gateway, bearer(forged({}, header)))


async def test_the_same_token_without_such_a_header_is_good(gateway: TestedGateway) -> None:
    await person(gateway, "forged")
    async with gateway.client(None, headers=bearer(forged({}))) as client:
        assert (await client.get("/api/v1/me")).json() == {"name": "user/forged", "role": "operator"}


@pytest.mark.parametrize(
    "changes",
    [pytest.param({name: None}, id=f"no-{name}") for name in ("exp", "nbf", "iat", "iss", "aud", "sub", "gen", "use")]
    + [
        pytest.param({"exp": 1_000_000_000}, id="over"),
        pytest.param({"nbf": 4_000_000_000}, id="not-yet"),
        pytest.param({"aud": "another-service"}, id="other-audience"),
        pytest.param({"iss": "somebody"}, id="other-issuer"),
        pytest.param({"use": "refresh"}, id="refresh"),
        pytest.param({"gen": 99}, id="other-generation"),
        pytest.param({"gen": "1"}, id="odd-generation"),
        pytest.param({"gen": True}, id="true-generation"),
        pytest.param({"gen": 1 << 70}, id="huge-generation"),
        pytest.param({"sub": "nobody-of-this-name"}, id="unknown"),
        pytest.param({"exp": "soon"}, id="odd-exp"),
    ],
)
async def test_09_a_token_that_does_not_hold(gateway: TestedGateway, changes: dict[str, Any]) -> None:
    assert await refused(gateway, bearer(forged(changes)))


async def test_09_a_refresh_token_is_no_access_token_and_the_other_way_round(gateway: TestedGateway) -> None:
    tokens = await person(gateway, "nine")
    assert await refused(gateway, bearer(tokens["refresh_token"]))
    async with gateway.client(None) as client:
        swapped = await client.post("/api/v1/auth/refresh", json={"refresh_token": tokens["access_token"]})
        assert is_problem(swapped, 401, "UNAUTHENTICATED")
        fresh = await client.post("/api/v1/auth/refresh", json={"refresh_token": tokens["refresh_token"]})
        me = await client.get("/api/v1/me", headers=bearer(fresh.json()["access_token"]))
        assert me.json()["name"] == "user/nine"


async def test_10_tokens_of_a_disabled_user_are_refused_by_every_gateway_within_5_s(gateway: TestedGateway) -> None:
    assert REMEMBERED_SECONDS < 5
    tokens = await person(gateway, "ten")
    async with gateway.client(None, headers=bearer(tokens["access_token"])) as client:
        assert (await client.get("/api/v1/me")).status_code == 200
    async with gateway.client("admin") as admin:
        assert (await admin.patch("/api/v1/users/ten", json={"disabled": True})).status_code == 200
    async with gateway.client(None, headers=bearer(tokens["access_token"])) as client, asyncio.timeout(5 + PATIENCE):
        while (await client.get("/api/v1/me")).status_code != 401:  # noqa: ASYNC110 - only the gateway knows
            await asyncio.sleep(0.1)
    async with gateway_over(gateway.plane, gateway.keys) as other:
        assert await refused(other, bearer(tokens["access_token"]), "/api/v1/me")
        async with other.client(None) as client:
            again = await client.post("/api/v1/auth/refresh", json={"refresh_token": tokens["refresh_token"]})
            assert is_problem(again, 401, "UNAUTHENTICATED")


# -- how much, how slowly


async def test_11_an_honest_length_beyond_the_cap_is_refused_before_a_byte_is_read(gateway: TestedGateway) -> None:
    for kind, most in (("application/json", JSON_BYTES), ("multipart/form-data; boundary=b", MULTIPART_BYTES)):
        head = gateway.head("POST", RECEIVE, f"Content-Type: {kind}", f"Content-Length: {most + 1}")
        answer = await gateway.raw(head)
        assert is_problem(answer, 413, "TOO_LARGE")
        assert answer.closed


async def test_11_without_a_length_reading_ends_at_the_cap(gateway: TestedGateway) -> None:
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    reader, writer = await gateway.connect()
    writer.write(
        gateway.head("POST", RECEIVE, "Content-Type: application/json", "Transfer-Encoding: chunked") + chunk * 16
    )
    # The cap is reached exactly; the next byte is too many, whatever would come after it.
    writer.write(b"1\r\nx\r\n")
    answer = await read_answer(reader)
    assert is_problem(answer, 413, "TOO_LARGE")
    assert answer.closed
    await close(writer)


@pytest.mark.parametrize("length", ["-1", "+5", "5 5", "0x10", "1e3", "", "99999999999999999999999999"])
async def test_11_a_length_that_is_none(gateway: TestedGateway, length: str) -> None:
    head = gateway.head("POST", RECEIVE, "Content-Type: application/json", f"Content-Length: {length}")
    answer = await gateway.raw(head, b"{}")
    assert answer.status in (400, 413)
    assert answer.closed


async def test_11_two_lengths(gateway: TestedGateway) -> None:
    head = gateway.head("POST", RECEIVE, "Content-Length: 2", "Content-Length: 3")
    assert is_problem(await gateway.raw(head, b"{}"), 400, "MALFORMED")


async def test_11_a_length_that_lies_low_is_followed_by_no_request(gateway: TestedGateway) -> None:
    head = gateway.head("POST", f"{JOBS}/x/cancel", "Content-Type: application/json", "Content-Length: 2")
    answer = await gateway.raw(head + b'{}{"state": "completed"}\r\n\r\n')
    assert is_problem(answer, 400, "MALFORMED")
    assert answer.closed


async def test_12_bad_chunks_and_two_ways_to_say_the_length(gateway: TestedGateway) -> None:
    chunked = ("Content-Type: application/json", "Transfer-Encoding: chunked")
    head = gateway.head("POST", RECEIVE, *chunked)
    for body in (
        b"zz\r\n{}\r\n0\r\n\r\n",
        b"2\r\n{}XX0\r\n\r\n",
        b"-2\r\n{}\r\n0\r\n\r\n",
        b"2;\x00\r\n{}\r\n0\r\n\r\n",
    ):
        assert (await gateway.raw(head, body)).status == 400, body
    both = gateway.head("POST", RECEIVE, *chunked, "Content-Length: 2")
    assert is_problem(await gateway.raw(both, b"2\r\n{}\r\n0\r\n\r\n"), 400, "MALFORMED")
    odd = gateway.head("POST", RECEIVE, "Transfer-Encoding: chunked, identity")
    assert (await gateway.raw(odd, b"{}")).status == 400


async def test_13_a_body_or_a_head_that_dribbles(gateway: TestedGateway) -> None:
    async with gateway_over(gateway.plane, gateway.keys, head_seconds=0.2, body_grace_seconds=0.2) as impatient:
        head = impatient.head("POST", RECEIVE, "Content-Type: application/json", "Content-Length: 1000")
        answer = await impatient.raw(head, b"{")
        assert is_problem(answer, 408, "MALFORMED")
        assert answer.closed
        assert is_problem(await impatient.raw(head[:40]), 408, "MALFORMED")
        # Who says nothing at all is let go without a word.
        assert (await impatient.raw(b"")).status == 0
        # On a connection that was used before, the time of a head is as short.
        reader, writer = await impatient.connect()
        writer.write(impatient.head("GET", "/health"))
        assert (await read_answer(reader)).status == 200
        writer.write(head[:40])
        assert (await read_answer(reader)).status == 408
        await close(writer)


async def test_13_steady_but_far_too_slow(gateway: TestedGateway) -> None:
    async with gateway_over(gateway.plane, gateway.keys, body_grace_seconds=0.3) as impatient:
        reader, writer = await impatient.connect()
        writer.write(impatient.head("POST", RECEIVE, "Content-Type: application/json", "Content-Length: 100000"))
        answering = asyncio.create_task(read_answer(reader))
        while not answering.done():
            # No pause is as long as the grace: the average is what is too low.
            writer.write(b" ")
            await asyncio.sleep(0.02)
        assert is_problem(answering.result(), 408, "MALFORMED")
        await close(writer)


async def test_14_too_many_headers(gateway: TestedGateway) -> None:
    many = b"".join(b"x-%d: y\r\n" % number for number in range(100_000))
    answer = await gateway.raw(b"GET /health HTTP/1.1\r\n", many, b"\r\n")
    assert is_problem(answer, 431, "MALFORMED")
    few = [f"x-{number}: y" for number in range(200)]
    assert is_problem(await gateway.raw(gateway.head("GET", "/health", *few)), 431, "MALFORMED")


async def test_14_a_header_that_never_ends(gateway: TestedGateway) -> None:
    pieces = [b"x" * 4096] * (HEAD_BYTES // 4096 + 40)
    answer = await gateway.raw(b"GET /health HTTP/1.1\r\nx-long: ", *pieces)
    assert is_problem(answer, 431, "MALFORMED")
    assert answer.closed
    assert (await gateway.raw(gateway.head("GET", "/health", "x-long: " + "y" * 64 * 1024))).status == 431
    assert (await gateway.raw(b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n")).status in (400, 414, 431)


# -- JSON


async def wrong_json(gateway: TestedGateway, body: bytes, field: str | None = None) -> Any:
    """The document of a 422 for that body."""
    async with gateway.client() as client:
        answer = await client.post(RECEIVE, content=body, headers={"Content-Type": "application/json"})
        same = await client.post(JOBS, content=body, headers={"Content-Type": "application/json"})
    assert is_problem(answer, 422, "INVALID_ARGUMENT"), answer.text
    assert is_problem(same, 422, "INVALID_ARGUMENT"), same.text
    if field is not None:
        assert field in [error["field"] for error in answer.json()["errors"]], answer.text
    assert all(error["fix"] for error in answer.json()["errors"])
    return answer.json()


ORDER = {"name": "x", "artifact_sha256": "0" * 64}


def order(**changes: Any) -> bytes:
    return json.dumps({**ORDER, **changes}).encode()


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
async def test_15_deep_json(gateway: TestedGateway, opening: bytes) -> None:
    await wrong_json(gateway, opening * 10_000, "body")
    await wrong_json(gateway, opening * 40, "body")


async def test_16_duplicate_keys(gateway: TestedGateway) -> None:
    await wrong_json(gateway, b'{"name": "a", "name": "b", "artifact_sha256": "%s"}' % (b"0" * 64), "name")
    nested = b'{"name": "a", "artifact_sha256": "0", "requirements": {"material": "A", "material": "B"}}'
    await wrong_json(gateway, nested, "material")


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"1e400", b"-1e400"])
async def test_17_numbers_that_are_none(gateway: TestedGateway, number: bytes) -> None:
    await wrong_json(gateway, b'{"name": "a", "artifact_sha256": "%s", "quantity": %s}' % (b"0" * 64, number))


async def test_18_a_number_of_a_million_digits(gateway: TestedGateway) -> None:
    await wrong_json(gateway, b'{"name": "a", "quantity": ' + b"9" * 1_000_000 + b"}", "body")
    await wrong_json(gateway, b'{"name": "a", "quantity": 1.' + b"9" * 100_000 + b"}", "body")


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b'{"name": "\xff"}', id="invalid"),
        pytest.param(b'{"name": "\xed\xa0\x80"}', id="encoded-surrogate"),
        pytest.param(b'{"name": "\\ud800"}', id="lone-surrogate"),
        pytest.param(b'{"\\udfff": 1}', id="lone-surrogate-key"),
        pytest.param(b'{"name": "a\\u0000b"}', id="nul"),
        pytest.param(b'{"name": "a", "requirements": {"tags": ["\\ud800"]}}', id="lone-surrogate-in-a-list"),
        pytest.param(b'{"name": "a", "requirements": {"tags": [["a\\u0000b"]]}}', id="nul-in-a-list"),
        pytest.param(b'["\\ud800"]', id="lone-surrogate-in-a-list-alone"),
        pytest.param(b"\xef\xbb\xbf{}", id="byte-order-mark"),
        pytest.param('{"name": "a"}'.encode("utf-16"), id="utf-16"),
        pytest.param(b"", id="empty"),
        pytest.param(b"{", id="cut"),
        pytest.param(b"{} {}", id="two"),
        pytest.param(b"null", id="null"),
        pytest.param(b'"text"', id="text"),
    ],
)
async def test_19_text_that_is_none(gateway: TestedGateway, body: bytes) -> None:
    await wrong_json(gateway, body)


async def test_a_compressed_body_is_no_json(gateway: TestedGateway) -> None:
    async with gateway.client() as client:
        headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
        answer = await client.post(RECEIVE, content=gzip.compress(order()), headers=headers)
    assert answer.status_code == 422


# -- fields


@pytest.mark.parametrize("field", ["quantity", "parts_per_plate"])
@pytest.mark.parametrize("value", [0, -1, 2**63, 2**64, "1", True, 1.5, 1.0, None, [], {}])
async def test_20_how_many(gateway: TestedGateway, field: str, value: Any) -> None:
    await wrong_json(gateway, order(**{field: value}), field)


@pytest.mark.parametrize("field", ["is_admin", "state", "epoch", "job_id", "good_parts", "__proto__", "version"])
async def test_21_fields_that_nobody_may_set(gateway: TestedGateway, field: str) -> None:
    document = await wrong_json(gateway, order(**{field: "admin"}), field)
    fixes = {error["field"]: error["fix"] for error in document["errors"]}
    assert "leave it out" in fixes[field]
    await wrong_json(gateway, order(requirements={field: 1}), f"requirements.{field}")


# -- what all of these cost


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def longest_turn(until: asyncio.Task[Any]) -> float:
    """Seconds of processor time in which the loop let nobody else run: how busy the machine is does not count."""
    longest, before = 0.0, time.thread_time()
    while not until.done():
        await asyncio.sleep(0)
        now = time.thread_time()
        longest, before = max(longest, now - before), now
    return longest


HOSTILE = [
    b"[" * JSON_BYTES,
    b'{"a":' * (JSON_BYTES // 5),
    b'{"quantity": ' + b"9" * (JSON_BYTES - 20) + b"}",
    b'{"name": "' + b"\\ud800" * (JSON_BYTES // 6 - 10) + b'"}',
    b"{" + b",".join(b'"k%d":1' % number for number in range(JSON_BYTES // 12)) + b"}",
    b'{"a":1,' * (JSON_BYTES // 7),
    b'{"requirements": {"tags": [' + b"1," * (JSON_BYTES // 2 - 20) + b"1]}}",
]


@pytest.mark.parametrize("body", HOSTILE, ids=["deep", "deep-objects", "digits", "surrogates", "keys", "cut", "list"])
async def test_the_largest_hostile_bodies_neither_fill_memory_nor_hold_up_the_loop(
    gateway: TestedGateway, body: bytes
) -> None:
    async def attack() -> list[int]:
        async with gateway.client() as client:
            sent = [client.post(RECEIVE, content=body, headers={"Content-Type": "application/json"}) for _ in range(10)]
            return [answer.status_code for answer in await asyncio.gather(*sent)]

    await attack()
    before = resident_bytes()
    attacking = asyncio.create_task(attack())
    turn = await longest_turn(attacking)
    assert set(attacking.result()) == {422}
    assert resident_bytes() - before < 64 << 20
    assert turn < 2.0
    assert await jobs_there(gateway) == []


async def jobs_there(gateway: TestedGateway) -> list[Any]:
    async with gateway.client() as client:
        found: list[Any] = (await client.get(JOBS)).json()["items"]
    return found
