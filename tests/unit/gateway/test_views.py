"""Each word of the schema has its word in the API, both ways; and what views make is what the document promises."""

from typing import Any, get_args

import pytest
from pydantic import BaseModel

from printfarm.control.v1 import access_service_pb2, agent_admin_service_pb2, artifact_service_pb2, job_service_pb2
from printfarm.model.v1 import artifact_pb2, event_pb2, job_pb2, printer_pb2, run_pb2, telemetry_pb2
from printfarm_gateway import file_views, schemas, views
from printfarm_gateway.routers import farm


@pytest.mark.parametrize(
    ("words", "literal", "shown"),
    [
        (views.JOB_STATES, schemas.JobState, {"cancelling"}),
        (views.RUN_STATES, schemas.RunState, {"cancelling"}),
        (views.PRINTER_STATES, schemas.PrinterState, set()),
        (views.ROLES, schemas.Role, set()),
        (views.REACH, schemas.Agent.model_fields["reachability"].annotation, set()),
        (views.BED_STATES, schemas.Bed.model_fields["state"].annotation, set()),
    ],
    ids=["jobs", "runs", "printers", "roles", "agents", "beds"],
)
def test_words(words: dict[int, str], literal: Any, shown: set[str]) -> None:
    assert set(words.values()) - {"unspecified"} | shown == set(get_args(literal))


@pytest.mark.parametrize(
    ("view", "message", "model"),
    [
        (views.job, job_pb2.Job(state=job_pb2.JOB_STATE_QUEUED), schemas.Job),
        (views.run, run_pb2.Run(state=run_pb2.RUN_STATE_PRINTING), schemas.Run),
        (
            views.printer,
            printer_pb2.Printer(
                observed_state=telemetry_pb2.PRINTER_STATE_IDLE,
                bed=printer_pb2.Bed(state=printer_pb2.BED_STATE_CLEAR),
                latest=telemetry_pb2.TelemetrySample(state=telemetry_pb2.PRINTER_STATE_IDLE),
            ),
            schemas.Printer,
        ),
        (
            views.agent,
            agent_admin_service_pb2.Agent(reachability=agent_admin_service_pb2.AGENT_REACHABILITY_CONNECTED),
            schemas.Agent,
        ),
        (file_views.artifact, artifact_pb2.Artifact(), schemas.Artifact),
        (file_views.upload, artifact_service_pb2.Upload(), schemas.Upload),
        (views.event, event_pb2.Event(), schemas.Event),
        (views.api_key, access_service_pb2.ApiKey(role=access_service_pb2.ROLE_ADMIN), schemas.ApiKey),
        (views.user, access_service_pb2.User(role=access_service_pb2.ROLE_ADMIN), schemas.User),
        (views.explanation, job_service_pb2.ExplainJobResponse(), schemas.Waiting),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_views_make_what_the_document_promises(view: Any, message: Any, model: type[BaseModel]) -> None:
    made = view(message)
    assert set(made) == set(model.model_fields)
    model.model_validate(made)


def test_a_wanted_cancel_is_shown_until_it_is_proven() -> None:
    for number, word in views.RUN_STATES.items():
        if word != "unspecified":
            final = word in ("finished", "failed", "cancelled", "fenced")
            run = views.run(run_pb2.Run(state=number, cancel_requested=True))  # type: ignore[arg-type]
            assert run["state"] == (word if final else "cancelling")
    for number, word in views.JOB_STATES.items():
        if word != "unspecified":
            final = word in ("completed", "failed", "cancelled")
            assert views.job_state(job_pb2.Job(state=number, cancel_requested=True)) == (
                word if final else "cancelling"
            )  # type: ignore[arg-type]


def test_every_figure_of_the_farm_is_told() -> None:
    told = set(farm._COUNTS) | {"jobs_by_state", "runs_by_state", "printers_by_state", "cost_today", "as_of"}
    assert told | {"oldest_waiting_seconds", "estimated_backlog_seconds"} == set(schemas.Stats.model_fields)


def test_whole_numbers_of_an_event_are_whole() -> None:
    event = event_pb2.Event()
    event.data.update({"epoch": 17, "share": 0.5, "list": [1, {"deep": 2}], "text": "3", "none": None, "flag": True})
    shown = views.event(event)["data"]
    assert shown == {"epoch": 17, "share": 0.5, "list": [1, {"deep": 2}], "text": "3", "none": None, "flag": True}
    assert [type(shown[key]) for key in ("epoch", "share", "flag")] == [int, float, bool]
