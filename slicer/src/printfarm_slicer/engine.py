"""The port to a slicer program, and the words for how a slicing ends."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Protocol

# Names inside the job's own folder. No name of a user reaches a command line.
MODEL = "model.3mf"
RESULT = "out.gcode"


class SlicingFailed(Exception):
    """No print file. ``code`` is one of ``slicer_refused``, ``slicer_crashed``, ``slicer_limit``, ``model_refused``,
    ``result_refused``, ``worker_fault``; the text is for whoever sent the model, without any path."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended. ``returncode`` as the kernel says it, negative for a signal; outputs are their last 64 KiB."""

    returncode: int
    stdout: str
    stderr: str


class SlicerEngine(Protocol):
    """One slicer program as it is installed on this host."""

    name: str
    version: str

    def files(self, settings: Mapping[str, str]) -> dict[str, bytes]:
        """What the program reads beside the model: name -> content, for the job's folder."""
        ...

    def command(self, folder: PurePosixPath, parts: int) -> list[str]:
        """The program and its arguments; ``folder`` is the job's folder as the program sees it."""
        ...

    def progress(self, line: str) -> float | None:
        """0..1, if a line of its output tells it."""
        ...

    def refusal(self, ended: Ended) -> str:
        """What the program said, as one sentence for whoever sent the model; empty if it said nothing."""
        ...
