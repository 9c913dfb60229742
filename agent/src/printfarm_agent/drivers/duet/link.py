"""The two servers that speak for a Duet, behind one shape: the model, G-code, and files.

Standalone: eight places for all clients, a key tied to the address, every answer closes, and a lost key is 401 for a GET but
500 for a POST. SBC: keys as text, 401 or 403, 502 and 503 while its parts disagree or the board does not answer.
"""

import asyncio
import time
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from ...driver import BadReply, ConnectionLost, OutcomeUnknown, Refused, Sent
from ...secret import Secret
from .. import reading
from ..http_peer import Answer, HttpPeer, Upload, upload_seconds
from .model import KEYS

# With no password set this firmware takes any; an empty one broke some versions.
DEFAULT_PASSWORD = "reprap"
_SLOWEST_UPLOAD = 20_000.0
_CRC_BYTES = 1 << 20
_MOST_PARTS = 16
_FULL_PAUSE_SECONDS = 4.0


class NotNow(ConnectionLost):
    """The server answers, and cannot take it at the moment: nothing was carried out, and it may be asked again."""


class Link(Protocol):
    """A server. ``code`` raises Refused or ConnectionLost only if nothing was carried out."""

    async def model(self) -> dict[str, Any]: ...
    async def code(self, text: str) -> None: ...
    async def start(self, target: str) -> str:
        """Once. Returns what the printer says to this very command; empty where replies belong to nobody."""
        ...

    async def reply(self) -> str:
        """What the printer said since it was last asked, to whomever; empty where each command has an answer of its own."""
        ...

    async def upload(self, path: Path, target: str, size: int, sent: Sent) -> None: ...
    async def size(self, target: str) -> int | None: ...
    async def delete(self, target: str) -> None: ...
    async def close(self) -> None: ...


