"""One agent per state folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from printfarm_agent.alone import alone_in
from printfarm_agent.settings import WrongSettings

AGENT = """
[agent]
coordinator = "127.0.0.1:1"
metrics_address = "127.0.0.1:0"
state_dir = "{state}"
"""


def test_a_second_agent_of_a_folder_is_told_of_the_first(tmp_path: Path) -> None:
    state = tmp_path / "state"
    config = tmp_path / "agent.toml"
    config.write_text(AGENT.format(state=state))
    command = [sys.executable, "-m", "printfarm_agent", "run", "--config", str(config)]
    with alone_in(state):
        second = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert second.returncode == 2
    told = f"printfarm-agent: agent.state_dir {state} is in use by another agent, process {os.getpid()}: "
    assert second.stderr.startswith(told), second.stderr
    assert not (state / "journal.db").exists()


def test_the_folder_is_free_again_after_the_first_whatever_it_left(tmp_path: Path) -> None:
    killed = "import os, sys; from pathlib import Path; from printfarm_agent.alone import alone_in\n"
    killed += "with alone_in(Path(sys.argv[1])): os._exit(9)"
    subprocess.run([sys.executable, "-c", killed, str(tmp_path)], timeout=60, check=False)
    assert (tmp_path / "agent.lock").exists()
    for _ in range(2):
        with alone_in(tmp_path), pytest.raises(WrongSettings), alone_in(tmp_path):
            pass


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WrongSettings, match=r"agent\.state_dir"), alone_in(tmp_path / "file" / "state"):
        pass


def test_a_journal_that_cannot_be_opened_now_ends_the_agent_with_a_line(tmp_path: Path) -> None:
    """Whoever keeps it running starts it again. It does not work on without a journal."""
    state = tmp_path / "state"
    (state / "journal.db").mkdir(parents=True)
    config = tmp_path / "agent.toml"
    config.write_text(AGENT.format(state=state))
    command = [sys.executable, "-m", "printfarm_agent", "run", "--config", str(config)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    last = ended.stderr.splitlines()[-1]
    assert last.startswith("printfarm-agent: the journal in agent.state_dir cannot be opened now: journal.db: "), last
