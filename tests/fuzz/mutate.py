"""Files of the corpus, changed a little: most bytes stay what a parser lets pass, so that it gets far before it trips."""

from hypothesis import strategies as st

from .targets import CORPUS

# What parsers count with, and what they look for.
_TELLING = [
    b"\0",
    b"\xff" * 4,
    b"\0" * 4,
    b"\x7f\xff\xff\xff",
    b"\xff\xff\xff\x7f",
    b"\x80",
    b"\xed\xa0\x80",
    b"PK\x05\x06",
]
_TELLING += [b"\xff\xff\xfb", b"1e999", b"-1", b"9" * 40, b"nan", b"G92 X0\n", b"M83\n", b"T1\n", b"solid ", b"\n"]
_TELLING += [bytes([c]) for c in b';"<&%*{']


def corpus(target: str) -> list[bytes]:
    """In an order that stays."""
    return [path.read_bytes() for path in sorted((CORPUS / target).iterdir())]


@st.composite
def changed(draw: st.DrawFn, files: list[bytes]) -> bytes:
    """One of them with up to eight changes: bytes put in, taken out, set, repeated, or another file spliced in."""
    data = draw(st.sampled_from(files))
    for _ in range(draw(st.integers(0, 8))):
        place = draw(st.integers(0, len(data)))
        length = draw(st.integers(0, 64))
        new = draw(st.one_of(st.sampled_from(_TELLING), st.binary(max_size=16)))
        way = draw(st.sampled_from(["put", "take", "set", "repeat", "splice"]))
        if way == "put":
            data = data[:place] + new + data[place:]
        elif way == "take":
            data = data[:place] + data[place + length :]
        elif way == "set":
            data = data[:place] + new + data[place + len(new) :]
        elif way == "repeat":
            data = data[:place] + data[place : place + length] * 4 + data[place + length :]
        else:
            other = draw(st.sampled_from(files))
            data = data[:place] + other[draw(st.integers(0, len(other))) :]
    return data[: 1 << 18]