class Standalone:
    """RepRapFirmware's own server."""

    def __init__(self, url: str, password: Secret | None, seconds: float) -> None:
        self._peer = HttpPeer(url, connect_seconds=min(3.0, seconds), seconds=seconds)
        self._url, self._password, self._seconds = url, password, seconds
        self._key: str | None = None
        # Without a key too: before 3.5 the address is what a session is known by.
        self._is_connected = False
        self._is_borrowed = False
        self._full_until = 0.0
        self._model: dict[str, Any] = {}
        self._seqs: Mapping[str, Any] = {}
        self.is_emulated = False

    def beside(self, seconds: float) -> "Standalone":
        """Another way to the same board, in the same place: there may be no second one."""
        other = Standalone(self._url, self._password, seconds)
        other._key, other._is_connected, other._is_borrowed = self._key, self._is_connected, True
        return other

    async def connect(self) -> None:
        """Takes a place. Raises Refused, ConnectionLost; sets ``is_emulated`` where an SBC answers instead."""
        if time.monotonic() < self._full_until:
            raise ConnectionLost("the printer has no place for another client; tried again shortly")
        query = {"password": _revealed(self._password), "sessionKey": "yes", "time": time.strftime("%Y-%m-%dT%H:%M:%S")}
        answer = await self._peer.ask("GET", "/rr_connect", query=query)
        if answer.status == 404:
            self.is_emulated = True
            return
        said = _object(answer)
        self.is_emulated = said.get("isEmulated") is True
        match said.get("err"):
            case 0:
                key = said.get("sessionKey")
                self._key = str(key) if isinstance(key, int) else None
                self._is_connected, self._is_borrowed = True, False
                # Another session: what changed since is not known.
                self._model, self._seqs = {}, {}
            case 1:
                raise Refused(_wrong_password(self._password))
            case 2:
                self._full_until = time.monotonic() + _FULL_PAUSE_SECONDS
                raise ConnectionLost("the printer has no place for another client; tried again shortly")
            case _:
                raise BadReply("the printer answered the connection with something else")

    async def _ask(self, method: str, path: str, **given: Any) -> Answer:
        """A lost key means that nothing was carried out: connects anew, once, and asks again."""
        if not self._is_connected:
            await self.connect()
        answer = await self._peer.ask(method, path, headers=self._headers(), **given)
        lost = answer.status in (401, 403) or (
            method == "POST" and answer.status == 500 and b"authenticated" in answer.body
        )
        if lost:
            await self.connect()
            answer = await self._peer.ask(method, path, headers=self._headers(), **given)
        if answer.status == 503:
            # Out of buffers; an unread reply holds some.
            await self._peer.ask("GET", "/rr_reply", headers=self._headers())
            raise NotNow("the printer is out of buffers")
        if answer.status in (401, 403):
            raise Refused("the printer does not keep this client's session")
        return answer

    def _headers(self) -> dict[str, str]:
        return {} if self._key is None else {"X-Session-Key": self._key}

    async def model(self) -> dict[str, Any]:
        live = await self._get_model({"flags": "d99fn"})
        if not isinstance(live, dict):
            raise BadReply("the printer's object model is something else")
        seqs = reading.table(live.get("seqs"))
        for key in KEYS:
            if key not in self._model or seqs.get(key) != self._seqs.get(key):
                self._model[key] = await self._whole_key(key)
        self._seqs = dict(seqs)
        for key in KEYS:
            self._model[key] = _merged(self._model[key], live.get(key))
        return self._model

    async def _whole_key(self, key: str) -> Any:
        """Long arrays come in parts."""
        found: Any = None
        start = 0
        for _ in range(_MOST_PARTS):
            flags = "d99vn" + (f"a{start}" if start else "")
            said = await self._get_answer({"key": key, "flags": flags})
            part = said.get("result")
            found = found + part if isinstance(found, list) and isinstance(part, list) else part
            start = reading.count(said.get("next")) or 0
            if not start:
                break
        return found

    async def _get_model(self, query: Mapping[str, str]) -> Any:
        return (await self._get_answer(query)).get("result")

    async def _get_answer(self, query: Mapping[str, str]) -> Mapping[str, Any]:
        return _object(await self._ask("GET", "/rr_model", query=query))

    async def code(self, text: str) -> None:
        answer = await self._ask("GET", "/rr_gcode", query={"gcode": text})
        if answer.status != 200:
            raise OutcomeUnknown(f"the printer answered {answer.status}")
        if reading.table(answer.json()).get("err"):
            raise Refused("the printer's buffer for commands is full")

    async def start(self, target: str) -> str:
        await self.code(_start(target))
        return ""

    async def reply(self) -> str:
        return (await self._ask("GET", "/rr_reply")).text()

    async def upload(self, path: Path, target: str, size: int, sent: Sent) -> None:
        checksum = await _crc32(path)
        query = {"name": target, "crc32": f"{checksum:08x}", "time": time.strftime("%Y-%m-%dT%H:%M:%S")}
        body = Upload(path, size, sent, whole_seconds=upload_seconds(size, _SLOWEST_UPLOAD))
        answer = await self._ask("POST", "/rr_upload", query=query, body=body)
        if answer.status != 200 or reading.table(answer.json()).get("err") != 0:
            raise Refused("the printer did not store the file: its card is full, or the bytes came damaged")

    async def size(self, target: str) -> int | None:
        said = _object(await self._ask("GET", "/rr_fileinfo", query={"name": target}, seconds=2 * self._seconds))
        return None if said.get("err") else reading.count(said.get("size"))

    async def delete(self, target: str) -> None:
        said = _object(await self._ask("GET", "/rr_delete", query={"name": target}))
        if said.get("err") and await self.size(target) is not None:
            raise Refused("the printer did not delete the file")

    async def close(self) -> None:
        if self._key is not None and not self._is_borrowed:
            try:
                await self._peer.ask("GET", "/rr_disconnect", headers=self._headers(), seconds=2.0)
            except (ConnectionLost, OutcomeUnknown):
                # It frees the place by itself after 8 seconds.
                self._key = None
        await self._peer.close()


