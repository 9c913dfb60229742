"""``make conformance``: runs the suite and prints the table driver x behaviour with what came out."""

import sys

import pytest

from .rigs import ROWS
from .table import guarantees

_WORDS = {"passed": "yes", "failed": "FAILED", "error": "FAILED"}


class Outcomes:
    """What came of each guarantee on each rig; a pytest plugin."""

    def __init__(self) -> None:
        self.found: dict[tuple[str, str], str] = {}
        self.reasons: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """The worst phase counts: a failed teardown is a failure."""
        function, _, row = report.nodeid.rpartition("::")[2].removeprefix("test_").partition("[")
        key = function, row.removesuffix("]")
        if report.skipped:
            self.found[key] = self._skipped(str(report.longrepr[2] if isinstance(report.longrepr, tuple) else ""))
        elif report.failed or (report.when == "call" and key not in self.found):
            self.found[key] = _WORDS[report.outcome]

    def _skipped(self, said: str) -> str:
        reason = said.removeprefix("Skipped: ")
        if reason not in self.reasons:
            self.reasons.append(reason)
        word = "exempt" if reason.startswith("exempt: ") else "NOT RUN"
        return f"{word} ({self.reasons.index(reason) + 1})"

    def table(self) -> str:
        """Rows are behaviours, columns rigs."""
        names = [row.name for row in ROWS]
        width = max(len(guarantee) for guarantee in guarantees())
        lines = [" " * width + "".join(f"  {name:>12}" for name in names)]
        for guarantee in guarantees():
            cells = (self.found.get((guarantee, name), "-") for name in names)
            lines.append(f"{guarantee.replace('_', ' '):{width}}" + "".join(f"  {cell:>12}" for cell in cells))
        notes = (f"({index}) {reason}" for index, reason in enumerate(self.reasons, 1))
        return "\n".join([*lines, "", *notes])


def main() -> int:
    """The suite's exit code. Arguments go to pytest, such as ``-k octoprint``."""
    outcomes = Outcomes()
    code = pytest.main(["-q", "-r", "f", "tests/conformance", *sys.argv[1:]], plugins=[outcomes])
    print(outcomes.table())
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
