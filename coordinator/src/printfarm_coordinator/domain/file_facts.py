"""What was read from a file, as it is kept: hints from whoever made it; what is not known is None, never 0."""

from dataclasses import dataclass
from enum import StrEnum

from printfarm_files import FileFacts


class FactsState(StrEnum):
    """How far the farm is with a file; spelled as in the API."""

    PENDING = "pending"
    KNOWN = "known"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class StoredFacts:
    """What one version of the readers found; without ``facts`` the file could not be read, and ``reason`` says why."""

    sha256: str
    reader_version: int
    read_at: int
    facts: FileFacts | None
    reason: str = ""


def state_of(found: StoredFacts | None) -> FactsState:
    """Of a file that was not read yet there are none."""
    if found is None:
        return FactsState.PENDING
    return FactsState.UNREADABLE if found.facts is None else FactsState.KNOWN


def materials(facts: FileFacts) -> tuple[str, ...]:
    """Types of filament that go through its tools, such as PLA; each once. A tool that the file does not use asks for none."""
    used = [tool.filament_type for tool in facts.tools if tool.is_used is not False]
    return tuple(dict.fromkeys(kind for kind in used if kind))
