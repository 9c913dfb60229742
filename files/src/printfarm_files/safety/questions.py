"""What a file asks people, for each kind of firmware, gathered while it is read."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from .dialects import Dialect
from .listed import has_markup, why_unlisted
from .words import Command

# Those of slicers have some dozens of commands, and a few of them are questions.
MOST_QUESTIONS = 200
_MOST_WORDS = 2_000
_OF_FIRST_WORD = frozenset(dialect for dialect in Dialect if not dialect.runs_whole_line)
_THE_REST = ""
_REST_TEXT = "from this line on, more such commands than can be told one by one"


@dataclass(frozen=True, slots=True)
class Question:
    """What a person may have to allow: the first place of a command, and the firmwares for which it is a question.

    ``command`` is empty for the file as a whole, and for all that a rule finds beyond ``MOST_QUESTIONS``."""

    line: int
    command: str
    rule: str
    text: str
    dialects: tuple[str, ...]


@dataclass(slots=True)
class Questions:
    """Each command once for each rule, with the firmwares that would run it and do not list it.

    Beyond ``MOST_QUESTIONS`` those of one rule are one question: somebody must allow the rest, too."""

    _asked: dict[tuple[str, str], tuple[int, str, set[Dialect]]] = field(default_factory=dict)
    # (name, whether it stands first on its line, whether it has markup): looked at before.
    _seen: set[tuple[str, bool, bool]] = field(default_factory=set)

    def take(self, line: int, command: Command, *, is_first: bool) -> None:
        """The next command of the file."""
        word = (command.name, is_first, has_markup(command))
        if word in self._seen:
            return
        if len(self._seen) < _MOST_WORDS:
            self._seen.add(word)
        for dialect in Dialect:
            if (is_first or dialect not in _OF_FIRST_WORD) and (
                why := why_unlisted(command, dialect, frozenset())
            ) is not None:
                self._ask(line, command.name, dialect, *why)

    def _ask(self, line: int, name: str, dialect: Dialect, rule: str, text: str) -> None:
        key = (rule, name)
        if key not in self._asked and len(self._asked) >= MOST_QUESTIONS:
            key, text = (rule, _THE_REST), _REST_TEXT
        self._asked.setdefault(key, (line, text, set()))[2].add(dialect)

    def told(self) -> Iterator[Question]:
        """In the order of their lines."""
        for (rule, name), (line, text, dialects) in sorted(self._asked.items(), key=lambda item: item[1][0]):
            yield Question(line, name, rule, text, tuple(d.value for d in Dialect if d in dialects))
