"""Every test that docs/faults.md names is there."""

import ast
import re
from pathlib import Path

import pytest

from tests.support.checker import CHECKS

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs" / "faults.md").read_text()


@pytest.mark.parametrize("named", sorted(set(re.findall(r"`(tests/[^`]+)`", TEXT))))
def test_what_is_named_is_there(named: str) -> None:
    path, _, function = named.partition("::")
    assert (ROOT / path).exists()
    if function:
        tree = ast.parse((ROOT / path).read_text())
        assert function in {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_the_table_says_what_the_checker_judges() -> None:
    rows = dict(re.findall(r"^\| (I\d+) [^|]*\| ([^|]*)\|", TEXT, re.M))
    assert len(rows) == 24
    assert {name for name, checker in rows.items() if checker.startswith("yes")} == set(CHECKS)
