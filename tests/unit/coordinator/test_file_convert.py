"""Nothing that is known of a file is lost on the way to a client, and nothing is invented."""

from printfarm.model.v1 import file_facts_pb2
from printfarm_coordinator.app.file_ports import Artifact
from printfarm_coordinator.domain.file_facts import FactsState, StoredFacts
from printfarm_coordinator.grpc_api import file_convert
from printfarm_files import FileFacts, Kind, Tool
from printfarm_gateway import file_views, schemas
from tests.contract.test_file_store import FULL

ARTIFACT = Artifact("a" * 64, 12, "gcode", "n.gcode", 5)


def test_every_state_has_its_number_and_its_word() -> None:
    assert set(file_convert.FACTS_STATES) == set(FactsState)
    assert set(file_convert.FACTS_STATES.values()) == set(file_facts_pb2.FactsState.values()) - {0}
    shown = {file_views.FACTS_STATES[number] for number in file_convert.FACTS_STATES.values()}
    assert shown == {state.value for state in FactsState}


def test_what_is_known_is_all_told() -> None:
    shown = file_views.artifact(file_convert.file(ARTIFACT, StoredFacts("a" * 64, 1, 7, FULL)))
    schemas.Artifact.model_validate(shown)
    assert set(shown) == set(schemas.Artifact.model_fields)
    facts = shown["facts"]
    assert set(facts) == set(schemas.FileFacts.model_fields)
    # The sums of length and volume are unknown where a tool's is.
    unknown = {name for name, value in facts.items() if value is None}
    assert unknown == {"filament_length_mm"}
    assert set(facts["tools"][0]) == set(schemas.FileTool.model_fields)
    assert None not in facts["tools"][0].values()
    assert (facts["filament_weight_g"], facts["filament_cost"]) == (4.5, 0.11)
    assert facts["tools"][1]["weight_g"] == 0.0
    # Found while the file was read whole, when its first look found none.
    assert shown["estimated_seconds"] == 61.5


def test_what_is_unknown_is_null_and_not_0() -> None:
    bare = FileFacts(Kind.GCODE, 12, tools=(Tool(0),))
    facts = file_views.artifact(file_convert.file(ARTIFACT, StoredFacts("a" * 64, 1, 7, bare)))["facts"]
    assert {
        value for name, value in facts.items() if name not in ("tools", "objects", "plates", "warnings", "read_at")
    } == {None}
    assert facts["tools"] == [{"index": 0} | dict.fromkeys(set(schemas.FileTool.model_fields) - {"index"})]


def test_a_file_that_was_not_read_or_cannot_be() -> None:
    fresh = file_views.artifact(file_convert.file(ARTIFACT, None))
    assert (fresh["facts_state"], fresh["facts"], fresh["facts_reason"]) == ("pending", None, None)
    broken = file_views.artifact(file_convert.file(ARTIFACT, StoredFacts("a" * 64, 1, 7, None, "it is cut off")))
    assert (broken["facts_state"], broken["facts"], broken["facts_reason"]) == ("unreadable", None, "it is cut off")
