"""The whole machine against a board, in virtual time: every dialect, every fault, bytes whole and one at a time."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from printfarm_agent.driver import Ending, ObservedState
from printfarm_agent.drivers.marlin.course import Manners
from printfarm_agent.drivers.marlin.machine import NotNow, Rules
from printfarm_agent.drivers.marlin.memory import LastPrint, Memory, from_json
from printfarm_agent.limits import HeatRules, Limits
from tests.support.marlin_board import Board, Firmware
from tests.support.marlin_world import World

MOVES = [b"G1 X%d Y%d E%d F6000" % (10 + (i % 2) * 100, 10 + i, i + 1) for i in range(120)]
GCODE = b"\n".join([b"G28", b"M104 S200", b"M109 S200", b"G92 E0", *MOVES, b"M104 S0", b""])
JOB = [line for line in GCODE.decode().splitlines() if line]
DIALECTS = {
    "marlin": Firmware(time_scale=10.0),
    "marlin without ok after resend": Firmware(time_scale=10.0, ok_after_resend=False),
    "marlin with advanced ok": Firmware(time_scale=10.0, advanced_ok=True),
    "old marlin": Firmware(time_scale=10.0, busy=False, auto_report=False, emergency_parser=False, has_card=False),
    "prusa": Firmware("prusa", time_scale=10.0, emergency_parser=False),
    "repetier": Firmware("repetier", time_scale=10.0, busy=False, auto_report=False),
}
RRF = Firmware("reprapfirmware", time_scale=10.0, auto_report=False, busy=False)


def is_over(world: World) -> Callable[[], object]:
    return lambda: world.status.ending is not None


def done(world: World) -> None:
    """It printed, whole and in order, and says so."""
    world.until(is_over(world))
    status = world.status
    assert (status.ending, status.end_of_file, status.progress) == (Ending.COMPLETE, True, 1.0), status
    assert world.job_commands() == JOB
    assert not world.board._ends, "FINISHED comes after the last move, not after its ok"


@pytest.mark.parametrize("chunk", [0, 1])
@pytest.mark.parametrize("name", [*DIALECTS, "rrf"])
def test_a_print_in_every_dialect(name: str, chunk: int) -> None:
    world = World(RRF if name == "rrf" else DIALECTS[name], chunk=chunk)
    world.print(GCODE)
    world.until(lambda: world.status.state is ObservedState.PRINTING)
    assert world.status.file_name == "pf-1.gcode"
    done(world)
    assert world.status.state is ObservedState.IDLE
    assert not [entry for entry in world.board.log if entry["event"] == "overflow"]


@pytest.mark.parametrize("chunk", [0, 1])
@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.parametrize("fault", ["damage_lines", "lose_lines", "lose_oks", "double_oks"])
def test_one_fault_of_the_line_changes_nothing(name: str, fault: str, chunk: int) -> None:
    """A damaged line, a lost line, a lost ok, a doubled ok: the board still carries out each command once, in order."""
    world = World(DIALECTS[name], chunk=chunk)
    world.print(GCODE)
    world.until(lambda: len(world.job_commands()) > 30)
    setattr(world.board.faults, fault, 1)
    done(world)


@pytest.mark.parametrize("name", DIALECTS)
def test_a_noisy_line_still_prints_right(name: str) -> None:
    world = World(DIALECTS[name])
    world.print(GCODE)
    world.until(lambda: len(world.job_commands()) > 10)
    world.board.faults.damage_every = 23
    done(world)
    assert world.status.link["resends"] >= 4
    assert "noisy" in world.status.message


@pytest.mark.parametrize("name", [*DIALECTS, "rrf"])
def test_the_last_ok_lost(name: str) -> None:
    """M400's own: it is asked again, never taken for granted."""
    world = World(RRF if name == "rrf" else DIALECTS[name])
    world.print(GCODE)
    world.until(lambda: world.status.state is ObservedState.FINISHING)
    world.board.faults.lose_oks = 1
    done(world)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(sorted(DIALECTS)),
    st.integers(0, 3),
    st.lists(st.tuples(st.integers(1, 100), st.sampled_from(["damage_lines", "lose_lines", "lose_oks"])), max_size=5),
)
def test_any_few_faults_anywhere_change_nothing(name: str, chunk: int, faults: list[tuple[int, str]]) -> None:
    world = World(DIALECTS[name], chunk=chunk)
    world.print(GCODE)
    for after, fault in sorted(faults):
        world.until(lambda after=after: len(world.job_commands()) >= after or world.status.ending)
        setattr(world.board.faults, fault, 1)
    world.until(is_over(world))
    status = world.status
    if status.ending is Ending.COMPLETE:
        assert world.job_commands() == JOB
    else:
        # Too many faults on a short line are a reason to stop, never to print something else.
        assert status.code in ("link_storm", "link_silent", "resend_unknown")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.binary(max_size=60), max_size=20))
