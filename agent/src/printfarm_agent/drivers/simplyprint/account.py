"""One account in the cloud: polled once for all of its printers, never faster than agreed, and left alone when it says so."""

import asyncio
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from ...driver import BadReply, ConnectionLost, OutcomeUnknown, Refused, Sent
from ...secret import Secret
from .. import reading
from ..form import content_type, form
from ..http_peer import Answer, HttpPeer, Upload, upload_seconds
from . import protocol

_PAGE = 100
# The agreed part is 100 MB.
PART_BYTES = 95 << 20
_SLOWEST_UPLOAD = 50_000.0
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 60.0, 900.0
_URGENT_SECONDS = 1.0
_ACCOUNTS: "WeakValueDictionary[tuple[object, ...], Account]" = WeakValueDictionary()


def account(
    company_id: int, key: Secret, api_url: str, files_url: str, seconds: float, poll_seconds: float
) -> "Account":
    """The same for every printer of one account in this process, while any of them is open."""
    name = (asyncio.get_running_loop(), company_id, key.key, key.place, api_url, files_url)
    found = _ACCOUNTS.get(name)
    if found is None:
        found = _ACCOUNTS[name] = Account(company_id, key, api_url, files_url, seconds, poll_seconds)
    return found


class Account:
    """The API with one key. Query and body are kept apart as it wants them: what is misplaced is dropped without a word."""

    def __init__(
        self, company_id: int, key: Secret, api_url: str, files_url: str, seconds: float, poll_seconds: float
    ) -> None:
        self._peer = HttpPeer(api_url, seconds=seconds)
        self._company, self._key, self._files_url = company_id, key, files_url
        self._poll_seconds = poll_seconds
        self._lock = asyncio.Lock()
        self._hurry = asyncio.Event()
        self._rows: dict[int, protocol.Row] = {}
        # When the last poll began, and the last that succeeded.
        self._polled_at = self._fresh_at = float("-inf")
        self._users = 0
        # Name -> id of what was uploaded; each is thrown away with its run.
        self.uploads: dict[str, str] = {}
        self._pause, self._paused_until = _FIRST_PAUSE_SECONDS, 0.0

    async def printer(self, number: int, *, urgent: bool = False) -> protocol.Row:
        """A look that began after this call. Raises ConnectionLost, BadReply, Refused."""
        asked_at = time.monotonic()
        if urgent:
            self._hurry.set()
        async with self._lock:
            if self._fresh_at < asked_at:
                await self._wait_for_turn()
                began_at = self._polled_at = time.monotonic()
                self._rows = await self._poll()
                self._fresh_at = began_at
        if number not in self._rows:
            raise ConnectionLost(f"the account has no printer {number}: see printer_id and company_id")
        return self._rows[number]

    async def _wait_for_turn(self) -> None:
        least = self._polled_at + min(_URGENT_SECONDS, self._poll_seconds)
        if (left := least - time.monotonic()) > 0:
            await asyncio.sleep(left)
        left = self._polled_at + self._poll_seconds - time.monotonic()
        if left > 0:
            try:
                async with asyncio.timeout(left):
                    await self._hurry.wait()
            except TimeoutError:
                pass
        self._hurry.clear()

    async def _poll(self) -> dict[int, protocol.Row]:
        found: dict[int, protocol.Row] = {}
        page = pages = 1
        while page <= pages:
            said = await self.call("printers/Get", body={"page": page, "page_size": _PAGE}, reads=True)
            found |= {row.number: row for row in protocol.rows(said)}
            pages, page = protocol.pages(said), page + 1
        return found

    async def call(
        self,
        path: str,
        *,
        method: str = "POST",
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        reads: bool = False,
        urgent: bool = False,
    ) -> Mapping[str, Any]:
        """One call. Raises Refused for a no, ConnectionLost where nothing was done, OutcomeUnknown if it may have been."""
        self._check_pause(urgent=urgent)
        answer = await self._peer.ask(
            method,
            f"/{self._company}/{path}",
            headers=self._headers(),
            query=query,
            body=None if method == "GET" else body,
        )
        return self._said(answer, reads=reads)

    def _said(self, answer: Answer, *, reads: bool) -> Mapping[str, Any]:
        if answer.status == 429:
            wait = _seconds(answer.headers.get("retry-after", "")) or self._pause
            self._pause = min(2 * self._pause, _LONGEST_PAUSE_SECONDS)
            self._paused_until = time.monotonic() + wait
            raise ConnectionLost(f"SimplyPrint wants fewer calls: none for {wait:.0f} s")
        if answer.status in (401, 403):
            raise Refused(f"SimplyPrint does not accept {self._key}, or the key may not do this: {answer.text()[:128]}")
        if answer.status >= 500:
            raise (ConnectionLost if reads else OutcomeUnknown)(f"SimplyPrint is not well: it answered {answer.status}")
        said = protocol.envelope(answer.status, answer.json())
        self._pause = _FIRST_PAUSE_SECONDS
        return said

    def _check_pause(self, *, urgent: bool) -> None:
        left = self._paused_until - time.monotonic()
        if left > 0 and not urgent:
            raise ConnectionLost(f"SimplyPrint wants fewer calls: none for {left:.0f} s")

    def _headers(self) -> dict[str, str]:
        try:
            return {"X-API-KEY": self._key.reveal()}
        except ValueError as error:
            raise Refused(str(error)) from error

    # -- files: another host, the same key

    async def upload(self, path: Path, name: str, size: int, sent: Sent) -> str:
        """Returns the file's id, good for about a day. A piece at a time; a repeated upload makes another file, harmlessly."""
        done, fields = 0, {"totalSize": str(size)} if size > PART_BYTES else dict[str, str]()
        while True:
            part = min(PART_BYTES, size - done)
            said = await self._put_part(path, name, done, part, fields, _after(sent, done))
            done += part
            if done >= size:
                break
            token = reading.text(said.get("continueToken"), 512)
            if not token or not token.isascii():
                raise BadReply("SimplyPrint does not say how the upload goes on")
            fields = {"continueToken": token}
        stored = protocol.file_size(said)
        if stored is not None and stored != size:
            raise Refused(f"SimplyPrint stored {stored} of {size} bytes")
        return protocol.file_id(said)

    async def _put_part(
        self, path: Path, name: str, offset: int, size: int, fields: Mapping[str, str], sent: Sent
    ) -> Mapping[str, Any]:
        self._check_pause(urgent=False)
        boundary = uuid.uuid4().hex
        before, after = form(boundary, fields, name)
        whole = upload_seconds(size, _SLOWEST_UPLOAD)
        upload = Upload(path, size, sent, whole_seconds=whole, before=before, after=after, offset=offset)
        headers = self._headers() | {"Content-Type": content_type(boundary)}
        answer = await self._peer.ask(
            "POST", f"/{self._company}/files/Upload", headers=headers, body=upload, base_url=self._files_url
        )
        return self._said(answer, reads=False)

    def enter(self) -> None:
        """One more printer uses it."""
        self._users += 1

    async def leave(self) -> None:
        """The last one closes it."""
        self._users -= 1
        if self._users <= 0:
            await self._peer.close()


def _after(sent: Sent, before: int) -> Sent:
    return lambda now: sent(before + now)


def _seconds(text: str) -> float:
    return float(min(int(text), 3600)) if text.isdecimal() and len(text) < 6 else 0.0
