"""JSON bodies read strictly: what two readers could understand differently is refused (bad inputs 15 to 19)."""

import json
import math
from typing import Any

from .problems import wrong_field

DEEPEST = 32
LONGEST_NUMBER = 64
# Far more than any request of ours has. Each unknown one is an error to be told, which is what makes many of them expensive.
MOST_MEMBERS = 256


def loads(body: bytes) -> Any:
    """Raises Problem 422 naming what is wrong."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise wrong_field("body", f"must be UTF-8: byte {error.start} is not") from error
    if text.startswith("\ufeff"):
        raise wrong_field("body", "must not begin with a byte order mark")
    _check_depth(text)
    try:
        found = json.loads(
            text, object_pairs_hook=_pairs, parse_constant=_constant, parse_int=_integer, parse_float=_float
        )
    except RecursionError as error:
        raise wrong_field("body", f"must not be nested deeper than {DEEPEST}") from error
    except ValueError as error:
        raise wrong_field("body", f"is not JSON: {error}"[:200]) from error
    _check_value("body", found)
    return found


def _check_depth(text: str) -> None:
    """Before the parser recurses: 32 is far more than any request of ours needs."""
    if text.count("[") + text.count("{") <= DEEPEST:
        return
    depth = deepest = 0
    in_string = escaped = False
    for character in text:
        if in_string:
            in_string = escaped or character != '"'
            escaped = character == "\\" and not escaped
        elif character == '"':
            in_string = True
        elif character in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "]}":
            depth -= 1
        if deepest > DEEPEST:
            raise wrong_field("body", f"must not be nested deeper than {DEEPEST}")


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > MOST_MEMBERS:
        raise wrong_field("body", f"an object has more than {MOST_MEMBERS} members")
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise wrong_field(_shown(key), "is there twice: send it once")
        _check_text(key, key)
        _check_value(key, value)
        found[key] = value
    return found


def _check_value(key: str, value: Any) -> None:
    if isinstance(value, str):
        _check_text(key, value)
    elif isinstance(value, list):
        for each in value:
            _check_value(key, each)


def _shown(key: str) -> str:
    return key.encode("utf-8", "replace").decode()[:100]


def _check_text(key: str, text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise wrong_field(_shown(key), "must be Unicode text without lone surrogates") from error
    if "\x00" in text:
        raise wrong_field(_shown(key), "must not have NUL characters")


def _constant(name: str) -> float:
    raise wrong_field("body", f"{name} is no JSON number")


def _integer(text: str) -> int:
    if len(text) > LONGEST_NUMBER:
        raise wrong_field("body", f"a number has more than {LONGEST_NUMBER} digits")
    return int(text)


def _float(text: str) -> float:
    value = float(text) if len(text) <= LONGEST_NUMBER else math.inf
    if not math.isfinite(value):
        raise wrong_field("body", "a number is too large")
    return value
