"""The part of the offline checker that reads the printers' own logs."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator

from .history import FINAL, History, Outage, Row, is_offer, seconds

_GRAIN = 0.01
# A machine with more work than processors may be late by so much before it counts.
_LATE_SECONDS = 15.0
# Command in a printer's log -> what must have been asked for before, on record.
_ORDERS = {"start": "run.start", "cancel": "run.cancel", "pause": "run.pause", "resume": "run.resume"}
_NEVER_UNDER_A_PRINT = ("start", "cool_down")
_WORDS = ("bed_cleared", "held", "released", "emergency_stop_requested")


def at_most_one_start(history: History) -> Iterator[str]:
    """I3: by the printers' logs alone."""
    started = Counter(start["run_id"] for _, start in history.starts())
    yield from (f"{run_id} was started {count} times" for run_id, count in started.items() if count > 1)


def authority_before_start(history: History) -> Iterator[str]:
    """I4: each start has an authority that was committed before it and had not ended, under the newest epoch."""
    late = {run["run_id"] for run in history.runs.values() if run["reason_code"] == "late_start"}
    for printer_id, start in history.starts():
        run = history.runs.get(start["run_id"])
        if run is None:
            continue
        at = run["authorised_at"]
        if at is None or run["nonce"] is None or seconds(at) > start["t"] + _GRAIN:
            yield f"{printer_id} started {run['run_id']} without authority"
        elif start["t"] - seconds(at) >= history.start_ttl and run["run_id"] not in late:
            yield f"{run['run_id']} started {start['t'] - seconds(at):.1f} s after it was authorised"
        newer = [
            other["run_id"]
            for other in history.runs.values()
            if other["printer_id"] == printer_id
            and other["epoch"] > run["epoch"]
            and seconds(other["created_at"]) < start["t"] - _GRAIN
        ]
        if newer:
            yield f"{run['run_id']} started under an old epoch: {newer} came after it"


def cancelled_means_cancelled(history: History) -> Iterator[str]:
    """I5: after the farm, or an answer to a client, said ``cancelled``, nothing of it starts or goes on."""
    said: dict[str, float] = {}
    for run in history.runs.values():
        if run["state"] == "cancelled":
            said[run["run_id"]] = seconds(run["ended_at"])
        elif history.settled and run["cancel_requested"] and run["state"] not in FINAL:
            yield f"the wish to cancel {run['run_id']} was forgotten"
    for told in history.told:
        if told.what == "cancelled":
            for run in history.runs.values():
                if run["job_id"] == told.job_id:
                    said[run["run_id"]] = min(told.at, said.get(run["run_id"], told.at))
    for printer_id, start in history.starts():
        cancelled_at = said.get(start["run_id"])
        if cancelled_at is None:
            continue
        if start["t"] > cancelled_at + _GRAIN:
            yield f"{start['run_id']} was cancelled before it started"
            continue
        end = history.end_of(printer_id, start)
        if end is None or end["t"] > cancelled_at + _GRAIN:
            yield f"{start['run_id']} is cancelled, and went on"


def epochs_only_grow(history: History) -> Iterator[str]:
    """I6: an epoch is given once and rises; a run's agent speaks under its epoch; neither journal nor row is behind."""
    used = Counter((run["printer_id"], run["epoch"]) for run in history.runs.values())
    yield from (f"epoch {epoch} of {printer} was given {n} times" for (printer, epoch), n in used.items() if n > 1)
    last: dict[str, int] = {}
    for event in history.events:
        run = history.runs.get(event["subject_id"])
        if event["subject_kind"] != "run" or run is None:
            continue
        if event["data"]["epoch"] != run["epoch"]:
            yield f"{event['type']} of {run['run_id']} was believed under epoch {event['data']['epoch']}"
        if is_offer(event):
            if run["epoch"] <= last.get(run["printer_id"], 0):
                yield f"{run['run_id']} was offered under epoch {run['epoch']}, which is not the highest"
            last[run["printer_id"]] = run["epoch"]
    journals = {printer: epoch for facts in history.journals.values() for printer, epoch in facts.max_epochs.items()}
    started = {start["run_id"] for _, start in history.starts()}
    for run in history.runs.values():
        if run["run_id"] in started and journals.get(run["printer_id"], run["epoch"]) < run["epoch"]:
            yield f"{run['run_id']} started above the journal's epoch"
    for printer in history.rows["printer"]:
        highest = max([last.get(printer["printer_id"], 0), journals.get(printer["printer_id"], 0)])
        if printer["epoch"] < highest:
            yield f"{printer['printer_id']} is at epoch {printer['epoch']}, and {highest} was given"