def test_noise_moves_nothing(pieces: list[bytes]) -> None:
    """Whatever an idle printer says, the machine sends nothing that moves or heats."""
    world = World()
    before = len(world.board.commands())
    for piece in pieces:
        world.machine.receive(piece, world.now)
        world.wait(0.5)
    sent = world.board.commands()[before:]
    harmless = ("M105", "M27", "M110", "M115", "M113", "M155", "M104 S0", "M140 S0")
    assert all(command.startswith(harmless) for command in sent), sent


# -- what the printer does to a print


def printed(world: World) -> int:
    """How many of the job's moves the board has carried out."""
    return sum(command in JOB[4:-1] for command in world.board.commands())


def fail(code: str, act: Callable[[World], None], after: int = 20) -> World:
    world = World()
    world.print(GCODE)
    world.until(lambda: world.status.state is ObservedState.PRINTING and len(world.job_commands()) > after)
    act(world)
    world.until(is_over(world))
    status = world.status
    assert (status.ending, status.code) == (Ending.FAILED, code), status
    before = printed(world)
    world.wait(60.0)
    assert printed(world) == before, "nothing of it after its end"
    return world


def test_a_banner_in_the_middle_of_a_print() -> None:
    world = fail("printer_reset", lambda w: w.board.reset(w.now))
    assert world.status.boot_count == 1
    assert world.status.state is ObservedState.IDLE
    assert world.status.file_name == "pf-1.gcode"


@pytest.mark.parametrize(
    ("texts", "is_thermal"),
    [
        (("Error:Thermal Runaway, system stopped! Heater_ID: 0", "Error:Printer halted. kill() called!"), True),
        (("Error:0", ": Extruder switched off. MAXTEMP triggered !"), True),
        (("Error:Printer halted. kill() called!",), False),
        (("Error:Something nobody has read of",), False),
    ],
)
def test_a_fatal_error_halts_until_a_reset(texts: tuple[str, ...], is_thermal: bool) -> None:
    world = fail("thermal" if is_thermal else "printer_error", lambda w: w.board.kill(*texts))
    status = world.status
    assert status.halted and status.state is ObservedState.ERROR
    assert ("thermal" in status.message.lower()) is is_thermal
    with pytest.raises(NotNow):
        world.print(GCODE)
    world.board.reset(world.now)
    world.until(lambda: world.status.state is ObservedState.IDLE)
    assert not world.status.halted


def test_a_firmware_that_stopped_and_still_says_ok_prints_nothing_on() -> None:
    def stop(world: World) -> None:
        world.board.is_stopped = True

    world = fail("printer_error", stop)
    world.wait(120.0)
    assert world.status.halted, "its ok is no proof that it works"
    world.board.reset(world.now)
    world.until(lambda: not world.status.halted)


def test_a_board_that_restarts_by_itself_keeps_its_reason() -> None:
    def kill_and_restart(world: World) -> None:
        world.board.kill("Error:MAXTEMP triggered, system stopped! Heater_ID: 0")
        said = world.board.take(world.now)
        world.machine.receive(said, world.now)
        world.board.reset(world.now)

    world = World()
    world.print(GCODE)
    world.until(lambda: len(world.job_commands()) > 20)
    kill_and_restart(world)
    # Nobody looks while it boots and says hello.
    world.until(lambda: world.machine.is_known)
    first, second = world.status, world.status
    for status in (first, second):
        assert (status.state, status.halted, status.code) == (ObservedState.ERROR, True, "thermal")
        assert "MAXTEMP" in status.message
    world.turn()
    world.until(lambda: world.machine.halt is None)
    assert (world.status.state, world.status.code) == (ObservedState.IDLE, "thermal")


