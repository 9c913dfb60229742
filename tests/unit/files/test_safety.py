"""Findings of a whole file: line, command, rule, severity; each firmware read as it reads. Bad inputs 54 to 64.

What no printer may be asked is tested line by line beside the agent, in ``tests/unit/agent/test_limits.py``.
"""

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from printfarm_files.safety import (
    LONGEST_LINE,
    Dialect,
    Finding,
    Limits,
    Severity,
    check_file,
    check_gcode,
    dialect_of,
    lines_of,
)
from printfarm_files.text import pieces_of
from tests.support.print_files import bgcode, bgcode_block, meatpacked, zipped

LIMITS = Limits(hotend_celsius=260.0, bed_celsius=100.0, volume_mm=(250.0, 210.0, 210.0))
KNOWN = [dialect for dialect in Dialect if dialect is not Dialect.ANY]
SOUND = ["G28", "M104 S210", "G1 Z0.2 F3000", "G1 X10 Y10 E1 F1500", "M104 S0", "M84"]
SAMPLES = Path(__file__).parent / "samples"


def found(
    lines: list[str], dialect: Dialect = Dialect.MARLIN, limits: Limits = LIMITS, **more: object
) -> list[Finding]:
    return list(check_gcode([line.encode() + b"\n" for line in lines], limits, dialect, **more))  # type: ignore[arg-type]


def within(line: str, dialect: Dialect) -> list[tuple[int, str, str, str]]:
    """What is found of one line in an otherwise sound file."""
    return [(f.line, f.command, f.rule, f.severity.value) for f in found([*SOUND[:3], line, *SOUND[3:]], dialect)]


@pytest.mark.parametrize("dialect", Dialect)
def test_a_sound_file_has_nothing(dialect: Dialect) -> None:
    assert found(SOUND, dialect) == []


@pytest.mark.parametrize("dialect", Dialect)
@pytest.mark.parametrize(
    ("line", "command", "rule"),
    [
        ("M104 S999", "M104", "temperature"),
        ("M190 S140", "M190", "temperature"),
        ("G1 X900", "G1", "place"),
        ("G1 X10 F999999", "G1", "feed"),
        ("M502", "M502", "forbidden"),
        ("M997", "M997", "forbidden"),
        ("RUN_SHELL_COMMAND CMD=x", "RUN_SHELL_COMMAND", "forbidden"),
        ("M118 A1 action:cancel", "M118", "host_action"),
        ("@pause", "@PAUSE", "host_action"),
        ("M104 S{temperature}", "M104", "program"),
        ("G1 X\0", "", "not_text"),
        ("; " + "x" * LONGEST_LINE, "", "too_long"),
    ],
)
def test_what_every_firmware_is_refused_for_good(dialect: Dialect, line: str, command: str, rule: str) -> None:
    assert within(line, dialect)[0] == (4, command, rule, "refuse")


@pytest.mark.parametrize(
    ("line", "dialect", "command", "rule"),
    [
        ("M600", Dialect.MARLIN, "M600", "needs_person"),
        ("PAUSE", Dialect.KLIPPER, "PAUSE", "needs_person"),
        ("M117 <script>alert(1)</script>", Dialect.PRUSA, "M117", "markup"),
        ("START_PRINT BED=60", Dialect.MARLIN, "START_PRINT", "other_firmware"),
        ("MY_OWN_MACRO A=1", Dialect.KLIPPER, "MY_OWN_MACRO", "unlisted"),
        ("M98 P\"purge.g\"", Dialect.REPRAP, "M98", "unlisted"),
        ("M1002 gcode_claim_action : 2", Dialect.MARLIN, "M1002", "unlisted"),
        ("M280 P0 S90", Dialect.MARLIN, "M280", "unlisted"),
    ],
)  # fmt: skip
def test_what_needs_a_persons_word(line: str, dialect: Dialect, command: str, rule: str) -> None:
    assert within(line, dialect) == [(4, command, rule, "needs_override")]


@pytest.mark.parametrize(
    ("driver", "firmware", "dialect"),
    [
        ("marlin", "", Dialect.MARLIN),
        ("marlin", "Marlin 2.1.2", Dialect.MARLIN),
        ("marlin", "Repetier_1.0.4", Dialect.MARLIN),
        ("marlin", "Prusa-Firmware 3.14.1 based on Marlin", Dialect.PRUSA),
        ("marlin", "RepRapFirmware for Duet 2", Dialect.REPRAP),
        ("simplyprint", "Klipper v0.12", Dialect.KLIPPER),
        ("simplyprint", "", Dialect.ANY),
        ("octoprint", "OctoPrint 1.11.0 (Klipper)", Dialect.ANY),
        ("moonraker", "Marlin", Dialect.KLIPPER),
        ("virtual", "", Dialect.ANY),
    ],
)
def test_the_firmware_behind_a_driver(driver: str, firmware: str, dialect: Dialect) -> None:
    assert dialect_of(driver, firmware) is dialect


