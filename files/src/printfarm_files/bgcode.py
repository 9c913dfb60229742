"""Binary G-code (bgcode), after ``doc/specifications.md`` of libbgcode. Little endian throughout."""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from . import heatshrink, meatpack
from .errors import Refused
from .facts import FileFacts, Kind, Thumbnail, Warned
from .gcode import facts_of_text
from .thumbnails import checked

_MOST_BLOCK_BYTES = 64 << 20
_MOST_BLOCKS = 1_000_000
_MOST_META_BYTES = 4 << 20
_MOST_PICTURES = 16
_FILE_META, _GCODE, _SLICER_META, _PRINTER_META, _PRINT_META, _THUMBNAIL = range(6)
_NAMES = ("file metadata", "G-code", "slicer metadata", "printer metadata", "print metadata", "thumbnail")
_NONE, _DEFLATE, _HEATSHRINK_11, _HEATSHRINK_12 = range(4)
_FORMATS = ("png", "jpg", "qoi")
_PLAIN, _MEATPACK, _MEATPACK_COMMENTS = range(3)


@dataclass(frozen=True, slots=True)
class Block:
    """One block, unpacked. ``parameters`` are those of its type."""

    kind: int
    parameters: tuple[int, ...]
    data: bytes


def blocks(file: BinaryIO, *, with_gcode: bool = True) -> Iterator[Block]:
    """In their order, each checked by its CRC where the file has them. Raises Refused for what is broken.

    Without ``with_gcode`` the G-code is stepped over: its place is checked, its contents are not."""
    end = file.seek(0, 2)
    file.seek(0)
    head = file.read(10)
    if len(head) < 10 or head[:4] != b"GCDE":
        raise Refused("the file is no binary G-code")
    version, checksum = struct.unpack("<IH", head[4:])
    if version != 1 or checksum not in (0, 1):
        raise Refused(f"binary G-code of version {version} with checksum {checksum} is not known")
    count = 0
    while file.tell() < end:
        count += 1
        if count > _MOST_BLOCKS:
            raise Refused("the binary G-code has too many blocks")
        if block := _block(file, end, has_crc=checksum == 1, with_gcode=with_gcode):
            yield block


def _block(file: BinaryIO, end: int, *, has_crc: bool, with_gcode: bool) -> Block | None:
    header = file.read(8)
    if len(header) < 8:
        raise Refused("the binary G-code is cut off")
    kind, compression, size = struct.unpack("<HHI", header)
    if kind >= len(_NAMES) or compression > _HEATSHRINK_12:
        raise Refused(f"the binary G-code has a block of unknown type {kind} or compression {compression}")
    stored = size
    if compression != _NONE:
        more = file.read(4)
        header += more
        if len(more) < 4:
            raise Refused("the binary G-code is cut off")
        (stored,) = struct.unpack("<I", more)
    shape = "<3H" if kind == _THUMBNAIL else "<H"
    length = struct.calcsize(shape) + stored
    if max(size, stored) > _MOST_BLOCK_BYTES or file.tell() + length + 4 * has_crc > end:
        raise Refused(f"a block of {_NAMES[kind]} in the binary G-code reaches past the end of the file")
    if kind == _GCODE and not with_gcode:
        file.seek(length + 4 * has_crc, 1)
        return None
    body = file.read(length)
    if has_crc and zlib.crc32(body, zlib.crc32(header)) != int.from_bytes(file.read(4), "little"):
        raise Refused(f"a block of {_NAMES[kind]} in the binary G-code is damaged: its checksum is wrong")
    parameters = struct.unpack_from(shape, body)
    return Block(kind, parameters, _unpacked(compression, body[struct.calcsize(shape) :], size))


def _unpacked(compression: int, data: bytes, size: int) -> bytes:
    if compression == _DEFLATE:
        unpacker = zlib.decompressobj()
        try:
            out = unpacker.decompress(data, size + 1)
        except zlib.error:
            raise Refused("a block of the binary G-code cannot be unpacked") from None
        if len(out) != size:
            raise Refused("a block of the binary G-code unpacks to another size than it states")
        return out
    if compression in (_HEATSHRINK_11, _HEATSHRINK_12):
        return heatshrink.unpack(data, 11 if compression == _HEATSHRINK_11 else 12, size)
    return data


def pieces(path: Path) -> Iterator[bytes]:
    """The G-code as text, block by block. A line may reach from one into the next. Raises Refused, OSError."""
    with path.open("rb") as file:
        for block in blocks(file):
            if block.kind != _GCODE:
                continue
            encoding = block.parameters[0]
            if encoding not in (_PLAIN, _MEATPACK, _MEATPACK_COMMENTS):
                raise Refused(f"the binary G-code has an unknown encoding {encoding}")
            yield block.data if encoding == _PLAIN else meatpack.unpack(block.data)


def read_bgcode(path: Path) -> FileFacts:
    """Its facts: the keys are those of the text form, so they are read as such. Raises Refused, OSError."""
    comments: dict[int, str] = {}
    pictures: list[Thumbnail] = []
    broken = False
    with path.open("rb") as file:
        for block in blocks(file, with_gcode=False):
            if block.kind == _THUMBNAIL:
                picture = _picture(block)
                broken |= picture is None
                if picture and len(pictures) < _MOST_PICTURES:
                    pictures.append(picture)
            else:
                if len(block.data) > _MOST_META_BYTES or block.kind in comments:
                    raise Refused(f"the binary G-code has too much {_NAMES[block.kind]}")
                comments[block.kind] = block.data.decode("utf-8", "replace")
    facts = facts_of_text(b"", _as_comments(comments), path.stat().st_size, Kind.BGCODE)
    warned = (Warned("thumbnail_broken", "a picture in the file cannot be read"),) if broken else ()
    return replace(facts, thumbnails=tuple(pictures), warnings=facts.warnings + warned)


def _picture(block: Block) -> Thumbnail | None:
    form, width, height = block.parameters
    return checked(_FORMATS[form], width, height, block.data) if form < len(_FORMATS) else None


def _as_comments(metadata: dict[int, str]) -> bytes:
    """The last of the same key counts: first the settings, then what is said of this print, then what the printer needs."""
    order = (_SLICER_META, _PRINT_META, _PRINTER_META, _FILE_META)
    lines = [f"; {line}" for kind in order for line in metadata.get(kind, "").splitlines()]
    producer = next((line for line in lines if line.lower().startswith("; producer=")), "")
    made = producer.partition("=")[2].strip()
    return "\n".join([f"; generated by {made} on", *lines]).encode()
