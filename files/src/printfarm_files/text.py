"""The G-code of a file as text, bit by bit, whatever it is packed in."""

from collections.abc import Iterator
from pathlib import Path

_PIECE = 1 << 20


def pieces(path: Path) -> Iterator[bytes]:
    """A file bit by bit."""
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            yield piece


def pieces_of(path: Path, *, plate: int | None = None) -> Iterator[bytes]:
    """By its first bytes: text as it is, binary G-code and plates of a sliced 3MF unpacked. Raises Refused, OSError."""
    with path.open("rb") as file:
        magic = file.read(4)
    # Here and not above: a host whose printers take plain text alone does without what unpacks the others.
    if magic == b"GCDE":
        from . import bgcode

        return bgcode.pieces(path)
    if magic == b"PK\x03\x04":
        from . import sliced

        return sliced.pieces(path, plate)
    return pieces(path)
