"""XML from anybody, as a stream of starts and ends: no document type, no entities, no depth, not without end, nothing kept."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from xml.parsers import expat

from .errors import Refused

_DEEPEST = 64
_LONGEST_TEXT = 1 << 16
# Five million triangles that each have their own corners are twenty million.
MOST_ELEMENTS = 25_000_000
MOST_OTHERS = 1_000_000
Start = Callable[[str, dict[str, str]], None]
End = Callable[[str, str], None]


@dataclass(slots=True)
class Elements:
    """How many there were, in all parts of a document together. ``expected`` are the names that come by the million."""

    expected: frozenset[str] = frozenset()
    count: int = 0
    others: int = 0


def parse(pieces: Iterable[bytes], start: Start, end: End | None = None, elements: Elements | None = None) -> None:
    """Calls ``start(name, attributes)`` and ``end(name, text)``, with names without namespaces.

    Raises Refused for a document type (billion laughs, outside entities), for depth, for more than ``MOST_ELEMENTS``, or more
    than ``MOST_OTHERS`` that are not ``expected``, for what is no XML, and whatever the handlers raise."""
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    state = _State(start, end, elements or Elements())
    parser.StartElementHandler = state.start
    parser.EndElementHandler = state.end
    parser.StartDoctypeDeclHandler = _refuse_doctype
    parser.EntityDeclHandler = _refuse_doctype
    if end is not None:
        parser.CharacterDataHandler = state.characters
    try:
        for piece in pieces:
            parser.Parse(piece, False)
        parser.Parse(b"", True)
    except (expat.ExpatError, LookupError, ValueError) as error:
        # What is wrong with an encoding comes as any of these.
        raise Refused(f"the XML is broken: {error}") from None


def _refuse_doctype(*_: object) -> None:
    raise Refused("the XML has a document type or entities, which 3MF does not allow")


class _State:
    def __init__(self, start: Start, end: End | None, elements: Elements) -> None:
        self._start, self._end, self._elements = start, end, elements
        self._depth = 0
        self._text: list[str] = []
        self._length = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise Refused(f"the XML is nested deeper than {_DEEPEST}")
        self._text, self._length = [], 0
        name = _local(name)
        self._count(name)
        self._start(name, attributes)

    def _count(self, name: str) -> None:
        elements = self._elements
        elements.count += 1
        if name not in elements.expected:
            elements.others += 1
        if elements.count > MOST_ELEMENTS or elements.others > MOST_OTHERS:
            raise Refused("the XML has elements without end")

    def end(self, name: str) -> None:
        self._depth -= 1
        if self._end is not None:
            self._end(_local(name), "".join(self._text))
            self._text, self._length = [], 0

    def characters(self, text: str) -> None:
        self._length += len(text)
        if self._length <= _LONGEST_TEXT:
            self._text.append(text)


def _local(name: str) -> str:
    return name.rpartition(" ")[2]
