"""The checker can fail: a good history passes, and each of its forgeries is told under the guarantee that it breaks."""

import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.checker import CHECKS, Violation, check
from tests.support.history import History, JournalFacts, Outage, Row, Told

SHA = "a" * 64
US = 1_000_000
Forgery = Callable[[History], Any]


def event(number: int, kind: str, subject: str, actor: str, at: int, **data: Any) -> Row:
    return {
        "event_id": number,
        "position": number,
        "type": kind,
        "subject_kind": kind.partition(".")[0],
        "subject_id": subject,
        "subject_sequence": 0,
        "actor": actor,
        "data": data,
        "created_at": at * US,
    }


def run_row(run_id: str, job_id: str, epoch: int, state: str, **changes: Any) -> Row:
    plain = {
        "run_id": run_id,
        "job_id": job_id,
        "printer_id": "p0",
        "agent_id": "a1",
        "epoch": epoch,
        "parts": 1,
        "state": state,
        "verified": None,
        "reason_code": "",
        "retry_of": None,
        "cancel_requested": False,
        "nonce": None,
        "bed_token": None,
        "authorised_at": None,
        "ended_at": None,
        "created_at": 0,
    }
    return plain | changes


def story() -> list[Row]:
    """r1 prints to its end and is signed off; r2 is cancelled while it prints; r3 waits for its bed."""
    told: list[tuple[str, str, str, int, dict[str, Any]]] = [
        ("job.received", "j1", "ann", 10, {}),
        ("run.offered", "r1", "coordinator", 11, {}),
        ("run.accepted", "r1", "a1", 12, {"from_state": "offered"}),
        ("run.authorised", "r1", "a1", 13, {}),
        ("run.starting", "r1", "a1", 14, {"from_state": "authorised"}),
        ("run.started", "r1", "a1", 15, {"from_state": "starting"}),
        ("run.finished", "r1", "a1", 120, {"from_state": "printing"}),
        ("run.verdict", "r1", "eva", 130, {"good_parts": 1}),
        ("printer.bed_cleared", "p0", "eva", 130, {}),
        ("job.completed", "j1", "eva", 130, {}),
        ("job.received", "j2", "ann", 140, {}),
        ("run.offered", "r2", "coordinator", 141, {}),
        ("run.authorised", "r2", "a1", 143, {}),
        ("run.started", "r2", "a1", 145, {"from_state": "starting"}),
        ("run.cancel_requested", "r2", "eva", 150, {}),
        ("run.cancelled", "r2", "a1", 153, {"from_state": "printing"}),
        ("printer.bed_cleared", "p0", "eva", 160, {}),
        ("job.received", "j3", "ann", 161, {}),
        ("run.offered", "r3", "coordinator", 162, {}),
    ]
    epochs, jobs = {"r1": 1, "r2": 2, "r3": 3}, {"r1": "j1", "r2": "j2", "r3": "j3"}
    rows, last = [], dict[str, int]()
    for number, (kind, subject, actor, at, data) in enumerate(told, start=1):
        if subject in jobs:
            data = {"job_id": jobs[subject], "printer_id": "p0", "epoch": epochs[subject]} | data
        row = event(number, kind, subject, actor, at, **data)
        last[subject] = row["subject_sequence"] = last.get(subject, 0) + 1
        rows.append(row)
    return rows


