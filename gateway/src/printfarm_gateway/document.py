"""The OpenAPI document, completed by what the framework does not know of: security, shapes that endpoints read by themselves,
what each parameter means, and examples, whose nulls it leaves out."""

from collections.abc import Iterator
from inspect import isclass
from typing import Any

from pydantic import BaseModel

from . import schemas
from .roles import OPEN

JSON = dict[str, Any]
_READ_BY_ENDPOINTS = (schemas.ProblemDocument, schemas.JobFields, schemas.JobOrder)
_PARAMETERS = {
    "job_id": "the job's id, as its receipt gave it",
    "run_id": "the run's id, as in the job's status",
    "printer_id": "the printer's id, as its agent named it",
    "agent_id": "the agent's id, as it enrolled",
    "rate_id": "the rate's id, as the list tells it",
    "override_id": "the override's id, as the job's overrides tell it",
    "key_id": "the key's id, not the key",
    "upload_id": "the upload's id, as its beginning gave it",
    "subject_id": "only what concerns this job, run, printer or agent",
    "client": "only of this client, such as `key/shop`",
    "state": "only in this state; may be given several times",
    "name": "the person's name",
}
_PAGE = "Page_"


def complete(schema: JSON) -> JSON:
    """The document as it is served."""
    parts = schema.setdefault("components", {})
    shapes = parts.setdefault("schemas", {})
    for model in _READ_BY_ENDPOINTS:
        made = model.model_json_schema(ref_template="#/components/schemas/{model}")
        shapes.update(made.pop("$defs", {}))
        shapes[model.__name__] = made
    _give_examples(shapes)
    parts["securitySchemes"] = {
        "ApiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        "Bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
    }
    for method, path, operation in _operations(schema):
        if (method.upper(), path) not in OPEN:
            operation["security"] = [{"ApiKey": []}, {"Bearer": []}]
        for parameter in operation.get("parameters", []):
            parameter.setdefault("description", _PARAMETERS.get(parameter["name"], ""))
    return schema


def _operations(schema: JSON) -> Iterator[tuple[str, str, JSON]]:
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


def _give_examples(shapes: JSON) -> None:
    by_name = {name: _examples(getattr(schemas, name)) for name in schemas.__all__}
    for name, shape in shapes.items():
        if found := by_name.get(name):
            shape["examples"] = found
        elif name.startswith(_PAGE) and (items := by_name.get(name.removeprefix(_PAGE).rstrip("_"))):
            shape["examples"] = [{"items": items, "next": None}]


def _examples(shape: Any) -> list[Any]:
    if not (isclass(shape) and issubclass(shape, BaseModel)):
        return []
    extra = shape.model_config.get("json_schema_extra")
    return list(extra.get("examples", [])) if isinstance(extra, dict) else []  # type: ignore[arg-type]
