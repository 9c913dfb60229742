"""The printer's options: what is wrong is named, with the mend."""

from pathlib import Path

import pytest

from printfarm_agent.driver import PrinterConfig
from printfarm_agent.drivers.marlin.config import BAUDS, from_json
from printfarm_agent.drivers.marlin.driver import identity
from printfarm_agent.drivers.marlin.facts import Facts
from printfarm_agent.drivers.marlin.options import options_of
from printfarm_agent.drivers.marlin.replies import read
from printfarm_agent.limits import HeatRules, Limits

PORT = "/dev/serial/by-id/usb-1a86_USB_Serial-if00-port0"


def config(**options: str | float) -> PrinterConfig:
    limits = Limits(hotend_celsius=260.0, volume_mm=(220.0, 220.0, 250.0))
    return PrinterConfig("ender-1", {"port": PORT, **options}, Path("/state/ender-1"), limits, HeatRules(30.0, 10.0))


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"port": ""}, "port"),
        ({"port": "ttyUSB0"}, "port"),
        ({"port": 5}, "port"),
        ({"baud": 0}, "baud"),
        ({"baud": "fast"}, "baud"),
        ({"baud": 115200.5}, "baud"),
        ({"dialect": "klipper"}, "dialect"),
        ({"folder": "here"}, "folder"),
        ({"quiet_seconds": -1}, "quiet_seconds"),
        ({"timeout_seconds": "soon"}, "timeout_seconds"),
        ({"unclaimed_seconds": 0}, "unclaimed_seconds"),
        ({"firmware_watchdog_seconds": -5}, "firmware_watchdog_seconds"),
        ({"prot": "/dev/ttyUSB0"}, "prot"),
    ],
)
def test_what_is_wrong_is_named(options: dict[str, str | float], key: str) -> None:
    with pytest.raises(ValueError, match=f"ender-1.*{key}"):
        options_of(config(**options))


def test_a_printer_without_a_folder_is_not_opened_in_the_working_directory() -> None:
    with pytest.raises(ValueError, match="folder"):
        options_of(PrinterConfig("p", {"port": PORT}))


def test_what_the_host_process_is_told_arrives() -> None:
    host = options_of(config(baud="auto", dialect="repetier", pause_hotend_seconds=60)).host
    assert from_json(host.to_json()) == host
    assert host.bauds == BAUDS
    rules = host.rules()
    assert rules.dialect is not None and rules.dialect.name == "repetier"
    assert (rules.limits.hotend_celsius, rules.heat.deviation_seconds) == (260.0, 10.0)
    assert (rules.manners.height_mm, rules.manners.pause_hotend_seconds) == (250.0, 60.0)
    assert options_of(config()).host.digest != host.digest


@pytest.mark.parametrize("text", ["{}", "[]", '{"port": "/dev/x", "limits": {"no": 1}}'])
def test_settings_of_another_version_are_refused(text: str) -> None:
    with pytest.raises((ValueError, TypeError)):
        from_json(text)


def test_marlins_built_in_uuid_is_no_identity() -> None:
    options = options_of(config())
    fields = {
        "MACHINE_TYPE": "Ender-3",
        "FIRMWARE_NAME": "Marlin 2.1.2",
        "UUID": "cede2a2f-41a2-4748-9b12-c55c62f367ff",
    }
    machine = identity(fields, options)
    assert (machine.model, machine.serial_number, machine.volume_mm) == ("Ender-3", "", (220.0, 220.0, 250.0))
    assert identity({"UUID": "11111111-2222-3333-4444-555555555555"}, options).serial_number.startswith("1111")
    assert identity({"UUID": "<script>"}, options).serial_number == ""


def test_the_build_volume_is_read_where_the_firmware_tells_it_and_the_toml_does_not() -> None:
    line = "area:{full:{min:{x:-5.0000,y:-3.0000,z:0.0000},max:{x:225.0000,y:223.0000,z:250.0000}}%s}"
    bed = ",work:{min:{x:0.0000,y:0.0000,z:0.0000},max:{x:220.0000,y:220.0000,z:250.0000}}"
    unknown = options_of(PrinterConfig("ender-1", {"port": PORT}, Path("/state/ender-1")))
    for extra, sides in ((bed, (220.0, 220.0, 250.0)), ("", (225.0, 223.0, 250.0))):
        facts = Facts()
        for text in ("FIRMWARE_NAME:Marlin 2.1.2 MACHINE_TYPE:Ender-3", line % extra):
            for reply in read(text.encode()):
                facts.take(reply, 0.0, is_idle=True)
        assert identity(facts.fields, unknown).volume_mm == sides
        assert identity(facts.fields, options_of(config())).volume_mm == (220.0, 220.0, 250.0)
    for hostile in ("", "1 2", "nan 1 1", "0 200 200", "99999 200 200"):
        assert identity({"AREA": hostile}, unknown).volume_mm is None
