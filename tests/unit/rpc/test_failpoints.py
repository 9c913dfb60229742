"""What a test asks of a failpoint, and what the process does there."""

import os
import signal
import subprocess
import sys

from printfarm_rpc.failpoints import EXIT_CODE

_PASSES_TWICE = "from printfarm_rpc.failpoints import failpoint; failpoint('here'); failpoint('here')"


def started(plan: str) -> subprocess.Popen[bytes]:
    environment = os.environ | {"PRINTFARM_FAIL_AT": plan}
    return subprocess.Popen([sys.executable, "-c", _PASSES_TWICE], env=environment, stderr=subprocess.PIPE)


def test_it_ends_the_process_at_the_passage_that_was_named() -> None:
    for plan, code, told in (("here:2", EXIT_CODE, b"failpoint here\n"), ("here:3", 0, b""), ("there", 0, b"")):
        process = started(plan)
        assert process.communicate(timeout=30)[1] == told
        assert process.returncode == code


def test_it_stops_the_process_until_somebody_lets_it_go_on() -> None:
    process = started("here=stop")
    _, status = os.waitpid(process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    process.send_signal(signal.SIGCONT)
    assert process.communicate(timeout=30)[1] == b"failpoint here\n"
    assert process.returncode == 0
