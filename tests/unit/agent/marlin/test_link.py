"""The line protocol alone: the window, lost answers, and what is sent when."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from printfarm_agent.drivers.marlin.dialects import MARLIN, REPETIER, REPRAP, dialect_of, firmware_of
from printfarm_agent.drivers.marlin.flow import Acked, Event, Lost, Said, Timing
from printfarm_agent.drivers.marlin.framing import frame
from printfarm_agent.drivers.marlin.link import RECEIVE_BUFFER, Link
from printfarm_agent.drivers.marlin.replies import Text


def session(link: Link, now: float = 0.0) -> None:
    """M110 is sent twice, each alone."""
    link.begin_session(now)
    for _ in range(2):
        assert link.take_output() == b"N0 M110 N0*125\n"
        assert not link.is_ready(now)
        assert link.receive(b"ok\n", now) == []
    assert link.is_ready(now)


def tickets(events: list[Event]) -> list[tuple[int, bool]]:
    return [(event.ticket, event.certain) for event in events if isinstance(event, Acked)]


def test_one_line_at_a_time() -> None:
    link = Link()
    session(link)
    first = link.send(b"G28", 1.0)
    assert link.take_output() == frame(1, b"G28")
    assert not link.is_ready(1.0)
    assert tickets(link.receive(b"echo:busy: processing\nok\n", 2.0)) == [(first, True)]
    assert link.is_ready(2.0)


def test_the_window_opens_when_room_was_told_twice_and_closes_at_a_resend() -> None:
    link = Link()
    session(link)
    for number in range(2):
        link.send(b"G1 X1", 1.0)
        link.receive(b"ok N%d P15 B3\n" % (number + 1), 1.0)
    sent = [link.send(b"G1 X%d" % x, 1.0) for x in range(3)]
    assert not link.is_ready(1.0)
    assert tickets(link.receive(b"ok N3 P14 B1\n", 1.0)) == [(sent[0], True)]
    assert link.is_ready(1.0)
    link.take_output()
    link.receive(b"Error:checksum mismatch, Last Line: 3\nResend: 4\nok\n", 2.0)
    assert link.take_output() == frame(4, b"G1 X1"), "go back, and one at a time"
    assert link.receive(b"ok N4 P14 B3\n", 2.1)
    assert link.take_output() == frame(5, b"G1 X2")
    link.receive(b"ok N5 P14 B3\n", 2.2)
    link.send(b"G1 X9", 2.2)
    assert not link.is_ready(2.2)
    assert link.receive(b"ok N6 P14 B3\n", 63.0)
    link.send(b"G1 X9", 63.0)
    assert link.is_ready(63.0)


def test_a_blocking_command_goes_out_alone() -> None:
    link = Link()
    session(link)
    for number in range(2):
        link.send(b"G1 X1", 1.0)
        link.receive(b"ok N%d P15 B3\n" % (number + 1), 1.0)
    link.take_output()
    link.send(b"G1 X2", 1.0)
    link.send(b"M400", 1.0)
    assert link.take_output() == frame(3, b"G1 X2")
    assert not link.is_ready(1.0)
    link.receive(b"ok N3 P15 B3\n", 1.1)
    assert link.take_output() == frame(4, b"M400")
    assert not link.is_ready(1.1), "nothing is queued behind it"


def test_after_a_resend_without_its_ok_the_line_goes_out_a_moment_later() -> None:
    link = Link()
    session(link)
    link.send(b"G28", 1.0)
    link.take_output()
    link.receive(b"Resend: 1\n", 1.1)
    assert link.take_output() == b""
    assert link.deadline() == pytest.approx(1.6)
    link.tick(1.6)
    assert link.take_output() == frame(1, b"G28")


def test_a_lost_ok_is_proven_by_a_question_and_no_number_is_sent_twice_unasked() -> None:
    link = Link()
    link.in_job = True
    session(link)
    lost = link.send(b"G1 X1", 1.0)
    link.take_output()
    assert link.tick(30.0) == []
    assert link.take_output() == b""
    link.tick(31.1)
    assert link.take_output() == b"M105\n"
    assert tickets(link.receive(b"ok T:20.0 /0.0 B:20.0 /0.0\n", 31.2)) == [(lost, False)]
    link.send(b"G1 X2", 31.3)
    assert link.take_output() == frame(2, b"G1 X2")


def test_silence_has_an_end() -> None:
    link = Link(timing=Timing(ok=1.0, probe=1.0, silences_in_job=3))
    link.in_job = True
    session(link)
    link.send(b"G1 X1", 1.0)
    found: list[Event] = []
    now = 1.0
    while not found:
        now += 0.5
        found = link.tick(now)
    assert isinstance(found[0], Lost) and found[0].code == "link_silent"
    assert now <= 1.0 + 1.0 + 3 * 1.5
    assert link.deadline() is None and not link.is_ready(now)


def test_wait_frees_a_command_that_cannot_have_crossed_it() -> None:
    link = Link(REPETIER)
    session(link)
    sent = link.send(b"G1 X1", 1.0)
    assert tickets(link.receive(b"wait\n", 1.5)) == []
    assert tickets(link.receive(b"wait\n", 2.5)) == [(sent, False)]


def test_without_numbers_nothing_is_asked_again() -> None:
    link = Link(REPRAP)
    link.begin_session(0.0)
    link.send(b"G1 X1", 0.0)
    assert link.take_output() == b"G1 X1\n"
    assert link.receive(b"Resend: 1\n", 0.1) == []
    assert b"M112\n" in link.emergency() and b"N" not in link.emergency()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Marlin 2.1.2", "marlin"),
        ("Prusa-Firmware 3.14.1 based on Marlin", "prusa"),
        ("Prusa-Firmware-Buddy 6.1 (Github)", "prusa"),
        ("Repetier_1.0.4", "repetier"),
        ("RepRapFirmware for Duet 3", "reprapfirmware"),
        ("Something else", "marlin"),
        ("", "marlin"),
    ],
)
def test_the_dialect_by_its_name(name: str, expected: str) -> None:
    assert dialect_of({"FIRMWARE_NAME": name}).name == expected


@pytest.mark.parametrize(
    ("fields", "configured", "told"),
    [
        ({"FIRMWARE_NAME": "Marlin 2.1.2"}, "", "Marlin 2.1.2"),
        ({"FIRMWARE_NAME": "Prusa-Firmware 3.14.1"}, "prusa", "Prusa-Firmware 3.14.1"),
        ({"FIRMWARE_NAME": "Marlin 2.1.2"}, "prusa", "Marlin 2.1.2 (prusa)"),
        ({}, "reprapfirmware", "reprapfirmware"),
        ({}, "", ""),
    ],
)
def test_the_firmwares_name_has_what_the_host_is_told(fields: dict[str, str], configured: str, told: str) -> None:
    assert firmware_of(fields, configured) == told


_WORDS = [
    b"ok",
    b"ok N1 P15 B3",
    b"ok T:20 /0",
    b"okok",
    b"Resend: 3",
    b"rs 1",
    b"Error:x",
    b"wait",
    b"start",
    b"T:1 /0",
]


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.one_of(st.sampled_from(_WORDS), st.binary(max_size=12), st.integers(0, 40)), max_size=60))
def test_whatever_comes_the_firmware_is_never_overrun(steps: list[bytes | int]) -> None:
    """Numbers go out in order or because they were asked for, and unanswered bytes fit into the smallest receive buffer."""
    link = Link(MARLIN)
    link.in_job = True
    link.begin_session(0.0)
    now, highest = 0.0, 0
    for step in steps:
        if isinstance(step, int):
            now += step
            link.tick(now)
        else:
            assert all(
                isinstance(event, Acked | Said | Lost) or event.resends for event in link.receive(step + b"\n", now)
            )
        while link.is_ready(now):
            link.send(b"G1 X100.000 Y100.000 E12345.12345", now)
        for line in link.take_output().splitlines():
            if line.startswith(b"N"):
                number = int(line[1:].split(b" ")[0])
                assert number <= highest + 1 or number == 0
                highest = 0 if number == 0 else max(highest, number)
        waiting = sum(len(command.framed) for command in link._outstanding)
        assert waiting <= RECEIVE_BUFFER or len(link._outstanding) == 1


def test_text_is_handed_on() -> None:
    link = Link()
    assert link.receive(b"echo:hello\n", 0.0) == [Said(Text("echo:hello"))]
