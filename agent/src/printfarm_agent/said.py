"""What a driver says of its printer, made fit to be journalled and sent on. Pure.

A printer may say anything: half a character of JSON, an endless number. A worker that broke over that would end the looks
and the stops of its printer.
"""

import math
from dataclasses import fields, replace
from typing import Any, TypeVar

from .driver import MachineIdentity, Observation

# Numbers of prints may be times in milliseconds; none is as long as this.
LONGEST_NUMBER = 1e15
Said = TypeVar("Said", Observation, MachineIdentity)


def encodable(text: str) -> str:
    """With a question mark for what no encoding holds, such as a lone surrogate."""
    return text.encode("utf-8", "replace").decode("utf-8")


def reason(error: BaseException) -> str:
    """Why, in the driver's words."""
    return encodable(str(error))


def fit(said: Said) -> Said:
    """The same, with texts that can be encoded; a number that is none is not known."""
    known = {field.name: getattr(said, field.name) for field in fields(said)}
    changes = {name: _fit(value) for name, value in known.items() if type(value) in (str, int, float)}
    return replace(said, **changes)


def _fit(value: str | float) -> Any:
    if isinstance(value, str):
        return encodable(value)
    return value if math.isfinite(value) and abs(value) < LONGEST_NUMBER else None
