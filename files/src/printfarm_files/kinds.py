"""What a file is, by its first and last bytes and its size. Every pattern is linear: the bytes come from anybody."""

import re

from .errors import Refused
from .facts import Kind

STL_HEADER, STL_FACET = 84, 50
# What may follow the last facet of a binary STL: some programs add a few bytes.
STL_TRAILING = 1024
_COMMAND = re.compile(rb"^[ \t]{0,64}(?:N\d{1,10}[ \t]{0,64})?[GMT]\d{1,5}(?:[.\s;*(]|[A-Z][-+.\d]|$)", re.M | re.I)
_FACET = re.compile(rb"\bfacet[ \t]{1,16}normal\b", re.I)
# In the directory, the next entry's "PK" may stand right behind the name.
_PLATE = re.compile(rb"Metadata/plate_\d{1,4}\.gcode(?!\.md5)")
_SOLID = re.compile(rb"\s{0,64}solid\b", re.I)
_OTHERS = (
    (b"version https://git-lfs", "the file is a git-LFS pointer: send the file that it points to"),
    (b"%PDF", "the file is a PDF document"),
    (b"\x1f\x8b", "the file is gzip-compressed: send what is in it"),
    (b"7z\xbc\xaf", "the file is a 7z archive: send what is in it"),
    (b"Rar!", "the file is a RAR archive: send what is in it"),
    (b"ISO-10303-21", "the file is a STEP model: export an STL or a 3MF"),
    (b"\x89PNG", "the file is a picture"),
    (b"\xff\xd8\xff", "the file is a picture"),
)
_PAGE = re.compile(rb"\s{0,256}<(?:!doctype html|html)\b", re.I)


def kind_of(head: bytes, tail: bytes, size_bytes: int, *, has_nul: bool) -> Kind:
    """What the file claims to be. Its first and last 64 KiB suffice; ``has_nul``: anywhere in it.

    Raises Refused. That it is a sound one of its kind is for ``reading`` to say."""
    if not size_bytes:
        raise Refused("the file is empty")
    if is_binary_stl(head, size_bytes):
        return Kind.STL
    if has_nul or not _COMMAND.search(head):
        if (kind := _by_magic(head, tail, size_bytes)) is not None:
            return kind
        for magic, reason in _OTHERS:
            if head.startswith(magic):
                raise Refused(reason)
        if _PAGE.match(head):
            raise Refused("the file is a web page: it has no G-code command; the download probably failed")
    if has_nul:
        raise Refused("the file has NUL bytes: it is binary, not G-code text, and no whole STL, 3MF or bgcode either")
    if not (_COMMAND.search(head) or _COMMAND.search(tail)):
        raise Refused("the file has no G-code command in its first or last 64 KiB")
    return Kind.GCODE


def _by_magic(head: bytes, tail: bytes, size_bytes: int) -> Kind | None:
    if head.startswith(b"GCDE"):
        return Kind.BGCODE
    if head.startswith(b"PK\x03\x04"):
        return _archive(head, tail)
    if _SOLID.match(head) and (_FACET.search(head) or b"endsolid" in head.lower()):
        return Kind.STL
    if _SOLID.match(head) and size_bytes >= STL_HEADER and b"\0" in head:
        return Kind.STL
    return None


def _archive(head: bytes, tail: bytes) -> Kind:
    """The names of a ZIP stand in its first entry and, at its end, in its directory."""
    names = head + tail
    if b"3D/model.gcode" in names:
        raise Refused("the file is a Cura package (ufp): save it as G-code")
    if not any(name in names for name in (b"3D/", b"[Content_Types].xml", b"_rels/.rels")):
        raise Refused("the file is a ZIP archive but no 3MF: send what is in it")
    return Kind.GCODE_3MF if _PLATE.search(names) else Kind.THREE_MF


def is_binary_stl(head: bytes, size_bytes: int) -> bool:
    """By its length: many of them begin with "solid", as the text form does."""
    if len(head) < STL_HEADER:
        return False
    facets = int.from_bytes(head[80:84], "little")
    rest = size_bytes - STL_HEADER - STL_FACET * facets
    return facets > 0 and (rest == 0 or (0 < rest <= STL_TRAILING and not head.startswith((b"PK\x03\x04", b"GCDE"))))
