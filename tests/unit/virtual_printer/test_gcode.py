"""The interpreter: times, modes, and patience with what it does not know."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from printfarm_virtual_printer.gcode import Interpreter
from printfarm_virtual_printer.thermal import Heater


def seconds(*lines: str) -> float:
    interpreter = Interpreter()
    return sum(interpreter.read(line).seconds for line in lines)


def test_a_long_move_takes_its_distance_over_its_speed() -> None:
    assert seconds("G1 X200 F6000") == pytest.approx(2.0, rel=0.1)
    assert seconds("G1 X200 F6000", "G1 X200") == pytest.approx(2.0, rel=0.1), "no way, no time"


def test_modes() -> None:
    interpreter = Interpreter()
    for line in ("G91", "G1 X10", "G1 X10", "G90", "G92 Y5", "G20", "G1 Z1"):
        interpreter.read(line)
    assert (interpreter.position["X"], interpreter.position["Y"]) == (20.0, 5.0)
    assert interpreter.position["Z"] == pytest.approx(25.4)


def test_a_full_circle_and_a_dwell() -> None:
    assert seconds("G0 X10 Y0 F600", "G2 X10 Y0 I-5 J0 F600") == pytest.approx(1.0 + 3.14, rel=0.1)
    assert seconds("G4 S2") == 2.0 and seconds("G4 P500") == 0.5


def test_heaters_wait_only_where_they_are_told() -> None:
    interpreter = Interpreter()
    assert interpreter.read("M104 S200").wait_for == ""
    assert interpreter.read("m109 s 2 0 0 ; hot").heater == "hotend"
    assert interpreter.read("M190 S60").wait_for == "bed"


@given(st.text(max_size=200))
def test_any_line_is_survived(line: str) -> None:
    step = Interpreter().read(line)
    assert step.seconds >= 0


def test_a_heater_gets_there_and_says_when() -> None:
    heater = Heater(time_constant=30.0)
    heater.set_target(200.0, 0.0)
    assert heater.reading(heater.seconds_to_reach(0.0)) == pytest.approx(198.0, abs=0.1)
    heater.begin_drift(60.0, 200.0)
    assert heater.reading(260.0) == pytest.approx(260.0, abs=1.0)
