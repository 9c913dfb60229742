"""What Duet's notes warn of, each against the emulator that does it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from printfarm_agent.driver import (
    BadReply,
    ConnectionLost,
    Driver,
    Ending,
    Handle,
    Observation,
    ObservedState,
    OutcomeUnknown,
    PrinterConfig,
    Refused,
)
from printfarm_agent.drivers.duet.driver import open_driver
from tests.support.duet_emulator import PASSWORD, DuetEmulator, Sbc, Standalone
from tests.support.machine import Phase, gcode
from tests.support.patience import PATIENCE_SECONDS, until

NAME = "pf-00000000-0000-4000-8000-000000000001.gcode"
TARGET = f"0:/gcodes/farm/{NAME}"
BOTH = pytest.mark.parametrize("kind", [Standalone, Sbc])


class Case:
    """An emulator and its driver."""

    def __init__(self, emulator: Any, driver: Driver, folder: Path) -> None:
        self.emulator, self.driver, self.folder = emulator, driver, folder

    def file(self, content: bytes) -> Path:
        path = self.folder / "ours.gcode"
        path.write_bytes(content)
        return path

    async def begin(self, seconds: float) -> Handle:
        path = self.file(gcode(seconds))
        await self.driver.put_file(path, NAME, print)
        return await self.driver.start(path, NAME)

    async def until(self, state: ObservedState | None = None, ending: Ending | None = None) -> Observation:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                seen = await self.driver.observe()
                if seen.state is state or (ending is not None and seen.ending is ending):
                    return seen
                await asyncio.sleep(0.05)


@asynccontextmanager
async def case(emulator: DuetEmulator, folder: Path) -> AsyncIterator[Case]:
    (folder / "password").write_text(PASSWORD)
    await emulator.plug_in()
    options = {"url": emulator.url, "password_file": str(folder / "password"), "timeout_seconds": 2.0}
    try:
        async with open_driver(PrinterConfig("p", options)) as driver:
            yield Case(emulator, driver, folder)
    finally:
        await emulator.close()


@BOTH
async def test_a_print_from_end_to_end(kind: type[DuetEmulator], tmp_path: Path) -> None:
    async with case(kind(), tmp_path) as made:
        machine, can = await made.driver.connect()
        assert machine.volume_mm == (300.0, 300.0, 300.0) and machine.firmware == "RepRapFirmware 3.6.0"
        assert can.can_pause and can.can_cool_down
        await made.begin(0.5)
        seen = await made.until(ending=Ending.COMPLETE)
        assert seen.end_of_file and seen.state is ObservedState.IDLE
        assert made.emulator.machine.starts() == [TARGET]


@BOTH
async def test_a_wrong_password_names_its_key(kind: type[DuetEmulator], tmp_path: Path) -> None:
    async with case(kind(password="another"), tmp_path) as made:
        with pytest.raises(ConnectionLost, match="password_file") as told:
            await made.driver.connect()
        assert PASSWORD not in str(told.value)
        async with open_driver(PrinterConfig("p", {"url": made.emulator.url})) as bare:
            with pytest.raises(ConnectionLost, match="password_file"):
                await bare.connect()


async def test_one_place_is_kept_and_given_back(tmp_path: Path) -> None:
    emulator = Standalone()
    async with case(emulator, tmp_path) as made:
        for _ in range(5):
            await made.driver.observe()
        assert len(emulator.sessions) == 1
        await made.driver.emergency_stop()
        assert len(emulator.sessions) == 1, "the emergency's own place is given back"
        async with open_driver(
            PrinterConfig("p", {"url": emulator.url, "password_file": str(tmp_path / "password")})
        ) as other:
            await other.connect()
            assert len(emulator.sessions) == 2
        assert len(emulator.sessions) == 1


async def test_no_place_is_no_reason_to_ask_all_the_time(tmp_path: Path) -> None:
    emulator = Standalone()
    emulator.sessions = {str(place): emulator.machine.clock() + 1e6 for place in range(8)}
    async with case(emulator, tmp_path) as made:
        for _ in range(3):
            with pytest.raises(ConnectionLost, match="no place"):
                await made.driver.observe()
        assert len(emulator.requests) == 1


async def test_an_emergency_stop_needs_no_place_of_its_own(tmp_path: Path) -> None:
    emulator = Standalone()
    async with case(emulator, tmp_path) as made:
        await made.begin(20.0)
        emulator.sessions |= {str(place): emulator.machine.clock() + 1e6 for place in range(7)}
        await made.driver.emergency_stop()
        await until(lambda: emulator.machine.phase is Phase.HALTED)
        assert (await made.driver.observe()).halted, "and the place is still ours"


async def test_firmware_without_keys_is_connected_to_once(tmp_path: Path) -> None:
    emulator = Standalone()
    emulator.firmware, emulator.gives_keys = "3.4.6", False
    async with case(emulator, tmp_path) as made:
        await made.begin(0.5)
        await made.until(ending=Ending.COMPLETE)
        asked = [request.target for request in emulator.requests if "rr_connect" in request.target]
        assert len(asked) == 1
        emulator.sessions.clear()
        assert (await made.driver.observe()).state is ObservedState.IDLE


async def test_a_board_out_of_buffers_is_no_reason_to_give_the_job_away(tmp_path: Path) -> None:
    emulator = Standalone()
    async with case(emulator, tmp_path) as made:
        await made.driver.observe()
        path = made.file(gcode(1.0))
        emulator.out_of_buffers = True
        with pytest.raises(ConnectionLost, match="buffers"):
            await made.driver.put_file(path, NAME, print)
        await made.driver.put_file(path, NAME, print)
        emulator.out_of_buffers = True
        with pytest.raises(ConnectionLost, match="buffers"):
            await made.driver.start(path, NAME)
        assert emulator.machine.starts() == []
        emulator.out_of_buffers = True
        await made.driver.emergency_stop()
        await until(lambda: emulator.machine.phase is Phase.HALTED)


async def test_a_box_in_a_print_is_a_pause_that_says_so(tmp_path: Path) -> None:
    async with case(Standalone(), tmp_path) as made:
        await made.begin(20.0)
        await made.until(ObservedState.PRINTING)
        made.emulator.message_box = {"mode": 3, "title": "Change", "message": "Put the red filament in", "seq": 1}
        seen = await made.driver.observe()
        assert (seen.state, seen.file_name) == (ObservedState.PAUSED, NAME) and "red filament" in seen.message
        # One that only informs holds nothing up.
        made.emulator.message_box = {"mode": 1, "title": "Layer 1", "message": "looks good", "seq": 2}
        assert (await made.driver.observe()).state is ObservedState.PRINTING


async def test_a_lost_key_is_replaced_for_gets_and_posts(tmp_path: Path) -> None:
    emulator = Standalone()
    async with case(emulator, tmp_path) as made:
        await made.driver.connect()
        emulator.sessions.clear()
        assert (await made.driver.observe()).state is ObservedState.IDLE
        content = gcode(1.0)
        path = made.file(content)
        await made.driver.observe()
        real, emulator.machine.files = emulator._answer, {}

        async def forgets(request: Any, where: str, query: dict[str, str], key: str) -> Any:
            # The key goes between the look and the upload.
            answer = await real(request, where, query, key)
            if where == "/rr_model" and not emulator.machine.files:
                emulator.sessions.clear()
            return answer

        emulator._answer = forgets  # type: ignore[method-assign]
        await made.driver.put_file(path, NAME, print)
        assert emulator.machine.files == {TARGET: content}


async def test_requests_fit_the_boards_buffers(tmp_path: Path) -> None:
    emulator = Standalone()
    async with case(emulator, tmp_path) as made:
        await made.begin(1.0)
        assert max(request.head_bytes for request in emulator.requests) < 1460
        assert max(len(request.query) for request in emulator.requests) <= 5
        (connect,) = [request for request in emulator.requests if request.path == "/rr_connect"]
        assert {"password", "sessionKey", "time"} == set(connect.query)


async def test_out_of_buffers_frees_itself_by_reading_the_reply(tmp_path: Path) -> None:
    emulator = Standalone()
    async with case(emulator, tmp_path) as made:
        await made.driver.observe()
        emulator.out_of_buffers = True
        with pytest.raises(ConnectionLost, match="buffers"):
            await made.driver.observe()
        assert (await made.driver.observe()).state is ObservedState.IDLE


async def test_arrays_that_come_in_parts_are_read_whole(tmp_path: Path) -> None:
    async with case(Standalone(), tmp_path) as made:
        assert [heater.name for heater in (await made.driver.observe()).heaters] == ["hotend", "bed"]


async def test_a_damaged_file_is_refused_by_its_checksum(tmp_path: Path) -> None:
    emulator = Standalone()
    async with case(emulator, tmp_path) as made:
        emulator.corrupts_upload = True
        with pytest.raises(Refused, match="damaged"):
            await made.driver.put_file(made.file(gcode(1.0)), NAME, print)
        assert emulator.machine.files == {}


@BOTH
async def test_the_file_that_prints_is_never_replaced(kind: type[DuetEmulator], tmp_path: Path) -> None:
    async with case(kind(), tmp_path) as made:
        await made.begin(20.0)
        with pytest.raises(Refused, match="this very file"):
            await made.driver.put_file(made.file(gcode(1.0)), NAME, print)


@BOTH
async def test_a_cancel_pauses_first_and_then_cancels(kind: type[DuetEmulator], tmp_path: Path) -> None:
    async with case(kind(), tmp_path) as made:
        await made.begin(20.0)
        await made.driver.cancel()
        seen = await made.until(ending=Ending.CANCELLED)
        assert seen.by_farm is True
        assert not any("before attempting to cancel" in reply for reply in made.emulator.replies)


async def test_a_cancel_macro_shows_as_finishing(tmp_path: Path) -> None:
    emulator = Standalone()
    emulator.has_cancel_macro = True
    emulator.machine.delays[Phase.CANCELLING] = 1.0
    async with case(emulator, tmp_path) as made:
        await made.begin(20.0)
        await made.driver.cancel()
        assert (await made.driver.observe()).state is ObservedState.FINISHING
        await made.until(ending=Ending.CANCELLED)


async def test_a_cancel_at_the_sbc_is_told_apart_from_an_abort(tmp_path: Path) -> None:
    async with case(Sbc(), tmp_path) as made:
        await made.begin(20.0)
        await made.until(ObservedState.PRINTING)
        made.emulator.machine.cancel()
        assert (await made.until(ending=Ending.CANCELLED)).by_farm is False


@BOTH
async def test_a_board_reset_is_no_finish(kind: type[DuetEmulator], tmp_path: Path) -> None:
    async with case(kind(), tmp_path) as made:
        handle = await made.begin(20.0)
        made.emulator.machine.restart()
        assert (await made.until(ending=Ending.FAILED)).message
        options = {"url": made.emulator.url, "password_file": str(tmp_path / "password")}
        async with open_driver(PrinterConfig("p", options)) as later:
            await later.connect()
            await later.recover(NAME, handle)
            assert (await later.observe()).ending is Ending.FAILED


async def test_a_full_buffer_delays_the_emergency_stop_and_never_loses_it(tmp_path: Path) -> None:
    emulator = Standalone()
    async with case(emulator, tmp_path) as made:
        await made.begin(20.0)
        emulator.buffer_full = 4
        await made.driver.emergency_stop()
        await until(lambda: emulator.machine.phase is Phase.HALTED)
        seen = await made.driver.observe()
        assert seen.state is ObservedState.ERROR and seen.halted


async def test_a_full_buffer_refuses_a_start_for_certain(tmp_path: Path) -> None:
    emulator = Standalone()
    async with case(emulator, tmp_path) as made:
        path = made.file(gcode(1.0))
        await made.driver.put_file(path, NAME, print)
        emulator.buffer_full = 1
        with pytest.raises(Refused, match="buffer"):
            await made.driver.start(path, NAME)
        assert emulator.machine.starts() == []


@BOTH
async def test_a_start_that_nothing_shows_of_is_unknown(
    kind: type[DuetEmulator], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("printfarm_agent.drivers.duet.driver._BEGIN_SECONDS", 0.5)
    async with case(kind(), tmp_path) as made:
        path = made.file(gcode(1.0))
        await made.driver.put_file(path, NAME, print)
        monkeypatch.setattr(made.emulator, "run", lambda text: None)
        with pytest.raises(OutcomeUnknown):
            await made.driver.start(path, NAME)


@BOTH
async def test_every_tool_cools_down_by_its_own_number(kind: type[DuetEmulator], tmp_path: Path) -> None:
    async with case(kind(), tmp_path) as made:
        # Counted from 1, with a gap, and three that share one heater.
        made.emulator.tool_targets = {1: 215.0, 2: 180.0, 7: 240.0, **{number: 150.0 for number in range(20, 31)}}
        await made.driver.cool_down()
        assert set(made.emulator.tool_targets.values()) == {0.0}
        assert made.emulator.machine.targets == {"hotend": 0.0, "bed": 0.0}


TOO_LATE = "Error: M32: Cannot set file to print, because a file is already being printed"


@BOTH
async def test_the_reply_to_somebody_elses_command_refuses_no_start(kind: type[DuetEmulator], tmp_path: Path) -> None:
    async with case(kind(), tmp_path) as made:
        emulator = made.emulator
        emulator.start_shows_after = 1.0
        emulator.say(TOO_LATE)

        async def speak_to_another() -> None:
            await until(lambda: emulator.machine.starts())
            emulator.say(TOO_LATE)

        another = asyncio.create_task(speak_to_another())
        await made.begin(20.0)
        await another
        assert (await made.driver.observe()).file_name == NAME


async def test_what_is_left_of_an_earlier_try_refuses_no_start(tmp_path: Path) -> None:
    async with case(Standalone(), tmp_path) as made:
        made.emulator.start_shows_after = 1.0
        made.emulator.say(f'Error: M32: GCode file "{TARGET}" not found')
        await made.begin(20.0)
        assert (await made.driver.observe()).file_name == NAME


async def test_a_look_before_the_start_that_fails_is_no_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with case(Standalone(), tmp_path) as made:
        path = made.file(gcode(1.0))
        await made.driver.put_file(path, NAME, print)
        whole = made.emulator.model()
        monkeypatch.setattr(made.emulator, "model", lambda: whole | {"state": "something else"})
        with pytest.raises(ConnectionLost):
            await made.driver.start(path, NAME)
        assert made.emulator.machine.starts() == []


async def test_a_box_that_waits_for_a_person_is_told(tmp_path: Path) -> None:
    async with case(Standalone(), tmp_path) as made:
        made.emulator.message_box = {"mode": 2, "title": "Change", "message": "Put the red filament in", "seq": 1}
        assert "red filament" in (await made.driver.observe()).message
        assert not any("M292" in request.target for request in made.emulator.requests), "never answered by itself"


async def test_the_sbc_without_its_board_is_offline(tmp_path: Path) -> None:
    emulator = Sbc()
    async with case(emulator, tmp_path) as made:
        await made.driver.connect()
        emulator.board_is_away = True
        with pytest.raises(ConnectionLost):
            await made.driver.observe()
        with pytest.raises((ConnectionLost, Refused)):
            await made.driver.start(made.file(gcode(1.0)), NAME)
        assert emulator.machine.starts() == []


async def test_another_board_at_the_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with case(Standalone(), tmp_path) as made:
        await made.driver.connect()
        handle = await made.begin(5.0)
        monkeypatch.setattr("tests.support.duet_emulator.UNIQUE_ID", "another")
        made.emulator.sessions.clear()
        with pytest.raises(BadReply, match="another"):
            await made.driver.connect()
        with pytest.raises(BadReply, match="another"):
            await made.driver.recover(NAME, Handle(1, {**handle.facts, "serial_number": "x"}))
