"""A heater that leaves its target is noticed; one that is on its way is left alone."""

from printfarm_agent.driver import Heater
from printfarm_agent.heat import HeatRules, HeatWatch


def test_heating_up_is_no_fault_and_leaving_the_target_is() -> None:
    watch = HeatWatch(HeatRules(deviation_celsius=20, deviation_seconds=10))
    assert not any(watch.look((Heater("hotend", 20 + n, 200.0),), n * 1.0) for n in range(180))
    assert watch.look((Heater("hotend", 199.0, 200.0),), 200.0) == ""
    assert watch.look((Heater("hotend", 230.0, 200.0),), 201.0) == ""
    assert "hotend" in watch.look((Heater("hotend", 231.0, 200.0),), 212.0)


def test_a_new_target_begins_anew() -> None:
    watch = HeatWatch(HeatRules(20, 10))
    watch.look((Heater("bed", 60.0, 60.0),), 0.0)
    assert watch.look((Heater("bed", 60.0, 100.0),), 100.0) == ""
    assert watch.look((Heater("bed", 62.0, 100.0),), 200.0) == ""


def test_a_heater_beyond_all_that_it_was_asked_for_is_a_fault_though_it_never_settled() -> None:
    watch = HeatWatch(HeatRules(20, 10))
    found = [watch.look((Heater("hotend", 20.0 + 20 * n, 200.0),), float(n)) for n in range(30)]
    # Above 220 from the 11th look on, and ten seconds later stopped.
    assert next(n for n, why in enumerate(found) if why) == 21


def test_a_heater_that_is_off_and_heats_is_a_fault() -> None:
    watch = HeatWatch(HeatRules(20, 10))
    found = [watch.look((Heater("hotend", 20.0 + 5 * n, 0.0),), float(n)) for n in range(60)]
    assert "should be off" in next(why for why in found if why)


def test_cooling_down_and_being_warmed_by_others_is_none() -> None:
    watch = HeatWatch(HeatRules(20, 10))
    for n in range(60):
        assert watch.look((Heater("hotend", 250.0, 250.0),), float(n)) == ""
    for n in range(200):
        assert watch.look((Heater("hotend", 250.0 - n, 0.0), Heater("chamber", 20.0 + n / 4, 0.0)), 60.0 + n) == ""
    for n in range(300):
        assert watch.look((Heater("bed", max(60.0, 110.0 - n), 60.0),), 300.0 + n) == ""
