"""Places at which a test can make the process die or stop, chosen by the environment.

``PRINTFARM_FAIL_AT=name`` ends the process there as ``kill -9`` would (exit code 86), ``name:3`` at the third passage,
``name=sleep:40`` sleeps 40 s there, blocking, and ``name=stop`` stops the whole process as SIGSTOP does, until somebody lets it
go on. Several, with commas between them, each in its turn; who ends or stops is named on standard error. Unset, a failpoint
costs one comparison.
"""

import os
import signal
import time
from dataclasses import dataclass

EXIT_CODE = 86


@dataclass(slots=True)
class _Plan:
    name: str
    passages_left: int
    sleep_seconds: float
    is_stop: bool = False


def _parse(text: str) -> dict[str, _Plan]:
    plans = {}
    for part in filter(None, text.split(",")):
        name, _, action = part.partition("=")
        name, _, passage = name.partition(":")
        is_stop = action == "stop"
        sleep = float(action.removeprefix("sleep:")) if action and not is_stop else 0.0
        plans[name] = _Plan(name, int(passage or 1), sleep, is_stop)
    return plans


_plans = _parse(os.environ.get("PRINTFARM_FAIL_AT", ""))


def failpoint(name: str) -> None:
    """Does what the environment planned for ``name``; usually nothing."""
    if not _plans or (plan := _plans.get(name)) is None:
        return
    plan.passages_left -= 1
    if plan.passages_left != 0:
        return
    if plan.sleep_seconds:
        time.sleep(plan.sleep_seconds)
        return
    os.write(2, f"failpoint {name}\n".encode())
    if plan.is_stop:
        os.kill(os.getpid(), signal.SIGSTOP)
        return
    os._exit(EXIT_CODE)
