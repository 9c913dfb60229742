"""What the safety check found, as the API's JSON."""

from printfarm.control.v1 import safety_service_pb2 as pb

from .views import JSON, moment

ANSWERS = {number: name.removeprefix("SAFETY_ANSWER_").lower() for name, number in pb.SafetyAnswer.items()}


def safety(found: pb.JobSafety) -> JSON:
    """What was found in a job's file, and who allowed it."""
    return {
        "job_id": found.job_id,
        "artifact_sha256": found.artifact_sha256,
        "checked": found.checked,
        "rules": found.rules,
        "needs_override": bool(found.waiting_firmwares),
        "waiting_firmwares": list(found.waiting_firmwares),
        "refused_firmwares": list(found.refused_firmwares),
        "findings": [_finding(each) for each in found.findings],
        "overrides": [_override(each) for each in found.overrides],
    }


def _finding(found: pb.SafetyFinding) -> JSON:
    return {
        "line": found.line,
        "command": found.command,
        "rule": found.rule,
        "text": found.text,
        "answer": ANSWERS[found.answer],
        "firmwares": list(found.firmwares),
        "allowed_by": list(found.allowed_by),
    }


def _override(given: pb.Override) -> JSON:
    return {
        "override_id": given.override_id,
        "artifact_sha256": given.artifact_sha256,
        "rules": given.rules,
        "actor": given.actor,
        "role": given.role,
        "reason": given.reason,
        "covers": list(given.covers),
        "created_at": moment(given, "create_time"),
        "revoked_at": moment(given, "revoke_time"),
        "revoked_by": given.revoked_by,
    }