def test_macros_that_the_printer_is_known_to_have_are_allowed() -> None:
    lines = [*SOUND[:3], "my_own_macro A=1", *SOUND[3:]]
    assert found(lines, Dialect.KLIPPER, allowed=["MY_OWN_MACRO"]) == []
    assert [
        f.rule for f in found([*lines[:3], "SAVE_CONFIG", *lines[4:]], Dialect.KLIPPER, allowed=["SAVE_CONFIG"])
    ] == ["forbidden"]


@pytest.mark.parametrize(
    ("line", "runs"),
    [
        # Klipper and Bambu Lab run the first command of a line; the others are its words.
        ("G28 M104 S999", {Dialect.MARLIN, Dialect.PRUSA, Dialect.REPRAP, Dialect.ANY}),
        # A comment in parentheses is one for RepRapFirmware, text for Klipper, either for Marlin.
        ("M104 (S999)", set(Dialect) - {Dialect.REPRAP}),
        # A semicolon within quotes begins no comment where quotes are known.
        ('M118 S"a;b" M104 S999', set()),
        ('G4 P"a;b" M104 S999', set(Dialect) - {Dialect.KLIPPER, Dialect.BAMBU}),
        ("(S100) M104 S999", set(Dialect)),
        ("N10 M104 S999*55", set(Dialect)),
    ],
)
def test_62_each_firmware_reads_a_line_in_its_own_way(line: str, runs: set[Dialect]) -> None:
    refused = {dialect for dialect in Dialect if any(rule == "temperature" for _, _, rule, _ in within(line, dialect))}
    assert refused == runs


@pytest.mark.parametrize(
    ("line", "dialect", "refused"),
    [
        ("M302 S155", Dialect.PRUSA, False),
        ("M302 S155 P1", Dialect.PRUSA, True),
        ("M302 S100", Dialect.PRUSA, True),
        ("M302", Dialect.PRUSA, True),
        ("M121", Dialect.REPRAP, False),
        ("M121", Dialect.MARLIN, True),
        ("G1 X-48", Dialect.BAMBU, False),
        ("G1 X-48", Dialect.MARLIN, True),
        ("G1 X-70", Dialect.BAMBU, True),
        ("M500 ; save cali data", Dialect.BAMBU, False),
        ("M502", Dialect.BAMBU, True),
    ],
)
def test_what_stock_profiles_of_a_firmware_do(line: str, dialect: Dialect, refused: bool) -> None:
    assert bool(within(line, dialect)) == refused


@pytest.mark.parametrize(
    ("lines", "rule", "severity"),
    [
        (SOUND[:4], "cut_off", Severity.REFUSE),
        ([*SOUND[:4], "G1 X0"], "left_hot", Severity.OVERRIDE),
        (["G28", "M84"], "prints_nothing", Severity.OVERRIDE),
        (["G28", "G1 X1 E1", "M84"], "never_heated", Severity.OVERRIDE),
    ],
)
def test_64_the_end_of_a_file(lines: list[str], rule: str, severity: Severity) -> None:
    assert [(f.rule, f.severity) for f in found(lines)] == [(rule, severity)]


DRAWS = ["G1 X20 Y20 E2", "G1 X30 Y20 E4"]


