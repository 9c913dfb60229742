"""What files tell of themselves, read in the background: of each that came in, of those that an older reader read, and of
those that a crash came between."""

import asyncio
import time

import structlog

from printfarm_files import READER_VERSION, FileFacts, Kind, Refused

from ..domain.file_facts import StoredFacts
from .farm import Farm, transact
from .file_ports import Artifact
from .leading import Leadership
from .ports import DatabaseUnavailable, NotRead, Writing

_LOG = structlog.get_logger(__name__)
TICK_SECONDS = 10.0
# A file that could not be read for no fault of its own has another try then.
AGAIN_SECONDS = 300.0
MOST_TRIES = 3
_AT_ONCE = 20
_GIVEN_UP = "it could not be read, several times over"


class FactsReader:
    """Reads what was not read yet, one file after another. Keeps nothing but how often it failed."""

    def __init__(self, farm: Farm) -> None:
        self._farm = farm
        self._tries: dict[str, int] = {}
        self._not_before: dict[str, float] = {}

    async def read_once(self) -> int:
        """Reads a few files, the newest first; returns how many."""
        now = time.monotonic()
        waiting = {sha256 for sha256, at in self._not_before.items() if at > now}
        async with self._farm.store.read() as look:
            unread = await look.unread_files(READER_VERSION, _AT_ONCE, waiting)
        for artifact in unread:
            await self._read(artifact)
        return len(unread)

    async def _read(self, artifact: Artifact) -> None:
        facts, reason = None, ""
        try:
            facts = await self._farm.blobs.read_facts(artifact.sha256, Kind(artifact.kind))
        except Refused as error:
            reason = error.reason
        except (NotRead, OSError) as error:
            tries = self._tries[artifact.sha256] = self._tries.get(artifact.sha256, 0) + 1
            _LOG.warning("a file was not read", sha256=artifact.sha256, tries=tries, why=type(error).__name__)
            if tries < MOST_TRIES:
                self._not_before[artifact.sha256] = time.monotonic() + AGAIN_SECONDS
                return
            reason = _GIVEN_UP
        await keep_facts(self._farm, artifact.sha256, facts, reason)
        self._tries.pop(artifact.sha256, None)
        self._not_before.pop(artifact.sha256, None)


async def keep_facts(farm: Farm, sha256: str, facts: FileFacts | None, reason: str = "") -> None:
    """What was read, or why nothing could be."""

    async def work(tx: Writing) -> None:
        await tx.put_file_facts(StoredFacts(sha256, READER_VERSION, tx.now, facts, reason[:500]))

    await transact(farm, "file_facts", work)


async def read_facts_for_ever(farm: Farm, leadership: Leadership) -> None:
    """Looks whenever a file came in, until cancelled. Only where this coordinator leads: each file is read once."""
    reader = FactsReader(farm)
    while True:
        try:
            async with asyncio.timeout(TICK_SECONDS):
                await farm.hints.files.wait()
        except TimeoutError:
            pass
        farm.hints.files.clear()
        try:
            while leadership.leads and await reader.read_once():
                pass
        except DatabaseUnavailable as error:
            _LOG.warning("no file read: the database does not answer", why=str(error))
