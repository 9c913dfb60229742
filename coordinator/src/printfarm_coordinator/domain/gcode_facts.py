"""What the first and last bytes of a file say: whether it is G-code, and how long its slicer thinks it takes.

Every pattern is linear: the bytes come from anybody.
"""

import re

# "1d 2h 3m 4s", any part of it.
_SPAN = re.compile(r"(?:(\d+)d)?\s*(?:(\d+)h)?\s*(?:(\d+)m)?\s*(?:(\d+(?:\.\d+)?)s)?", re.ASCII)
# PrusaSlicer and its kin; OrcaSlicer and Bambu Studio, which write the model's time before it on the same line.
_WRITTEN_SPAN = (
    re.compile(r"^; ?estimated printing time \(normal mode\) ?= ?([^\r\n]{1,60})", re.M),
    re.compile(r"^; ?(?:model printing time: [^;\r\n]{0,60}; )?total estimated time: ?([^\r\n]{1,60})", re.M),
)
# Cura; and what it writes of each layer, which is all there is where its command line left a placeholder.
_WRITTEN_SECONDS = re.compile(r"^;TIME:(\d{1,9}(?:\.\d{1,6})?)[ \t\r]{0,8}$", re.M)
_CURA_PLACEHOLDER = 6666.0
_ELAPSED_SECONDS = re.compile(r"^;TIME_ELAPSED:(\d{1,9}(?:\.\d{1,9})?)[ \t\r]{0,8}$", re.M)
_COMMAND = re.compile(rb"^[ \t]{0,64}(?:N\d{1,10}[ \t]{0,64})?[GMT]\d{1,5}(?:[.\s;*(]|[A-Z][-+.\d]|$)", re.M | re.I)
LONGEST_SECONDS = 60 * 24 * 3600.0
_BINARY_STL_HEADER, _STL_FACET = 84, 50
_OTHERS = (
    (b"PK\x03\x04", "a 3MF or ZIP archive: slicing is not part of this release; send G-code"),
    (b"solid ", "an STL model: slicing is not part of this release; send G-code"),
    (b"GCDE", "binary G-code (bgcode): export plain G-code text instead"),
    (b"version https://git-lfs", "a git-LFS pointer: send the file that it points to"),
)


def why_not_gcode(head: bytes, tail: bytes, size_bytes: int, *, has_nul: bool) -> str:
    """Why the file is not taken for G-code text; empty if it is. ``has_nul``: anywhere in it."""
    if not size_bytes:
        return "the file is empty"
    if _is_binary_stl(head, size_bytes):
        return f"the file is {_OTHERS[1][1]}"
    for magic, name in _OTHERS:
        if head.startswith(magic) and (has_nul or not _COMMAND.search(head)):
            return f"the file is {name}"
    if has_nul:
        return "the file has NUL bytes: it is binary, not G-code text"
    if not (_COMMAND.search(head) or _COMMAND.search(tail)):
        return "the file has no G-code command in its first or last 64 KiB"
    return ""


def _is_binary_stl(head: bytes, size_bytes: int) -> bool:
    """By its length: many of them begin with "solid", as the text form does."""
    facets = int.from_bytes(head[80:84], "little")
    return facets > 0 and size_bytes == _BINARY_STL_HEADER + _STL_FACET * facets


def estimated_seconds(head: bytes, tail: bytes) -> float | None:
    """The slicer's own estimate, or None if there is none that can be true."""
    first, last = head.decode("utf-8", "replace"), tail.decode("utf-8", "replace")
    for written in _WRITTEN_SPAN:
        if found := _one(written, first, last):
            return _plausible(_span(found))
    found = _one(_WRITTEN_SECONDS, first, last)
    if found and float(found) != _CURA_PLACEHOLDER:
        return _plausible(float(found))
    elapsed = _ELAPSED_SECONDS.findall(last)
    return _plausible(float(elapsed[-1])) if elapsed else None


def _one(pattern: re.Pattern[str], first: str, last: str) -> str | None:
    """The first of the head, else the last of the tail: in between lies whatever the print says of itself."""
    if found := pattern.search(first):
        return found[1]
    later = pattern.findall(last)
    return str(later[-1]) if later else None


def _span(text: str) -> float:
    found = _SPAN.match(text.strip())
    days, hours, minutes, seconds = (float(part or 0) for part in found.groups()) if found else (0.0, 0.0, 0.0, 0.0)
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def _plausible(seconds: float) -> float | None:
    return seconds if 0 < seconds <= LONGEST_SECONDS else None