def a_print_outlives_its_agent(history: History) -> Iterator[str]:
    """I9: while its agent was dead, and until a person wanted something, nobody touched the print."""
    for outage in _killed(history, "agent"):
        for printer_id, start in history.starts():
            end = history.end_of(printer_id, start)
            if not start["t"] < outage.since or (end is not None and end["t"] <= outage.since):
                continue
            until = outage.until if outage.until is not None else history.now
            log = history.logs[printer_id]
            touched = [e for e in log if e["event"] == "command" and outage.since < e["t"] <= until]
            if touched:
                yield f"{printer_id} was told {touched[0]['op']} while its agent was dead"
            # An order has its own check; these have none, and are never the farm's to give while a print goes on.
            rest = [e for e in log if e["event"] == "command" and e["op"] in _NEVER_UNDER_A_PRINT]
            over = end["t"] if end is not None else history.now
            if meddled := [e for e in rest if outage.since < e["t"] < over]:
                yield f"{printer_id} was told {meddled[0]['op']} under the print that outlived its agent"
            again = [e for e in log if e["event"] == "physical_start" and e["t"] > outage.since and e["by"] == "farm"]
            if again and (end is None or again[0]["t"] < end["t"]):
                yield f"{printer_id} was started while it printed {start['run_id']}"
            if end is not None and end["ending"] != "complete" and end["by"] == "farm" and end["t"] <= until:
                yield f"{start['run_id']} was ended while its agent was dead"


def one_token_one_start(history: History) -> Iterator[str]:
    """I11: each start used a bed token of its own, on a plate that was really empty."""
    tokens = Counter(run["bed_token"] for run in history.runs.values() if run["bed_token"])
    yield from (f"bed token {token} was used {count} times" for token, count in tokens.items() if count > 1)
    for printer_id, start in history.starts():
        if start["plate_occupied"]:
            yield f"{start['run_id']} started on the occupied plate of {printer_id}"
        run = history.runs.get(start["run_id"])
        if run is not None and not run["bed_token"]:
            yield f"{start['run_id']} started without a bed token"


def finished_needs_evidence(history: History) -> Iterator[str]:
    """I16: verified means printed to its end, in a time that can be; unverified means that a person must look."""
    starts = {start["run_id"]: (printer_id, start) for printer_id, start in history.starts()}
    locked = {event["subject_id"] for event in history.events if event["type"] == "printer.locked"}
    for run in history.runs.values():
        if run["state"] != "finished" or run["reason_code"] == "resolved":
            continue
        if not run["verified"]:
            if run["printer_id"] not in locked:
                yield f"{run['run_id']} finished unverified, and {run['printer_id']} was not locked"
            continue
        printer_id, start = starts.get(run["run_id"], ("", None))
        end = history.end_of(printer_id, start) if start else None
        if start is None or end is None or end["ending"] != "complete" or end["t"] > seconds(run["ended_at"]) + _GRAIN:
            yield f"{run['run_id']} is finished and verified, and its print is not"
            continue
        estimate = history.jobs[run["job_id"]]["estimated_seconds"] if run["job_id"] in history.jobs else None
        if estimate is not None and (end["t"] - start["t"]) * history.time_scale < 0.7 * estimate - 1.0:
            yield f"{run['run_id']} is verified after too short a time"


def bytes_are_those_ordered(history: History) -> Iterator[str]:
    """I17: what the printer started has the digest of the job's file, or of the text that it was unpacked to; what is named by
    a digest has it."""
    for _, start in history.starts():
        run = history.runs.get(start["run_id"])
        job = history.jobs.get(run["job_id"]) if run else None
        if job is not None and start["sha256"] not in {job["artifact_sha256"], job["gcode_sha256"]} - {""}:
            yield f"{start['run_id']} printed other bytes than were ordered"
    for path, digest in history.files.items():
        if not path.endswith(digest):
            yield f"{path} holds other bytes than its name says"


