"""Heatshrink, the compression of binary G-code: by the library, with an end to how much may come out of it."""

from importlib.util import find_spec

from .errors import Refused

# The longest copy, 16 bytes, takes 1 + 11 + 4 bits: nothing honest grows more.
MOST_RATIO = 8


def is_installed() -> bool:
    """Whether this host can unpack it."""
    return find_spec("heatshrink2") is not None


def unpack(packed: bytes, window: int, size: int) -> bytes:
    """``size`` bytes, as the block states. Raises Refused if it is another number."""
    if size > max(64, len(packed) * MOST_RATIO):
        raise Refused("a block of the binary G-code states more than it can hold")
    try:
        # A library in C, which a host that never sees binary G-code does without.
        import heatshrink2
    except ImportError:
        raise Refused("this host cannot unpack binary G-code: install printfarm-files[models]") from None
    try:
        out = bytes(heatshrink2.decompress(packed, window_sz2=window, lookahead_sz2=4))
    except (ValueError, RuntimeError, TypeError) as error:
        raise Refused("a block of the binary G-code cannot be unpacked") from error
    # What fills the last byte may look like one more symbol.
    if len(out) < size or len(out) > size + 16:
        raise Refused("a block of the binary G-code unpacks to another size than it states")
    return out[:size]
