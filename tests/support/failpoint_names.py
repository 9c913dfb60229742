"""Every failpoint that the programs have, read from their source: a new one is never forgotten by the tests."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import printfarm_agent
import printfarm_coordinator
from printfarm.agent.v1 import agent_service_pb2 as pb
from printfarm_agent.execution import Stage

_Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def _functions(package: Path) -> list[tuple[_Function, list[ast.Call]]]:
    """Each function with the calls in it; inner ones belong to their outer one, too."""
    found = []
    for path in sorted(package.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, _Function):
                found.append((node, [call for call in ast.walk(node) if isinstance(call, ast.Call)]))
    return found


def _name(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _words(node: ast.AST, within: _Function, package: Path) -> Iterator[str]:
    """What a name may be: a constant, one of two, one that a caller gives, or made of those."""
    if isinstance(node, ast.Constant):
        yield str(node.value)
    elif isinstance(node, ast.IfExp):
        yield from _words(node.body, within, package)
        yield from _words(node.orelse, within, package)
    elif isinstance(node, ast.JoinedStr):
        made = [""]
        for part in node.values:
            inner = part.value if isinstance(part, ast.FormattedValue) else part
            made = [start + end for start in made for end in _words(inner, within, package)]
        yield from made
    elif isinstance(node, ast.Name):
        yield from _values(node.id, within, package)
    else:
        raise AssertionError(f"{within.name}: a failpoint's name that this cannot read: {ast.dump(node)}")


def _values(name: str, within: _Function, package: Path) -> Iterator[str]:
    for inner in ast.walk(within):
        if isinstance(inner, ast.Assign) and any(isinstance(t, ast.Name) and t.id == name for t in inner.targets):
            yield from _words(inner.value, within, package)
    parameters = [argument.arg for argument in within.args.args]
    if name in parameters:
        at = parameters.index(name)
        for caller, calls in _functions(package):
            for call in calls:
                if _name(call) == within.name and len(call.args) > at:
                    yield from _words(call.args[at], caller, package)


def commit_names() -> set[str]:
    """Of the coordinator's writing transactions."""
    package = Path(printfarm_coordinator.__file__).parent
    found: set[str] = set()
    for function, calls in _functions(package):
        if function.name == "transact":
            continue
        for call in calls:
            if _name(call) == "transact":
                found.update(_words(call.args[1], function, package))
            elif _name(call) == "write" and call.args and _is_store(call.func):
                found.update(_words(call.args[0], function, package))
    return found


def _is_store(node: ast.expr) -> bool:
    return isinstance(node, ast.Attribute) and getattr(node.value, "attr", "") == "store"


def plain_names(package: Path) -> set[str]:
    """Failpoints that are named where they stand."""
    calls = [call for _, calls in _functions(package) for call in calls if _name(call) == "failpoint"]
    return {call.args[0].value for call in calls if isinstance(call.args[0], ast.Constant)}


def coordinator_failpoints() -> set[str]:
    plain = plain_names(Path(printfarm_coordinator.__file__).parent)
    return {f"{edge}_commit.{name}" for edge in ("before", "after") for name in commit_names()} | plain


def agent_failpoints() -> set[str]:
    facts = {field.name for field in pb.AgentEvent.DESCRIPTOR.oneofs[0].fields}
    whats = facts | {stage.value for stage in Stage} | {"page"}
    plain = plain_names(Path(printfarm_agent.__file__).parent)
    return {f"{edge}_journal.{what}" for edge in ("before", "after") for what in whats} | plain
