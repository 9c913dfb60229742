"""A job and its file in one request: parsed as it comes, the file passed on while it comes, never whole in memory."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from printfarm.control.v1 import artifact_service_pb2 as pb
from printfarm_rpc.errors import Code
from printfarm_rpc.limits import CHUNK_BYTES

from .control_client import ControlClient, Principal
from .problems import Problem, wrong_field
from .schemas import JobFields
from .strict import loads

MOST_PARTS = 8
HEADER_BYTES = 8 * 1024
JOB_BYTES = 256 * 1024
# Before the first part, and after the last.
PREAMBLE_BYTES = EPILOGUE_BYTES = 4 * 1024
# What two readers may understand differently: extended parameters (RFC 7578 forbids them here), escaped quotes, control
# characters.
_AMBIGUOUS = re.compile(rb";\s*(?:file)?name\s*\*|\\\"|[\x00-\x08\x0a-\x1f\x7f]", re.IGNORECASE)


class _Form:
    """The parser's callbacks, turned into parts."""

    def __init__(self) -> None:
        self.parts = 0
        self.header_bytes = 0
        self.job = bytearray()
        self.file = bytearray()
        self.file_name = ""
        self.seen: set[str] = set()
        self.current = ""
        self.ended = False
        self._field = bytearray()
        self._value = bytearray()
        self._headers: list[tuple[bytes, bytes]] = []

    def callbacks(self) -> Any:
        return {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, a, b: self._add(self._field, data[a:b]),
            "on_header_value": lambda data, a, b: self._add(self._value, data[a:b]),
            "on_header_end": self._header,
            "on_headers_finished": self._headers_done,
            "on_part_data": self._data,
            "on_end": self._end,
        }

    def _begin(self) -> None:
        self.parts += 1
        if self.parts > MOST_PARTS:
            raise _malformed("too many parts: send `file` and `job`")
        self.header_bytes, self._headers = 0, []

    def _add(self, target: bytearray, data: bytes) -> None:
        self.header_bytes += len(data)
        if self.header_bytes > HEADER_BYTES:
            raise _malformed("a part's headers are too large")
        target += data

    def _header(self) -> None:
        self._headers.append((bytes(self._field).lower(), bytes(self._value)))
        self._field, self._value = bytearray(), bytearray()

    def _headers_done(self) -> None:
        dispositions = [value for name, value in self._headers if name == b"content-disposition"]
        if len(dispositions) != 1:
            raise _malformed("each part needs one Content-Disposition")
        if _AMBIGUOUS.search(dispositions[0]) or dispositions[0].count(b'"') % 2:
            raise _malformed(
                "write plain names in Content-Disposition: no name*, no escaped or open quotes, no control characters"
            )
        kind, options = parse_options_header(dispositions[0])
        if kind.lower() != b"form-data":
            raise _malformed("Content-Disposition must be form-data")
        name = options.get(b"name", b"").decode("utf-8", "replace")
        if name not in ("file", "job"):
            raise wrong_field(_shown(name) or "name", "is not a known part: send `file` and `job`")
        if name in self.seen:
            raise wrong_field(name, "is there twice: send it once")
        self.seen.add(name)
        self.current = name
        if name == "file":
            self.file_name = options.get(b"filename", b"").decode("utf-8", "replace")

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self.current == "file":
            self.file += memoryview(data)[start:end]
            return
        self.job += data[start:end]
        if len(self.job) > JOB_BYTES:
            raise wrong_field("job", f"must have at most {JOB_BYTES} bytes")

    def _end(self) -> None:
        self.ended = True


def _shown(name: str) -> str:
    return "".join(c for c in name if c.isprintable())[:100]


def _malformed(why: str) -> Problem:
    return Problem(Code.MALFORMED, why, status=400)


async def receive_form(request: Request, control: ControlClient, who: Principal) -> tuple[JobFields, str]:
    """The job's fields, and the digest of its file, which is stored by then. Raises Problem, FarmError."""
    _, options = parse_options_header(request.headers.get("content-type", ""))
    boundary = options.get(b"boundary", b"")
    if not 1 <= len(boundary) <= 70:
        raise _malformed("Content-Type needs a boundary of 1 to 70 characters")
    form = _Form()
    pieces: asyncio.Queue[bytes | None] = asyncio.Queue(maxsize=4)
    storing = asyncio.create_task(control.send(control.artifacts.StoreArtifact, _requests(form, pieces), who))
    try:
        await _parse(request, MultipartParser(boundary, form.callbacks()), form, pieces, storing)
        fields = _fields(form)
        await _put(pieces, None, storing)
        stored = await storing
    except BaseException:
        storing.cancel()
        await asyncio.gather(storing, return_exceptions=True)
        raise
    return fields, stored.artifact.sha256


async def _parse(
    request: Request,
    parser: MultipartParser,
    form: _Form,
    pieces: "asyncio.Queue[bytes | None]",
    storing: "asyncio.Task[Any]",
) -> None:
    came = after = 0
    async for chunk in request.stream():
        if not chunk:
            continue
        came += len(chunk)
        after += len(chunk) if form.ended else 0
        if after > EPILOGUE_BYTES:
            raise _malformed("nothing may follow the closing boundary")
        try:
            parser.write(chunk)
        except FormParserError as error:
            raise _malformed("the multipart body cannot be read") from error
        if came > PREAMBLE_BYTES and form.parts == 0:
            raise _malformed("no part begins within the first bytes")
        # In large pieces: each one costs a message, and a turn of the thread that writes it.
        while len(form.file) >= CHUNK_BYTES:
            piece = bytes(memoryview(form.file)[:CHUNK_BYTES])
            del form.file[:CHUNK_BYTES]
            await _put(pieces, piece, storing)
    if form.file:
        await _put(pieces, bytes(form.file), storing)
    try:
        parser.finalize()
    except FormParserError as error:
        raise _malformed("the multipart body ends too early") from error
    if not form.ended:
        raise _malformed("the multipart body has no closing boundary")


async def _put(pieces: "asyncio.Queue[bytes | None]", piece: bytes | None, storing: "asyncio.Task[Any]") -> None:
    """Waits for room, unless the storing has ended: then its error is raised."""
    putting = asyncio.ensure_future(pieces.put(piece))
    await asyncio.wait((putting, storing), return_when=asyncio.FIRST_COMPLETED)
    if storing.done() and not putting.done():
        putting.cancel()
        await storing


def _fields(form: _Form) -> JobFields:
    for name in ("file", "job"):
        if name not in form.seen:
            raise wrong_field(name, "is missing: send the parts `file` and `job`")
    try:
        return JobFields.model_validate(loads(bytes(form.job)))
    except ValidationError as error:
        wrong = [{**each, "loc": ("body", *each["loc"])} for each in error.errors()]
        raise RequestValidationError(wrong) from error


async def _requests(form: _Form, pieces: "asyncio.Queue[bytes | None]") -> AsyncIterator[pb.StoreArtifactRequest]:
    first = await pieces.get()
    yield pb.StoreArtifactRequest(display_name=form.file_name[:1_000], chunk=first or b"")
    while first is not None and (piece := await pieces.get()) is not None:
        yield pb.StoreArtifactRequest(chunk=piece)
