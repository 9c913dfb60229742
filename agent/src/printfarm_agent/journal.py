"""What must survive this process: epochs, the run of each printer, facts not yet acknowledged. One file, one writer thread.

SQLite with ``synchronous=FULL``: when ``commit`` returns, the page and its events are on the disk, as one. Commits that wait
for the writer at the same time share one sync.
"""

import asyncio
import json
import queue
import sqlite3
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from printfarm.agent.v1 import agent_service_pb2 as pb
from printfarm_rpc.durability import end_if_fsync_failed
from printfarm_rpc.failpoints import failpoint

from .driver import Handle
from .execution import Book, Event, LocalRun, Stage
from .wire import agent_event

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS page (
    printer_id TEXT PRIMARY KEY, max_epoch INTEGER NOT NULL, run TEXT,
    stop_done INTEGER NOT NULL, stop_released INTEGER NOT NULL, left_files TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS event (sequence INTEGER PRIMARY KEY, payload BLOB NOT NULL, at REAL NOT NULL);
"""
VERSION = 1
MOST_BYTES = 256 << 20
_BATCH = 64


# What SQLite says of a file whose content is wrong; any other error is of the disk, the folder or the moment.
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_UNMET = "opened_at_sequence"


class JournalCorrupt(Exception):
    """The file is there and cannot be trusted. It is left as it is, for a person."""


class JournalUnavailable(Exception):
    """It cannot be opened now: a full disk, a folder without rights. Nothing is known against the file; a later try may do."""


@dataclass(frozen=True, slots=True)
class _Entry:
    printer_id: str
    book: Book
    events: tuple[Event, ...]
    done: Callable[[BaseException | None], None]


@dataclass(frozen=True, slots=True)
class _Acknowledged:
    sequence: int


@dataclass(frozen=True, slots=True)
class _Above:
    """What waits is numbered anew, above a sequence."""

    sequence: int
    done: Callable[[BaseException | None], None]


_Work = _Entry | _Acknowledged | _Above


class Journal:
    """Opened once per agent. Reads happen at start; after that only the writer thread touches the file."""

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        self._path = path
        self._clock = clock
        self._work: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        with _judged(path):
            self._connection = _open(path)
        try:
            with _judged(path):
                self._read()
        except BaseException:
            self._connection.close()
            raise
        self._lock = threading.Lock()
        self._bytes = sum(len(payload) for payload, _ in self._waiting.values())
        self._thread = threading.Thread(target=self._write_for_ever, name="journal", daemon=True)

    def _read(self) -> None:
        self.journal_id = self._meta("journal_id", str(uuid.uuid4()))
        self.max_sequence = self._highest()
        # The highest number when no coordinator had welcomed this copy yet; None once one has. Numbers above it may be known to
        # the coordinator as those of other facts, if the file was restored from an older copy.
        self._opened_at: int | None = int(self._known(_UNMET) or self.max_sequence)
        # Sequence -> payload and when it was journalled, by this process's clock; None for an earlier process's.
        self._waiting: dict[int, tuple[bytes, float | None]] = {
            row[0]: (row[1], None) for row in self._connection.execute("SELECT sequence, payload FROM event ORDER BY 1")
        }

    def __enter__(self) -> "Journal":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._work.put(None)
        self._thread.join()
        self._connection.close()

    def _meta(self, name: str, fresh: str) -> str:
        if (known := self._known(name)) is not None:
            return known
        self._connection.execute("INSERT INTO meta VALUES (?, ?)", (name, fresh))
        return fresh

    def _known(self, name: str) -> str | None:
        row = self._connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def _highest(self) -> int:
        (kept,) = self._connection.execute("SELECT coalesce(max(sequence), 0) FROM event").fetchone()
        return max(int(kept), int(self._meta("last_sequence", "0")))

    def book(self, printer_id: str) -> Book:
        """The page as it was journalled. To be called before the writer begins."""
        row = self._connection.execute(
            "SELECT max_epoch, run, stop_done, stop_released, left_files FROM page WHERE printer_id = ?", (printer_id,)
        ).fetchone()
        if row is None:
            return Book()
        return Book(row[0], _run_from(row[1]), row[2], row[3], tuple(json.loads(row[4])))

    async def commit(self, printer_id: str, book: Book, events: Sequence[Event]) -> None:
        """Returns once the page and its events are on the disk. Raises OSError or sqlite3.Error if they are not."""
        done, tell = self._told()
        self._work.put(_Entry(printer_id, book, tuple(events), tell))
        # A caller that is cancelled here waits no longer and knows nothing: the entry is written all the same.
        await done

    def acknowledge(self, sequence: int) -> None:
        """The coordinator has applied everything up to here: it need not be kept."""
        with self._lock:
            for known in [n for n in self._waiting if n <= sequence]:
                payload, _ = self._waiting.pop(known)
                self._bytes -= len(payload)
        self._work.put(_Acknowledged(sequence))

    def after(self, sequence: int, most: int) -> list[pb.AgentEvent]:
        """The next events that wait, oldest first, with their age as far as this process knows it."""
        now = self._clock()
        with self._lock:
            numbers = sorted(n for n in self._waiting if n > sequence)[:most]
            found = [(n, *self._waiting[n]) for n in numbers]
        made = []
        for number, payload, at in found:
            event = pb.AgentEvent.FromString(payload)
            event.sequence = number
            if at is not None:
                event.age.FromNanoseconds(round(max(0.0, now - at) * 1e9))
            made.append(event)
        return made

    @property
    def told_sequence(self) -> int:
        """The highest number that a coordinator may take for facts of this very journal, for Hello. What was journalled since
        it was opened does not count before the first Welcome: an older copy would look as long as what was applied."""
        return self.max_sequence if self._opened_at is None else self._opened_at

    async def welcomed(self, sequence: int) -> None:
        """A coordinator has applied so much. If that is more than this journal was told of, it was restored from an older copy:
        what waits is numbered anew, above, and nothing is numbered below any more, else new facts were taken for repetitions.
        Nothing may be sent before this returns. Raises OSError or sqlite3.Error, and may be asked again."""
        if self._opened_at is not None or sequence > self.max_sequence:
            done, tell = self._told()
            self._work.put(_Above(sequence, tell))
            await done

    def _told(self) -> "tuple[asyncio.Future[None], Callable[[BaseException | None], None]]":
        """A future for this loop, and what the writer thread settles it with."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()

        def tell(error: BaseException | None) -> None:
            loop.call_soon_threadsafe(_settle, done, error)

        return done, tell

    @property
    def acknowledged(self) -> int:
        """Up to here the events are no longer kept."""
        with self._lock:
            return min(self._waiting, default=self.max_sequence + 1) - 1

    @property
    def waiting(self) -> int:
        """Events not yet acknowledged."""
        return len(self._waiting)

    @property
    def is_full(self) -> bool:
        """No new run is accepted: events are never dropped, so there must be room for those of the runs there are."""
        return self._bytes > MOST_BYTES

    # -- the writer thread

    def _write_for_ever(self) -> None:
        while (first := self._work.get()) is not None:
            batch: list[_Work] = [first]
            stop = False
            while len(batch) < _BATCH and not self._work.empty():
                following = self._work.get()
                if following is None:
                    stop = True
                    break
                batch.append(following)
            self._write(batch)
            if stop:
                return

    def _write(self, batch: Sequence[_Work]) -> None:
        fresh: list[tuple[int, bytes, float]] = []
        entries = [entry for entry in batch if isinstance(entry, _Entry)]
        asked = [each for each in batch if not isinstance(each, _Acknowledged)]
        moved: dict[int, int] = {}
        opened_at = self._opened_at
        try:
            sequence = self.max_sequence
            self._connection.execute("BEGIN IMMEDIATE")
            if opened_at is not None:
                # A process that dies before its first Welcome must not hide from the next what was there at first.
                self._connection.execute("INSERT OR IGNORE INTO meta VALUES (?, ?)", (_UNMET, str(opened_at)))
            for entry in batch:
                if isinstance(entry, _Acknowledged):
                    self._connection.execute("DELETE FROM event WHERE sequence <= ?", (entry.sequence,))
                    continue
                if isinstance(entry, _Above):
                    if entry.sequence > (sequence if opened_at is None else opened_at):
                        sequence = self._move(entry.sequence, moved, fresh)
                    self._connection.execute("DELETE FROM meta WHERE name = ?", (_UNMET,))
                    opened_at = None
                    continue
                self._put_page(entry)
                for event in entry.events:
                    sequence += 1
                    payload = agent_event(entry.printer_id, event).SerializeToString()
                    fresh.append((sequence, payload, self._clock()))
            self._connection.executemany("INSERT INTO event VALUES (?, ?, ?)", fresh)
            if sequence != self.max_sequence:
                self._connection.execute("UPDATE meta SET value = ? WHERE name = 'last_sequence'", (str(sequence),))
            for entry in entries:
                failpoint(f"before_journal.{_what(entry)}")
            self._connection.execute("COMMIT")
        except BaseException as error:
            end_if_fsync_failed(error)
            self._connection.rollback()
            for each in asked:
                each.done(error)
            return
        with self._lock:
            self.max_sequence, self._opened_at = sequence, opened_at
            for old, new in moved.items():
                if old in self._waiting:
                    self._waiting[new] = self._waiting.pop(old)
            for number, payload, at in fresh:
                self._waiting[number] = (payload, at)
                self._bytes += len(payload)
        for entry in entries:
            failpoint(f"after_journal.{_what(entry)}")
        for each in asked:
            each.done(None)

    def _move(self, above: int, moved: dict[int, int], fresh: list[tuple[int, bytes, float]]) -> int:
        """Numbers what waits anew; returns the highest number then. ``fresh`` is what this batch has not written yet."""
        rows = self._connection.execute("SELECT sequence FROM event ORDER BY sequence DESC").fetchall()
        highest = above + len(rows)
        for offset, (old,) in enumerate(rows):
            # From the last to the first: no new number is an old one's.
            self._connection.execute("UPDATE event SET sequence = ? WHERE sequence = ?", (highest - offset, old))
            moved[old] = highest - offset
        for place, (_, payload, at) in enumerate(fresh):
            highest += 1
            fresh[place] = (highest, payload, at)
        return highest

    def _put_page(self, entry: _Entry) -> None:
        book = entry.book
        # The highest epoch never goes back, whatever the caller holds (I6).
        self._connection.execute(
            "INSERT INTO page VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (printer_id) DO UPDATE SET "
            "max_epoch = max(max_epoch, excluded.max_epoch), run = excluded.run, left_files = excluded.left_files, "
            "stop_done = max(stop_done, excluded.stop_done), stop_released = max(stop_released, excluded.stop_released)",
            (
                entry.printer_id,
                book.max_epoch,
                _run_text(book.run),
                book.stop_done,
                book.stop_released,
                json.dumps(book.left_files),
            ),
        )


def _settle(done: "asyncio.Future[None]", error: BaseException | None) -> None:
    if done.done():
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)


