"""XML from anybody, as a stream of starts and ends: no document type, no entities, no depth, nothing kept."""

from collections.abc import Callable, Iterable
from xml.parsers import expat

from .errors import Refused

_DEEPEST = 64
_LONGEST_TEXT = 1 << 16
Start = Callable[[str, dict[str, str]], None]
End = Callable[[str, str], None]


def parse(pieces: Iterable[bytes], start: Start, end: End | None = None) -> None:
    """Calls ``start(name, attributes)`` and ``end(name, text)``, with names without namespaces.

    Raises Refused for a document type (billion laughs, outside entities), for depth, for what is no XML, and whatever
    the handlers raise."""
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    state = _State(start, end)
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
    def __init__(self, start: Start, end: End | None) -> None:
        self._start, self._end = start, end
        self._depth = 0
        self._text: list[str] = []
        self._length = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise Refused(f"the XML is nested deeper than {_DEEPEST}")
        self._text, self._length = [], 0
        self._start(_local(name), attributes)

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
