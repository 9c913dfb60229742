"""Values and messages: every value of every enum has its number, and back."""

from collections.abc import Mapping
from enum import StrEnum

import pytest
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from printfarm.agent.v1 import agent_service_pb2
from printfarm.control.v1 import access_service_pb2, agent_admin_service_pb2, profile_service_pb2, run_service_pb2
from printfarm.model.v1 import artifact_pb2, job_pb2, printer_pb2, run_pb2, telemetry_pb2
from printfarm.slicer.v1 import slicing_service_pb2
from printfarm_coordinator.app.file_ports import Artifact
from printfarm_coordinator.app.ports import Agent, Role, StoredEvent
from printfarm_coordinator.domain.events import DomainEvent
from printfarm_coordinator.domain.job import JobState, Requirements
from printfarm_coordinator.domain.printer import Abilities, BedState, PrinterState
from printfarm_coordinator.domain.reunion import LocalStage
from printfarm_coordinator.domain.run import RunState
from printfarm_coordinator.grpc_api import agent_convert, convert
from printfarm_files import Kind
from printfarm_rpc.errors import Code, FarmError

TABLES = [
    (convert.JOB_STATES, JobState, job_pb2.JobState),
    (convert.RUN_STATES, RunState, run_pb2.RunState),
    (convert.PRINTER_STATES, PrinterState, telemetry_pb2.PrinterState),
    (convert.BED_STATES, BedState, printer_pb2.BedState),
    (convert.ROLES, Role, access_service_pb2.Role),
]
FROM_AGENTS = [
    (agent_convert.PRINTER_STATES, PrinterState, telemetry_pb2.PrinterState),
    (agent_convert.BED_STATES, BedState, printer_pb2.BedState),
    (agent_convert.LOCAL_STAGES, LocalStage, agent_service_pb2.LocalStage),
]


@pytest.mark.parametrize(("table", "values", "wire"), TABLES, ids=lambda x: getattr(x, "__name__", ""))
def test_every_value_has_its_own_number_and_every_number_its_value(
    table: Mapping[StrEnum, int], values: type[StrEnum], wire: EnumTypeWrapper
) -> None:
    assert set(table) == set(values)
    assert set(table.values()) == set(wire.values()) - {0}
    for value, number in table.items():
        assert convert.from_number(table, number, "f") is value


@pytest.mark.parametrize(("table", "values", "wire"), FROM_AGENTS)
def test_every_number_of_an_agent_has_its_value(
    table: Mapping[int, StrEnum], values: type[StrEnum], wire: EnumTypeWrapper
) -> None:
    assert set(table) == set(wire.values()) - {0}
    assert set(table.values()) == set(values)


def test_desired_states_and_outcomes_are_total() -> None:
    assert set(agent_convert.DESIRED_STATES.values()) == set(agent_service_pb2.DesiredRunState.values()) - {0}
    assert set(convert.OUTCOMES) == set(run_service_pb2.Resolution.values()) - {0}


@pytest.mark.parametrize("number", [0, 99, -1])
def test_an_unspecified_or_unknown_number_is_refused_with_its_field(number: int) -> None:
    with pytest.raises(FarmError) as caught:
        convert.from_number(convert.RUN_STATES, number, "states")
    assert caught.value.code is Code.INVALID_ARGUMENT
    assert caught.value.fields[0].field == "states"


def test_an_agents_unknown_printer_state_is_never_taken_for_idle() -> None:
    assert agent_convert.printer_state(0) is PrinterState.UNKNOWN
    assert agent_convert.printer_state(99) is PrinterState.UNKNOWN


WORDS = st.none() | st.text("abc", min_size=1, max_size=5)
SIDES = st.floats(0, 10_000)


@given(st.builds(Requirements, SIDES, SIDES, SIDES, st.none() | st.floats(0.05, 5), WORDS, WORDS))
def test_requirements_come_back_as_they_went(wanted: Requirements) -> None:
    sent = job_pb2.Requirements.FromString(convert.requirements(wanted).SerializeToString())
    assert convert.requirements_from(sent) == wanted


@given(
    st.builds(
        Abilities,
        volume_mm=st.none() | st.tuples(*[st.floats(0.001, 10_000)] * 3),
        nozzle_diameter_mm=st.none() | st.floats(0.01, 10),
        material=WORDS,
        colour=WORDS,
        tags=st.lists(st.text("xyz", min_size=1, max_size=3), max_size=3).map(tuple),
        can_pause=st.booleans(),
        fragile=st.booleans(),
    )
)
def test_abilities_come_back_as_they_went(has: Abilities) -> None:
    assert agent_convert.abilities(convert.abilities(has)) == has


@given(st.integers(0, 7_258_118_400_000_000))
def test_times_come_back_as_they_went(at: int) -> None:
    made = convert.timestamp(at)
    assert made is not None
    assert convert.microseconds(made, "f") == at


@pytest.mark.parametrize(
    "bad",
    [Timestamp(seconds=-1), Timestamp(seconds=1 << 40), Timestamp(seconds=1, nanos=-1), Timestamp(nanos=2_000_000_000)],
)
def test_impossible_times_are_refused(bad: Timestamp) -> None:
    with pytest.raises(FarmError) as caught:
        convert.microseconds(bad, "due_time")
    assert caught.value.fields[0].field == "due_time"


def test_an_event_carries_its_data() -> None:
    event = DomainEvent("run.started", "r1", "agent/a", {"job_id": "j", "epoch": 3, "verified": None, "ok": True})
    made = convert.event(StoredEvent(7, event, 2, 1_000_000))
    assert dict(made.data) == {"job_id": "j", "epoch": 3.0, "verified": None, "ok": True}
    assert (made.position, made.subject_kind, made.subject_sequence, made.actor) == (7, "run", 2, "agent/a")


def test_how_an_agent_can_be_reached() -> None:
    never = Agent("a", 1)
    reach = [
        convert.agent(each, []).reachability for each in (never, Agent("a", 1, 2), Agent("a", 1, 2, reachable=True))
    ]
    assert reach == [
        agent_admin_service_pb2.AGENT_REACHABILITY_NEVER_SEEN,
        agent_admin_service_pb2.AGENT_REACHABILITY_UNREACHABLE,
        agent_admin_service_pb2.AGENT_REACHABILITY_CONNECTED,
    ]


def test_each_kind_of_artifact_has_its_number() -> None:
    kinds = {convert.artifact(Artifact("a", 1, kind.value, "n", 0)).kind for kind in Kind}
    assert set(artifact_pb2.ArtifactKind.values()) == {0, *kinds}


def test_every_word_of_slicing_has_its_number_and_back() -> None:
    assert set(job_pb2.SlicingState.values()) == {0, *convert.SLICING_STATES.values()}
    assert set(profile_service_pb2.ProfileKind.values()) == {0, *convert.PROFILE_KINDS.values()}
    assert set(slicing_service_pb2.FailureCode.values()) == {0, *convert.FAILURES}
