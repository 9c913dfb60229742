"""What must outlive the process that holds the port: which print was begun, and how it ended. Pure; kept as JSON."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ...driver import Ending

VERSION = 1


@dataclass(frozen=True, slots=True)
class LastPrint:
    """The print that runs, or ran last. ``ending`` None: it was begun, and nothing is known of its end."""

    name: str
    number: int
    ending: Ending | None = None
    code: str = ""
    text: str = ""
    end_of_file: bool = False
    elapsed_seconds: float = 0.0
    progress: float = 0.0
    by_farm: bool = True
    # The printer was given some of the file: without that it certainly did not start.
    has_streamed: bool = False


@dataclass(frozen=True, slots=True)
class Memory:
    """One printer's."""

    print_number: int = 0
    boot_count: int = 0
    last: LastPrint | None = None

    def to_json(self) -> dict[str, Any]:
        """As written to disk."""
        return {"version": VERSION, **asdict(self)}


def from_json(given: Mapping[str, Any]) -> Memory:
    """Raises ValueError for anything that ``to_json`` did not make."""
    if given.get("version") != VERSION:
        raise ValueError(f"a memory of version {given.get('version')!r} cannot be read")
    try:
        last = given["last"]
        if last is not None:
            ending = last["ending"]
            last = LastPrint(**{**last, "ending": Ending(ending) if ending is not None else None})
        return Memory(int(given["print_number"]), int(given["boot_count"]), last)
    except (KeyError, TypeError) as error:
        raise ValueError("the memory is not whole") from error
