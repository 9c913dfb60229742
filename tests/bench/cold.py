"""From the command to readiness, against the import of the same modules."""

import time

from tests.support.farm import Program, until

from .farms import prepared_farm
from .figures import at_most, compare, tell
from .processes import import_seconds

_ROUNDS = 3
_PARTS = (("coordinator", "coordinator serves"), ("gateway", "gateway serves"), ("agent", "agent works"))


def start() -> None:
    """Coordinator, gateway, agent; the second start and later ones, as after a reboot."""
    with prepared_farm(printer_count=1, environment={"PRINTFARM_LOG_LEVEL": "INFO"}) as farm:
        farm.printers.start()
        for name, ready in _PARTS:
            program: Program = getattr(farm, name)
            found = compare(
                lambda p=program, r=ready: _start_seconds(p, r),  # type: ignore[misc]
                lambda n=name: import_seconds(f"printfarm_{n}.__main__"),  # type: ignore[misc]
                _ROUNDS,
            )
            tell(f"cold start, {name}", found, "s", at_most(2))


def _start_seconds(program: Program, ready: str) -> float:
    before = program.log().count(ready) if program.starts else 0
    began = time.perf_counter()
    program.start()
    until(lambda: program.log().count(ready) > before, why=ready)
    took = time.perf_counter() - began
    program.kill()
    return took
