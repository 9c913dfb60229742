"""The catalogue of bad input misses no number of its ranges, and names only tests that exist."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[3]
DOCUMENT = ROOT / "docs" / "bad-input.md"
NUMBERS = {*range(1, 78), *range(86, 93)}
_SHORT = re.compile(r"`(\w+)` is\s+`(tests/[\w/]+\.py)`")
_NAMED = re.compile(r"`([\w/]+(?:\.py)?)::(\w+)`")
_ROW = re.compile(r"^\| (\d+) \|(.*)\|(.*)\|(.*)\|$", re.M)


def named(text: str) -> Iterator[tuple[Path, str]]:
    """Every test that the text names, with its file."""
    short = dict(_SHORT.findall(DOCUMENT.read_text()))
    for where, test in _NAMED.findall(text):
        yield ROOT / short.get(where, where), test


@cache
def functions_of(path: Path) -> set[str]:
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, functions)}


def test_every_named_test_exists() -> None:
    found = list(named(DOCUMENT.read_text()))
    assert len(found) > 100
    assert [(path.name, test) for path, test in found if test not in functions_of(path)] == []
    for path in re.findall(r"`(tests/[\w/.]+)`", DOCUMENT.read_text()):
        assert (ROOT / path).exists(), path


def test_every_number_has_its_row_and_its_test_or_says_why_not() -> None:
    rows = {int(number): (answer, tests) for number, _, answer, tests in _ROW.findall(DOCUMENT.read_text())}
    assert set(rows) == NUMBERS
    bare = {number for number, (_, tests) in rows.items() if not list(named(tests)) and "tests/" not in tests}
    # What is not built says so.
    assert bare == {30}
    assert all(answer.strip() for number, (answer, _) in rows.items() if number not in bare)


def test_tests_that_carry_a_number_stand_in_its_row() -> None:
    text = DOCUMENT.read_text()
    short = dict(_SHORT.findall(text))
    for path in {
        ROOT / where for name, where in short.items() if name not in ("drivers", "peer", "virtual", "faults", "page")
    }:
        numbered = {test for test in functions_of(path) if re.match(r"test_\d\d_", test)}
        missing = {
            test for test in numbered if test not in text and not re.match(r"test_58_(a_delta|a_little|without)", test)
        }
        assert missing == set(), path.name
