"""What a print file may not ask of a printer: bad inputs 54 to 62 and 64."""

from pathlib import Path

import pytest

from printfarm_agent.limits import FORBIDDEN, Limits, check_file

LIMITS = Limits(hotend_celsius=260.0, bed_celsius=100.0, volume_mm=(220.0, 220.0, 250.0), feed_mm_per_minute=18_000.0)
GOOD = (
    b"G28\nM104 S210\nM140 S60\nG1 X10 Y10 F3000\nG1 X200 Y200 E4 ; a comment with M112\nM117 M500 is text\nM104 S0\n"
)


def verdict(tmp_path: Path, content: bytes) -> str:
    path = tmp_path / "a.gcode"
    path.write_bytes(content)
    return check_file(path, LIMITS)


def test_a_good_file(tmp_path: Path) -> None:
    assert verdict(tmp_path, GOOD) == ""
    assert verdict(tmp_path, GOOD.replace(b"\n", b"\r\n")) == ""
    assert verdict(tmp_path, GOOD.rstrip(b"\n")) == ""


@pytest.mark.parametrize(
    ("line", "word"),
    [
        pytest.param(b"G1 X1\x00", "", id="54 NUL in a move is no number"),
        pytest.param(b"M105\x00", "NUL", id="54 NUL"),
        pytest.param(b"G1 " + b"X1 " * 40_000, "longer", id="54 a line without end"),
        pytest.param(b"M104 S999", "999", id="55 hotend"),
        pytest.param(b"M140 S200", "200", id="55 bed"),
        pytest.param(b"M109 R999", "999", id="55 R"),
        pytest.param(b"G1 X10 Y10 F99999", "feed", id="feed"),
        pytest.param(b"G1 X900", "outside", id="58 outside"),
        pytest.param(b"G1 Z-40", "outside", id="58 below"),
        pytest.param(b"M211 S0", "soft end stops", id="58 soft end stops"),
        pytest.param(b"RUN_SHELL_COMMAND CMD=x", "RUN_SHELL_COMMAND", id="59 shell"),
        pytest.param(b"save_config", "SAVE_CONFIG", id="59 lower case"),
        pytest.param(b"M118 A1 action:cancel", "action", id="60 host action"),
        pytest.param(b"m 1 0 4 s 9 9 9", "999", id="62 spaces and lower case"),
        pytest.param(b"N10 M104S999*33", "999", id="62 number and checksum"),
        pytest.param(b"G28 M104 S999", "999", id="62 several commands on a line"),
        pytest.param(b"(hello) M104 S999", "999", id="62 comment in parentheses"),
        *(pytest.param(name.encode(), name, id=f"56-58 {name}") for name in FORBIDDEN),
    ],
)
def test_a_line_that_must_not_run(tmp_path: Path, line: bytes, word: str) -> None:
    why = verdict(tmp_path, b"G28\n" + line + b"\n")
    if word:
        assert why.startswith("line 2:") and word in why
    else:
        assert why == "" or why.startswith("line 2:")


def test_relative_moves_are_not_taken_for_places(tmp_path: Path) -> None:
    assert verdict(tmp_path, b"G91\nG1 Z-40\nG90\n") == ""


@pytest.mark.parametrize("text", [b"", b"\n\n", b"; only comments\n", b"\xff\xfe\n"])
def test_nothing_in_it_harms_nobody(tmp_path: Path, text: bytes) -> None:
    assert verdict(tmp_path, text) == ""
