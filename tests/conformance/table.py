"""The table driver x behaviour, and the quality scale, as docs/drivers.md shows them.

``python -m tests.conformance.table`` writes both into the document; a test compares.
"""

import ast
import tomllib
from pathlib import Path

from .rigs import ROWS, rig_class

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
DOCUMENT = ROOT / "docs" / "drivers.md"
DRIVERS = ROOT / "agent" / "src" / "printfarm_agent" / "drivers"

# Rule of the quality scale -> what it asks.
RULES = {
    "identity": "model, firmware and serial number, as far as the protocol tells",
    "abilities": "build volume, nozzle, filament and colour are read from the printer where it knows them",
    "observation": "state, progress, time, layer, heaters, position, filament sensor, errors: all that the protocol has",
    "unknown-is-not-idle": "a state that is not known is never idle; replies are capped and checked",
    "transfer-checked": "a file is compared with what arrived by the best means of the protocol",
    "transfer-abandoned": "a transfer can be given up at any moment and leaves nothing that starts",
    "start-once": "a start is sent once; its lost reply is an unknown outcome",
    "pause": "pause and resume, also by a person at the machine",
    "cancel": "at each moment, also while it heats",
    "emergency-stop": "on a way of its own, waiting for nothing",
    "recovery": "a print is found again after the agent's death",
    "endings": "finished, cancelled and failed are told apart after the fact",
    "clean-up": "its files are removed from the printer",
    "foreign-prints": "other people's prints are seen and left alone",
    "credentials": "wrong ones are named, never shown",
    "light": "its libraries are an optional extra, loaded only where the driver is configured",
    "proven": "the suite runs against the real server, or an emulator that speaks the wire protocol",
}
STATUSES = ("done", "not done", "exempt")


def guarantees() -> list[str]:
    """The names of all tests that run over the rigs, without ``test_``, in the order of the files."""
    found = []
    for name in ("test_connecting", "test_transfer", "test_printing", "test_surviving"):
        for node in ast.parse((HERE / f"{name}.py").read_text()).body:
            if isinstance(node, ast.AsyncFunctionDef) and node.name.startswith("test_"):
                found.append(node.name.removeprefix("test_"))
    return found


def behaviours() -> str:
    """Driver x behaviour: what each must give, and what it is exempt from."""
    rigs = [rig_class(row) for row in ROWS]
    notes: list[str] = []
    lines = ["| behaviour | " + " | ".join(row.name for row in ROWS) + " |", "|---" * (len(ROWS) + 1) + "|"]
    for guarantee in guarantees():
        cells = [_cell(rig.exempt.get(guarantee), notes) for rig in rigs]
        lines.append(f"| {guarantee.replace('_', ' ')} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", *(f"{index}. {note}" for index, note in enumerate(notes, 1))])


def quality() -> str:
    """Rule x driver, by the ``quality.toml`` beside each driver."""
    scales = {
        path.parent.name: tomllib.loads(path.read_text())["rules"] for path in sorted(DRIVERS.glob("*/quality.toml"))
    }
    notes: list[str] = []
    lines = ["| rule | " + " | ".join(scales) + " |", "|---" * (len(scales) + 1) + "|"]
    for rule, asks in RULES.items():
        cells = [_status(scale[rule], notes) for scale in scales.values()]
        lines.append(f"| **{rule}**: {asks} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", *(f"{index}. {note}" for index, note in enumerate(notes, 1))])


def _cell(why: str | None, notes: list[str]) -> str:
    return f"exempt ({_note(why, notes)})" if why else "yes"


def _status(said: str, notes: list[str]) -> str:
    status, _, why = said.partition(": ")
    return f"{status} ({_note(why, notes)})" if why else status


def _note(why: str, notes: list[str]) -> int:
    if why not in notes:
        notes.append(why)
    return notes.index(why) + 1


def written(document: str) -> str:
    """The document with both tables as they are now."""
    for name, table in (("behaviours", behaviours()), ("quality", quality())):
        begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
        before, _, rest = document.partition(begin)
        _, found, after = rest.partition(end)
        if not found:
            raise SystemExit(f"{DOCUMENT.name} has no lines {begin} and {end}")
        document = f"{before}{begin}\n{table}\n{end}{after}"
    return document


if __name__ == "__main__":
    DOCUMENT.write_text(written(DOCUMENT.read_text()))
