"""The catalogue of bad requests, 31 to 40: names, multipart bodies, uploads; and files that are no G-code."""

import asyncio
import hashlib
import json
import re
import struct
from pathlib import Path

import httpx
import pytest

from tests.support.control_plane import GCODE
from tests.support.gateway import RawAnswer, TestedGateway, close, gateway_over, read_answer
from tests.support.models import box_3mf, box_stl
from tests.support.print_files import model_xml, three_mf, zipped

pytestmark = pytest.mark.asyncio(loop_scope="module")
RECEIVE = "/api/v1/jobs/receive"
UPLOADS = "/api/v1/uploads"
BOUNDARY = "b0undary"
JOB = b'{"name": "parts"}'


def code_of(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return answer.status_code, answer.json()["code"]


def part(disposition: str, content: bytes, *headers: str) -> bytes:
    lines = [f"--{BOUNDARY}", f"Content-Disposition: {disposition}", *headers, "", ""]
    return "\r\n".join(lines).encode("utf-8") + content + b"\r\n"


def form(name: str = "a.gcode", content: bytes = GCODE, job: bytes = JOB) -> bytes:
    file = part(f'form-data; name="file"; filename="{name}"', content)
    return part('form-data; name="job"', job) + file + f"--{BOUNDARY}--\r\n".encode()


async def post_form(gateway: TestedGateway, body: bytes, kind: str = "multipart/form-data") -> httpx.Response:
    async with gateway.client() as client:
        headers = {"Content-Type": f"{kind}; boundary={BOUNDARY}"}
        return await client.post(RECEIVE, content=body, headers=headers)


def files_below(folder: Path) -> set[str]:
    """Everything that lies in the farm's folder, but the database's own."""
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    return {name for name in found if not name.startswith("farm.db")}


def blobs(gateway: TestedGateway) -> set[str]:
    return {name for name in files_below(gateway.plane.folder) if name.startswith("artifacts/")}


NAMES = {
    "31-up": "../../etc/x",
    "31-back": "..\\..\\x",
    "31-encoded": "%2e%2e%2f",
    "31-absolute": "/etc/passwd",
    "31-drive": "C:\\x",
    "31-unc": "//unc/share",
    "32-prefix": "a/../uploads2/x",
    "33-override": "a\u202egcode.exe",
    "33-long": "n" * 4_096,
    "33-dot": ".",
    "33-empty": "",
    "33-device": "CON",
    "33-trailing": "a.gcode.",
    "33-option": "-rf",
    "33-shell": "$(id).gcode",
    "33-command": ";reboot",
    "33-markup": "<img src=x onerror=alert(1)>",
    "33-emoji": "🖨️.gcode",
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES.keys())
async def test_31_32_33_a_name_is_only_shown(gateway: TestedGateway, name: str) -> None:
    content = GCODE + f"; {hash(name)}\n".encode()
    digest = hashlib.sha256(content).hexdigest()
    before = files_below(gateway.plane.folder)
    multipart = await post_form(gateway, form(name, content))
    if len(name) > 1_000:
        # The head of its part is too large, or the name is cut.
        assert multipart.status_code in (202, 400)
    else:
        assert multipart.status_code == 202, multipart.text
    async with gateway.client() as client:
        order = {"size_bytes": len(content), "sha256": digest, "name": name}
        begun = await client.post(UPLOADS, json=order)
        assert begun.status_code == 201, begun.text
        path = begun.headers["location"]
        await client.patch(path, content=content, headers={"Upload-Offset": "0"})
        assert (await client.post(f"{path}/finish")).status_code == 200
        shown = (await client.get(f"/api/v1/files/{digest}")).json()["name"]
        assert 0 < len(shown) <= 255
        assert shown.isprintable()
        content_type = (await client.get(f"/api/v1/files/{digest}/content")).headers
    assert content_type["content-disposition"].isascii()
    assert re.fullmatch(
        r"attachment; filename=\"[A-Za-z0-9_][A-Za-z0-9._-]*\"; filename\*=UTF-8''[A-Za-z0-9._~%-]+",
        content_type["content-disposition"],
    )
    assert content_type["x-content-type-options"] == "nosniff"
    new = files_below(gateway.plane.folder) - before
    assert new, "the content is kept"
    assert all(digest in name for name in new), new


@pytest.mark.parametrize("bad", ["a\x00b", "a\rb", "a\nb", "a\r\nX-Evil: 1\r\n\r\nb"], ids=["nul", "cr", "lf", "crlf"])
async def test_33_control_characters_in_a_name(gateway: TestedGateway, bad: str) -> None:
    before = blobs(gateway)
    answer = await post_form(gateway, form(bad, GCODE + b"; control\n"))
    assert code_of(answer) == (400, "MALFORMED")
    async with gateway.client() as client:
        order = {"size_bytes": 5, "sha256": "0" * 64, "name": bad}
        begun = await client.post(UPLOADS, json=order)
        assert begun.status_code in (201, 422), begun.text
        if begun.status_code == 201:
            assert begun.json()["name"].isprintable()
    assert blobs(gateway) == before


@pytest.mark.parametrize("name", ["file.path", "file.name", "file[]", "FILE", "job.state", "path", "", "file\u200b"])
async def test_34_fields_that_some_servers_believe(gateway: TestedGateway, name: str) -> None:
    before = blobs(gateway)
    injected = part(f'form-data; name="{name}"', b"/etc/passwd")
    for body in (injected + form(content=GCODE + b";34\n"), form()[: -len(BOUNDARY) - 6] + injected + form()):
        answer = await post_form(gateway, body)
        assert answer.status_code in (400, 422), answer.text
        assert answer.json()["code"] in ("INVALID_ARGUMENT", "MALFORMED")
    assert blobs(gateway) == before


async def test_35_a_type_that_one_reader_takes_and_another_does_not(gateway: TestedGateway) -> None:
    for kind in (
        "mUltIpaRt/FORM-dAta",
        "multipart/mixed",
        "multipart/form-data x",
        "text/plain",
        "multipart/form-data,a/b",
    ):
        answer = await post_form(gateway, form(), kind)
        assert code_of(answer) == (400, "MALFORMED"), kind


async def test_35_a_folded_header(gateway: TestedGateway) -> None:
    folded = form().replace(b'form-data; name="job"', b'form-data;\r\n name="job"')
    assert code_of(await post_form(gateway, folded)) == (400, "MALFORMED")
    body = form()
    kind = f"Content-Type: multipart/form-data;\r\n boundary={BOUNDARY}"
    answer = await gateway.raw(gateway.head("POST", RECEIVE, kind, f"Content-Length: {len(body)}"), body)
    assert answer.status == 400


@pytest.mark.parametrize(
    "disposition",
    [
        f"form-data; name=\"file\"; filename*=UTF-8''a%0d%0a--{BOUNDARY}--",
        'form-data; name="file"; filename="a.gcode"; filename*=UTF-8\'\'b.gcode',
        "form-data; name*=UTF-8''file; filename=\"a.gcode\"",
        'form-data; name="fi\\"le"; filename="a.gcode"',
        'form-data; name="file\\"; filename="a.gcode"',
        'attachment; name="file"; filename="a.gcode"',
        "",
    ],
    ids=["crlf", "both", "name", "quote", "open-quote", "attachment", "nothing"],
)
async def test_35_a_disposition_with_two_meanings(gateway: TestedGateway, disposition: str) -> None:
    body = part('form-data; name="job"', JOB) + part(disposition, GCODE + b";35\n") + f"--{BOUNDARY}--\r\n".encode()
    before = blobs(gateway)
    assert code_of(await post_form(gateway, body)) == (400, "MALFORMED")
    assert blobs(gateway) == before


async def test_35_two_dispositions_and_none(gateway: TestedGateway) -> None:
    two = part('form-data; name="job"', JOB, 'Content-Disposition: form-data; name="file"')
    none = f"--{BOUNDARY}\r\nContent-Type: text/plain\r\n\r\n".encode() + GCODE + b"\r\n"
    for odd in (two, none):
        assert code_of(await post_form(gateway, odd + form())) == (400, "MALFORMED")


async def test_36_no_boundary(gateway: TestedGateway) -> None:
    async with gateway.client() as client:
        for kind in (
            "multipart/form-data",
            "multipart/form-data; boundary=",
            f"multipart/form-data; boundary={'b' * 71}",
        ):
            answer = await client.post(RECEIVE, content=form(), headers={"Content-Type": kind})
            assert code_of(answer) == (400, "MALFORMED"), kind


async def endless(gateway: TestedGateway, begin: bytes, more: bytes) -> RawAnswer:
    """What is answered to a form that begins so and goes on with more, for as long as anybody reads."""
    reader, writer = await gateway.connect()
    kind = f"Content-Type: multipart/form-data; boundary={BOUNDARY}"
    writer.write(gateway.head("POST", RECEIVE, kind, "Transfer-Encoding: chunked"))
    writer.write(b"%x\r\n" % len(begin) + begin + b"\r\n")
    answering = asyncio.create_task(read_answer(reader))
    sent = 0
    try:
        while not answering.done() and sent < 4 << 20:
            writer.write(b"%x\r\n" % len(more) + more + b"\r\n")
            await writer.drain()
            sent += len(more)
            await asyncio.sleep(0)
    except ConnectionError:
        pass
    answer = await answering
    await close(writer)
    assert answer.closed
    return answer


async def test_36_preamble_epilogue_parts_and_part_headers_without_end(gateway: TestedGateway) -> None:
    cases = {
        "preamble": (b"\r\n", b"x" * 4_096),
        "epilogue": (form(content=GCODE + b";36\n"), b"x" * 4_096),
        "parts": (b"", part('form-data; name="job"', b"{}") * 50),
        "headers": (f"--{BOUNDARY}\r\n".encode(), b"x-a: b\r\n" * 500),
        "long header": (f"--{BOUNDARY}\r\nx-a: ".encode(), b"y" * 4_096),
        "long job": (f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="job"\r\n\r\n'.encode(), b"y" * 65_536),
    }
    before = blobs(gateway)
    for name, (begin, more) in cases.items():
        answer = await endless(gateway, begin, more)
        assert answer.status in (400, 422), name
    assert blobs(gateway) == before


@pytest.mark.parametrize("cut", ["closing", "middle", "job", "file", "twice"])
async def test_36_forms_that_are_not_whole(gateway: TestedGateway, cut: str) -> None:
    whole = form(content=GCODE + b";cut\n")
    job, file = part('form-data; name="job"', JOB), part('form-data; name="file"; filename="a"', GCODE + b";cut\n")
    end = f"--{BOUNDARY}--\r\n".encode()
    body = {
        "closing": whole[: -len(end)],
        "middle": whole[: len(whole) // 2],
        "job": file + end,
        "file": job + end,
        "twice": job + file + file + end,
    }[cut]
    before = blobs(gateway)
    answer = await post_form(gateway, body)
    assert answer.status_code in (400, 422), answer.text
    assert blobs(gateway) == before


async def test_a_form_whose_parts_come_in_either_order_in_single_bytes(gateway: TestedGateway) -> None:
    job, file = part('form-data; name="job"', JOB), part('form-data; name="file"; filename="a.gcode"', GCODE)
    end = f"--{BOUNDARY}--\r\n".encode()
    for body in (job + file + end, file + job + end):
        head = gateway.head(
            "POST", RECEIVE, f"Content-Type: multipart/form-data; boundary={BOUNDARY}", f"Content-Length: {len(body)}"
        )
        answer = await gateway.raw(head, *[bytes([byte]) for byte in body])
        assert answer.status == 202, answer.body


async def test_a_wrong_job_part_stores_no_file(gateway: TestedGateway) -> None:
    before = blobs(gateway)
    for job in (b"{}", b'{"name": "a", "name": "b"}', b'{"name": "a", "quantity": 0}', b"[", b'{"name": "a", "x": 1}'):
        answer = await post_form(gateway, form(content=GCODE + b";wrong\n", job=job))
        assert code_of(answer) == (422, "INVALID_ARGUMENT")
        assert answer.json()["errors"]
    assert blobs(gateway) == before


STL = box_stl()
BROKEN = {
    "no-facet-closed": b"solid x\nfacet normal 0 0 1\nouter loop\nvertex 0 0 0\nendloop\nendfacet\nendsolid x\n",
    "not-a-number": STL[:96] + struct.pack("<f", float("nan")) + STL[100:],
    "no-archive": b"PK\x03\x04" + b"\x00" * 100,
    "no-mesh": zipped({"[Content_Types].xml": "<Types/>", "3D/3dmodel.model": "<model/>"}),
    "cut-off-xml": three_mf(model_xml()[:200]),
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN.keys())
async def test_a_broken_model_is_refused_when_it_arrives(gateway: TestedGateway, content: bytes) -> None:
    before = blobs(gateway)
    answer = await post_form(gateway, form("part.stl", content))
    assert code_of(answer) == (422, "UNSUPPORTED_MEDIA")
    assert "printfarm-slicer" not in answer.json()["detail"]
    async with gateway.client() as client:
        path = await begin(client, content)
        assert (await append(client, path, 0, content)).status_code == 200
        finished = await client.post(f"{path}/finish")
        assert code_of(finished) == (422, "UNSUPPORTED_MEDIA")
        assert finished.json()["detail"] == answer.json()["detail"]
        assert finished.json()["errors"][0]["field"] == "file"
        # Its bytes can never become right.
        assert (await client.head(path)).headers["upload-offset"] == "0"
    assert blobs(gateway) == before


async def test_a_sound_model_is_stored(gateway: TestedGateway) -> None:
    async with gateway.client() as client:
        for content in (box_stl(3.0), box_3mf(3.0)):
            path = await begin(client, content)
            assert (await append(client, path, 0, content)).status_code == 200
            assert (await client.post(f"{path}/finish")).status_code == 200


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("cube.3mf", b"PK\x03\x04" + b"\x00" * 100),
        ("cube.gcode", b"PK\x03\x04" + b"\x00" * 100),
        ("cube.gcode", b"\x00\x01\x02binary"),
        ("cube.gcode", b""),
        ("page.html", b"<html><script>alert(1)</script></html>"),
    ],
)
async def test_what_is_no_gcode_is_refused_with_the_reason(gateway: TestedGateway, name: str, content: bytes) -> None:
    before = blobs(gateway)
    answer = await post_form(gateway, form(name, content))
    assert code_of(answer) == (422, "UNSUPPORTED_MEDIA")
    assert answer.json()["detail"]
    assert blobs(gateway) == before


@pytest.mark.parametrize("name", ["cube.stl", "cube.gcode"])
async def test_a_model_is_refused_where_nobody_slices(gateway: TestedGateway, name: str) -> None:
    answer = await post_form(gateway, form(name, STL))
    assert code_of(answer) == (422, "UNSUPPORTED_MEDIA")
    assert "printfarm-slicer" in answer.json()["detail"]


async def test_files_are_found_by_name_and_kind_and_tell_their_time(gateway: TestedGateway) -> None:
    silent = b"G28\nG1 X10 Y10 F1200\n"
    timed = silent + b"; estimated printing time (normal mode) = 1h 1m 1s\n"
    made = {"Sought.gcode": timed, "sought too.gcode": silent, "sought.stl": box_stl(4.0)}
    async with gateway.client() as client:
        for name, content in made.items():
            path = await begin(client, content, name=name)
            assert (await append(client, path, 0, content)).status_code == 200
            assert (await client.post(f"{path}/finish")).status_code == 200

        async def found(**asked: str) -> dict[str, float | None]:
            answer = await client.get("/api/v1/files", params=asked)
            assert answer.status_code == 200, answer.text
            return {each["name"]: each["estimated_seconds"] for each in answer.json()["items"]}

        assert await found(name="SOUGHT") == {"Sought.gcode": 3661.0, "sought too.gcode": None, "sought.stl": None}
        assert await found(name="sought", kind="gcode") == {"Sought.gcode": 3661.0, "sought too.gcode": None}
        assert await found(name="sought", kind="3mf") == {}
        shown = await client.get(f"/api/v1/files/{hashlib.sha256(timed).hexdigest()}")
        assert shown.json()["estimated_seconds"] == 3661.0


async def test_filters_of_files_are_checked(gateway: TestedGateway) -> None:
    async with gateway.client() as client:
        for field, value in {"kind": "exe", "name": "n" * 201}.items():
            answer = await client.get("/api/v1/files", params={field: value})
            assert code_of(answer) == (422, "INVALID_ARGUMENT")
            assert answer.json()["errors"][0]["field"] == field


# -- resumable uploads


async def begin(client: httpx.AsyncClient, content: bytes, sha256: str | None = None, name: str = "big.gcode") -> str:
    digest = sha256 or hashlib.sha256(content).hexdigest()
    order = {"size_bytes": len(content), "sha256": digest, "name": name}
    answer = await client.post(UPLOADS, json=order)
    assert answer.status_code == 201, answer.text
    return str(answer.headers["location"])


async def append(client: httpx.AsyncClient, path: str, offset: object, content: bytes) -> httpx.Response:
    return await client.patch(path, content=content, headers={"Upload-Offset": str(offset)})


async def test_37_a_digest_that_differs(gateway: TestedGateway) -> None:
    before = blobs(gateway)
    async with gateway.client() as client:
        content = GCODE + b";37\n"
        path = await begin(client, content, "1" * 64)
        assert (await append(client, path, 0, content)).status_code == 200
        assert code_of(await client.post(f"{path}/finish")) == (422, "CHECKSUM_MISMATCH")
        assert blobs(gateway) == before
        assert code_of(await client.get(f"/api/v1/files/{hashlib.sha256(content).hexdigest()}")) == (404, "NOT_FOUND")


async def test_38_an_offset_that_is_not_the_stored_length(gateway: TestedGateway) -> None:
    async with gateway.client() as client:
        content = GCODE * 10
        path = await begin(client, content)
        for offset in (1, len(content), 10**17):
            answer = await append(client, path, offset, b"x")
            assert code_of(answer) == (409, "OFFSET_MISMATCH")
            assert answer.headers["upload-offset"] == "0"
        for offset in ("", "-1", "one", "1e3", "0x1", "9" * 30, "1.0", "\u0663"):
            answer = await client.patch(path, content=b"x", headers=[("Upload-Offset", offset.encode("utf-8"))])  # type: ignore[list-item]
            assert code_of(answer) == (400, "INVALID_ARGUMENT"), offset
        assert (await append(client, path, 0, content[:7])).headers["upload-offset"] == "7"
        head = await client.head(path)
        assert (head.headers["upload-offset"], head.headers["upload-length"]) == ("7", str(len(content)))
        assert code_of(await append(client, path, 0, content)) == (409, "OFFSET_MISMATCH")
        assert code_of(await append(client, path, 7, content)) == (413, "TOO_LARGE")
        assert code_of(await client.post(f"{path}/finish"))[0] == 409


async def test_39_two_writers_at_once(gateway: TestedGateway) -> None:
    content = GCODE * 20_000
    async with gateway.client() as client:
        path = await begin(client, content)
        reader, writer = await gateway.connect()
        writer.write(gateway.head("PATCH", path, "Upload-Offset: 0", f"Content-Length: {len(content)}"))
        writer.write(content[:1_000_000])
        offset = 0
        while not offset:
            offset = int((await client.head(path)).headers["upload-offset"])
        assert code_of(await append(client, path, offset, b"x")) == (409, "UPLOAD_BUSY")
        writer.write(content[1_000_000:])
        answer = await read_answer(reader)
        await close(writer)
        assert (answer.status, answer.headers["upload-offset"]) == (200, str(len(content)))
        assert (await client.post(f"{path}/finish")).status_code == 200


async def test_40_finished_twice_and_at_once_is_the_same_answer(gateway: TestedGateway) -> None:
    content = GCODE + b";40\n"
    async with gateway.client() as client:
        path = await begin(client, content)
        await append(client, path, 0, content)
        answers = await asyncio.gather(*[client.post(f"{path}/finish") for _ in range(5)])
        answers.append(await client.post(f"{path}/finish"))
        assert {answer.status_code for answer in answers} == {200}
        assert len({answer.text for answer in answers}) == 1
        assert answers[0].json()["artifact"]["sha256"] == hashlib.sha256(content).hexdigest()


async def test_what_came_before_a_break_is_kept_and_gone_on_from(gateway: TestedGateway) -> None:
    content = GCODE * 20_000
    async with gateway.client() as client:
        path = await begin(client, content)
        _, writer = await gateway.connect()
        writer.write(gateway.head("PATCH", path, "Upload-Offset: 0", f"Content-Length: {len(content)}"))
        writer.write(content[:700_001])
        await writer.drain()
        await close(writer)
        offset = 0
        while offset != 700_001:
            # As soon as the gateway has noticed.
            offset = int((await client.head(path)).headers["upload-offset"])
        while (answer := await append(client, path, offset, content[offset:])).status_code == 409:
            assert answer.json()["code"] == "UPLOAD_BUSY"
        assert answer.status_code == 200, answer.text
        done = (await client.post(f"{path}/finish")).json()
        assert done["artifact"]["sha256"] == hashlib.sha256(content).hexdigest()


async def test_what_came_before_a_pause_is_kept(gateway: TestedGateway) -> None:
    content = GCODE * 2_000
    async with (
        gateway_over(gateway.plane, gateway.keys, body_grace_seconds=0.2) as impatient,
        impatient.client() as client,
    ):
        path = await begin(client, content)
        head = impatient.head("PATCH", path, "Upload-Offset: 0", f"Content-Length: {len(content)}")
        answer = await impatient.raw(head, content[:5_000])
        assert (answer.status, answer.closed) == (408, True)
        assert (await client.head(path)).headers["upload-offset"] == "5000"


async def test_an_upload_thrown_away_is_gone(gateway: TestedGateway) -> None:
    async with gateway.client() as client:
        path = await begin(client, GCODE * 3)
        assert (await client.delete(path)).status_code == 204
        assert (await client.delete(path)).status_code == 204
        assert code_of(await client.get(path)) == (404, "NOT_FOUND")
        assert code_of(await append(client, path, 0, b"x")) == (404, "NOT_FOUND")


async def test_a_form_file_is_hashed_as_it_was_sent(gateway: TestedGateway) -> None:
    content = GCODE + b"G1 X1\r\n--not-the-boundary\r\n" * 50_000
    answer = await post_form(gateway, form(content=content, job=json.dumps({"name": "large"}).encode()))
    assert answer.status_code == 202, answer.text
    assert answer.json()["artifact_sha256"] == hashlib.sha256(content).hexdigest()
