"""Pictures that slicers put into their files: found and checked by size and first bytes, never trusted further."""

import base64
import binascii
import re
import struct

from .facts import Thumbnail, Warned

# The sizes that pictures are made in: pixels, wide and high.
PICTURE_SIZES = (32, 64, 128, 256, 512)
# Grows when the same file would be drawn otherwise.
PICTURE_VERSION = 1
MOST_BYTES = 2 << 20
LONGEST_SIDE = 2048
_MOST = 16
_BEGIN = re.compile(r"^; ?thumbnail(?:_(JPG|QOI|PNG))? begin (\d{1,5})[x ](\d{1,5})(?: (\d{1,8}))?[ \t\r]{0,4}$", re.M)
_END = re.compile(r"^; ?thumbnail(?:_\w{1,4})? end", re.M)
_MAGIC = {"png": b"\x89PNG\r\n\x1a\n", "jpg": b"\xff\xd8\xff", "qoi": b"qoif"}


def from_comments(head: str) -> tuple[tuple[Thumbnail, ...], tuple[Warned, ...]]:
    """Those between ``; thumbnail begin 220x124 12345`` and ``; thumbnail end``. What is broken is left out, and warned of."""
    found: list[Thumbnail] = []
    broken = False
    if "thumbnail" not in head:
        return (), ()
    for begin in _BEGIN.finditer(head):
        end = _END.search(head, begin.end())
        if end is None or len(found) >= _MOST:
            break
        wanted = int(begin[4]) if begin[4] else None
        data = _decoded(head[begin.end() : end.start()], wanted)
        picture = data and checked((begin[1] or "png").lower(), int(begin[2]), int(begin[3]), data)
        if picture:
            found.append(picture)
        else:
            broken = True
    warned = (Warned("thumbnail_broken", "a picture in the file cannot be read"),) if broken else ()
    return tuple(found), warned


def is_cut(head: bytes) -> bool:
    """A picture begins in these bytes and does not end in them: more of the file is wanted."""
    begins = max(head.rfind(b"thumbnail begin"), head.rfind(b"thumbnail_QOI begin"), head.rfind(b"thumbnail_JPG begin"))
    ends = max(head.rfind(b"thumbnail end"), head.rfind(b"thumbnail_QOI end"), head.rfind(b"thumbnail_JPG end"))
    return begins >= 0 and ends < begins


def _decoded(text: str, wanted: int | None) -> bytes | None:
    packed = "".join(line.lstrip("; \t") for line in text.split("\n")).replace("\r", "").strip()
    if len(packed) > MOST_BYTES * 4 // 3 + 4 or (wanted is not None and wanted != len(packed)):
        return None
    try:
        return base64.b64decode(packed, validate=True)
    except (binascii.Error, ValueError):
        return None


def checked(kind: str, width: int, height: int, data: bytes) -> Thumbnail | None:
    """The picture if its first bytes are those of its format and its size, as the data itself has it, is in bounds.

    PNG and QOI say their size in the first bytes; of a JPEG the slicer's word is taken until it is decoded."""
    kind = "jpg" if kind == "jpeg" else kind
    if len(data) > MOST_BYTES or kind not in _MAGIC:
        return None
    if not data.startswith(_MAGIC[kind]):
        kind = next((name for name, magic in _MAGIC.items() if data.startswith(magic)), "")
    if kind == "png" and len(data) >= 24:
        width, height = struct.unpack(">II", data[16:24])
    elif kind == "qoi" and len(data) >= 14:
        width, height = struct.unpack(">II", data[4:12])
    elif kind != "jpg":
        return None
    if not (0 < width <= LONGEST_SIDE and 0 < height <= LONGEST_SIDE):
        return None
    return Thumbnail(kind, width, height, data)
