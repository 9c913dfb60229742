"""Places at which a test can make the process die or stop, chosen by the environment.

``PRINTFARM_FAIL_AT=name`` ends the process there as ``kill -9`` would (exit code 86), ``name:3`` at the third passage, and
``name=sleep:40`` sleeps 40 s there, blocking, as a stopped process would. Unset, a failpoint costs one comparison.
"""

import os
import time
from dataclasses import dataclass

EXIT_CODE = 86


@dataclass(slots=True)
class _Plan:
    name: str
    passages_left: int
    sleep_seconds: float


def _parse(text: str) -> _Plan | None:
    if not text:
        return None
    name, _, action = text.partition("=")
    name, _, passage = name.partition(":")
    sleep = float(action.removeprefix("sleep:")) if action else 0.0
    return _Plan(name, int(passage or 1), sleep)


_plan = _parse(os.environ.get("PRINTFARM_FAIL_AT", ""))


def failpoint(name: str) -> None:
    """Does what the environment planned for ``name``; usually nothing."""
    if _plan is None or _plan.name != name:
        return
    _plan.passages_left -= 1
    if _plan.passages_left != 0:
        return
    if _plan.sleep_seconds:
        time.sleep(_plan.sleep_seconds)
    else:
        os._exit(EXIT_CODE)
