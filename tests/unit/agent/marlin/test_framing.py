"""Lines out, lines in."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from printfarm_agent.drivers.marlin.framing import (
    LONGEST_COMMAND,
    LONGEST_FRAME,
    LONGEST_REPLY,
    Splitter,
    TooLong,
    command_of,
    frame,
    name_of,
)

# On a busy machine the first examples may come late.
_patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def test_the_known_checksums() -> None:
    assert frame(0, b"M110 N0") == b"N0 M110 N0*125\n"
    assert frame(None, b"M105") == b"M105\n"


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"G1 X10 Y20 ; to the corner\n", b"G1 X10 Y20"),
        (b"G1 X10\r\n", b"G1 X10"),
        (b"  g28 \n", b"g28"),
        (b"; only a comment\n", b""),
        (b"\n", b""),
        (b"N12 G1 X5*37\n", b"G1 X5"),
        (b"G1 X1\x08\x00 Y2\n", b"G1 X1 Y2"),
        ("M117 Grüße\n".encode(), b"M117 Gre"),
        (b"@pause\n", b""),
        (b"M110 N7\n", b""),
        (b"m112\n", b""),
        (b"M 112\n", b""),
        (b"M155 S0\n", b""),
        (b"M28 x.gco\n", b""),
        # A file must not speak as the firmware does.
        (b"M118 Resend: 1\n", b""),
        (b"M118 E1 ok\n", b""),
        # Marlin looks for it anywhere in a line.
        (b"M117 see M110 Notes\n", b"M117 see M 110 Notes"),
        (b"G1 X1 M110 N5\n", b"G1 X1 M 110 N5"),
        (b"M117 " + b"x" * 200 + b"\n", b"M117 " + b"x" * (LONGEST_COMMAND - 5)),
    ],
)
def test_a_command_of_a_file(raw: bytes, expected: bytes) -> None:
    assert command_of(raw) == expected


def test_a_line_that_firmware_would_cut_is_refused() -> None:
    with pytest.raises(TooLong):
        command_of(b"G1 " + b"X0.000000000 " * 9)


@_patient
@given(st.binary(max_size=200))
def test_nothing_of_a_file_breaks_the_frame(raw: bytes) -> None:
    try:
        command = command_of(raw)
    except TooLong:
        return
    framed = frame(99_999_999, command)
    assert len(framed) - 1 <= LONGEST_FRAME
    assert framed.count(b"\n") == 1
    assert name_of(command) not in ("M110", "M112")
    assert b"M110" not in command


@_patient
@given(st.lists(st.binary(max_size=40).map(lambda b: b.replace(b"\n", b""))), st.integers(1, 7))
def test_lines_are_the_same_however_they_are_cut(lines: list[bytes], size: int) -> None:
    data = b"".join(line + b"\n" for line in lines)
    splitter = Splitter()
    found = [line for start in range(0, len(data), size) for line in splitter.feed(data[start : start + size])]
    assert found == lines


@pytest.mark.parametrize("size", [1000, 100_000])
def test_noise_without_end_is_thrown_away(size: int) -> None:
    """10 MB without a line's end: nothing is kept, and what follows is read."""
    splitter = Splitter()
    for _ in range(10_000_000 // size):
        assert splitter.feed(b"\xff" * size) == []
    assert splitter.thrown_away > 10_000_000 - LONGEST_REPLY - size
    assert splitter.feed(b"\nok\n")[-1] == b"ok"