def commands_are_on_record(history: History) -> Iterator[str]:
    """I21: who wanted it was committed before a machine was moved or heated; and the record is whole."""
    for printer_id, log in history.logs.items():
        run_id = ""
        for entry in log:
            if entry["event"] == "physical_start":
                run_id = entry["run_id"] if entry["by"] == "farm" else ""
            if entry["event"] == "physical_start" and run_id:
                order, about = "start", run_id
            elif entry["event"] == "command" and entry["op"] in ("cancel", "pause", "resume"):
                order, about = entry["op"], run_id
            else:
                continue
            run = history.runs.get(about)
            own = order == "cancel" and run is not None and run["reason_code"] == "late_start"
            if not own and not history.audited(about, [_ORDERS[order]], entry["t"] + _GRAIN):
                yield f"{printer_id} was told {order} for {about or 'no run'}, and nobody had asked for it"
        if any(entry["event"] == "emergency_stop" for entry in log) and not _stop_is_explained(history, printer_id):
            yield f"{printer_id} was stopped, and nobody knows why"
    rows = {(row["subject_id"], row["action"]) for row in history.audit}
    for event in history.events:
        if event["type"] in {f"printer.{word}" for word in _WORDS} and (event["subject_id"], event["type"]) not in rows:
            yield f"{event['type']} of {event['subject_id']} is not on record"
    yield from _chain(history.audit)


def _stop_is_explained(history: History, printer_id: str) -> bool:
    """A person asked, or the agent saw a heater at fault."""
    if history.audited(printer_id, ["printer.emergency_stop_requested"], history.now):
        return True
    if any(run["printer_id"] == printer_id and run["reason_code"] == "thermal" for run in history.runs.values()):
        return True
    return any(e["type"] == "printer.alarm" and e["subject_id"] == printer_id for e in history.events)


def _chain(rows: list[Row]) -> Iterator[str]:
    """Each row's hash covers itself and the row before."""
    before = ""
    for number, row in enumerate(rows, start=1):
        values = {name: value for name, value in row.items() if name != "hash"}
        text = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        before = hashlib.sha256(f"{before}\n{text}".encode()).hexdigest()
        if row["sequence"] != number or row["hash"] != before:
            yield f"the audit's chain is broken at row {row['sequence']}"
            return


def agents_speak_for_their_own(history: History) -> Iterator[str]:
    """I22: no agent's word ever changed another agent's run or printer."""
    agents = {row["agent_id"] for row in history.rows["agent"]}
    owners = {row["printer_id"]: row["agent_id"] for row in history.rows["printer"]}
    owners |= {run["run_id"]: run["agent_id"] for run in history.runs.values()}
    for event in history.events:
        owner = owners.get(event["subject_id"], event["actor"])
        if event["actor"] in agents and event["actor"] != owner:
            yield f"{event['type']} of {event['subject_id']} by {event['actor']}, whose it is not"
    for run in history.runs.values():
        if owners.get(run["printer_id"], run["agent_id"]) != run["agent_id"]:
            yield f"{run['run_id']} was given to {run['agent_id']}, whose {run['printer_id']} is not"


def heaters_go_off(history: History) -> Iterator[str]:
    """I23: between prints no heater keeps a target for longer than T_idle, but for a person's hold."""
    held = {event["subject_id"] for event in history.events if event["type"] == "printer.held"}
    for printer_id, log in history.logs.items():
        targets: dict[str, float] = {}
        printing, idle_since = False, None
        for entry in [*log, {"event": "now", "t": history.now}]:
            hot = not printing and any(targets.values())
            if hot and idle_since is not None and entry["t"] - idle_since > history.idle_heat + _LATE_SECONDS:
                if printer_id not in held:
                    yield f"{printer_id} kept {targets} for {entry['t'] - idle_since:.0f} s without a run"
                break
            if entry["event"] == "heater":
                targets[entry["name"]] = entry["target"]
            elif entry["event"] in ("power_on", "halted") or entry["event"].startswith("reset_by_"):
                targets.clear()
            printing = {"physical_start": True, "end": False}.get(entry["event"], printing)
            if printing or not any(targets.values()):
                idle_since = None
            elif idle_since is None:
                idle_since = entry["t"]


def nothing_starts_alone(history: History) -> Iterator[str]:
    """I24: without a coordinator what prints goes on, and nothing starts but what had its authority."""
    for outage in [outage for outage in history.outages if outage.program == "coordinator"]:
        until = outage.until if outage.until is not None else history.now
        for printer_id, start in history.starts():
            if outage.since + history.start_ttl < start["t"] < until - _GRAIN:
                yield f"{printer_id} started {start['run_id']} without a coordinator"
            end = history.end_of(printer_id, start)
            if end is None or not outage.since < end["t"] < until - _GRAIN:
                continue
            asked = history.audited(start["run_id"], ["run.cancel"], end["t"])
            own = history.runs.get(start["run_id"], {}).get("reason_code") in ("late_start", "thermal")
            if end["ending"] == "cancelled" and end["by"] == "farm" and not asked and not own:
                yield f"{printer_id} ended {start['run_id']} without a coordinator"


def _killed(history: History, program: str) -> list[Outage]:
    return [outage for outage in history.outages if outage.program == program and outage.killed]
