"""What the suite asks of a printer under test: a way to open its driver, files to print, and what a test may do to it.

A rig is one printer that is idle and well when it is opened. Its hooks act on the machine, or on the way to it, never
through the driver. What a protocol cannot do is declared in ``exempt`` with the reason; its hook is then never called.
"""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import entry_points
from pathlib import Path
from typing import ClassVar, Self

from printfarm_agent.driver import Driver, OpenDriver, PrinterConfig

Options = dict[str, str | int | float | bool]


class Hostile(StrEnum):
    """What a printer, or somebody in its place, may answer to a look."""

    # Bytes of another protocol.
    NOISE = "noise"
    # An answer without end, or far too long.
    ENDLESS = "endless"
    # Well-formed, of other types than agreed.
    WRONG_SHAPE = "wrong_shape"
    # All is well but the word for the state, which nobody knows.
    UNKNOWN_STATE = "unknown_state"
    # Temperatures: not a number, far below zero, far too hot.
    BROKEN_SENSOR = "broken_sensor"
    # HTTP: 200 with a login page; a redirect to another host.
    LOGIN_PAGE = "login_page"
    REDIRECT = "redirect"


@dataclass(frozen=True, slots=True)
class Row:
    """A rig in the table: its name, where it lies, and the server that it needs."""

    name: str
    module: str
    # Of the class in the module.
    rig: str
    # A session fixture that gives the running server; empty if the rig brings its own.
    server: str = ""


class Rig:
    """Base of all rigs. A hook that is neither written nor exempt is an error of the rig."""

    # The entry point's name.
    driver: ClassVar[str]
    # Guarantee (a test's name without ``test_``) -> why this driver need not, or cannot, give it.
    exempt: ClassVar[Mapping[str, str]] = {}

    # -- the printer

    @classmethod
    def opened(cls, folder: Path, server: object) -> AbstractAsyncContextManager[Self]:
        """The printer, idle and well. ``folder`` is the test's own; ``server`` is what the fixture of ``Row.server`` gave."""
        raise _missing("opened")

    def options(self) -> Options:
        """The driver's options, with deadlines as short as the printer allows."""
        raise _missing("options")

    def wrong_credentials(self) -> Options:
        """Options with a secret that the printer does not know. The secret holds the text ``WRONG_SECRET``."""
        raise _missing("wrong_credentials")

    def wrong_options(self) -> Options:
        """Options that no printer can be opened with: an unknown key is always wrong."""
        return self.options() | {"no_such_key": 1}

    def open(self, options: Options | None = None) -> AbstractAsyncContextManager[Driver]:
        """The driver, by its entry point, as the agent opens it."""
        (point,) = entry_points(group="printfarm.drivers", name=self.driver)
        found: OpenDriver = point.load()
        return found(PrinterConfig("printer-1", self.options() if options is None else options))

    # -- files

    def gcode(self, seconds: float) -> bytes:
        """A print that begins to move at once and takes about so many seconds of real time."""
        raise _missing("gcode")

    def gcode_that_heats(self) -> bytes:
        """A print that heats, or otherwise stands still, for some seconds before its first move."""
        raise _missing("gcode_that_heats")

    # -- the truth, by the machine's own books

    async def starts(self) -> list[str]:
        """The names of the files whose print really began, in order, since the rig was opened."""
        raise _missing("starts")

    async def files(self) -> set[str]:
        """The names of the files on the printer."""
        raise _missing("files")

    async def is_stopped(self) -> bool:
        """Whether an emergency stop reached the machine."""
        raise _missing("is_stopped")

    # -- a person at the machine

    async def start_foreign(self, seconds: float) -> str:
        """Somebody prints a file of his own that takes so long; its name, as the printer tells it."""
        raise _missing("start_foreign")

    async def pause_at_the_machine(self) -> None:
        """Somebody presses the button."""
        raise _missing("pause_at_the_machine")

    # -- what goes wrong; ``heal`` ends all that stands

    async def heal(self) -> None:
        """No fault of the way stands any more."""
        raise _missing("heal")

    async def fail_the_print(self) -> None:
        """The print under way fails, and the printer says why."""
        raise _missing("fail_the_print")

    async def restart_the_machine(self) -> None:
        """The printer's firmware or power goes and comes back while it prints. Returns when it may be asked again."""
        raise _missing("restart_the_machine")

    async def lose_connection(self) -> None:
        """Open connections break and nobody listens, until ``heal``. The machine knows nothing of it."""
        raise _missing("lose_connection")

    async def answer_never(self) -> None:
        """The printer takes connections and requests, and says nothing, until ``heal``."""
        raise _missing("answer_never")

    async def answer_late(self, seconds: float) -> None:
        """Each answer comes so much later, until ``heal``."""
        raise _missing("answer_late")

    async def lose_the_reply_to_a_start(self) -> None:
        """The next start is carried out, and its answer is lost."""
        raise _missing("lose_the_reply_to_a_start")

    async def refuse_starts(self) -> None:
        """The printer says no to every start, until ``heal``."""
        raise _missing("refuse_starts")

    async def fill_the_storage(self) -> None:
        """There is no room for another file, until ``heal``."""
        raise _missing("fill_the_storage")

    async def corrupt_the_next_transfer(self) -> None:
        """A byte of the next file arrives changed."""
        raise _missing("corrupt_the_next_transfer")

    async def slow_transfers(self) -> None:
        """A file of a megabyte takes at least some seconds, until ``heal``."""
        raise _missing("slow_transfers")

    async def be_hostile(self, how: Hostile) -> None:
        """Looks are answered so, until ``heal``."""
        raise _missing("be_hostile")

    async def was_followed(self) -> bool:
        """Whether anybody came to where ``Hostile.REDIRECT`` pointed."""
        raise _missing("was_followed")


WRONG_SECRET = "wrongsecret0123456789abcdef012345"


def _missing(hook: str) -> AssertionError:
    return AssertionError(f"the rig has no {hook}: write it, or declare what needs it exempt, with the reason")
