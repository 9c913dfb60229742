"""The newest reading of each printer, in memory. Advisory: it never changes a run's state (I12)."""

from dataclasses import dataclass, field, replace

from ..domain.printer import PrinterState

LONGEST_MESSAGE = 256
# Beyond what any printer reaches; what lies outside is a broken sensor or a liar (bad input 74, 89).
COLDEST, HOTTEST = -100.0, 1_000.0
FARTHEST_MM = 100_000.0
LONGEST_SECONDS = 366 * 86_400.0


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
    taken: int = 0
    refused: int = 0
    dropped: int = 0

    def put(self, sample: Sample) -> None:
        """Keeps the sample, if it can be true; counts it as refused else."""
        if not is_plausible(sample):
            self.refused += 1
            return
        self.taken += 1
        if len(sample.message) > LONGEST_MESSAGE:
            sample = replace(sample, message=sample.message[:LONGEST_MESSAGE])
        self._samples[sample.printer_id] = sample

    def get(self, printer_id: str) -> Sample | None:
        """The newest, or None if there was none since the coordinator started."""
        return self._samples.get(printer_id)

    def progress_of(self, printer_id: str, run_id: str) -> float | None:
        """0..1, of that run only: a reading of another print says nothing of it."""
        sample = self._samples.get(printer_id)
        return sample.progress if sample and sample.run_id == run_id else None


def is_plausible(sample: Sample) -> bool:
    """Every number is finite and in a range that a printer can have."""
    if not all(COLDEST <= h.current <= HOTTEST and COLDEST <= h.target <= HOTTEST for h in sample.heaters):
        return False
    if sample.progress is not None and not 0.0 <= sample.progress <= 1.0:
        return False
    if sample.position_mm and not all(abs(side) <= FARTHEST_MM for side in sample.position_mm):
        return False
    return all(t is None or 0 <= t <= LONGEST_SECONDS for t in (sample.elapsed_seconds, sample.remaining_seconds))
