"""What a print file may not ask of a printer: bad inputs 54 to 62 and 64, and what only looks like one."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from printfarm_agent.limits import FORBIDDEN, LONGEST_LINE, Dialect, Limits, LineCheck, check_file

LIMITS = Limits(hotend_celsius=260.0, bed_celsius=100.0, volume_mm=(220.0, 220.0, 250.0), feed_mm_per_minute=18_000.0)
GOOD = (
    b"G28\nM104 S210\nM140 S60\nG1 X10 Y10 F3000\nG1 X200 Y200 E4 ; a comment with M112\nM117 M500 is text\nM104 S0\n"
)


def verdict(tmp_path: Path, content: bytes, limits: Limits = LIMITS) -> str:
    path = tmp_path / "a.gcode"
    path.write_bytes(content)
    return check_file(path, limits)


def why(*lines: bytes, limits: Limits = LIMITS, dialect: Dialect = Dialect.ANY) -> str:
    """What is said of the last of the lines; those before it are good."""
    check = LineCheck(limits, dialect)
    for line in lines[:-1]:
        assert check.line(line) == "", line
    return check.line(lines[-1])


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
def test_54_a_good_file_with_any_line_ends(tmp_path: Path, end: bytes) -> None:
    assert verdict(tmp_path, GOOD.replace(b"\n", end)) == ""
    assert verdict(tmp_path, GOOD.replace(b"\n", end).rstrip()) == ""
    assert verdict(tmp_path, b"\xef\xbb\xbf" + GOOD.replace(b"\n", end)) == ""


def test_54_line_ends_of_all_kinds_in_one_file(tmp_path: Path) -> None:
    assert verdict(tmp_path, b"G28\r\nG1 X10 F3000\nG1 X20\rG1 X30\n\rG1 X40\r\n") == ""
    # A firmware's comment ends at a carriage return, so what comes after it runs.
    for hidden in (b"G28\n; a comment\rM104 S999\nG28\n", b"G28\nG1 X1 ; a\rM104 S999\n", b"G28\nG1 X1\rM104 S999\r\n"):
        assert verdict(tmp_path, hidden).startswith("line 2: M104 asks 999"), hidden


# What the catalogue names, whatever the list of the code holds: an entry that is lost there is missed here.
CATALOGUE = """
M500 | M501 | M502 | M503 | M504 | M92 X100 | M206 X1 | M851 Z-9 | M301 P1 | M303 E0 S200 | M304 P1
M997 | M28 a.gco | M29 | M30 a.gco | M32 a.gco | M42 P4 S255 | M43 P1 | M226 P2 S1 | M80 | M81 | M999 | M112
M121 | M211 S0 | M302 S0 | M302 P1
RUN_SHELL_COMMAND CMD=x | SAVE_CONFIG | SET_HEATER_TEMPERATURE HEATER=extruder TARGET=250 | RESTART | FIRMWARE_RESTART
SDCARD_PRINT_FILE FILENAME=a.gcode
"""


@pytest.mark.parametrize(
    "line", [line.strip() for row in CATALOGUE.split("\n") for line in row.split("|") if line.strip()]
)
def test_56_57_58_59_what_the_catalogue_names_is_refused_by_its_name(tmp_path: Path, line: str) -> None:
    said = verdict(tmp_path, b"G28\n" + line.encode() + b"\n")
    assert said.startswith(f"line 2: {line.split()[0]} is not allowed in a print file: ")


@pytest.mark.parametrize(
    ("line", "word"),
    [
        pytest.param(b"G1 X1\x00", "NUL", id="54 NUL in a move"),
        pytest.param(b"M105\x00", "NUL", id="54 NUL"),
        pytest.param(b"; a comment\x00 M104", "NUL", id="54 NUL in a comment"),
        pytest.param(b"G1 X1 ; \x00", "NUL", id="54 NUL in the comment of a move"),
        pytest.param(b"M105\x08\x08", "control character", id="54 backspace"),
        pytest.param(b"G1 " + b"X1 " * 40_000, "longer", id="54 a line without end"),
        pytest.param(b"; " + b"x" * 10_000_000, "longer", id="54 a comment of 10 MB"),
        pytest.param(b"(" * 10_000_000, "longer", id="54 parentheses of 10 MB"),
        pytest.param(b"M104 S999", "999", id="55 hotend"),
        pytest.param(b"M140 S200", "200", id="55 bed"),
        pytest.param(b"M190 R200", "200", id="55 bed, waited for"),
        pytest.param(b"M141 S200", "200", id="55 chamber"),
        pytest.param(b"M109 R999", "999", id="55 R"),
        pytest.param(b"M109 S200 B999", "999", id="55 the upper end of Marlin's automatic temperature"),
        pytest.param(b"M104 T0 S999", "999", id="55 with a tool"),
        pytest.param(b"M104 S999 T1", "999", id="55 with a tool behind"),
        pytest.param(b"M568 P0 S999 R0", "999", id="55 RepRapFirmware's tool"),
        pytest.param(b"G10 P0 S200 R999", "999", id="55 a standby temperature"),
        pytest.param(b"G10 P0 S200:999", "999", id="55 a second heater of the tool"),
        pytest.param(b"M568 P0 S200 : 210 : 999 R150", "999", id="55 a third heater"),
        pytest.param(b"M568 P0 S200 R150:999", "999", id="55 a second heater's standby"),
        pytest.param(b"M140 S60:130", "130", id="55 a second bed"),
        pytest.param(b"M104 S999 S200", "999", id="55 said twice"),
        pytest.param(b"M104 S200:1e3", "exponent", id="55 an exponent in a list"),
        pytest.param(b"M104 S1e3", "exponent", id="55 an exponent"),
        pytest.param(b"M104 S{400 + 200}", "expression", id="55 an expression"),
        pytest.param(b"M104.0 S999", "999", id="55 a decimal"),
        pytest.param(b"M0104 S999", "999", id="55 a leading zero"),
        pytest.param(b"G1 X10 Y10 F99999", "feed", id="feed"),
        pytest.param(b"G1 F99999 X10", "feed", id="feed first"),
        pytest.param(b"G1 X900", "outside", id="58 outside"),
        pytest.param(b"G1 Z-40", "outside", id="58 below"),
        pytest.param(b"G0X900", "outside", id="58 without spaces"),
        pytest.param(b"X900", "outside", id="58 the last move once more"),
        pytest.param(b"G53 G0 X900", "outside", id="58 in machine coordinates"),
        pytest.param(b"G55", "coordinates", id="58 other coordinates"),
        pytest.param(b"G10 L2 P1 X500", "coordinates", id="58 coordinates set"),
        pytest.param(b"G52 X500", "coordinates", id="58 local coordinates"),
        pytest.param(b"G92 X-500", "whether moves stay inside", id="58 shifted from nobody knows where"),
        pytest.param(b"G92", "whether moves stay inside", id="58 all shifted"),
        pytest.param(b"M211 S0", "soft end stops", id="58 soft end stops"),
        pytest.param(b"M564 S0", "outside of the machine's limits", id="58 RepRapFirmware's limits"),
        pytest.param(b"RUN_SHELL_COMMAND CMD=x", "RUN_SHELL_COMMAND", id="59 shell"),
        pytest.param(b"save_config", "SAVE_CONFIG", id="59 lower case"),
        pytest.param(b"  FIRMWARE_RESTART", "FIRMWARE_RESTART", id="59 indented"),
        pytest.param(b"RESTART", "RESTART", id="59 restart"),
        pytest.param(b"N7 RESTART", "RESTART", id="59 numbered"),
        pytest.param(b"SDCARD_PRINT_FILE FILENAME=a.gcode", "SDCARD_PRINT_FILE", id="59 another file"),
        pytest.param(b"SET_HEATER_TEMPERATURE HEATER=extruder TARGET=200", "heats", id="59 heater"),
        pytest.param(b"SET_KINEMATIC_POSITION X=0", "elsewhere", id="59 position"),
        pytest.param(b"M117 {printer.x}", "", id="59 text is no expression"),
        pytest.param(b"SET_FAN S={printer.x}", "expression", id="59 jinja"),
        pytest.param(b"while true", "plainly", id="59 RepRapFirmware's language"),
        pytest.param(b'echo >"config.g" "x"', "plainly", id="59 a file by echo"),
        pytest.param(b"M118 A1 action:cancel", "action", id="60 host action"),
        pytest.param(b"m 118 a1 ACTION:cancel", "action", id="60 host action in disguise"),
        pytest.param(b"M118 //action:pause", "action", id="60 host action as text"),
        pytest.param(b"G28 M118 A1 action:cancel", "action", id="60 host action behind"),
        pytest.param(b"RESPOND TYPE=command MSG=action:cancel", "action", id="60 Klipper's answer"),
        pytest.param(b"M117 <script>alert(1)</script>", "", id="60 text is shown as text"),
        pytest.param(b"@cancel", "host", id="61 host command"),
        pytest.param(b"; @pause", "host", id="61 host command in a comment"),
        pytest.param(b"G1 X1 ;@ABORT", "host", id="61 host command behind a move"),
        pytest.param(b"OCTO1", "host", id="61 a host's system command"),
        pytest.param(b"m 1 0 4 s 9 9 9", "999", id="62 spaces and lower case"),
        pytest.param(b"\tM104\tS999", "999", id="62 tabs"),
        pytest.param(b"N10 M104S999*33", "999", id="62 number and checksum"),
        pytest.param(b"n10m104s999*33", "999", id="62 number and checksum in lower case"),
        pytest.param(b"G28 M104 S999", "999", id="62 several commands on a line"),
        pytest.param(b"G1 X10 M104 S999", "999", id="62 behind a move"),
        pytest.param(b"T0 M104 S999", "999", id="62 behind a tool"),
        pytest.param(b"G1 X10 *5 M104 S999", "999", id="62 behind what looks like a checksum"),
        pytest.param(b"(hello) M104 S999", "999", id="62 comment in parentheses"),
        pytest.param(b"M104 (S100) S999", "999", id="62 parentheses inside"),
        pytest.param(b"M104 (S999)", "999", id="62 parentheses that the firmware does not know"),
        pytest.param(b'M98 P"a;b" M104 S999', "999", id="62 a semicolon in quotes"),
        pytest.param(b"M1\xff04 S999", "999", id="62 noise that one firmware skips"),
        pytest.param(b"/M104 S999", "999", id="62 block delete"),
        pytest.param(b"D3 Ax0000 X00", "debugging", id="56 the firmware's debugging"),
        *(pytest.param(name.encode(), name, id=f"56-58 {name}") for name in FORBIDDEN),
    ],
)
def test_a_line_that_must_not_run(tmp_path: Path, line: bytes, word: str) -> None:
    said = verdict(tmp_path, b"G28\n" + line + b"\n")
    if word:
        assert said.startswith("line 2:") and word in said
    else:
        assert said == ""


@pytest.mark.parametrize(
    "line",
    [
        b"M1121",
        b"M114",
        b"M1040 S999",
        b"M28.5",
        b"M73 P10 R999",
        b"M106 S255",
        b"M204 P1000 T1500",
        b"M203 X500 Y500 Z12 E120",
        b"M205 S0 T0",
        b"G10",
        b"G10 S1",
        b"M486 A M112.stl",
        b"EXCLUDE_OBJECT_DEFINE NAME=M112_bracket.stl_id_0 CENTER=900,900 POLYGON=[[1,2],[3,4]]",
        b"PRINT_START BED=60 HOTEND=210 T0=1",
        b"SET_PRESSURE_ADVANCE ADVANCE=0.04",
        b"RESPOND MSG=\"layer 3\"",
        b"M118 layer 3 of 10",
        b"M117 M\xc3\xa4rz S999",
        b"G92 E0",
        b"M83",
        b"T3",
        b"M862.3 P \"MK3S\"",
        b"; printer_settings_id = Original Prusa MK4 @0.4 nozzle",
        b";TIME:6666 M104 S999",
        b"M221 S95",
    ],
)  # fmt: skip
def test_what_only_looks_like_it(line: bytes) -> None:
    assert why(b"G28", line) == ""


def test_58_moves_are_followed() -> None:
    home = (b"G28", b"G1 X10 Y10 Z5 F3000")
    assert why(*home, b"G91", b"G1 Z10", b"G1 Z-9", b"G90", b"G1 X200") == ""
    assert "Z -25 mm" in why(*home, b"G91", b"G1 Z-30")
    assert "X 410 mm" in why(*home, b"G91", *[b"G1 X50"] * 4, b"G1 X200")
    # After homing only the printer knows where it stands.
    assert why(b"G28", b"G91", b"G1 Z-40", b"G90", b"G1 Z1") == ""


@pytest.mark.parametrize(
    ("lines", "word"),
    [
        (b"G28|G91|G1 X5000 Y-900 Z-80 E5", "X moved by 5000 mm lies outside"),
        (b"G28|G91|G1 Y-300", "Y moved by -300 mm"),
        (b"G28|G91|G1 X150|G1 X150", "X moved by 150 mm"),
        (b"G20|G91|G1 X20", "X moved by 508 mm"),
        (b"G1 X10|T1|G91|G1 X-900", "X moved by -900 mm"),
        (b"G28|G91|G2 X0 Y0 I5000 J0", "the arc's X from 0 to 10000 mm"),
        (b"G28|G91|G3 X200 Y0 R-150", "the arc's X from -50 to 250 mm"),
        (b"G1 X10 Y10|G28 Y|G91|G2 I-100", "the arc's X -190 mm"),
        # As slicers and their users write it.
        (b"G28|G91|G2 X10 Y0 I5 J0|G3 Z0.6 I1.2 J0 P1|G90", ""),
        (b"G28|G2 X10 Y10 I5 J0", ""),
        (b"G28|G91|G1 Z5|G1 X-10 Y-10|G1 Z-5|G90|G1 X10", ""),
        (b"G91|G1 Z10|G28|G91|G1 Z200|G1 Z-200|G90", ""),
        (b"G28|G91|G1 X200|G1 X-200|G28|G1 X200", ""),
        (b"G1 X10|SOME_MACRO|G91|G1 X200|G1 Y-200|G90", ""),
    ],
)
def test_58_a_relative_move_that_ends_outside_wherever_it_began(lines: bytes, word: str) -> None:
    said = why(*lines.split(b"|"))
    assert said.startswith(word) if word else said == ""


@pytest.mark.parametrize(
    ("lines", "dialect", "word"),
    [
        (b"M120|G91|M121|G1 X5000", Dialect.REPRAP, "X 5000 mm"),
        (b"G1 X10|M120|G91|G1 X100|M121|G1 X200", Dialect.REPRAP, ""),
        (b"G20|M120|G21|M121|G1 X10", Dialect.REPRAP, "X 254 mm"),
        (b"G91|M121|G1 X5|G90|G1 X5", Dialect.REPRAP, ""),
        (b"M120|" * 100 + b"M120", Dialect.REPRAP, "M120 puts more than 100"),
        (b"SAVE_GCODE_STATE NAME=a|G91|RESTORE_GCODE_STATE NAME=a|G1 X5000", Dialect.KLIPPER, "X 5000 mm"),
        (b"SAVE_GCODE_STATE|G91|G1 Z1|RESTORE_GCODE_STATE|G1 X5000", Dialect.ANY, "X 5000 mm"),
        (
            b"G1 X10 Y10 Z5|SAVE_GCODE_STATE NAME=a|G91|G1 Z5|RESTORE_GCODE_STATE MOVE=1 NAME=a MOVE_SPEED=5|G1 X200",
            Dialect.KLIPPER,
            "",
        ),
        (b"G1 X100|SAVE_GCODE_STATE NAME=a|G92 X0|RESTORE_GCODE_STATE NAME=a|G1 X300", Dialect.KLIPPER, "X 300 mm"),
        (b"G1 X100|SAVE_GCODE_STATE NAME=a|G92 X0|RESTORE_GCODE_STATE NAME=b|G1 X300", Dialect.KLIPPER, "X 400 mm"),
        (b"G1 X9 F18000|M220 S100|SAVE_GCODE_STATE NAME=a|M220 S50|G1 F36000|RESTORE_GCODE_STATE NAME=a",
         Dialect.KLIPPER, "feed rate 36000"),
        (b"".join(b"SAVE_GCODE_STATE NAME=A%d|" % i for i in range(100)) + b"SAVE_GCODE_STATE", Dialect.KLIPPER,
         "SAVE_GCODE_STATE puts more than 100"),
        # Marlin does nothing at these.
        (b"G1 X100|SAVE_GCODE_STATE|G91|RESTORE_GCODE_STATE|G1 X150", Dialect.MARLIN, ""),
    ],
)  # fmt: skip
def test_58_states_are_put_aside_and_taken_back(lines: bytes, dialect: Dialect, word: str) -> None:
    said = why(*lines.split(b"|"), dialect=dialect)
    assert said.startswith(word) if word else said == ""


def test_58_inches() -> None:
    assert why(b"G20", b"G1 X8.6") == ""
    assert "X 228.6" not in why(b"G20", b"G1 X9.0")
    assert "X 254 mm" in why(b"G20", b"G1 X10")
    assert "feed rate 25400" in why(b"G20", b"G1 X1 F1000")
    assert why(b"G20", b"G21", b"G1 X10 F10000") == ""


def test_58_shifted_coordinates() -> None:
    assert why(b"G1 X100", b"G92 X0", b"G1 X100") == ""
    assert "X 400 mm" in why(b"G1 X100", b"G92 X0", b"G1 X300")
    assert "X -100 mm" in why(b"G1 X100", b"G92 X200", b"G1 X0")
    assert "X 300 mm" in why(b"G1 X100", b"G92 X200", b"G53 G1 X300")
    assert "a line of its own" in why(b"G1 X100", b"G92 X200", b"G53")
    assert why(b"G53") == ""
    assert why(b"G1 X100", b"G92 X0", b"G28 X", b"G1 X200") == ""
    assert "X -100 mm" in why(b"G1 X100 Y100", b"G92 X200", b"G28 Y", b"G1 X0")


def test_58_feed_that_is_raised() -> None:
    assert "feed rate" in why(b"G1 X1 F10000", b"M220 S200")
    assert "feed rate" in why(b"M220 S200", b"G1 X1 F10000")
    assert why(b"M220 S200", b"G1 X1 F8000", b"M220 S100", b"G1 X2 F16000") == ""


@pytest.mark.parametrize(
    ("start", "arc", "word"),
    [
        (b"G1 X100 Y20", b"G3 X120 Y20 I10 J0", ""),
        (b"G1 X100 Y20", b"G2 X120 Y20 I10 J0", ""),
        # A wide bend near the edge: its circle lies far outside, the bend does not.
        (b"G1 X10 Y5", b"G2 X200 Y5 I95 J-2000", ""),
        (b"G1 X10 Y5", b"G3 X210 Y5 I100 J0", "the arc's Y -95"),
        (b"G1 X10 Y5", b"G2 X210 Y5 I100 J0", ""),
        (b"G1 X10 Y5", b"G3 X210 Y5 R100", "the arc's Y -95"),
        (b"G1 X10 Y5", b"G2 X210 Y5 R-100", ""),
        (b"G1 X10 Y100", b"G2 I-40", "the arc's X -70"),
        (b"G1 X100 Y100", b"G2 X100 Y100 I-40 J0", ""),
        (b"G1 X100 Y100", b"G2 X101 Y100 I0 J90 P1", "the arc's Y 280"),
        (b"G1 X100 Y100", b"G2 X900", "X 900 mm lies outside"),
        (b"G1 X100 Y100 Z100\nG19", b"G3 Y100 Z100 J0 K-60", "the arc's Z -20"),
        (b"G1 X100 Y100", b"G5 X120 Y100 I900 J0 P0 Q0", "the curve's X 1000"),
        (b"G1 X100 Y100", b"G5 X120 Y100 I9 J0 P-5 Q3", ""),
    ],
)
def test_58_arcs_are_followed(start: bytes, arc: bytes, word: str) -> None:
    said = why(*start.split(b"\n"), arc)
    assert said.startswith(word) if word else said == ""


def test_58_a_little_outside_is_the_machines_own_business_but_below_the_plate() -> None:
    assert why(b"G1 X-19", b"G1 X239", b"G1 Y-19", b"G1 Z269", b"G1 Z-4.5") == ""
    for beyond in (b"G1 X-21", b"G1 X241", b"G1 Z271", b"G1 Z-6"):
        assert "outside of the build volume (0 to" in why(beyond)


def test_58_a_delta_has_its_origin_in_the_middle() -> None:
    delta = Limits(volume_mm=(200.0, 200.0, 300.0), origin_mm=(-100.0, -100.0, 0.0))
    assert why(b"G1 X-99 Y-99 Z1", b"G1 X99 Y99", limits=delta) == ""
    assert "(-100 to 100 mm)" in why(b"G1 X150", limits=delta)


def test_58_without_a_volume_moves_are_not_judged() -> None:
    open_limits = Limits()
    assert why(b"G92 X0", b"G55", b"G1 X9000", b"G2 X1 Y1 I5", limits=open_limits) == ""
    assert "feed" in why(b"G1 X1 F99999", limits=open_limits)


@pytest.mark.parametrize("heat", [b"M104 S210", b"M109 S210", b"M104 T0 S210", b"M568 P0 S210"])
def test_64_a_file_that_ends_in_the_middle_of_a_print(tmp_path: Path, heat: bytes) -> None:
    cut = b"G28\n" + heat + b"\nG1 X10 Y10 F3000\nG1 X200 Y200 E4\n"
    assert verdict(tmp_path, cut).startswith("line 4: the file ends while it extrudes, with the hotend at 210 C")
    assert verdict(tmp_path, cut + b"; the end\n").startswith("line 5:")
    for end in (b"M104 S0", b"G1 X0", b"PRINT_END", b"M109 R0", b"M2"):
        assert verdict(tmp_path, cut + end + b"\n") == "", end
    # Another tool that is switched off is not this one.
    assert verdict(tmp_path, cut.replace(heat, b"M104 T1 S0\n" + heat)) != ""


def test_64_a_bed_left_warm_is_no_cut_file(tmp_path: Path) -> None:
    assert verdict(tmp_path, b"M140 S60\nM104 S210\nM104 S0\nG1 X1 E1\n") == ""


@pytest.mark.parametrize(
    "text", [b"", b"\n\n", b"; only comments\n", b"\xff\xfe\n", b"%\n", b"-\n", b"*\n", b"N5\n", b"(\n"]
)
def test_nothing_in_it_harms_nobody(tmp_path: Path, text: bytes) -> None:
    assert verdict(tmp_path, text) == ""


@settings(deadline=None, max_examples=500)
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=60),
            st.text('GMTNXYZEFIJRSP0123456789.-+*;()"{} \t', max_size=40).map(str.encode),
        ),
        max_size=12,
    )
)
def test_any_lines_get_an_answer(lines: list[bytes]) -> None:
    check = LineCheck(LIMITS)
    for line in lines:
        assert isinstance(check.line(line), str)
    assert isinstance(check.end(), str)


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.sampled_from([" ", "\t", ""]), min_size=8, max_size=8),
    st.sampled_from(["", "N1", "n 77 "]),
    st.sampled_from(["", "*12", "; a comment", " (b)", " * 99"]),
    st.booleans(),
)
def test_62_no_spelling_hides_a_temperature(gaps: list[str], number: str, tail: str, lower: bool) -> None:
    text = number + "".join(letter + gap for letter, gap in zip("M104S999", gaps, strict=True)) + tail
    assert "999" in why((text.lower() if lower else text).encode())


LONG = [
    b"(" * 60_000,
    b"(a" * 30_000,
    b'"' * 60_000,
    b"M105" * 15_000,
    b"9" * 60_000,
    b"M" + b"9" * 60_000,
    b"G1 " * 20_000,
]


@pytest.mark.parametrize("line", LONG, ids=lambda line: line[:6].decode())
def test_54_lines_as_long_as_may_be(line: bytes) -> None:
    assert len(line) <= LONGEST_LINE
    assert why(line) == ""
