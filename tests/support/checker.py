"""The offline checker: what printers, database, journals, files and clients must say together after any history.

One function for each guarantee (docs/faults.md), fed with a ``History``; each tells of every breach that it finds. The logs of
the virtual printers are the ground truth.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator

from . import checker_machines as machines
from .history import FINAL, History, Row, is_offer, seconds

Check = Callable[[History], Iterator[str]]
# The database's clock tells milliseconds.
_GRAIN = 0.01


class Violation(AssertionError):
    """Guarantees were broken; ``invariants`` are their ids."""

    def __init__(self, found: list[tuple[str, str]]) -> None:
        super().__init__("\n".join(f"{name}: {text}" for name, text in found))
        self.invariants = {name for name, _ in found}


def check(history: History) -> Counter[str]:
    """Raises Violation; returns how often what was seen, for coverage."""
    found = [(name, text) for name, judge in CHECKS.items() for text in judge(history)]
    if found:
        raise Violation(found)
    seen = Counter(event["type"] for event in history.events)
    seen.update(f"run.{run['state']}" for run in history.runs.values())
    seen["physical_start"] = sum(1 for _ in history.starts())
    return seen


def parts_are_owed(history: History) -> Iterator[str]:
    """I1: a run starts on its own printer only; no more parts are active than the job owes, rounded up to whole plates."""
    for printer_id, start in history.starts():
        run = history.runs.get(start["run_id"])
        if run is not None and run["printer_id"] != printer_id:
            yield f"{run['run_id']} of {run['printer_id']} started on {printer_id}"
    active: dict[str, Counter[str]] = defaultdict(Counter)
    good: Counter[str] = Counter()
    changed = {event["subject_id"] for event in history.events if event["type"] == "job.changed"}
    for event, run, job in _run_events(history):
        word = event["type"].partition(".")[2]
        if word == "verdict":
            good[job["job_id"]] += event["data"]["good_parts"]
        elif word in FINAL:
            active[job["job_id"]].pop(run["run_id"], None)
        elif is_offer(event):
            active[job["job_id"]][run["run_id"]] = run["parts"]
            plate = job["parts_per_plate"]
            owed = -(-max(0, job["quantity"] - good[job["job_id"]]) // plate) * plate
            parts = sum(active[job["job_id"]].values())
            if parts > owed and event["actor"] == "coordinator" and job["job_id"] not in changed:
                yield f"{job['job_id']} has {parts} parts under way and owes {owed}"


def one_active_run(history: History) -> Iterator[str]:
    """I2: at most one active run per printer, at any time; none is offered to a printer that is held."""
    active: dict[str, set[str]] = defaultdict(set)
    held: set[str] = set()
    for event in history.events:
        subject, kind = event["subject_id"], event["type"]
        if kind == "printer.held":
            held.add(subject)
        elif kind == "printer.released":
            held.discard(subject)
        elif kind.startswith("run.") and kind.partition(".")[2] in FINAL:
            active[event["data"]["printer_id"]].discard(subject)
        elif is_offer(event):
            printer_id = event["data"]["printer_id"]
            active[printer_id].add(subject)
            if len(active[printer_id]) > 1:
                yield f"{printer_id} has the active runs {sorted(active[printer_id])}"
            if printer_id in held:
                yield f"{subject} was offered to {printer_id}, which is held"
    now = Counter(run["printer_id"] for run in history.runs.values() if run["state"] not in FINAL)
    yield from (f"{printer_id} has {count} active rows" for printer_id, count in now.items() if count > 1)


def accepted_jobs_are_there(history: History) -> Iterator[str]:
    """I7: what a client was told of is there, once, as it was sent; and no printer starts what the database does not know."""
    for told in history.told:
        job = history.jobs.get(told.job_id)
        if job is None:
            yield f"job {told.job_id} was accepted, and is not there"
        elif told.what == "accepted" and (job["artifact_sha256"], job["quantity"]) != (told.sha256, told.quantity):
            yield f"job {told.job_id} is not what was accepted"
    for printer_id, start in history.starts():
        if start["run_id"] not in history.runs:
            yield f"{printer_id} started {start['run_id']}, which the database does not know"
    yield from (f"{run['run_id']} is of no job" for run in history.runs.values() if run["job_id"] not in history.jobs)


def one_key_one_job(history: History) -> Iterator[str]:
    """I8."""
    answers: dict[str, set[str]] = defaultdict(set)
    for told in history.told:
        if told.key:
            answers[told.key].add(told.job_id)
    kept = {row["key"]: row["subject_id"] for row in history.rows["idempotency"]}
    for key, jobs in answers.items():
        if len(jobs) > 1:
            yield f"key {key} was answered with the jobs {sorted(jobs)}"
        elif kept.get(key) not in jobs:
            yield f"key {key} was answered with {sorted(jobs)}, and is remembered as {kept.get(key)}"
    yield from (f"job {job_id} has {count} keys" for job_id, count in Counter(kept.values()).items() if count > 1)


def silence_owes_nothing(history: History) -> Iterator[str]:
    """I10: only the run's own agent or a person ends a run; what is fenced never started."""
    agents = {row["agent_id"] for row in history.rows["agent"]}
    for event, run, _ in _run_events(history):
        word, actor = event["type"].partition(".")[2], event["actor"]
        if word not in FINAL or actor == run["agent_id"]:
            continue
        by_person = (f"run.resolve.{_OUTCOMES[word]}", "run.cancel")
        known = history.audited(run["run_id"], by_person, seconds(event["created_at"]) + _GRAIN)
        if actor == "coordinator" or actor in agents or not known:
            yield f"{run['run_id']} is {word} by the word of {actor}"
    for printer_id, start in history.starts():
        run = history.runs.get(start["run_id"], {})
        if run.get("state") == "fenced":
            yield f"{run['run_id']} is fenced, and was started on {printer_id}"