@pytest.mark.parametrize(
    ("lines", "refused"),
    [
        (["M104 S30", *DRAWS], 6),
        (["M104 S210", "M104 S149", *DRAWS], 7),
        (["M568 P0 S30 R0", "T0", "G10 P0 S40", *DRAWS], 8),
        (["M83", "M104 S30", *DRAWS], 6),
        (["M83", "M104 S30", "G1 E-2", "G1 E2", "G1 X20 E1"], 8),
        # What is left of the heat ends code as slicers write it, but no print.
        (["M104 S210", "M104 S0", "G91", "G1 X1 E5", "G1 E-9 Z1", "G90"], None),
        (["M104 S210", "M104 S0", "M83", *["G1 X20 E3", "G1 X10 E3"] * 5], 13),
        (["M104 S210", "M104 S0", "M82", "G1 X1 E100", "G1 X2 E99", "G1 X3 E110", "G1 X4 E130"], 10),
        # Pulled back for a wipe, and primed at last.
        (["M104 S100", "G92 E0", "G1 X20 E-2 F2400", "G1 E0", "M109 S210", *DRAWS], None),
        # Another tool is not this one; a macro may heat; nobody knows what a tool change does.
        (["M104 S210", "M104 T1 S0", *DRAWS], None),
        (["M104 S0", "PRINT_START EXTRUDER=210", *DRAWS], None),
        (["M104 S210", "M104 S0", "M98 P0", "M83", *["G1 X20 E30"] * 3], None),
        (["M104 S30", "T1", *DRAWS], None),
        (["M104 S0", *DRAWS, "G1 X50 E90"], None),
        (["M104 S150", *DRAWS], None),
    ],
)
def test_58_a_nozzle_that_the_file_keeps_cold_extrudes_nothing(lines: list[str], refused: int | None) -> None:
    end = ["M104 S0", "M84"]
    told = [f for f in found([*SOUND[:1], "G1 X10 Y10 Z0.2", "M107", *lines, *end]) if f.severity is Severity.REFUSE]
    assert [(f.line, f.rule) for f in told[:1]] == ([] if refused is None else [(refused, "temperature")])


def test_all_refusals_are_told_and_a_repeated_question_once() -> None:
    lines = [*SOUND[:3], *["M600", "M500"] * 60, *SOUND[3:]]
    told = found(lines)
    assert len(told) == 61 and [f.line for f in told[:3]] == [4, 5, 7]
    assert str(told[1]) == "line 5: M500 is not allowed in a print file: it writes the printer's settings"
    assert len(found(["M500"] * 5000)) == 100


def test_files_in_any_wrapping(tmp_path: Path) -> None:
    text = "\n".join([*SOUND[:3], "M500", *SOUND[3:], ""])
    wrapped = {
        "a.gcode": text.encode(),
        "a.bgcode": bgcode([bgcode_block(1, meatpacked(text), (2,), 3)]),
        "a.3mf": zipped({"3D/3dmodel.model": "", "Metadata/plate_1.gcode": text}),
    }
    for name, data in wrapped.items():
        path = tmp_path / name
        path.write_bytes(data)
        assert check_file(path, LIMITS).startswith("line 4: M500"), name
    path.write_bytes(wrapped["a.3mf"][:-5])
    assert "archive" in check_file(path, LIMITS)


# As PrusaSlicer has it for the CORE One, and Bambu Studio for the A1 mini: what no farm may refuse.
CORE_ONE = """M17 ; enable steppers
M862.1 P0.4 ; nozzle check
M862.3 P "COREONE" ; printer model check
M862.5 P2 ; g-code level check
M862.6 P"Input shaper" ; FW feature check
M115 U6.4.0+11974
M555 X100 Y80 W50 H50
G90 ; use absolute coordinates
M83 ; extruder relative mode
M140 S60 ; set bed temp
M109 R170 ; preheat nozzle to no-ooze temp for bed leveling
M84 E ; turn off E motor
G28 ; home all without mesh bed level
M104 S100 ; set idle temp
M190 R60 ; wait for bed temp
G0 Z40 F10000
M107
G29 G ; absorb heat
M109 R170 ; wait for MBL temp
M302 S155 ; lower cold extrusion limit to 155 C
G1 E-2 F2400 ; retraction
G29 P9 X208 Y-2.5 W32 H4
G29 P1 ; invalidate mbl and probe print area
G29 P3.2 ; interpolate mbl probes
G29 A ; activate mbl
G0 X249 Y-2.5 Z15 F4800 ; move away and ready for the purge
M109 S230
G92 E0
M569 S0 E ; set spreadcycle mode for extruder
M591 S0 ; disable stuck filament detection
G1 E2 F2400
G0 E5 X235 Z0.2 F500 ; purge
M104 S0
"""
A1_MINI = """M73 P0 R9
M201 X20000 Y20000 Z1500 E5000
M1002 gcode_claim_action : 2
M1002 set_filament_type:TPU
M104 S170
M140 S30
G392 S0 ;turn off clog detect
M9833.2
M400 S1
M1006 A0 B0 L100 C37 D10 M100 E37 F10 N100
M1006 W
G91
G380 S2 Z30 F1200
G1 Z5 F1200
G90
M630 S0 P0
M17 X0.7 Y0.9 Z0.5 ; reset motor current to default
M960 S5 P1 ; turn on logo lamp
M83
M73.2   R1.0 ;Reset left time magnitude
M982.2 S1 ; turn on cog noise reduction
M109 S100 H170
G28 X
M211 X0 Y0 Z0 ;turn off soft endstop
M975 S1 ; turn on
G1 X-13.5 F3000
M620 M ;enable remap
M620 S0A   ; switch material if AMS exist
T0
M620.1 E F79.8237 T200
G1 E50 F200
M621 S0A
G28 Z P0 T300; home z with low precision,permit 300deg temperature
G29.2 S0 ; turn off ABL
M622 S1
G39.4
M623
M970.3 Q1 A7 K0 O2
M974 Q1 S2 P0
M211 S; push soft endstop status
G29 A1 X20.8833 Y125.545 I45.3949 J50.1758
M500 ; save cali data
T1000
M412 S1 ;    ===turn on  filament runout detection===
M620.3 W1; === turn on filament tangle detection===
M900 K0.0 L1000.0 M1.0
M983 F1.33333 A0.3 H0.4; cali dynamic extrusion compensation
M984 A0.1 E1 S1 F1.33333 H0.4
G29.1 Z-0.02 ; for Textured PEI Plate
M1007 S1
M981 S1 P20000 ;open spaghetti detector
M991 S0 P0 ;notify layer change
M624 BAAAAAAAAAA=
G1 X63.133 Y172.971 F42000
G3 Z.6 I1.217 J0 P1  F42000
M625
M971 S11 C11 O0
T255
M104 S0 ; turn off hotend
M201.2 K1.0 ; Reset acc magnitude
"""


