"""The newest reading of each printer, in memory. Advisory: it never changes a run's state (I12)."""

from collections.abc import Callable
from dataclasses import dataclass, field

from ..domain.printer import PrinterState


@dataclass(frozen=True, slots=True)
class Heater:
    """Degrees Celsius."""

    name: str
    current: float
    target: float


@dataclass(frozen=True, slots=True)
class Sample:
    """One reading. ``at`` in microseconds by the coordinator's clock, for display alone."""

    printer_id: str
    state: PrinterState
    at: int
    run_id: str = ""
    progress: float | None = None
    layer: int | None = None
    layer_count: int | None = None
    elapsed_seconds: float | None = None
    remaining_seconds: float | None = None
    heaters: tuple[Heater, ...] = ()
    position_mm: tuple[float, float, float] | None = None
    message: str = ""


@dataclass(slots=True)
class Latest:
    """One sample per printer, and how many were taken, refused and lost on the way."""

    _samples: dict[str, Sample] = field(default_factory=dict)
    _unread: dict[str, Callable[[], Sample]] = field(default_factory=dict)
    taken: int = 0
    refused: int = 0
    dropped: int = 0

    def put(self, sample: Sample) -> None:
        """Keeps the sample."""
        self.keep(sample.printer_id, lambda: sample)

    def keep(self, printer_id: str, read: Callable[[], Sample]) -> None:
        """Keeps a reading that can be true. It is read once somebody asks for it: most are replaced before that."""
        self.taken += 1
        self._unread[printer_id] = read

    def get(self, printer_id: str) -> Sample | None:
        """The newest, or None if there was none since the coordinator started."""
        if read := self._unread.pop(printer_id, None):
            self._samples[printer_id] = read()
        return self._samples.get(printer_id)

    def progress_of(self, printer_id: str, run_id: str) -> float | None:
        """0..1, of that run only: a reading of another print says nothing of it."""
        sample = self.get(printer_id)
        return sample.progress if sample and sample.run_id == run_id else None
