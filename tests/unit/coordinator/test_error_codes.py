"""Every code that the rules or the use cases raise is in the catalogue, and every exception of a port has its translation."""

import ast
from pathlib import Path

import pytest

import printfarm_coordinator
from printfarm_coordinator.app.ports import AlreadyExists, DatabaseUnavailable, StaleWrite, StorageFull
from printfarm_coordinator.domain.errors import IllegalState, Invalid, RuleError
from printfarm_coordinator.grpc_api.errors import translate
from printfarm_rpc.errors import Code

SOURCE = Path(printfarm_coordinator.__file__).parent


def raised_codes() -> set[str]:
    """The first argument of each ``RuleError(...)`` in the sources: always a literal."""
    found = set()
    for path in [*SOURCE.glob("domain/*.py"), *SOURCE.glob("app/*.py"), *SOURCE.glob("grpc_api/*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "RuleError":
                code = node.args[0]
                assert isinstance(code, ast.Constant), f"{path.name}:{node.lineno}: the code must be a literal"
                found.add(str(code.value))
    return found


def test_every_code_is_in_the_catalogue() -> None:
    codes = raised_codes()
    assert len(codes) > 15
    assert codes <= set(Code.__members__)


def test_a_refusal_keeps_its_code_field_and_facts() -> None:
    found = translate(RuleError("OFFSET_MISMATCH", "the stored length is 5", offset="5"))
    assert found is not None
    assert (found.code, found.detail, found.facts) == (Code.OFFSET_MISMATCH, "the stored length is 5", {"offset": "5"})
    wrong = translate(Invalid("quantity", "must be 1 or more"))
    assert wrong is not None
    assert [(v.field, v.description) for v in wrong.fields] == [("quantity", "must be 1 or more")]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (IllegalState("it is over"), Code.ILLEGAL_STATE),
        (StaleWrite("x"), Code.UNAVAILABLE),
        (DatabaseUnavailable("secret-host:5432"), Code.UNAVAILABLE),
        (AlreadyExists("x"), Code.ALREADY_EXISTS),
        (StorageFull("x"), Code.STORAGE_FULL),
    ],
)
def test_each_exception_has_its_code_and_tells_no_address(error: Exception, code: Code) -> None:
    found = translate(error)
    assert found is not None
    assert found.code is code
    assert "secret-host" not in found.detail


def test_what_nobody_expected_is_left_to_the_guard() -> None:
    assert translate(KeyError("x")) is None
