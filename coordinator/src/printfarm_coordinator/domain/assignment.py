"""Which printer gets which job, and the offer that says so."""

from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from .errors import IllegalState, RuleError
from .job import Job, Requirements, parts_owed
from .print_file import Fit, PrintFile, own_file
from .printer import Abilities, Obstacle, Printer, can_take, gates_closed, matched_abilities, mismatches
from .run import Run
from .slice import Slice, run_event, with_job

COORDINATOR = "coordinator"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A printer with what the decision needs to know of its agent."""

    printer: Printer
    agent_reachable: bool
    agent_draining: bool


def obstacles(job: Job, candidate: Candidate, now: int, fit: Fit = own_file) -> list[Obstacle]:
    """Everything that keeps the job off the printer now; empty: it could start."""
    file = fit(job, candidate.printer)
    gates = gates_closed(
        candidate.printer,
        agent_reachable=candidate.agent_reachable,
        agent_draining=candidate.agent_draining,
        now=now,
    )
    found = mismatches(candidate.printer, job.requirements)
    # What does not suit the job needs no file.
    if isinstance(file, Obstacle) and not found:
        found = [file]
    return found + gates


def urgency(job: Job) -> tuple[int, int, int, str]:
    """Sorts the most urgent first: priority, due time, age. The id makes the order total."""
    no_due_time = 1 << 62
    return (-job.priority, job.due_at if job.due_at is not None else no_due_time, job.created_at, job.job_id)


def is_open(candidate: Candidate, now: int) -> bool:
    """Nothing keeps a new run away from the printer."""
    reachable, draining = candidate.agent_reachable, candidate.agent_draining
    return not gates_closed(candidate.printer, agent_reachable=reachable, agent_draining=draining, now=now)


def choose(
    jobs: Sequence[Job],
    candidates: Iterable[Candidate],
    now: int,
    fit: Fit = own_file,
    picky: Collection[str] = (),
) -> list[tuple[str, str]]:
    """Pairs of (job id, printer id) to offer, at most one per printer, the most urgent job first.

    A job takes as many printers as it owes plates. Of the printers that can take a job, it gets the one that can take the
    fewest other waiting jobs, so that a picky job behind it is not left without.

    Jobs that require the same, and printers that hold the same, are looked at together: the work grows with the jobs and with
    the kinds of them, not with jobs x printers. ``picky``: files that not every printer takes; ``fit`` tells.
    """
    printers = [candidate.printer for candidate in candidates if is_open(candidate, now)]
    waiting = sorted((job for job in jobs if parts_owed(job)), key=urgency)
    queues = _queues(waiting, printers, fit, picky)
    taken: set[str] = set()
    chosen: list[tuple[str, str]] = []
    for job in waiting:
        if len(taken) == len(printers):
            break
        queue = queues[kind_of(job, picky)]
        plates = plates_owed(job) if queue else 0
        while queue and plates:
            printer_id = queue.pop()
            if printer_id not in taken:
                taken.add(printer_id)
                chosen.append((job.job_id, printer_id))
                plates -= 1
    return chosen


def kind_of(job: Job, picky: Collection[str] = ()) -> Hashable:
    """What two jobs share that the same printers can take: what they require, and a file that suits only some of them."""
    if not job.needs_slicing:
        return (job.requirements, job.artifact_sha256, job.plate) if _is_picky(job, picky) else job.requirements
    owed = parts_owed(job) if job.fit_plate else 0
    return job.requirements, job.artifact_sha256, job.profile, job.parts_per_plate, owed, job.created_at


def _is_picky(job: Job, picky: Collection[str]) -> bool:
    return any(sha256 in picky for sha256 in job.printable_sha256s)


def _queues(
    jobs: Sequence[Job], printers: Sequence[Printer], fit: Fit, picky: Collection[str]
) -> dict[Hashable, list[str]]:
    """For each kind of job the printers that can take it, the one that is wanted least last."""
    wanted = Counter(kind_of(job, picky) for job in jobs)
    fits = _files(jobs, printers, _fits({job.requirements for job in jobs}, printers), fit, picky)
    wanted_by: Counter[str] = Counter()
    for kind, able in fits.items():
        for printer_id in able:
            wanted_by[printer_id] += wanted[kind]
    return {kind: sorted(able, key=lambda p: (wanted_by[p], p), reverse=True) for kind, able in fits.items()}


def _files(
    jobs: Sequence[Job],
    printers: Sequence[Printer],
    able: Mapping[Requirements, list[str]],
    fit: Fit,
    picky: Collection[str],
) -> dict[Hashable, list[str]]:
    """Of the printers that meet the requirements of each kind, those for which there is a file."""
    by_id = {printer.printer_id: printer for printer in printers}
    found: dict[Hashable, list[str]] = {}
    for job in jobs:
        kind, those = kind_of(job, picky), able[job.requirements]
        suits_all = not job.needs_slicing and not _is_picky(job, picky)
        if kind not in found:
            found[kind] = [p for p in those if suits_all or isinstance(fit(job, by_id[p]), PrintFile)]
    return found


def _fits(kinds: Iterable[Requirements], printers: Sequence[Printer]) -> dict[Requirements, list[str]]:
    """For each kind of job the printers that meet its requirements; worked out once for printers that hold the same."""
    holders: dict[Abilities, list[str]] = {}
    holds: dict[str, Abilities] = {}
    for printer in printers:
        has = holds[printer.printer_id] = matched_abilities(printer)
        holders.setdefault(has, []).append(printer.printer_id)
    fits = {}
    for wanted in kinds:
        if wanted.printer_ids:
            named = [p for p in dict.fromkeys(wanted.printer_ids) if p in holds]
            fits[wanted] = [p for p in named if can_take(holds[p], wanted)]
        else:
            fits[wanted] = [p for has, those in holders.items() if can_take(has, wanted) for p in those]
    return fits


def plates_owed(job: Job) -> int:
    """Whole plates for the parts owed (I1)."""
    return -(-parts_owed(job) // job.parts_per_plate)


def offer(
    job: Job,
    candidate: Candidate,
    run_id: str,
    now: int,
    *,
    actor: str,
    retry_of: str | None,
    fit: Fit = own_file,
) -> Slice:
    """A new run of the job on the printer, under the printer's next epoch.

    Raises IllegalState if nothing is owed, RuleError PRINTER_NOT_ELIGIBLE with the reasons if the printer cannot take it.
    """
    if not parts_owed(job):
        raise IllegalState(f"the job owes no parts: it is {'held' if job.held else job.state.value}")
    file = fit(job, candidate.printer)
    found = obstacles(job, candidate, now, fit)
    if found or isinstance(file, Obstacle):
        raise RuleError(
            "PRINTER_NOT_ELIGIBLE", "; ".join(o.explanation for o in found), codes=",".join(o.code for o in found)
        )
    printer = candidate.printer
    epoch = printer.epoch + 1
    run = Run(
        run_id,
        job.job_id,
        printer.printer_id,
        printer.agent_id,
        epoch,
        file.parts or job.parts_per_plate,
        now,
        now,
        retry_of=retry_of,
        artifact_sha256=file.sha256,
        estimated_seconds=file.estimated_seconds,
    )
    taken = replace(printer, epoch=epoch, active_run_id=run_id, updated_at=now)
    counted = replace(job, active_runs=job.active_runs + 1, pending_parts=job.pending_parts + run.parts)
    return with_job(Slice(job, run, taken, events=(run_event(run, "offered", actor),)), counted, now, actor)