class Sbc:
    """DuetSoftwareFramework."""

    def __init__(self, url: str, password: Secret | None, seconds: float) -> None:
        self._peer = HttpPeer(url, connect_seconds=min(3.0, seconds), seconds=seconds)
        self._password = password
        self._key: str | None = None

    async def connect(self) -> None:
        """Takes a session. Raises Refused, ConnectionLost."""
        answer = await self._peer.ask("GET", "/machine/connect", query={"password": _revealed(self._password)})
        if answer.status in (401, 403):
            raise Refused(_wrong_password(self._password))
        self._key = reading.text(_object(answer).get("sessionKey"), 128) or None

    async def _ask(self, method: str, path: str, **given: Any) -> Answer:
        if self._key is None:
            await self.connect()
        answer = await self._peer.ask(method, path, headers=self._headers(), **given)
        if answer.status in (401, 403):
            await self.connect()
            answer = await self._peer.ask(method, path, headers=self._headers(), **given)
        if answer.status in (401, 403):
            raise Refused("the printer does not keep this client's session")
        if answer.status in (502, 503):
            raise NotNow("the board behind the printer's computer does not answer, or its software parts differ")
        return answer

    def _headers(self) -> dict[str, str]:
        return {} if self._key is None else {"X-Session-Key": self._key}

    async def model(self) -> dict[str, Any]:
        return dict(_object(await self._ask("GET", "/machine/model")))

    async def code(self, text: str) -> None:
        # At once, and not when it was carried out: a command that waits must hold nothing up.
        await self._code(text, {"async": "true"})

    async def _code(self, text: str, query: Mapping[str, str]) -> str:
        answer = await self._ask("POST", "/machine/code", query=query, body=text)
        if not 200 <= answer.status < 300:
            raise OutcomeUnknown(f"the printer answered {answer.status}")
        return answer.text()

    async def start(self, target: str) -> str:
        # It waits for nothing on a printer that is idle, and its answer is nobody else's.
        return await self._code(_start(target), {})

    async def reply(self) -> str:
        return ""

    async def upload(self, path: Path, target: str, size: int, sent: Sent) -> None:
        body = Upload(path, size, sent, whole_seconds=upload_seconds(size, _SLOWEST_UPLOAD))
        answer = await self._ask("PUT", _file(target), body=body)
        if answer.status != 201:
            raise Refused(f"the printer did not store the file: {answer.text() or answer.status}")

    async def size(self, target: str) -> int | None:
        answer = await self._ask("GET", f"/machine/fileinfo/{quote(target, safe='')}")
        return reading.count(_object(answer).get("size")) if answer.status == 200 else None

    async def delete(self, target: str) -> None:
        answer = await self._ask("DELETE", _file(target))
        if answer.status not in (204, 404):
            raise Refused(f"the printer did not delete the file: {answer.text() or answer.status}")

    async def close(self) -> None:
        if self._key is not None:
            try:
                await self._peer.ask("GET", "/machine/disconnect", headers=self._headers(), seconds=2.0)
            except (ConnectionLost, OutcomeUnknown):
                self._key = None
        await self._peer.close()


def _start(target: str) -> str:
    return f'M32 "{target}"'


def _file(target: str) -> str:
    return f"/machine/file/{quote(target, safe='')}"


def _object(answer: Answer) -> Mapping[str, Any]:
    if answer.status != 200:
        raise BadReply(f"the printer answered {answer.status}")
    said = answer.json()
    if not isinstance(said, dict):
        raise BadReply("the printer answered something else than an object")
    return said


def _merged(whole: Any, live: Any) -> Any:
    """The live values over the whole: objects deeply, arrays place by place."""
    if isinstance(whole, dict) and isinstance(live, dict):
        return {**whole, **{key: _merged(whole.get(key), value) for key, value in live.items()}}
    if isinstance(whole, list) and isinstance(live, list) and len(live) <= len(whole):
        return [_merged(old, new) for old, new in zip(whole, live, strict=False)] + whole[len(live) :]
    return whole if live is None else live


def _revealed(password: Secret | None) -> str:
    if password is None:
        return DEFAULT_PASSWORD
    try:
        return password.reveal()
    except ValueError as error:
        raise Refused(str(error)) from error


def _wrong_password(password: Secret | None) -> str:
    if password is None:
        return "the printer has a password: name its file in password_file"
    return f"the printer does not accept {password}"


async def _crc32(path: Path) -> int:
    def work() -> int:
        checksum = 0
        with path.open("rb") as file:
            while chunk := file.read(_CRC_BYTES):
                checksum = zlib.crc32(chunk, checksum)
        return checksum

    return await asyncio.to_thread(work)
