"""The suite about itself: what is declared exists, and the document says what is declared."""

import tomllib
from importlib.metadata import entry_points

from .rigs import ROWS, rig_class
from .table import DOCUMENT, DRIVERS, RULES, STATUSES, guarantees, written


def test_every_exemption_names_a_guarantee_and_its_reason() -> None:
    for row in ROWS:
        for guarantee, why in rig_class(row).exempt.items():
            assert guarantee in guarantees(), f"{row.name} is exempt from {guarantee}, which no test asks for"
            assert len(why) > 10, f"{row.name}: {guarantee} needs its reason"


def test_every_driver_answers_every_rule_of_the_quality_scale() -> None:
    files = sorted(DRIVERS.glob("*/quality.toml"))
    packages = sorted(path.parent for path in DRIVERS.glob("*/__init__.py"))
    assert [path.parent for path in files] == packages
    for path in files:
        rules = tomllib.loads(path.read_text())["rules"]
        assert set(rules) == set(RULES), path.parent.name
        for rule, said in rules.items():
            status, _, why = said.partition(": ")
            assert status in STATUSES, f"{path.parent.name}: {rule}"
            assert status == "done" or why, f"{path.parent.name}: {rule} needs its reason"


def test_the_document_names_every_driver() -> None:
    document = DOCUMENT.read_text()
    for point in entry_points(group="printfarm.drivers"):
        assert f"| `{point.name}` |" in document, f"{DOCUMENT.name} does not tell how a {point.name} printer is set up"


def test_the_document_shows_what_is_declared() -> None:
    document = DOCUMENT.read_text()
    assert document == written(document), "run python -m tests.conformance.table"
