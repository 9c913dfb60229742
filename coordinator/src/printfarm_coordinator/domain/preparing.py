"""What a job's model must be sliced with, and which print file a printer then gets."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from .assignment import Candidate, is_open, plates_owed
from .fitting import parts_wanted, plate_wanted
from .job import Job
from .print_file import PrintFile, own_file
from .printer import Obstacle, Printer, mismatches
from .refusals import Refusals
from .setup import Catalogue, Setup
from .slicing import FITTED, NOT_NEEDED, RESULT_DELETED, TRANSIENT, Slicing, SlicingKey, SlicingState


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do for a job. ``failure``: nothing that could be tried is left; the slicer's word on why."""

    order: tuple[tuple[SlicingKey, Setup], ...] = ()
    ready: Slicing | None = None
    failure: str = ""
    failure_code: str = ""


def is_judged(job: Job, rules: str) -> bool:
    """Its file was judged by these rules; a model has none that could be."""
    return job.needs_slicing or not rules or job.requirements.file.rules == rules


class Workshop:
    """All that is known of slicing at one look: profiles, slicings by model, and the engines that live workers have.

    ``engines``: engine -> version, of the newest that a live worker has. ``refused``: files that an agent would not print.
    ``rules``: what a job's own file must have been judged by; empty asks for nothing.
    """

    def __init__(
        self,
        profiles: Catalogue,
        slicings: Mapping[str, Sequence[Slicing]],
        engines: Mapping[str, str],
        refused: Refusals = MappingProxyType({}),
        rules: str = "",
    ) -> None:
        self._rules = rules
        self._refused = refused
        self.profiles = profiles
        self.engines = engines
        self._slicings = slicings

    def file_for(self, job: Job, printer: Printer) -> PrintFile | Obstacle:
        """The file that the printer would print for the job, or why there is none, or none that it takes."""
        file = self._file_of(job, printer)
        if isinstance(file, PrintFile) and (why := self._refused.get((file.sha256, printer.printer_id))):
            return Obstacle("file_refused", f"its agent refused the file: {why}")
        return file

    def _file_of(self, job: Job, printer: Printer) -> PrintFile | Obstacle:
        if not job.needs_slicing and not is_judged(job, self._rules):
            return Obstacle("checking", "its file is being checked before any printer gets it")
        if not job.needs_slicing:
            return own_file(job, printer)
        setup = self.setup_for(job, printer)
        if isinstance(setup, Obstacle):
            return setup
        task = self.task_of(job, setup)
        if setup.engine not in self.engines and (task is None or task.is_pending):
            return Obstacle(
                "no_slicer", f"no worker with {setup.engine} is connected: start printfarm-slicer where it is installed"
            )
        if task is None:
            return Obstacle("not_sliced", "it is not sliced for it yet")
        if task.state is SlicingState.FAILED:
            return Obstacle("slicing_failed", f"the slicer refused it: {task.error}")
        if task.result_sha256 is None:
            return Obstacle("not_sliced", f"it is being sliced for it: {task.state}, {task.progress:.0%}")
        return PrintFile(task.result_sha256, task.estimated_seconds, parts=task.plate_parts)

    def setup_for(self, job: Job, printer: Printer) -> Setup | Obstacle:
        """The preferred setup of those that can be had: a worker has its slicer, or it is sliced already.

        If none can, the preferred one: its obstacle names the slicer that is missing.
        """
        setups = self.profiles.setups_for(printer, job)
        if isinstance(setups, Obstacle):
            return setups
        return next((setup for setup in setups if self._can_be_had(job, setup)), setups[0])

    def _can_be_had(self, job: Job, setup: Setup) -> bool:
        if setup.engine in self.engines:
            return True
        task = self.task_of(job, setup)
        return task is not None and task.state is SlicingState.DONE

    def task_of(self, job: Job, setup: Setup) -> Slicing | None:
        """The slicing that stands for the job with this setup: of the version that workers have, else one that was made in
        the job's own time, else, with no worker there, whatever is done."""
        return self._task_of(job, setup, self._parts(job, setup))

    def _parts(self, job: Job, setup: Setup) -> int:
        """Of the job's next plate; FITTED for as many as the bed takes."""
        if not job.fit_plate:
            return job.parts_per_plate
        wanted = parts_wanted(job)
        return plate_wanted(wanted, self._task_of(job, setup, wanted), self._task_of(job, setup, FITTED))

    def _task_of(self, job: Job, setup: Setup, parts: int) -> Slicing | None:
        served = self.engines.get(setup.engine)
        same = [
            task
            for task in self._slicings.get(job.artifact_sha256, ())
            if task.key.settings_hash == setup.settings_hash
            and task.key.parts == parts
            and self._counts(task, job, served)
        ]
        return min(same, key=lambda task: (_RANK[task.state], -task.updated_at, task.slicing_id), default=None)

    def _counts(self, task: Slicing, job: Job, served: str | None) -> bool:
        in_its_time = task.ended_at is None or task.ended_at >= job.created_at
        if task.state is SlicingState.FAILED and task.error_code in TRANSIENT and not in_its_time:
            return False
        if task.error_code in (RESULT_DELETED, NOT_NEEDED):
            return False
        if served is None or task.key.engine_version == served:
            return True
        return task.state is SlicingState.DONE and in_its_time

    def tasks_of(self, job: Job, printers: Sequence[Printer]) -> list[Slicing]:
        """The slicings that stand for the job on these printers, oldest first."""
        if not job.needs_slicing:
            return []
        setups = [self.setup_for(job, p) for p in printers if not mismatches(p, job.requirements)]
        found = [self.task_of(job, setup) for setup in setups if isinstance(setup, Setup)]
        tasks = {task.slicing_id: task for task in found if task is not None}
        return sorted(tasks.values(), key=lambda task: (task.created_at, task.slicing_id))

    def plan(self, job: Job, candidates: Sequence[Candidate], now: int) -> Plan:
        """As few slicings as the plates owed need: first for printers that could start now, else for most printers."""
        able = [(c, self.setup_for(job, c.printer)) for c in candidates if not mismatches(c.printer, job.requirements)]
        found = [(c, setup) for c, setup in able if isinstance(setup, Setup)]
        setups = {setup.settings_hash: setup for _, setup in found}
        count = Counter(setup.settings_hash for _, setup in found)
        opened = {setup.settings_hash for c, setup in found if is_open(c, now)}
        tasks = {key: self.task_of(job, setup) for key, setup in setups.items()}
        done = [task for task in tasks.values() if task and task.state is SlicingState.DONE]
        failed = [task for task in tasks.values() if task and task.state is SlicingState.FAILED]
        pending = sum(task is not None and task.is_pending for task in tasks.values())
        ready = min(done, key=lambda task: (task.ended_at or 0, task.slicing_id), default=None)
        if failed and len(failed) == len(tasks):
            return Plan(failure=failed[0].error, failure_code=failed[0].error_code)
        new = sorted((key for key, task in tasks.items() if task is None), key=lambda key: (-count[key], key))
        wanted = [key for key in new if key in opened]
        if not wanted and not done and not pending:
            wanted = new[:1]
        served = sum(key in opened for key, task in tasks.items() if task in done)
        room = max(0, plates_owed(job) - pending - served)
        return Plan(tuple(filter(None, (self._ordered(job, setups[key]) for key in wanted[:room]))), ready)

    def _ordered(self, job: Job, setup: Setup) -> tuple[SlicingKey, Setup] | None:
        version = self.engines.get(setup.engine)
        if version is None:
            return None
        key = SlicingKey(job.artifact_sha256, setup.settings_hash, self._parts(job, setup), setup.engine, version)
        return key, setup


_RANK = {SlicingState.DONE: 0, SlicingState.RUNNING: 1, SlicingState.QUEUED: 2, SlicingState.FAILED: 3}
