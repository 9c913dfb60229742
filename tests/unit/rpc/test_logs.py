"""A line that the level leaves out is not made; one that it lets through is."""

import subprocess
import sys

import pytest

_SCRIPT = """
import io, structlog
from printfarm_rpc import logs

class Told:
    def __str__(self):
        raise SystemExit("it was made")
    __repr__ = __str__

out = io.StringIO()
logs.configure("program", level="{level}", stream=out)
structlog.get_logger("x").debug("quiet", what=Told())
structlog.get_logger("x").info("usual")
logs.line("request", status=200)
structlog.get_logger("x").warning("loud")
print(out.getvalue())
"""


@pytest.mark.parametrize(("level", "shown"), [("INFO", ["usual", "request", "loud"]), ("WARNING", ["loud"])])
def test_only_what_the_level_lets_through_is_made(level: str, shown: list[str]) -> None:
    command = [sys.executable, "-c", _SCRIPT.replace("{level}", level)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert [word for word in ("quiet", "usual", "request", "loud") if f'"{word}"' in done.stdout] == shown