_OUTCOMES = {"finished": "finished", "failed": "failed", "fenced": "never_started", "cancelled": "cancelled"}


def facts_are_a_prefix(history: History) -> Iterator[str]:
    """I12: events have no gap, each subject's are in order and told once; no fact was acknowledged and not applied."""
    placed = [event["position"] for event in history.events if event["position"] is not None]
    if placed != list(range(1, len(placed) + 1)):
        yield "the events have gaps"
    last: Counter[str] = Counter()
    once: set[tuple[str, str]] = set()
    for event in history.events:
        subject, kind = event["subject_id"], event["type"]
        last[subject] += 1
        if event["subject_sequence"] != last[subject]:
            yield f"the events of {subject} are out of order"
        if kind in _ONCE or is_offer(event):
            if (subject, kind) in once:
                yield f"{kind} of {subject} was applied twice"
            once.add((subject, kind))
    for agent in history.rows["agent"]:
        journal = history.journals.get(agent["agent_id"])
        if journal is None:
            continue
        applied = agent["last_applied_sequence"]
        if applied > journal.last:
            yield f"fact {applied} of {agent['agent_id']} was applied and never journalled"
        if journal.waiting != tuple(range(journal.last - len(journal.waiting) + 1, journal.last + 1)):
            yield f"the journal of {agent['agent_id']} has gaps"
        if journal.last - len(journal.waiting) > applied:
            yield f"a fact of {agent['agent_id']} was forgotten before it was applied"


_ONCE = {"run.started", *(f"run.{state}" for state in FINAL)}


def the_end_is_the_end(history: History) -> Iterator[str]:
    """I15: nothing but a verdict or an alarm comes after a run's final state; a retry is a run of its own."""
    over: dict[str, str] = {}
    for event, run, _ in _run_events(history):
        word = event["type"].partition(".")[2]
        if run["run_id"] in over and word not in ("verdict", "alarm"):
            yield f"{run['run_id']} was {over[run['run_id']]}, then {word}"
        if word in FINAL:
            over[run["run_id"]] = word
    for run in history.runs.values():
        if over.get(run["run_id"], run["state"]) != run["state"]:
            yield f"{run['run_id']} was {over[run['run_id']]}, and is {run['state']}"
        lost = history.runs.get(run["retry_of"] or "")
        if lost is not None and (lost["state"] not in FINAL or lost["job_id"] != run["job_id"]):
            yield f"{run['run_id']} repeats {lost['run_id']}, which is {lost['state']}"


def _run_events(history: History) -> Iterator[tuple[Row, Row, Row]]:
    """Each event of a run with its run and its job. One without them is I7's to tell."""
    for event in history.events:
        run = history.runs.get(event["subject_id"]) if event["subject_kind"] == "run" else None
        job = history.jobs.get(run["job_id"]) if run else None
        if run is not None and job is not None:
            yield event, run, job


CHECKS: dict[str, Check] = {
    "I1": parts_are_owed,
    "I2": one_active_run,
    "I3": machines.at_most_one_start,
    "I4": machines.authority_before_start,
    "I5": machines.cancelled_means_cancelled,
    "I6": machines.epochs_only_grow,
    "I7": accepted_jobs_are_there,
    "I8": one_key_one_job,
    "I9": machines.a_print_outlives_its_agent,
    "I10": silence_owes_nothing,
    "I11": machines.one_token_one_start,
    "I12": facts_are_a_prefix,
    "I15": the_end_is_the_end,
    "I16": machines.finished_needs_evidence,
    "I17": machines.bytes_are_those_ordered,
    "I21": machines.commands_are_on_record,
    "I22": machines.agents_speak_for_their_own,
    "I23": machines.heaters_go_off,
    "I24": machines.nothing_starts_alone,
}
