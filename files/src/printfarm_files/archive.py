"""A ZIP from anybody, opened only if it can do no harm: bad inputs 46, 47 and 50.

Checked before anything is unpacked: where its directory lies, how many entries it has, that they do not overlap and leave
no room for another file before, between or after them, their names, flags and sizes. While unpacking: the size and checksum
that the directory states, no more.
"""

import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from .errors import Refused

MOST_ENTRIES = 10_000
MOST_BYTES = 4 << 30
MOST_RATIO = 200
_MOST_DIRECTORY_BYTES = 4 << 20
_SMALL = 1 << 20
_END = struct.Struct("<4s4H2IH")
_END_64 = struct.Struct("<4sQ2H2I4Q")
_LOCATOR_64 = struct.Struct("<4sIQI")
_LOCAL = struct.Struct("<4s5H3I2H")
_DESCRIPTOR_BYTES = 24
_PIECE = 1 << 16
_DRIVE = re.compile(r"^[A-Za-z]:")


class Archive:
    """What lies in it, by name. Nothing is written to disk."""

    def __init__(self, file: BinaryIO, zipped: zipfile.ZipFile) -> None:
        self._file = file
        self._zip = zipped
        self._entries = {entry.filename: entry for entry in zipped.infolist()}
        _check_entries(file, zipped)

    @property
    def names(self) -> tuple[str, ...]:
        """Of all files, in the order of the directory."""
        return tuple(self._entries)

    def size(self, name: str) -> int:
        """Unpacked, as the directory states and reading enforces. Raises KeyError."""
        return self._entries[name].file_size

    def read(self, name: str, most_bytes: int) -> bytes:
        """A whole small file. Raises Refused if it is larger, broken or not there."""
        if name not in self._entries:
            raise Refused(f"the archive has no {name}")
        if self._entries[name].file_size > most_bytes:
            raise Refused(f"{name} in the archive is larger than {most_bytes} bytes")
        return b"".join(self.pieces(name))

    def pieces(self, name: str) -> Iterator[bytes]:
        """The file bit by bit. Raises Refused if it is broken or more than was stated."""
        entry = self._entries[name]
        left = entry.file_size
        try:
            with self._zip.open(entry) as stream:
                while piece := stream.read(_PIECE):
                    left -= len(piece)
                    if left < 0:
                        raise Refused(f"{name} in the archive is larger than its directory says")
                    yield piece
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError) as error:
            raise Refused(f"{name} in the archive is broken: {_plain(error)}") from None
        if left:
            raise Refused(f"{name} in the archive is smaller than its directory says")


@contextmanager
def open_archive(path: Path) -> Iterator[Archive]:
    """Raises Refused for what is broken or hostile, OSError."""
    with path.open("rb") as file:
        _check_end(file)
        try:
            zipped = zipfile.ZipFile(file)
        except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError, struct.error) as error:
            raise Refused(f"the archive is broken: {_plain(error)}") from None
        with zipped:
            yield Archive(file, zipped)


def _plain(error: Exception) -> str:
    return "".join(c for c in str(error) if c.isprintable())[:120]


def _check_end(file: BinaryIO) -> None:
    """The directory is small and lies where the end says, with nothing after it: before a million entries are made of it."""
    size = file.seek(0, 2)
    file.seek(max(0, size - _END.size - 0xFFFF))
    tail = file.read()
    place = tail.rfind(b"PK\x05\x06")
    if place < 0 or len(tail) - place < _END.size:
        raise Refused("the archive is cut off: it has no end")
    _, disk, directory_disk, _, entries, length, offset, comment = _END.unpack_from(tail, place)
    at = size - len(tail) + place
    if disk or directory_disk:
        raise Refused("the archive is one of several parts")
    if at + _END.size + comment != size:
        raise Refused("the archive has bytes after its end")
    if 0xFFFF in (entries,) or 0xFFFFFFFF in (length, offset):
        entries, length, offset, at = _end_64(file, at)
    if entries > MOST_ENTRIES or length > _MOST_DIRECTORY_BYTES:
        raise Refused(f"the archive has more than {MOST_ENTRIES} entries")
    if offset + length != at:
        raise Refused("the archive's directory is not where its end says")


def _end_64(file: BinaryIO, at: int) -> tuple[int, int, int, int]:
    file.seek(max(0, at - _LOCATOR_64.size))
    locator = file.read(_LOCATOR_64.size)
    if len(locator) < _LOCATOR_64.size or not locator.startswith(b"PK\x06\x07"):
        raise Refused("the archive's end is broken")
    place = _LOCATOR_64.unpack(locator)[2]
    file.seek(place if place < at else at)
    end = file.read(_END_64.size)
    if len(end) < _END_64.size or not end.startswith(b"PK\x06\x06") or place + _END_64.size + _LOCATOR_64.size != at:
        raise Refused("the archive's end is broken")
    *_, entries, length, offset = _END_64.unpack(end)
    return entries, length, offset, place


def _check_entries(file: BinaryIO, zipped: zipfile.ZipFile) -> None:
    entries = zipped.infolist()
    if len(entries) > MOST_ENTRIES:
        raise Refused(f"the archive has more than {MOST_ENTRIES} entries")
    if sum(entry.file_size for entry in entries) > MOST_BYTES:
        raise Refused(f"the archive unpacks to more than {MOST_BYTES >> 30} GiB")
    seen: set[str] = set()
    for entry in entries:
        _check_name(entry.orig_filename)
        if entry.filename.casefold() in seen:
            raise Refused("the archive has two entries of the same name")
        seen.add(entry.filename.casefold())
        if entry.flag_bits & 0x41:
            raise Refused("the archive is encrypted")
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise Refused("the archive has a symbolic link")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise Refused("the archive uses a compression that 3MF does not allow")
        if entry.file_size > max(_SMALL, entry.compress_size * MOST_RATIO):
            raise Refused(f"the archive unpacks to more than {MOST_RATIO} times its size")
    _check_places(file, zipped, entries)


def _check_name(name: str) -> None:
    parts = name.split("/")
    strange = any(not c.isprintable() for c in name) or "\\" in name or _DRIVE.match(name)
    if not name or strange or name.startswith("/") or ".." in parts or len(name) > 512:
        raise Refused("the archive has an entry whose name leads elsewhere")


def _check_places(file: BinaryIO, zipped: zipfile.ZipFile, entries: list[zipfile.ZipInfo]) -> None:
    """One after the other, from the first byte to the directory: no overlap, and nowhere to hide another file."""
    end = 0
    for entry in sorted(entries, key=lambda entry: entry.header_offset):
        gap = entry.header_offset - end
        if gap < 0:
            raise Refused("the archive's entries overlap")
        if gap > _DESCRIPTOR_BYTES:
            raise Refused("the archive has bytes between its entries")
        file.seek(entry.header_offset)
        local = file.read(_LOCAL.size)
        if len(local) < _LOCAL.size or not local.startswith(b"PK\x03\x04"):
            raise Refused("the archive's directory points to where no entry is")
        *_, name, extra = _LOCAL.unpack(local)
        end = entry.header_offset + _LOCAL.size + name + extra + entry.compress_size
    if end > zipped.start_dir:
        raise Refused("the archive's entries overlap its directory")
    if zipped.start_dir - end > _DESCRIPTOR_BYTES:
        raise Refused("the archive has bytes after its entries")
