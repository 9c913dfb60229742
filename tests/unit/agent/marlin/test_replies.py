"""What firmware says, as its sources print it, whole and damaged."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from printfarm_agent.driver import Heater
from printfarm_agent.drivers.marlin.replies import (
    Action,
    Busy,
    Capability,
    Fault,
    Firmware,
    Ok,
    Percent,
    Position,
    Reading,
    Reply,
    Resend,
    SdDone,
    SdIdle,
    SdPrinting,
    Severity,
    Start,
    Temperatures,
    Text,
    Wait,
    merged,
    read,
)

HOTEND = Reading("hotend", 210.0, 210.0)
BED = Reading("bed", 60.0, 60.0)

# On a busy machine the first examples may come late.
_patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"ok", (Ok(),)),
        (b"ok\r", (Ok(),)),
        (b"ok 5", (Ok(number=5),)),
        (b"okok", (Ok(), Ok())),
        (b"ok N5 P15 B3", (Ok(15, 3, 5),)),
        (b"ok T:210.0 /210.0 B:60.0 /60.0 @:127 B@:40", (Ok(to_m105=True), Temperatures((HOTEND, BED)))),
        (b"T:210.00 /210.00 B:60.00 /60.00 @:0 B@:0 ok", (Temperatures((HOTEND, BED)), Ok(to_m105=True))),
        (b" T:210.0 /210.0 B:60.0 /60.0 @:127 W:?", (Temperatures((HOTEND, BED)),)),
        (b"okay then", (Text("okay then"),)),
        (b"start", (Start(),)),
        (b"\xfe\x00\x9cstart", (Start(),)),
        (b"restart", (Text("restart"),)),
        (b"echo:start", (Text("echo:start"),)),
        (b"Resend: 13", (Resend(13),)),
        (b"Resend:13", (Resend(13),)),
        (b"resend 13", (Resend(13),)),
        (b"rs 13", (Resend(13),)),
        (b"rs N13 Expected checksum 67", (Resend(13),)),
        (b"Resend: -1", (Resend(-1),)),
        (b"echo:busy: processing", (Busy(),)),
        (b"busy:processing", (Busy(),)),
        (b"echo:busy: paused for user", (Busy(waits_for_person=True),)),
        (b"echo:busy: paused for input", (Busy(waits_for_person=True),)),
        (b"wait", (Wait(),)),
        (b"//action:pause", (Action("pause"),)),
        (b"// action:out_of_filament T0", (Action("out_of_filament", "T0"),)),
        (b"Cap:EMERGENCY_PARSER:1", (Capability("EMERGENCY_PARSER", is_on=True),)),
        (b"Cap:AUTOREPORT_TEMP:0", (Capability("AUTOREPORT_TEMP", is_on=False),)),
        (b"SD printing byte 12/3456", (SdPrinting(12, 3456),)),
        (b"Not SD printing", (SdIdle(),)),
        (b"Done printing file", (SdDone(),)),
        (b"NORMAL MODE: Percent done: 25; print time remaining in mins: 120", (Percent(25.0, 120.0),)),
        (b"X:1.00 Y:2.50 Z:-0.10 E:4.00 Count X:80 Y:200 Z:-40", (Position(1.0, 2.5, -0.1),)),
        (b'echo:Unknown command: "X"', (Text('echo:Unknown command: "X"'),)),
        (b"", ()),
        (b"\x00\x00", ()),
    ],
)
def test_a_line(line: bytes, expected: tuple[Reply, ...]) -> None:
    assert read(line) == expected


@pytest.mark.parametrize(
    ("line", "severity", "is_thermal"),
    [
        (b"Error:checksum mismatch, Last Line: 12", Severity.LINE, False),
        (b"Error:Line Number is not Last Line Number+1, Last Line: 12", Severity.LINE, False),
        (b"Error:No Checksum with line number, Last Line: 12", Severity.LINE, False),
        (b"Error:expected line 13 got 14", Severity.LINE, False),
        # Damaged on its way: a real print was cancelled for it.
        (b"Error:c:ecksum mismatch, Last Line: 12", Severity.LINE, False),
        (b"Error:volume.init failed", Severity.HARMLESS, False),
        (b"Error: cold extrusion prevented", Severity.HARMLESS, False),
        (b"Error:Printer halted. kill() called!", Severity.FATAL, False),
        (b"Error:Heating failed, system stopped! Heater_ID: bed", Severity.FATAL, True),
        (b"Error:Thermal Runaway, system stopped! Heater_ID: 0", Severity.FATAL, True),
        (b"Error:MINTEMP triggered, system stopped! Heater_ID: 0", Severity.FATAL, True),
        (b"THERMAL RUNAWAY ( PREHEAT HOTEND)", Severity.FATAL, True),
        (b": Extruder switched off. MAXTEMP triggered !", Severity.FATAL, True),
        (b"Error:Printer stopped due to errors. Fix the error and use M999 to restart.", Severity.FATAL, False),
        (b"Error:Probing Failed", Severity.FATAL, False),
        (b"fatal:Level two sensors", Severity.OPEN, False),
        (b"!! Something new", Severity.OPEN, False),
        (b"Error:0", Severity.OPEN, False),
    ],
)
def test_an_error(line: bytes, severity: Severity, is_thermal: bool) -> None:
    (found,) = read(line)
    assert isinstance(found, Fault)
    assert (found.severity, found.is_thermal) == (severity, is_thermal)


def test_m115_values_hold_spaces() -> None:
    (found,) = read(
        b"FIRMWARE_NAME:Marlin 2.1.3 (Nov 25 2026 10:00) SOURCE_CODE_URL:github.com/x PROTOCOL_VERSION:1.0 "
        b"MACHINE_TYPE:Ender-3 Pro EXTRUDER_COUNT:2 UUID:cede2a2f-41a2-4748-9b12-c55c62f367ff"
    )
    assert isinstance(found, Firmware)
    assert found.fields["FIRMWARE_NAME"] == "Marlin 2.1.3 (Nov 25 2026 10:00)"
    assert (found.fields["MACHINE_TYPE"], found.fields["EXTRUDER_COUNT"]) == ("Ender-3 Pro", "2")
    (duet,) = read(b"FIRMWARE_NAME: RepRapFirmware for Duet 3 FIRMWARE_VERSION: 3.4.5")
    assert isinstance(duet, Firmware)
    assert duet.fields["FIRMWARE_NAME"] == "RepRapFirmware for Duet 3"


@pytest.mark.parametrize("said", [b"T:nan /0.0", b"T:-15.0 /0.0", b"T:9999.0 /0.0", b"T:1e99 /0.0 "])
def test_a_sensor_that_says_nonsense_says_nothing(said: bytes) -> None:
    known = {"hotend": Heater("hotend", 20.0, 0.0)}
    for reply in read(said):
        if isinstance(reply, Temperatures):
            known = merged(known, reply.readings)
    assert "hotend" not in known or known["hotend"].current in (1.0, 20.0)


def test_a_target_that_is_left_out_is_the_last_one() -> None:
    known = merged({}, (Reading("hotend", 20.0, 210.0),))
    assert merged(known, (Reading("hotend", 50.0, None),))["hotend"] == Heater("hotend", 50.0, 210.0)


def test_several_nozzles() -> None:
    (found,) = read(b"T:20.0 /0.0 B:21.0 /0.0 T0:20.0 /0.0 T1:22.0 /180.0 @:0")
    assert isinstance(found, Temperatures)
    assert {r.name: r.target for r in found.readings} == {"hotend": 0.0, "hotend1": 180.0, "bed": 0.0}


def test_repetier_tells_targets_apart() -> None:
    known = merged({}, (Reading("hotend", 20.0, None), Reading("bed", 20.0, None)))
    (found,) = read(b"TargetExtr0:210.00 TargetBed:60")
    assert isinstance(found, Temperatures)
    after = merged(known, found.readings)
    assert (after["hotend"].target, after["bed"].target) == (210.0, 60.0)


@_patient
@given(st.binary(max_size=300))
def test_any_bytes_have_an_answer(line: bytes) -> None:
    for reply in read(line):
        if isinstance(reply, Text | Fault):
            assert len(reply.text) <= 256
            assert reply.text.isprintable()


@_patient
@given(st.text(alphabet="okT:BRrstesnd /0123456789.-NPE!;*", max_size=80))
def test_any_text_of_its_letters_has_an_answer(text: str) -> None:
    read(text.encode())
