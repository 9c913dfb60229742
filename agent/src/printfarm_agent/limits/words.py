"""The commands of a line of G-code, as the common firmwares read it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)"
# T and D begin a command only at the start of a line; behind another they are its words, as in M104 T0 S200.
_FIRST = re.compile(r"([GMTD])(\d+(?:\.\d+)?)", re.A)
_NEXT = re.compile(r"([GM])(\d+(?:\.\d+)?)", re.A)
_WORD = re.compile(rf"([A-Z])({NUMBER})", re.A)
_AXIS_FIRST = re.compile(rf"[XYZEFIJ]{NUMBER}", re.A)
_PARENTHESES = re.compile(r"\([^)]*\)?")
_QUOTED = re.compile(r'"[^"]*"?')
_CHECKSUM = re.compile(r"\*\s*\d*\s*$", re.A)
_LINE_NUMBER = re.compile(r"^\s*N\s*\d+\s*", re.A)
_SPACE = re.compile(r"\s+")
_EXTENDED = re.compile(r"[A-Z_]{2}[A-Z0-9_]*|@\s*[A-Z_]*", re.A)
# What follows is shown to people, or sent to the host, as it stands.
TEXT = frozenset({"M117", "M118"})


@dataclass(frozen=True, slots=True)
class Command:
    """``name`` without leading zeros, as "M104"; a word or "@" for commands of Klipper, RepRapFirmware's language and hosts.
    ``text`` is all that follows, without spaces, in upper case."""

    name: str
    words: dict[str, float]
    text: str
    is_extended: bool = False


def readings(line: str) -> list[str]:
    """What firmware may take for the code of a line, without its comment, in upper case. The likeliest comes first."""
    upper = line.upper()
    found = [upper.partition(";")[0]]
    if '"' in upper:
        # A semicolon within quotes is no comment where quotes are known.
        found.append(_QUOTED.sub("", upper).partition(";")[0])
    if "\ufffd" in upper:
        found += [code.replace("\ufffd", "") for code in found]
    if "(" in upper:
        found = [_PARENTHESES.sub(" ", code) for code in found] + [re.sub("[()]", " ", code) for code in found]
    return list(dict.fromkeys(_LINE_NUMBER.sub("", _CHECKSUM.sub("", code)).strip() for code in found))


def commands(code: str, modal: str) -> Iterator[Command]:
    """All commands of one reading. ``modal`` is what a line of bare coordinates repeats."""
    if not code:
        return
    if found := _EXTENDED.match(code):
        yield Command(found[0].partition(" ")[0], {}, _SPACE.sub("", code[found.end() :]), is_extended=True)
        return
    squeezed = _SPACE.sub("", code)
    if _AXIS_FIRST.match(squeezed):
        squeezed = modal + squeezed
    begun = _FIRST.match(squeezed) or _NEXT.search(squeezed)
    while begun:
        following = _NEXT.search(squeezed, begun.end())
        name = f"{begun[1]}{float(begun[2]):g}"
        if name in TEXT or (name == "M486" and squeezed.startswith("A", begun.end())):
            yield Command(name, {}, squeezed[begun.end() :])
            return
        text = squeezed[begun.end() : following.start() if following else len(squeezed)]
        yield Command(name, {letter: float(value) for letter, value in _WORD.findall(text)}, text)
        begun = following
