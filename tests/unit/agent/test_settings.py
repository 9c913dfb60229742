"""Wrong settings name the key and the mend."""

from typing import Any

import pytest

from printfarm_agent.settings import WrongSettings, parse

GOOD: dict[str, Any] = {
    "agent": {"coordinator": "farm:4101", "state_dir": "/var/lib/x"},
    "printer": [
        {"id": "p1", "driver": "virtual", "options": {"address": "127.0.0.1:1"}, "limits": {"bed_celsius": 90}}
    ],
}


def changed(path: str, value: Any) -> dict[str, Any]:
    import copy

    made = copy.deepcopy(GOOD)
    *way, last = path.split(".")
    at: Any = made
    for step in way:
        at = at[int(step)] if step.isdecimal() else at[step]
    at[last] = value
    return made


def test_a_good_file() -> None:
    settings = parse(GOOD)
    assert settings.printers[0].limits.bed_celsius == 90


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        ("agent.coordinator", "farm", "agent.coordinator"),
        ("agent.colour", "red", "agent.colour"),
        ("agent.observe_seconds", "often", "agent.observe_seconds"),
        ("agent.observe_seconds", 0, "agent.observe_seconds"),
        ("agent.idle_heat_seconds", 601, "agent.idle_heat_seconds"),
        ("printer.0.id", "P 1", "printer[0].id"),
        ("printer.0.driver", "", "printer[0].driver"),
        ("printer.0.initial_bed", "maybe", "printer[0].initial_bed"),
        ("printer.0.volume_mm", [1, 2], "printer[0].volume_mm"),
        ("printer.0.limits", {"bed_celsius": -1}, "printer[0].limits.bed_celsius"),
        ("printer.0.limits", {"hot": 1}, "printer[0].limits.hot"),
        ("printer.0.limits", {"bed_celsius": [1, 2, 3]}, "printer[0].limits.bed_celsius"),
        ("printer.0.limits", {"hotend_celsius": float("nan")}, "printer[0].limits.hotend_celsius"),
        ("printer.0.limits", {"volume_mm": 200}, "printer[0].limits.volume_mm"),
        ("printer.0.limits", {"origin_mm": [0, 0]}, "printer[0].limits.origin_mm"),
        ("printer.0.limits", {"origin_mm": [0, "0", 0]}, "printer[0].limits.origin_mm"),
        ("printer.0.wheels", 4, "printer[0].wheels"),
        ("farm", {}, "farm"),
    ],
)
def test_a_wrong_setting_is_named(path: str, value: Any, named: str) -> None:
    with pytest.raises(WrongSettings, match=named.replace("[", r"\[").replace("]", r"\]")):
        parse(changed(path, value))


def test_the_volume_of_a_delta() -> None:
    limits = {"volume_mm": [200, 200, 300], "origin_mm": [-100, -100.0, 0]}
    found = parse(changed("printer.0.limits", limits)).printers[0].limits
    assert (found.volume_mm, found.origin_mm) == ((200, 200, 300), (-100, -100.0, 0))


def test_two_printers_of_one_id() -> None:
    with pytest.raises(WrongSettings, match=r"printer\.id"):
        parse({**GOOD, "printer": GOOD["printer"] * 2})