def _what(entry: _Entry) -> str:
    return entry.events[-1].kind if entry.events else entry.book.run.stage.value if entry.book.run else "page"


@contextmanager
def _judged(path: Path) -> Iterator[None]:
    """Raises JournalCorrupt only where the content is wrong: that verdict stands until a person has looked."""
    try:
        yield
    except sqlite3.Error as error:
        end_if_fsync_failed(error)
        is_damaged = (getattr(error, "sqlite_errorcode", 0) & 0xFF) in _DAMAGED
        raise (JournalCorrupt if is_damaged else JournalUnavailable)(f"{path.name}: {error}") from error
    except OSError as error:
        raise JournalUnavailable(f"{path.name}: {error.strerror}") from error


def _open(path: Path) -> sqlite3.Connection:
    """A file that cannot be trusted is never deleted or repaired."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=5000"):
            connection.execute(f"PRAGMA {pragma}")
        (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise JournalCorrupt(f"{path.name}: {verdict}")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > VERSION:
            raise JournalCorrupt(f"{path.name} was written by a newer agent (version {version})")
        if version < VERSION:
            connection.executescript(_SCHEMA)
            connection.execute(f"PRAGMA user_version = {VERSION}")
    except BaseException:
        connection.close()
        raise
    return connection


def _run_text(run: LocalRun | None) -> str | None:
    if run is None:
        return None
    values = asdict(run) | {"handle": None}
    if run.handle is not None:
        values["handle"] = {"version": run.handle.version, "facts": dict(run.handle.facts)}
    return json.dumps(values)


def _run_from(text: str | None) -> LocalRun | None:
    if text is None:
        return None
    values: dict[str, Any] = json.loads(text)
    handle = values.pop("handle")
    return LocalRun(
        **values | {"stage": Stage(values["stage"])},
        handle=Handle(handle["version"], handle["facts"]) if handle else None,
    )
