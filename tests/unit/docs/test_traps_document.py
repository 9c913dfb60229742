"""Every test that docs/drivers-traps.md names is there, and so is every protocol."""

import ast
import re
from pathlib import Path

import pytest

from tests.conformance.table import guarantees

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs" / "drivers-traps.md").read_text()
_SECTIONS = dict(re.findall(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", TEXT, re.M | re.S))


def _functions(path: str) -> set[str]:
    tree = ast.parse((ROOT / path).read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


@pytest.mark.parametrize("section", _SECTIONS)
def test_what_is_named_is_there(section: str) -> None:
    text = _SECTIONS[section]
    files = {letter: _functions(path) for letter, path in re.findall(r"\b([A-Z]): `(tests/[^`]+)`", text)}
    assert files
    named = re.findall(r"\b([A-Z]) `(\w+)`", text)
    assert len(named) >= 15
    wrong = [(letter, name) for letter, name in named if name not in (guarantees() if letter == "S" else files[letter])]
    assert not wrong


@pytest.mark.parametrize("section", _SECTIONS)
def test_each_row_has_a_test_or_says_that_there_is_none(section: str) -> None:
    rows = [
        line.split(" | ") for line in _SECTIONS[section].splitlines() if line.startswith("| ") and "---" not in line
    ]
    assert all(len(row) == 3 for row in rows)
    assert all(re.search(r"\b[A-Z] `\w+`|S on |none", row[2]) for row in rows[1:])