@pytest.mark.parametrize("lines", [25, 90])
@pytest.mark.parametrize("name", DIALECTS)
def test_a_restart_without_a_banner_ends_a_print(name: str, lines: int) -> None:
    """Some boards print none. Their counter begins anew, and what they ask for again must not be printed a second time."""
    world = World(replace(DIALECTS[name], says_start=False))
    world.print(GCODE)
    world.until(lambda: len(world.job_commands()) > lines)
    before = len(world.board.commands())
    world.board.reset(world.now)
    world.until(is_over(world))
    assert (world.status.ending, world.status.code) == (Ending.FAILED, "printer_reset"), world.status
    assert not [command for command in world.board.commands()[before:] if command.startswith("G1")]


def test_text_in_a_file_does_not_speak_for_the_firmware() -> None:
    """Neither a line counter set from a display text, nor an echo that reads as an answer."""
    texts = [b"M117 use M110 Nozzle", b"M118 ok", b"M118 Resend: 1", b"M118 start"]
    world = World()
    world.print(b"\n".join([*MOVES[:40], *texts, *MOVES[40:80], b""]))
    world.until(is_over(world))
    assert (world.status.ending, world.status.end_of_file) == (Ending.COMPLETE, True), world.status
    assert [command for command in world.job_commands() if command.startswith("G1")] == [
        move.decode() for move in MOVES[:80]
    ]
    assert not [entry for entry in world.board.log if entry["event"] == "resend"]


def test_silence_ends_a_print_and_does_not_hang() -> None:
    def mute(world: World) -> None:
        world.board.faults.is_mute = True

    world = fail("link_silent", mute)
    assert world.status.state is ObservedState.OFFLINE
    world.board.faults.is_mute = False
    world.until(lambda: world.status.state is ObservedState.IDLE)


def test_a_line_that_stays_damaged_ends_the_print() -> None:
    def damage(world: World) -> None:
        world.board.faults.damage_lines = 1000

    fail("link_storm", damage)


@pytest.mark.parametrize("said", [b"Resend: -1\nok\n", b"Resend: 2\nok\n"])
def test_a_resend_of_what_is_not_known_is_no_guess(said: bytes) -> None:
    fail("resend_unknown", lambda w: w.machine.receive(said, w.now), after=90)


def test_a_resend_of_the_future_is_ignored_until_it_is_a_storm() -> None:
    world = World()
    world.print(GCODE)
    world.until(lambda: len(world.job_commands()) > 20)
    world.machine.receive(b"Resend: 99999\n", world.now)
    done(world)
    fail("link_storm", lambda w: w.machine.receive(b"Resend: 99999\n" * 12, w.now))


def test_an_ok_storm_is_no_progress() -> None:
    fail("link_storm", lambda w: w.machine.receive(b"ok\n" * 200, w.now))


def test_the_port_vanishes_and_comes_back() -> None:
    world = fail("printer_lost", lambda w: w.machine.vanished("unplugged", w.now))
    assert world.status.state is ObservedState.OFFLINE
    before = len(world.board.commands())
    world.board.heaters["T"].target = 200.0
    world.machine.opened(world.now)
    world.until(lambda: world.status.state is ObservedState.IDLE)
    world.wait(30.0)
    sent = world.board.commands()[before:]
    assert not [command for command in sent if command.startswith("G")], "never taken up again"
    assert world.board.heaters["T"].target == 0.0
    assert world.status.message


# -- a person's and the farm's wishes


def test_pause_and_resume_put_everything_back() -> None:
    rules = Rules(Limits(volume_mm=(220.0, 220.0, 250.0)), manners=Manners(height_mm=250.0))
    world = World(rules=rules)
    world.print(GCODE)
    world.until(lambda: len(world.job_commands()) > 40)
    world.machine.pause(world.now)
    world.until(lambda: world.status.state is ObservedState.PAUSED)
    paused = world.board.commands()
    assert paused[-1] == "M400" and "G1 Z5.00 F600" in paused[-6:]
    world.wait(30.0)
    assert [c for c in world.board.commands()[len(paused) :] if c not in ("M105", "M27")] == []
    world.machine.resume(world.now)
    world.until(is_over(world))
    assert world.status.ending is Ending.COMPLETE
    kept = [command for command in world.job_commands() if command in set(JOB)]
    assert kept == JOB
    back = world.board.commands()[len(paused) :]
    lowered = back.index("G1 Z-5.00 F600")
    extruded = max(int(command.split(" E")[1].split()[0]) for command in paused if command in JOB[4:-1])
    assert back[lowered + 1 : lowered + 7] == [
        "M83",
        "G1 E1.00 F1800",
        "G90",
        "M82",
        f"G92 E{extruded}.00000",
        "G1 F6000.0",
    ]


