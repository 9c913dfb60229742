"""STL, validated by us: slicers take garbage for a model. Binary by its length, else text, token by token."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from .errors import Refused
from .facts import Warned
from .kinds import STL_FACET, STL_HEADER, STL_TRAILING
from .mesh import MOST_TRIANGLES, Corners, Soup, check_count

RECORD = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
_PIECE = 4 << 20
_LONGEST_TOKEN = 48
# facet normal x y z outer loop (vertex x y z) x3 endloop endfacet
_WORDS = {0: b"facet", 1: b"normal", 5: b"outer", 6: b"loop"} | dict.fromkeys((7, 11, 15), b"vertex")
_WORDS |= {19: b"endloop", 20: b"endfacet"}
_NUMBERS = [8, 9, 10, 12, 13, 14, 16, 17, 18]
_TOKENS = 21
_NAMED = re.compile(rb"^[ \t]{0,64}(?:end)?solid\b[^\n]{0,512}$", re.M | re.I)
_ENDED = re.compile(rb"\bendsolid\b", re.I)
_COMMA = re.compile(rb"vertex\s{1,8}[-+]?\d{1,9},\d", re.I)


def read_stl(path: Path) -> tuple[Soup, tuple[Warned, ...]]:
    """Its triangles. Raises Refused with what is wrong, OSError. A binary file is mapped, not read."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(512)
        if _is_text(head, size):
            return _text(file), ()
    if size < STL_HEADER:
        raise Refused(f"the STL is cut off: {size} bytes are less than its header")
    count = int.from_bytes(head[80:84], "little")
    expected = STL_HEADER + STL_FACET * count
    check_count(min(count, MOST_TRIANGLES)) if expected > size else check_count(count)
    if expected > size:
        raise Refused(f"the STL is cut off: {count} triangles need {expected} bytes, it has {size}")
    if size - expected > STL_TRAILING:
        raise Refused(f"the STL has {size - expected} bytes after its {count} triangles")
    records = np.memmap(path, RECORD, "r", STL_HEADER, (count,))
    extra = (Warned("trailing_bytes", f"{size - expected} bytes follow the last triangle"),) if size > expected else ()
    return Soup(records["corners"]), extra


def _is_text(head: bytes, size: int) -> bool:
    if head.lstrip()[:5].lower() != b"solid":
        return False
    count = int.from_bytes(head[80:84], "little")
    return b"\0" not in head and (len(head) < STL_HEADER or STL_HEADER + STL_FACET * count != size)


def _text(file: BinaryIO) -> Soup:
    parts: list[Corners] = []
    count = 0
    for facets in _facets(file):
        parts.append(_corners(facets))
        count += len(parts[-1])
        if count > MOST_TRIANGLES:
            check_count(count)
    check_count(count)
    return Soup(np.concatenate(parts))


def _facets(file: BinaryIO) -> Iterator[list[bytes]]:
    """Tokens of whole facets, bit by bit. The file must end with one, and with ``endsolid``."""
    file.seek(0)
    left, tokens, ended = b"", list[bytes](), False
    while piece := file.read(_PIECE):
        piece = left + piece
        cut = piece.rfind(b"\n") + 1
        if not cut and len(piece) > _PIECE:
            raise Refused("the STL has a line without end")
        left, piece = piece[cut:], piece[:cut]
        ended = bool(_ENDED.search(piece)) or (ended and not piece.strip())
        tokens += _NAMED.sub(b"", piece).split()
        whole = len(tokens) // _TOKENS * _TOKENS
        yield tokens[:whole]
        tokens = tokens[whole:]
    ended = bool(_ENDED.search(left)) or ended
    tokens += _NAMED.sub(b"", left).split()
    if len(tokens) % _TOKENS or not ended:
        raise Refused("the STL is cut off: it ends inside of a facet or without endsolid")
    yield tokens


def _corners(tokens: list[bytes]) -> Corners:
    if not tokens:
        return np.empty((0, 3, 3), np.float32)
    if max(map(len, tokens)) > _LONGEST_TOKEN:
        raise Refused("the STL has a word that is no part of one")
    table = np.array(tokens, dtype=f"S{_LONGEST_TOKEN}").reshape(-1, _TOKENS)
    for column, word in _WORDS.items():
        wrong = np.flatnonzero(np.char.lower(table[:, column]) != word)
        if len(wrong):
            found = bytes(table[wrong[0], column]).decode("ascii", "replace")
            raise Refused(f"the STL has {found!r} where {word.decode()!r} belongs")
    try:
        return table[:, _NUMBERS].astype(np.float32).reshape(-1, 3, 3)
    except ValueError:
        raise Refused(_why_no_number(tokens)) from None


def _why_no_number(tokens: list[bytes]) -> str:
    if _COMMA.search(b" ".join(tokens[:200_000])):
        return "the STL has numbers with a decimal comma: export it with a point"
    return "the STL has a coordinate that is not a number"