@pytest.mark.parametrize(("code", "dialect"), [(CORE_ONE, Dialect.PRUSA), (A1_MINI, Dialect.BAMBU)])
def test_makers_own_start_code_has_nothing_to_refuse_or_to_ask(code: str, dialect: Dialect) -> None:
    assert found(code.splitlines(), dialect) == []


WRITTEN_FOR = {
    "orcaslicer": Dialect.KLIPPER,
    "bambu_studio": Dialect.BAMBU,
    "superslicer": Dialect.PRUSA,
    "cura": Dialect.MARLIN,
}


@pytest.mark.parametrize(("name", "dialect"), WRITTEN_FOR.items())
def test_what_slicers_write_for_a_firmware_has_nothing_to_refuse(name: str, dialect: Dialect) -> None:
    wide = Limits(hotend_celsius=300, bed_celsius=120, volume_mm=(350, 350, 350))
    assert check_gcode(lines_of(pieces_of(SAMPLES / f"{name}.gcode")), wide, dialect) == ()


def test_an_unfilled_template_is_refused_with_its_line() -> None:
    """CuraEngine leaves them in when it is run without Cura."""
    told = check_gcode(lines_of(pieces_of(SAMPLES / "cura_engine.gcode")), LIMITS, Dialect.MARLIN)
    assert [f.rule for f in told if f.severity is Severity.REFUSE] == ["program"]


def endless(count: int) -> Iterator[bytes]:
    for number in range(count):
        yield b"G1 X%d Y10 E1\n; comment\nM117 layer\nG2 X20 Y10 I5 J5\n" % (number % 200) * 100


def test_memory_stays_the_same_however_long_the_file_is() -> None:
    def peak(count: int) -> int:
        tracemalloc.start()
        check_gcode(lines_of(endless(count)), LIMITS, Dialect.MARLIN)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(2)
    assert peak(60) < 1.5 * peak(6) + 100_000


@settings(deadline=None, max_examples=200)
@given(st.lists(st.binary(max_size=200), max_size=20))
def test_lines_are_the_same_whatever_pieces_they_come_in(pieces: list[bytes]) -> None:
    whole = b"".join(pieces)
    expected = whole.split(b"\n")
    assert list(lines_of(pieces)) == (expected if expected[-1] else expected[:-1])


@settings(deadline=None, max_examples=300)
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=60), st.text('GMTNXYZEFIJRSP0123456789.-+*;()"{} \t', max_size=40).map(str.encode)
        ),
        max_size=12,
    ),
    st.sampled_from(Dialect),
)
def test_any_lines_get_an_answer(lines: list[bytes], dialect: Dialect) -> None:
    for finding in check_gcode(lines, LIMITS, dialect):
        assert 0 <= finding.line <= len(lines) and finding.text
