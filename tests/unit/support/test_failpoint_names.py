"""The tours name only failpoints that are there, and leave out none without a reason."""

from pathlib import Path

import printfarm_agent
import printfarm_coordinator
from tests.e2e import test_every_failpoint as tours
from tests.e2e import test_farm
from tests.support.failpoint_names import agent_failpoints, commit_names, coordinator_failpoints, plain_names


def test_names_are_read_from_the_source() -> None:
    assert {"submit", "authorise", "emergency_stop", "agent_revoked", "agent_undrained"} <= commit_names()
    assert "before_artifact_visible" in plain_names(Path(printfarm_coordinator.__file__).parent)
    assert {"before_start_command", "authority_checked"} <= plain_names(Path(printfarm_agent.__file__).parent)


def test_what_is_left_out_is_there_and_has_a_reason() -> None:
    assert commit_names() >= tours.ADMINISTRATION | tours.ELSEWHERE.keys()
    assert all(tours.ELSEWHERE.values())
    whats = {name.partition("_journal.")[2] for name in agent_failpoints()}
    assert whats >= tours.AGENT_ELSEWHERE.keys()


def test_the_quick_tests_name_what_is_there() -> None:
    assert set(test_farm._COMMITS) <= coordinator_failpoints()
    assert set(test_farm._JOURNAL) <= agent_failpoints()
