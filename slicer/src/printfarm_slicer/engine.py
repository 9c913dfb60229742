"""The port to a slicer program, and the words for how a slicing ends."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

from printfarm_files import Bounds
from printfarm_files.threemf import Model

# Names inside the job's own folder. No name of a user reaches a command line.
RESULT = "out.gcode"


class SlicingFailed(Exception):
    """No print file. ``code`` is one of ``slicer_refused``, ``slicer_crashed``, ``slicer_limit``, ``model_refused``,
    ``result_refused``, ``worker_fault``; the text is for whoever sent the model, without any path."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason


class DoesNotFit(SlicingFailed):
    """So many copies do not fit on the plate; fewer may."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended. ``returncode`` as the kernel says it, negative for a signal; outputs are their last 64 KiB."""

    returncode: int
    stdout: str
    stderr: str


@dataclass(frozen=True, slots=True)
class Order:
    """What to slice: triangles that were read whole and the box around them, in millimetres; the merged settings of a setup;
    how many copies stand on the plate."""

    model: Model
    box: Bounds
    settings: Mapping[str, str]
    parts: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the print file must be of, by the settings. Millimetres; ``room`` is the box that can be printed in."""

    room: Bounds
    layer_height_mm: float
    nozzle_mm: float
    material: str


class SlicerEngine(Protocol):
    """One slicer program as it is installed on this host.

    ``version`` names all that its result depends on beside the order: what it sliced is not sliced again under the same one.
    """

    name: str
    version: str

    def prepare(self, order: Order, folder: Path, inside: PurePosixPath) -> list[str]:
        """Writes what the program reads into the empty ``folder``; the answer is the program and its arguments.

        ``inside`` is the folder as the program sees it. Raises SlicingFailed.
        """
        ...

    def trial(self, order: Order, folder: Path, inside: PurePosixPath) -> list[str] | None:
        """As ``prepare``, of a program that only tries whether so many copies fit; None where they do, and none is needed.

        Raises DoesNotFit, SlicingFailed.
        """
        ...

    def progress(self, line: str) -> float | None:
        """0..1, if a line of its output tells it."""
        ...

    def failure(self, ended: Ended, folder: Path) -> SlicingFailed | None:
        """Why there is no print file, where this program's own way of ending says it; the reason in its words."""
        ...

    def result(self, settings: Mapping[str, str], ended: Ended, folder: Path) -> Path:
        """The print file as it is to be kept, whether it is there or not; asked for once the program has ended well.

        Raises SlicingFailed.
        """
        ...

    def wanted(self, settings: Mapping[str, str]) -> Wanted:
        """What these settings ask of the print file."""
        ...


def own_file(path: Path) -> Path:
    """The path, unless the program put a link there: that would lead out of its folder. Raises SlicingFailed."""
    if path.is_symlink():
        raise SlicingFailed("result_refused", "the slicer's file is none of its own")
    return path