def test_a_long_pause_cools_the_nozzle_and_heats_it_again() -> None:
    world = World(rules=Rules(manners=Manners(pause_hotend_seconds=60.0)))
    world.print(GCODE)
    world.until(lambda: len(world.job_commands()) > 40)
    world.machine.pause(world.now)
    world.wait(120.0)
    assert world.board.heaters["T"].target == 0.0
    world.machine.resume(world.now)
    world.until(is_over(world))
    assert "M109 S200" in world.board.commands()[-120:]
    assert world.status.ending is Ending.COMPLETE


@pytest.mark.parametrize("at", ["heating", "printing", "paused", "starting"])
@pytest.mark.parametrize("name", [*DIALECTS, "rrf"])
def test_cancel_at_each_moment_ends_cold(name: str, at: str) -> None:
    world = World(RRF if name == "rrf" else DIALECTS[name])
    world.print(GCODE)
    if at == "heating":
        world.until(lambda: world.board._doing and world.board._doing[0] == "heat")
    elif at != "starting":
        world.until(lambda: len(world.job_commands()) > 40)
    if at == "paused":
        world.machine.pause(world.now)
        world.until(lambda: world.status.state is ObservedState.PAUSED)
    world.machine.cancel(world.now)
    world.machine.cancel(world.now)
    world.until(is_over(world))
    assert world.status.ending is Ending.CANCELLED
    assert all(heater.target == 0.0 for heater in world.board.heaters.values())
    moved = [c for c in world.job_commands() if c in set(JOB[4:])]
    world.wait(30.0)
    assert [c for c in world.job_commands() if c in set(JOB[4:])] == moved
    assert world.status.state is ObservedState.IDLE


def test_heaters_that_do_not_go_off_are_no_cancelled_print() -> None:
    world = World()
    world.print(GCODE)
    world.until(lambda: len(world.job_commands()) > 40)
    world.board.faults.heaters_stay_on = True
    world.machine.cancel(world.now)
    world.until(is_over(world))
    assert (world.status.ending, world.status.code, world.status.halted) == (Ending.FAILED, "heaters_on", True)


@pytest.mark.parametrize("has_parser", [True, False])
def test_the_emergency_stop_goes_first(has_parser: bool) -> None:
    """Also in a heat-up, where only the emergency parser listens: M108 leaves it first."""
    world = World(Firmware(time_scale=10.0, emergency_parser=has_parser))
    world.print(GCODE)
    world.until(lambda: world.board._doing and world.board._doing[0] == "heat")
    world.machine.emergency_stop(world.now)
    emergency, out = world.machine.take_output()
    assert emergency.startswith(b"\nM108\nM112\nN") and out == b""
    world.board.receive(emergency, world.now)
    world.until(lambda: world.board.is_dead, 60.0)
    status = world.status
    assert (status.ending, status.code, status.halted) == (Ending.FAILED, "emergency_stop", True)
    world.wait(60.0)
    assert not [c for c in world.job_commands() if c in set(JOB[4:])]


def test_a_heater_that_leaves_its_target_stops_the_machine() -> None:
    world = World(rules=Rules(heat=HeatRules(25.0, 5.0)))
    world.print(GCODE * 20)
    world.until(lambda: len(world.job_commands()) > 40)
    world.board.faults.temperatures = "T:300.0 /200.0 B:22.0 /0.0 @:0 B@:0"
    world.until(is_over(world), 60.0)
    assert (world.status.code, world.status.halted, world.board.is_dead) == ("thermal", True, True)
    assert "thermal" in world.status.message


@pytest.mark.parametrize(
    ("said", "state"),
    [(b"//action:pause\n", ObservedState.PAUSED), (b"//action:paused\n", ObservedState.PAUSED)],
)
def test_the_printer_pauses_by_itself(said: bytes, state: ObservedState) -> None:
    world = World()
    world.print(GCODE * 3)
    world.until(lambda: len(world.job_commands()) > 40)
    world.machine.receive(said, world.now)
    world.until(lambda: world.status.state is state)
    assert world.status.by_farm is False


