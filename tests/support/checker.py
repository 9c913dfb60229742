"""The offline checker: what the printers' own logs, the database and the journals must say together after any history.

It reads only what lies on disk: the logs of the virtual printers are the ground truth.
"""

import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any

ACTIVE = {
    "offered",
    "accepted",
    "authorised",
    "starting",
    "printing",
    "paused",
    "finishing",
    "unconfirmed",
    "cancelling",
}
FINAL = {"finished", "failed", "cancelled", "fenced"}


def check(
    logs: dict[str, list[dict[str, Any]]], runs: list[dict[str, Any]], events: list[dict[str, Any]], journal: Path
) -> Counter[str]:
    """``logs`` by printer id. Raises AssertionError naming the invariant; returns what was seen, for coverage."""
    seen: Counter[str] = Counter()
    by_id = {run["run_id"]: run for run in runs}
    _starts(logs, by_id, seen)
    _one_active(runs)
    _epochs(runs)
    _events(events, seen)
    _authority_before_start(logs, events)
    _journal(journal, runs)
    seen.update(f"run.{run['state']}" for run in runs)
    return seen


def _starts(logs: dict[str, list[dict[str, Any]]], runs: dict[str, dict[str, Any]], seen: Counter[str]) -> None:
    started: Counter[str] = Counter()
    for printer_id, log in logs.items():
        for entry in log:
            if entry["event"] == "crash_on_part":
                raise AssertionError(f"I11: {printer_id} started on an occupied plate: {entry}")
            if entry["event"] != "physical_start" or entry["by"] != "farm":
                continue
            run_id = entry["run_id"]
            started[run_id] += 1
            seen["physical_start"] += 1
            assert run_id in runs, f"I7: {printer_id} started {run_id}, which the database does not know"
            assert runs[run_id]["printer_id"] == printer_id, f"I1: {run_id} started on {printer_id}"
            assert runs[run_id]["state"] != "fenced", f"I10: {run_id} is fenced, and was started"
    twice = [run_id for run_id, count in started.items() if count > 1]
    assert not twice, f"I3: started more than once: {twice}"
    for run_id, run in runs.items():
        if run["state"] == "finished" and run["verified"]:
            assert started[run_id] == 1, f"I16: {run_id} is finished and verified, and never started"
            ends = [e for e in logs[run["printer_id"]] if e["event"] == "end" and run_id in e["file"]]
            assert [e["ending"] for e in ends] == ["complete"], f"I16: {run_id} ended {ends}"


def _one_active(runs: list[dict[str, Any]]) -> None:
    active = Counter(run["printer_id"] for run in runs if run["state"] in ACTIVE)
    assert all(count == 1 for count in active.values()), f"I2: {active}"


def _epochs(runs: list[dict[str, Any]]) -> None:
    used = Counter((run["printer_id"], run["epoch"]) for run in runs)
    assert all(count == 1 for count in used.values()), "an epoch was given twice"


def _events(events: list[dict[str, Any]], seen: Counter[str]) -> None:
    positions = [event["position"] for event in events]
    assert positions == list(range(1, len(events) + 1)), "I12: the events have gaps"
    last: dict[str, int] = {}
    over: dict[str, str] = {}
    for event in events:
        subject = event["subject_id"]
        assert event["subject_sequence"] == last.get(subject, 0) + 1, f"the events of {subject} are out of order"
        last[subject] = event["subject_sequence"]
        seen[event["type"]] += 1
        word = event["type"].partition(".")[2]
        if event["subject_kind"] == "run":
            told_after = word in ("verdict", "alarm")
            assert subject not in over or told_after, f"I15: {subject} was {over[subject]}, then {word}"
            if word in FINAL:
                over[subject] = word


def _authority_before_start(logs: dict[str, list[dict[str, Any]]], events: list[dict[str, Any]]) -> None:
    """I4, I21: each physical start has its authority in the database, committed before it."""
    authorised = {event["subject_id"] for event in events if event["type"] == "run.authorised"}
    for printer_id, log in logs.items():
        for entry in log:
            if entry["event"] == "physical_start" and entry["by"] == "farm":
                assert entry["run_id"] in authorised, f"I4: {printer_id} started {entry['run_id']} without authority"


def _journal(path: Path, runs: list[dict[str, Any]]) -> None:
    """I6: the agent's highest epoch is never behind a run that it started."""
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        pages = dict(connection.execute("SELECT printer_id, max_epoch FROM page").fetchall())
    finally:
        connection.close()
    for run in runs:
        if run["started_at"] and run["printer_id"] in pages:
            assert pages[run["printer_id"]] >= run["epoch"], f"I6: {run['run_id']} started above the journal's epoch"
