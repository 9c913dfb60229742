"""Costs and rates as the API's JSON. Money is decimal text, as it came; null is not known."""

from typing import Any

from google.protobuf.message import Message

from printfarm.control.v1 import rate_service_pb2
from printfarm.model.v1 import cost_pb2

JSON = dict[str, Any]
RATE_KINDS: dict[Any, str] = {
    number: name.removeprefix("RATE_KIND_").lower() for name, number in rate_service_pb2.RateKind.items()
}


def _optional(message: Message, field: str) -> Any:
    return getattr(message, field) if message.HasField(field) else None


def run_cost(found: cost_pb2.RunCost) -> JSON:
    """What a run cost."""
    return {
        "currency": found.currency,
        "total": _optional(found, "total"),
        "material": _optional(found, "material"),
        "machine": _optional(found, "machine"),
        "start": found.start,
        "missing": list(found.missing),
        "rate_ids": list(found.rate_ids),
    }


def estimate(found: cost_pb2.CostEstimate) -> JSON:
    """What it would cost."""
    return {
        "currency": found.currency,
        "low": _optional(found, "low"),
        "high": _optional(found, "high"),
        "missing": list(found.missing),
    }


def so_far(found: cost_pb2.JobCost) -> JSON:
    """What a job cost until now."""
    return {
        "currency": found.currency,
        "so_far": _optional(found, "so_far"),
        "per_good_part": _optional(found, "per_good_part"),
        "missing": list(found.missing),
    }


def job_cost(found: cost_pb2.JobCost) -> JSON:
    """What a job costs."""
    return {**so_far(found), "to_come": estimate(found.to_come) if found.HasField("to_come") else None}


def cost_sum(found: cost_pb2.CostSum) -> JSON:
    """What runs cost over a time."""
    return {
        "currency": found.currency,
        "total": found.total,
        "unfinished": found.unfinished,
        "runs": found.runs,
        "runs_unknown": found.runs_unknown,
    }


def rate(found: rate_service_pb2.Rate) -> JSON:
    """A rate."""
    return {
        "rate_id": found.rate_id,
        "kind": RATE_KINDS[found.kind],
        "material": found.material or None,
        "colour": found.colour or None,
        "printer_id": found.printer_id or None,
        "price": found.price or None,
        "currency": found.currency,
        "density_g_cm3": _optional(found, "density_g_cm3"),
        "diameter_mm": _optional(found, "diameter_mm"),
        "valid_from": found.valid_from_time.ToJsonString(),
        "created_by": found.created_by,
        "created_at": found.create_time.ToJsonString(),
    }