def test_cancel_at_the_printer() -> None:
    world = World()
    world.print(GCODE)
    world.until(lambda: len(world.job_commands()) > 40)
    world.machine.receive(b"//action:cancel\n", world.now)
    world.until(is_over(world))
    assert (world.status.ending, world.status.by_farm) == (Ending.CANCELLED, False)


@pytest.mark.parametrize(
    "said",
    [b"//action:start\n", b"//action:poweroff\n", b"//action:disconnect\n", b"//action:M104 S300\n", b"//action:\n"],
)
def test_other_actions_do_nothing(said: bytes) -> None:
    world = World()
    world.print(GCODE)
    world.until(lambda: len(world.job_commands()) > 40)
    world.machine.receive(said, world.now)
    done(world)


def test_filament_out() -> None:
    world = World()
    world.print(GCODE)
    world.until(lambda: len(world.job_commands()) > 40)
    world.machine.receive(b"//action:out_of_filament T0\n", world.now)
    assert (world.status.state, world.status.filament_present) == (ObservedState.PAUSED, False)
    world.machine.receive(b"//action:resumed\n", world.now)
    assert world.status.filament_present is None
    done(world)


def test_m600_waits_for_a_person_and_is_no_timeout() -> None:
    world = World()
    world.print(GCODE.replace(MOVES[60], b"M600\n" + MOVES[60]))
    world.until(lambda: world.status.state is ObservedState.PAUSED)
    world.wait(3600.0)
    assert world.status.state is ObservedState.PAUSED
    with pytest.raises(NotNow):
        world.machine.resume(world.now)
    world.board._finish()
    world.until(is_over(world))
    assert world.status.ending is Ending.COMPLETE


def test_a_line_above_the_limits_ends_the_print_and_cools_down() -> None:
    world = World(rules=Rules(Limits(hotend_celsius=250.0)))
    world.print(GCODE.replace(MOVES[60], b"M104 S290\n" + MOVES[60]))
    world.until(is_over(world))
    assert (world.status.ending, world.status.code) == (Ending.FAILED, "limits")
    assert "line 65" in world.status.message
    assert "M104 S290" not in world.board.commands()
    assert world.board.heaters["T"].target == 0.0


def test_a_file_of_comments_holds_nobody_up() -> None:
    """It is passed over in pieces: a stop comes between two of them."""
    world = World()
    world.print(b"; nothing\n" * 20_000 + GCODE)
    world.until(lambda: world.machine.course and world.machine.course.line > 1000)
    assert world.machine.course is not None and world.machine.course.line < 3000
    assert world.machine.deadline(world.now) == world.now
    before = world.now
    world.until(lambda: len(world.job_commands()) > 5)
    assert world.now - before < 60.0
    done(world)


# -- what is seen without a print


def test_a_print_from_the_card_is_somebody_elses() -> None:
    world = World()
    world.board.card_print = [0, 1000]
    world.until(lambda: world.status.state is ObservedState.PRINTING)
    assert (world.status.file_name, world.status.by_farm) == (None, False)
    with pytest.raises(NotNow, match="somebody"):
        world.print(GCODE)
    world.board.card_print = None
    world.until(lambda: world.status.state is ObservedState.IDLE)


def a_hot_card_print(memory: Memory | None = None, **firmware: bool) -> World:
    """Somebody began it before the hello that follows."""
    world = World(Firmware(time_scale=10.0, **firmware), memory=memory, hello=False)
    world.board.card_print = [100, 1000]
    world.board.heaters["T"].target = 200.0
    world.until(lambda: world.machine.is_known)
    return world


@pytest.mark.parametrize("tells_card", [True, False])
def test_a_hello_in_somebodys_card_print_leaves_its_heat(tells_card: bool) -> None:
    world = a_hot_card_print(tells_card=tells_card)
    assert (world.status.state, world.status.by_farm) == (ObservedState.PRINTING, False)
    with pytest.raises(NotNow, match="somebody"):
        world.print(GCODE)
    world.wait(10.0)
    world.machine.opened(world.now)
    world.until(lambda: world.machine.is_known)
    world.wait(10.0)
    assert world.board.heaters["T"].target == 200.0
    assert world.job_commands() == []


