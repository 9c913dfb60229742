"""The commands of a line of G-code, as the common firmwares read it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from .dialects import Dialect

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
_REPRAP_PART = re.compile(r'"[^"]*"?|\([^)]*\)?|;|[^";(]+')
_SPACE = re.compile(r"\s+")
_EXTENDED = re.compile(r"[A-Z_]{2}[A-Z0-9_]*|@\s*[A-Z_]*", re.A)
# What follows is shown to people, or sent to the host, as it stands.
TEXT = frozenset({"M117", "M118"})
# Macros have names of some dozens of characters; one may be as long as its line.
_LONGEST_NAME = 80
_CUT = "\u2026"


@dataclass(frozen=True, slots=True)
class Command:
    """``name`` without leading zeros, as "M104"; a word or "@" for commands of Klipper, RepRapFirmware's language and hosts,
    cut where it is longer than any of them. ``text`` is all that follows, without spaces, in upper case."""

    name: str
    words: dict[str, float]
    text: str
    is_extended: bool = False


def readings(line: str, dialect: Dialect = Dialect.ANY) -> list[str]:
    """What firmware may take for the code of a line, without its comment, in upper case. The likeliest comes first."""
    upper = line.upper()
    if dialect is Dialect.KLIPPER:
        return [_bare(upper.partition(";")[0])]
    if dialect is Dialect.REPRAP:
        return [_bare(_reprap(upper))]
    found = [upper.partition(";")[0]]
    if '"' in upper:
        # A semicolon within quotes is no comment where quotes are known.
        found.append(_QUOTED.sub("", upper).partition(";")[0])
    if "\ufffd" in upper:
        found += [code.replace("\ufffd", "") for code in found]
    if "(" in upper:
        found = [_PARENTHESES.sub(" ", code) for code in found] + [re.sub("[()]", " ", code) for code in found]
    return list(dict.fromkeys(_bare(code) for code in found))


def _bare(code: str) -> str:
    return _LINE_NUMBER.sub("", _CHECKSUM.sub("", code)).strip()


def _reprap(line: str) -> str:
    """Without comments, as RepRapFirmware has them: text in quotes is kept whole, parentheses are left out."""
    kept = []
    for found in _REPRAP_PART.finditer(line):
        if found[0].startswith(";"):
            break
        kept.append(" " if found[0].startswith("(") else found[0])
    return "".join(kept)


def commands(code: str, modal: str, *, whole_line: bool = True) -> Iterator[Command]:
    """All commands of one reading, or the first. ``modal`` is what a line of bare coordinates repeats."""
    if not code:
        return
    if found := _EXTENDED.match(code):
        yield Command(_cut(found[0].partition(" ")[0]), {}, _SPACE.sub("", code[found.end() :]), is_extended=True)
        return
    squeezed = _SPACE.sub("", code)
    if _AXIS_FIRST.match(squeezed):
        squeezed = modal + squeezed
    begun = _FIRST.match(squeezed) or _NEXT.search(squeezed)
    while begun:
        following = _NEXT.search(squeezed, begun.end()) if whole_line else None
        name = f"{begun[1]}{float(begun[2]):g}"
        if name in TEXT or (name == "M486" and squeezed.startswith("A", begun.end())):
            yield Command(name, {}, squeezed[begun.end() :])
            return
        text = squeezed[begun.end() : following.start() if following else len(squeezed)]
        yield Command(name, {letter: float(value) for letter, value in _WORD.findall(text)}, text)
        begun = following


def _cut(name: str) -> str:
    """No command's own name has the mark in it: one that was cut is none that anybody knows."""
    return name if len(name) <= _LONGEST_NAME else name[:_LONGEST_NAME] + _CUT
