"""Cura's formulas: what a setting is worth when nobody says it, reckoned from other settings.

CuraEngine itself does not reckon them; Cura's window does. They are written like Python, and are read here as a small language:
arithmetic, comparisons, choices and a list of functions. Nothing in it reaches a file, an attribute or this process.
"""

import ast
import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

Value = bool | int | float | str | list[Any]
_LONGEST_FORMULA = 4_000


class FormulaError(Exception):
    """The formula cannot be reckoned. The text says why."""


_ARITHMETIC: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_COMPARISONS: Mapping[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda one, many: one in many,
    ast.NotIn: lambda one, many: one not in many,
}
_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "abs": abs,
    "all": all,
    "any": any,
    "bool": bool,
    "float": float,
    "int": int,
    "len": len,
    "map": lambda function, values: [function(value) for value in values],
    "max": max,
    "min": min,
    "round": round,
    "str": str,
    "sum": sum,
}
_MATH: Mapping[str, Any] = {
    name: getattr(math, name)
    for name in ("atan", "ceil", "cos", "degrees", "floor", "log", "pi", "pow", "radians", "sin", "sqrt", "tan")
}


def parsed(text: str) -> ast.expr:
    """Raises FormulaError."""
    if len(text) > _LONGEST_FORMULA:
        raise FormulaError("it is too long")
    try:
        return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise FormulaError("it is no formula") from error


class Reckoner:
    """Reckons one formula after the other. ``value_of``: the worth of the setting of that name, or FormulaError.

    Of a machine with one extruder: what asks for an extruder's value gets the machine's.
    """

    def __init__(self, value_of: Callable[[str], Value]) -> None:
        self._value_of = value_of
        self._asking: Mapping[str, Callable[..., Any]] = {
            "anyExtruderNrWithOrDefault": lambda _key: 0,
            "anyExtruderWithMaterial": lambda _key: 0,
            "defaultExtruderPosition": lambda: 0,
            "extruderValue": lambda _extruder, key: value_of(key),
            "extruderValues": lambda key: [value_of(key)],
            "resolveOrValue": value_of,
        }

    def reckon(self, formula: ast.expr) -> Value:
        """Raises FormulaError."""
        try:
            found = self._of(formula)
        except (ArithmeticError, TypeError, ValueError, RecursionError) as error:
            raise FormulaError(str(error) or type(error).__name__) from error
        if not isinstance(found, (bool, int, float, str, list)):
            raise FormulaError("it gives no value")
        return found

    def _of(self, node: ast.expr) -> Any:
        step = _STEPS.get(type(node))
        if step is None:
            raise FormulaError(f"{type(node).__name__} is not known in formulas")
        return step(self, node)

    def _constant(self, node: ast.Constant) -> Any:
        return node.value

    def _name(self, node: ast.Name) -> Any:
        return _FUNCTIONS.get(node.id) or self._value_of(node.id)

    def _attribute(self, node: ast.Attribute) -> Any:
        if isinstance(node.value, ast.Name) and node.value.id == "math" and node.attr in _MATH:
            return _MATH[node.attr]
        raise FormulaError(f"{ast.unparse(node)[:80]} is not known in formulas")

    def _call(self, node: ast.Call) -> Any:
        if node.keywords:
            raise FormulaError("named arguments are not known in formulas")
        asked = self._asking.get(node.func.id) if isinstance(node.func, ast.Name) else None
        function = asked or (
            self._attribute(node.func) if isinstance(node.func, ast.Attribute) else self._function(node.func)
        )
        return function(*[self._of(argument) for argument in node.args])

    def _function(self, node: ast.expr) -> Callable[..., Any]:
        if isinstance(node, ast.Name) and node.id in _FUNCTIONS:
            return _FUNCTIONS[node.id]
        raise FormulaError(f"the function {ast.unparse(node)[:80]} is not known")

    def _arithmetic(self, node: ast.BinOp) -> Any:
        step = _ARITHMETIC.get(type(node.op))
        left, right = self._of(node.left), self._of(node.right)
        # A text times a number would be a way to fill the memory.
        if step is None or not all(isinstance(each, (int, float)) for each in (left, right)):
            raise FormulaError(f"{ast.unparse(node)[:80]} cannot be reckoned")
        return step(left, right)

    def _unary(self, node: ast.UnaryOp) -> Any:
        operand = self._of(node.operand)
        if isinstance(node.op, ast.Not):
            return not operand
        if isinstance(node.op, ast.USub):
            return -operand
        raise FormulaError("this sign is not known in formulas")

    def _comparison(self, node: ast.Compare) -> bool:
        left = self._of(node.left)
        for operation, after in zip(node.ops, node.comparators, strict=True):
            step, right = _COMPARISONS.get(type(operation)), self._of(after)
            if step is None:
                raise FormulaError("this comparison is not known in formulas")
            if not step(left, right):
                return False
            left = right
        return True

    def _either(self, node: ast.BoolOp) -> Any:
        """As Python: the first value that decides, and none after it is reckoned."""
        ends_at = isinstance(node.op, ast.Or)
        found: Any = None
        for each in node.values:
            found = self._of(each)
            if bool(found) is ends_at:
                break
        return found

    def _choice(self, node: ast.IfExp) -> Any:
        return self._of(node.body if self._of(node.test) else node.orelse)

    def _listed(self, node: ast.List | ast.Tuple) -> Any:
        return [self._of(each) for each in node.elts]


_STEPS: Mapping[type[ast.expr], Callable[[Reckoner, Any], Any]] = {
    ast.Constant: Reckoner._constant,
    ast.Name: Reckoner._name,
    ast.Attribute: Reckoner._attribute,
    ast.Call: Reckoner._call,
    ast.BinOp: Reckoner._arithmetic,
    ast.UnaryOp: Reckoner._unary,
    ast.Compare: Reckoner._comparison,
    ast.BoolOp: Reckoner._either,
    ast.IfExp: Reckoner._choice,
    ast.List: Reckoner._listed,
    ast.Tuple: Reckoner._listed,
}
