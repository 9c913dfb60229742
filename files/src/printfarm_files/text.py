"""The G-code of a file as text, bit by bit, whatever it is packed in."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from .errors import Refused

# What is unpacked: as much as a plain file may have, and no more than honest packing makes of it.
MOST_BYTES = 2 << 30
MOST_RATIO = 200
_SMALL = 1 << 20
_PIECE = 1 << 20


def pieces(path: Path) -> Iterator[bytes]:
    """A file bit by bit."""
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            yield piece


def pieces_of(path: Path, *, plate: int | None = None) -> Iterator[bytes]:
    """By its first bytes: text as it is, binary G-code and plates of a sliced 3MF unpacked, within bounds.

    Raises Refused, OSError."""
    with path.open("rb") as file:
        magic = file.read(4)
        size = file.seek(0, 2)
    # Here and not above: a host whose printers take plain text alone does without what unpacks the others.
    if magic == b"GCDE":
        from . import bgcode

        return bounded(bgcode.pieces(path), size)
    if magic == b"PK\x03\x04":
        from . import sliced

        return bounded(sliced.pieces(path, plate), size)
    return pieces(path)


def bounded(unpacked: Iterable[bytes], packed_bytes: int) -> Iterator[bytes]:
    """The same, until it is more than ``packed_bytes`` can honestly hold: whoever reads it is not filled up. Raises Refused."""
    most = min(MOST_BYTES, max(_SMALL, packed_bytes * MOST_RATIO))
    count = 0
    for piece in unpacked:
        count += len(piece)
        if count > most:
            raise Refused(f"its G-code unpacks to more than {most} bytes")
        yield piece