def test_somebodys_card_print_is_not_cooled_down() -> None:
    world = a_hot_card_print()
    with pytest.raises(NotNow, match="somebody"):
        world.machine.cool_down(world.now)
    world.wait(10.0)
    assert world.board.heaters["T"].target == 200.0


def test_only_the_host_after_one_that_died_breaks_a_heat_up_off() -> None:
    """Else it would be that of a card print, begun since."""
    since = Memory(last=LastPrint("pf-1.gcode", 1, ending=Ending.FAILED, code="host_interrupted"))
    world = a_hot_card_print(since)
    assert b"M108" not in b"".join(world.wire)
    died = World(memory=Memory(last=LastPrint("pf-1.gcode", 1)))
    died.machine.opened(died.now)
    died.until(lambda: died.machine.is_known)
    assert b"".join(died.wire).count(b"M108") == 1


def test_a_print_is_broken_off_in_a_heat_up() -> None:
    """As by a host that is told to end, which has not the minutes that a heat-up takes."""
    world = World(Firmware())
    world.print(b"M109 S200\n" + GCODE)
    world.until(lambda: world.machine.link.is_heating)
    world.wait(1.0)
    began = world.now
    world.machine.break_off("told to end", world.now)
    world.until(is_over(world))
    assert (world.status.ending, world.status.code) == (Ending.FAILED, "host_interrupted")
    assert world.now - began < 5.0
    assert world.board.heaters["T"].target == 0.0


def test_a_board_that_tells_of_no_card_and_has_none_is_idle() -> None:
    world = World(Firmware(time_scale=10.0, has_card=False, tells_card=False))
    world.wait(30.0)
    assert (world.status.state, world.status.message) == (ObservedState.IDLE, "")
    world.print(GCODE)
    done(world)


def test_a_process_that_died_in_a_print_says_so_and_cools_down() -> None:
    world = World()
    world.print(GCODE)
    world.until(lambda: len(world.job_commands()) > 40)
    memory = from_json(world.machine.memory.to_json())
    assert memory.last == LastPrint("pf-1.gcode", 1)
    board = world.board
    again = World(hello=False, memory=memory)
    again.board, again.now = board, world.now
    again.machine.opened(again.now)
    assert (again.status.ending, again.status.code) == (Ending.FAILED, "host_interrupted")
    again.until(lambda: again.status.state is ObservedState.IDLE)
    again.until(lambda: board.heaters["T"].target == 0.0)
    assert again.status.file_name == "pf-1.gcode"
    with pytest.raises(NotNow):
        again.machine.resume(again.now)


def test_an_idle_printer_that_falls_silent_is_not_idle() -> None:
    world = World()
    world.board.faults.is_mute = True
    world.until(lambda: world.status.state is not ObservedState.IDLE, 60.0)
    world.until(lambda: world.status.state is ObservedState.OFFLINE, 60.0)
    world.board.faults.is_mute = False
    world.until(lambda: world.status.state is ObservedState.IDLE, 60.0)


@pytest.mark.parametrize("report", ["T:nan /0 B:nan /0", "T:-15.0 /0.0 B:-15.0 /0.0", "T:9999.0 /0.0 B:9999.0 /0.0"])
def test_a_broken_sensor_has_no_reading(report: str) -> None:
    world = World()
    world.board.faults.temperatures = report
    world.wait(10.0)
    assert world.status.heaters == ()


def test_a_memory_of_another_kind_is_refused() -> None:
    for given_ in ({}, {"version": 2}, {"version": 1, "last": {"name": 1}}):
        with pytest.raises(ValueError):
            from_json(given_)
    assert from_json(Memory(3, 1, LastPrint("a", 3, Ending.COMPLETE)).to_json()).last == LastPrint(
        "a", 3, Ending.COMPLETE
    )


def test_repetier_counts_sixteen_bits() -> None:
    """The counter starts anew long before it would wrap."""
    board = Board(Firmware("repetier", time_scale=1000.0, busy=False, auto_report=False, command_seconds=0.0001))
    world = World(board.firmware)
    world.machine.link.dialect = replace(world.machine.link.dialect, lines_per_session=50)
    world.print(GCODE)
    world.until(is_over(world))
    assert world.status.ending is Ending.COMPLETE
    sent = [c for c in world.board.commands() if c in set(JOB)]
    assert sent == JOB
    assert world.board.commands().count("M110 N0") >= 8