def audit() -> list[Row]:
    said = [
        ("run.start", "run", "r1", "ann", 13),
        ("run.verdict", "run", "r1", "eva", 130),
        ("printer.bed_cleared", "printer", "p0", "eva", 130),
        ("run.start", "run", "r2", "ann", 143),
        ("run.cancel", "run", "r2", "eva", 150),
    ]
    rows: list[Row] = []
    for number, (action, kind, subject, actor, at) in enumerate(said, start=1):
        row = {"sequence": number, "created_at": at * US, "actor": actor, "action": action, "subject_kind": kind}
        row |= {"subject_id": subject, "reason": "", "epoch": 1, "request_id": ""}
        before = rows[-1]["hash"] if rows else ""
        text = json.dumps(row, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        rows.append(row | {"hash": hashlib.sha256(f"{before}\n{text}".encode()).hexdigest()})
    return rows


def log() -> list[Row]:
    def start(run_id: str, number: int, at: float) -> Row:
        facts = {"run_id": run_id, "print_number": number, "by": "farm", "sha256": SHA, "plate_occupied": False}
        return {"t": at, "event": "physical_start", "file": f"pf-{run_id}.gcode", **facts}

    def end(run_id: str, number: int, at: float, ending: str) -> Row:
        facts = {"print_number": number, "ending": ending, "by": "farm", "progress": 1.0}
        return {"t": at, "event": "end", "file": f"pf-{run_id}.gcode", **facts}

    return [
        {"t": 1.0, "event": "power_on"},
        {"t": 14.5, "event": "command", "op": "start"},
        start("r1", 1, 14.6),
        {"t": 15.0, "event": "heater", "name": "hotend", "target": 200.0},
        {"t": 118.0, "event": "heater", "name": "hotend", "target": 0.0},
        end("r1", 1, 119.0, "complete"),
        {"t": 131.0, "event": "plate_cleared"},
        start("r2", 2, 144.6),
        {"t": 145.0, "event": "heater", "name": "hotend", "target": 200.0},
        {"t": 151.0, "event": "command", "op": "cancel"},
        {"t": 151.0, "event": "heater", "name": "hotend", "target": 0.0},
        end("r2", 2, 151.1, "cancelled"),
        {"t": 159.0, "event": "plate_cleared"},
    ]


def good() -> History:
    jobs = [
        {
            "job_id": j,
            "artifact_sha256": SHA,
            "gcode_sha256": "",
            "quantity": 1,
            "parts_per_plate": 1,
            "estimated_seconds": 100.0,
        }
        for j in ("j1", "j2", "j3")
    ]
    r1 = run_row("r1", "j1", 1, "finished", verified=True, nonce="n1", bed_token="t1", authorised_at=13 * US)
    r2 = run_row("r2", "j2", 2, "cancelled", cancel_requested=True, nonce="n2", bed_token="t2", authorised_at=143 * US)
    rows = {
        "job": jobs,
        "run": [
            r1 | {"created_at": 11 * US, "ended_at": 120 * US},
            r2 | {"created_at": 141 * US, "ended_at": 153 * US},
            run_row("r3", "j3", 3, "offered", created_at=162 * US),
        ],
        "printer": [{"printer_id": "p0", "agent_id": "a1", "epoch": 3}],
        "agent": [{"agent_id": "a1", "last_applied_sequence": 8}],
        "event": story(),
        "audit": audit(),
        "idempotency": [{"key": "k1", "subject_id": "j1"}, {"key": "k2", "subject_id": "j2"}],
    }
    return History(
        {"p0": log()},
        rows,
        {"a1": JournalFacts({"p0": 3}, (9, 10), 10)},
        [Told("accepted", "j1", 10.5, "k1", SHA), Told("accepted", "j2", 140.5, "k2", SHA)],
        [Outage("agent", 50.0, 60.0), Outage("coordinator", 70.0, 80.0)],
        {f"blobs/{SHA}": SHA},
        time_scale=1.0,
        settled=True,
        now=200.0,
    )


def find(rows: list[Row], **facts: Any) -> Row:
    return next(row for row in rows if all(row.get(name) == value for name, value in facts.items()))


def events(history: History, **facts: Any) -> Row:
    return find(history.rows["event"], **facts)


def run(history: History, run_id: str) -> Row:
    return find(history.rows["run"], run_id=run_id)


def entry(history: History, **facts: Any) -> Row:
    return find(history.logs["p0"], **facts)


def insert(history: History, kind: str, subject: str, actor: str, at: int, behind: str, **data: Any) -> None:
    """One more event, in its place and with its number."""
    known = history.rows["event"]
    facts = {"job_id": run(history, subject)["job_id"], "printer_id": "p0", "epoch": run(history, subject)["epoch"]}
    index = next(i for i, row in enumerate(known) if (row["type"], row["subject_id"]) == (behind, subject)) + 1
    known.insert(index, event(0, kind, subject, actor, at, **facts | data))
    last: dict[str, int] = {}
    for number, row in enumerate(known, start=1):
        row["event_id"] = row["position"] = number
        last[row["subject_id"]] = row["subject_sequence"] = last.get(row["subject_id"], 0) + 1


def also(history: History, behind: str, **facts: Any) -> None:
    """One more line in the printer's log, behind the end of a run's print."""
    known = history.logs["p0"]
    index = next(i for i, e in enumerate(known) if e["event"] == "end" and behind in e["file"])
    known.insert(index + 1, facts)


def second_start(history: History) -> None:
    start = entry(history, event="physical_start", run_id="r1")
    also(history, "r1", **start | {"t": 119.5, "print_number": 9})


FORGED: list[tuple[str, str, Forgery]] = [
    ("I1", "started on another printer", lambda h: h.logs.update(p1=[h.logs["p0"].pop(2)])),
    ("I1", "more parts than owed", lambda h: run(h, "r3").update(job_id="j1")),
    (
        "I2",
        "two runs on one printer",
        lambda h: h.rows["event"].remove(events(h, type="run.cancelled")) or run(h, "r2").update(state="printing"),
    ),
    ("I2", "two active rows", lambda h: run(h, "r2").update(state="unconfirmed")),
    ("I2", "offered while held", lambda h: events(h, position=17).update(type="printer.held")),
    ("I3", "started twice", second_start),
    ("I4", "no authority", lambda h: run(h, "r1").update(nonce=None)),
    ("I4", "authority after the start", lambda h: run(h, "r1").update(authorised_at=16 * US)),
    ("I4", "authority long ago", lambda h: setattr(h, "start_ttl", 1.0)),
    ("I4", "a newer epoch was given", lambda h: run(h, "r2").update(created_at=12 * US)),
    ("I5", "started after the cancel", lambda h: run(h, "r2").update(ended_at=144 * US)),
    ("I5", "went on after the cancel", lambda h: entry(h, event="end", ending="cancelled").update(t=154.0)),
    ("I5", "started after a client was told", lambda h: h.told.append(Told("cancelled", "j2", 142.0))),
    ("I5", "a wish forgotten", lambda h: run(h, "r3").update(cancel_requested=True)),
    ("I6", "an epoch twice", lambda h: run(h, "r3").update(epoch=2)),
    ("I6", "a word under an old epoch", lambda h: events(h, type="run.finished")["data"].update(epoch=0)),
    ("I6", "a journal behind", lambda h: h.journals.update(a1=JournalFacts({"p0": 1}, (9, 10), 10))),
    ("I6", "a row behind the journal", lambda h: h.journals.update(a1=JournalFacts({"p0": 4}, (9, 10), 10))),
    ("I6", "a row behind its runs", lambda h: h.rows["printer"][0].update(epoch=2)),
    ("I7", "an accepted job is gone", lambda h: h.told.append(Told("accepted", "j9", 1.0, sha256=SHA))),
    ("I7", "another content", lambda h: h.told.append(Told("accepted", "j3", 1.0, sha256=SHA, quantity=5))),
    ("I7", "an unknown start", lambda h: entry(h, event="physical_start", run_id="r1").update(run_id="r9")),
    ("I8", "one key, two jobs", lambda h: h.told.append(Told("accepted", "j3", 1.0, "k1", SHA))),
    ("I8", "a key forgotten", lambda h: h.rows["idempotency"].pop(0)),
    ("I8", "one job, two keys", lambda h: h.rows["idempotency"].append({"key": "k3", "subject_id": "j1"})),
    ("I9", "told while its agent was dead", lambda h: h.outages.append(Outage("agent", 150.5, 151.05))),
    (
        "I9",
        "cooled under the print when its agent was back",
        lambda h: h.logs["p0"].insert(5, {"t": 90.0, "event": "command", "op": "cool_down"}),
    ),
    ("I9", "ended while its agent was dead", lambda h: h.outages.append(Outage("agent", 151.05, 152.0))),
    ("I10", "ended by a timer", lambda h: events(h, type="run.finished").update(actor="coordinator")),
    ("I10", "ended by a word not on record", lambda h: events(h, type="run.finished").update(actor="bob")),
    ("I10", "fenced and started", lambda h: run(h, "r1").update(state="fenced")),
    ("I11", "a token twice", lambda h: run(h, "r2").update(bed_token="t1")),
    ("I11", "no token", lambda h: run(h, "r2").update(bed_token=None)),
    ("I11", "an occupied plate", lambda h: entry(h, event="physical_start", run_id="r2").update(plate_occupied=True)),
    ("I12", "a gap", lambda h: h.rows["event"].pop(3)),
    ("I12", "out of order", lambda h: events(h, type="run.started", subject_id="r1").update(subject_sequence=9)),
    ("I12", "applied twice", lambda h: insert(h, "run.started", "r1", "a1", 16, behind="run.started")),
    ("I12", "applied, never journalled", lambda h: h.rows["agent"][0].update(last_applied_sequence=11)),
    ("I12", "forgotten before it was applied", lambda h: h.rows["agent"][0].update(last_applied_sequence=7)),
    ("I12", "a journal with a gap", lambda h: h.journals.update(a1=JournalFacts({"p0": 3}, (8, 10), 10))),
    ("I15", "opened again", lambda h: insert(h, "run.printing", "r1", "a1", 121, behind="run.finished")),
    ("I15", "another end in the row", lambda h: run(h, "r1").update(state="failed")),
    ("I15", "a retry of what goes on", lambda h: run(h, "r2").update(retry_of="r3")),
    ("I16", "verified, and did not end", lambda h: entry(h, event="end", ending="complete").update(ending="failed")),
    ("I16", "verified before its end", lambda h: entry(h, event="end", ending="complete").update(t=125.0)),
    ("I16", "verified too soon", lambda h: h.rows["job"][0].update(estimated_seconds=400.0)),
    ("I16", "unverified, and not locked", lambda h: run(h, "r1").update(verified=False)),
    ("I17", "other bytes", lambda h: entry(h, event="physical_start", run_id="r1").update(sha256="b" * 64)),
    ("I17", "a blob was changed", lambda h: h.files.update({f"blobs/{SHA}": "c" * 64})),
    ("I21", "a pause nobody asked for", lambda h: entry(h, event="command", op="cancel").update(op="pause")),
    ("I21", "commanded before the record", lambda h: h.rows["audit"][4].update(created_at=152 * US)),
    ("I21", "a stop nobody asked for", lambda h: also(h, "r2", t=152.0, event="emergency_stop")),
    ("I21", "a row changed", lambda h: h.rows["audit"][1].update(actor="bob")),
    ("I21", "a row taken out", lambda h: h.rows["audit"].pop(2)),
    (
        "I22",
        "another agent's word",
        lambda h: [
            h.rows["agent"].append({"agent_id": "a2", "last_applied_sequence": 0}),
            events(h, type="run.accepted").update(actor="a2"),
        ],
    ),
    ("I22", "given to another's agent", lambda h: run(h, "r3").update(agent_id="a2")),
    (
        "I23",
        "hot for ever",
        lambda h: [h.logs["p0"].remove(entry(h, t=151.0, target=0.0)), setattr(h, "idle_heat", 10)],
    ),
    (
        "I24",
        "started alone",
        lambda h: [h.outages.append(Outage("coordinator", 130.0, 150.0)), setattr(h, "start_ttl", 5.0)],
    ),
    ("I24", "ended alone", lambda h: [h.outages.append(Outage("coordinator", 149.0, 152.0)), h.rows["audit"].pop()]),
]


def test_a_good_history_passes() -> None:
    seen = check(good())
    assert (seen["physical_start"], seen["run.finished"], seen["run.cancelled"]) == (2, 2, 2)


@pytest.mark.parametrize(("invariant", "what", "forge"), FORGED, ids=[f"{i}: {what}" for i, what, _ in FORGED])
def test_a_forged_history_is_told(invariant: str, what: str, forge: Forgery) -> None:
    history = good()
    forge(history)
    with pytest.raises(Violation) as told:
        check(history)
    assert invariant in told.value.invariants, str(told.value)


def test_every_guarantee_that_is_judged_can_be_broken() -> None:
    assert {invariant for invariant, _, _ in FORGED} == set(CHECKS)
