"""What Bambu's notes warn of, each against the emulated printer behind a real Mosquitto and a real implicit-FTPS server.

Over all of them: at most one ``project_file`` for each id, and none while the printer is active.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from printfarm_agent.driver import (
    BadReply,
    ConnectionLost,
    Driver,
    Ending,
    Observation,
    ObservedState,
    OutcomeUnknown,
    PlateDriver,
    PrinterConfig,
    Refused,
)
from printfarm_agent.drivers.bambu.driver import open_driver
from printfarm_agent.drivers.bambu.report import LONGEST_REPORT, decode
from tests.support.bambu_emulator import CODE, SERIAL, BambuEmulator
from tests.support.machine import Machine, gcode
from tests.support.patience import PATIENCE_SECONDS, until
from tests.support.print_files import sliced_3mf

NAME = "pf-00000000-0000-4000-8000-000000000001.gcode"
pytestmark = pytest.mark.usefixtures("mosquitto")


class Case:
    """A printer and its driver."""

    def __init__(self, emulator: BambuEmulator, driver: Driver, folder: Path) -> None:
        self.emulator, self.driver, self.folder = emulator, driver, folder

    @property
    def machine(self) -> Machine:
        return self.emulator.machine.advance()

    def file(self, content: bytes) -> Path:
        path = self.folder / "ours.gcode"
        path.write_bytes(content)
        return path

    async def begin(self, seconds: float) -> None:
        path = self.file(gcode(seconds))
        await self.driver.put_file(path, NAME, print)
        await self.driver.start(path, NAME)

    async def until(self, state: ObservedState | None = None, ending: Ending | None = None) -> Observation:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                seen = await self.driver.observe()
                if seen.state is state or (ending is not None and seen.ending is ending):
                    return seen

    def count(self, event: str) -> int:
        return [fact["event"] for fact in self.machine.log].count(event)


def options(emulator: BambuEmulator, folder: Path, **more: str | float) -> dict[str, str | int | float | bool]:
    (folder / "code").write_text(CODE)
    return {
        "host": "127.0.0.1",
        "serial_number": SERIAL,
        "access_code_file": str(folder / "code"),
        "mqtt_port": emulator.broker.port,
        "ftps_port": emulator.card.port,
        "timeout_seconds": 1.0,
        "quiet_seconds": 0.3,
        "begin_seconds": 0.6,
        "retry_seconds": 0.02,
        **more,
    }


async def refused_with(driver: Driver, words: str) -> None:
    """Looks until it is told why there is no printer: what was said before may still be under way."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            try:
                await driver.observe()
            except ConnectionLost as error:
                if words in str(error):
                    return
            await asyncio.sleep(0.02)


async def until_noise(driver: Driver, words: str) -> None:
    """Looks until what comes is no answer, and why is told."""
    told = ""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while words not in told:
            try:
                await driver.observe()
            except BadReply as error:
                told = str(error)
            except ConnectionLost:
                await asyncio.sleep(0.02)


async def seen_again(driver: Driver) -> Observation:
    """The first look that succeeds."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            try:
                return await driver.observe()
            except (ConnectionLost, BadReply):
                await asyncio.sleep(0.05)


@asynccontextmanager
async def printer(folder: Path, style: str = "x1", **more: str | float) -> AsyncIterator[Case]:
    inside = folder / "printer"
    inside.mkdir()
    emulator = BambuEmulator(inside, style=style)
    try:
        await emulator.plug_in()
        async with open_driver(PrinterConfig("p", options(emulator, folder, **more))) as driver:
            yield Case(emulator, driver, folder)
        starts = [fact["subtask_id"] for fact in emulator.machine.log if fact["event"] == "project_file"]
        assert len(starts) == len(set(starts)), "one project_file for each id"
        assert not any(fact["event"] == "project_file_while_busy" for fact in emulator.machine.log)
    finally:
        await emulator.close()


# -- who answers


async def test_the_certificate_of_another_serial_number_gets_no_code(tmp_path: Path) -> None:
    async with printer(tmp_path, serial_number="01S00C000000000") as made:
        with pytest.raises(ConnectionLost, match="another printer's"):
            await made.driver.connect()
        with pytest.raises(ConnectionLost, match="another printer's"):
            await made.driver.put_file(made.file(gcode(1.0)), NAME, print)


async def test_a_changed_certificate_is_not_logged_in_to(tmp_path: Path) -> None:
    async with printer(tmp_path) as made:
        await made.driver.connect()
        await made.emulator.new_certificate()
        await refused_with(made.driver, "certificate changed")
        with pytest.raises(ConnectionLost, match="certificate changed"):
            await made.driver.put_file(made.file(gcode(1.0)), NAME, print)


async def test_a_pin_and_a_ca_are_checked(tmp_path: Path) -> None:
    async with printer(tmp_path, certificate_sha256="ab" * 32) as made:
        with pytest.raises(ConnectionLost, match="certificate changed"):
            await made.driver.connect()
        good = options(made.emulator, tmp_path, ca_file=str(made.emulator.folder / "certificate.pem"))
        async with open_driver(PrinterConfig("p", good)) as driver:
            machine, can = await driver.connect()
        assert (machine.model, machine.serial_number, machine.firmware) == ("X1 Carbon", SERIAL, "01.08.02.00")
        assert machine.nozzle_diameter_mm == 0.4 and can.prints_autonomously


async def test_a_wrong_code_is_tried_once_and_again_when_it_is_mended(tmp_path: Path) -> None:
    async with printer(tmp_path) as made:
        made.emulator.set_code("87654321")
        await refused_with(made.driver, "access_code_file")
        for _ in range(3):
            with pytest.raises(ConnectionLost, match="access_code_file") as told:
                await made.driver.observe()
            assert CODE not in str(told.value)
        with pytest.raises(Refused, match="access_code_file"):
            await made.driver.put_file(made.file(gcode(1.0)), NAME, print)
        (tmp_path / "code").write_text("87654321")
        assert (await made.driver.observe()).state is ObservedState.IDLE


async def test_a_wrong_serial_number_with_a_mute_broker_is_named(tmp_path: Path) -> None:
    async with printer(tmp_path) as made:
        made.emulator.mute = True
        with pytest.raises(ConnectionLost, match="serial_number"):
            await made.driver.connect()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"host": "http://x"}, "host must"),
        ({"serial_number": "01s00c"}, "in capitals"),
        ({"certificate_sha256": "12"}, "64 hexadecimal"),
        ({"ca_file": "/no/such"}, "ca_file"),
        ({"access_code": "1"}, "must not stand in this file"),
        ({"ams_tray": 400}, "ams_tray"),
    ],
)
def test_wrong_options(tmp_path: Path, more: dict[str, str], words: str) -> None:
    (tmp_path / "code").write_text(CODE)
    given = {"host": "a", "serial_number": SERIAL, "access_code_file": str(tmp_path / "code")}
    with pytest.raises(ValueError, match=words):
        open_driver(PrinterConfig("p", given | more))


# -- files


async def test_the_card_takes_the_session_up_again_and_tls_12_at_most(tmp_path: Path) -> None:
    async with printer(tmp_path) as made:
        await made.driver.put_file(made.file(gcode(1.0)), NAME, print)
        assert made.emulator.card.sessions_reused == [True]
        assert made.emulator.card.versions == {"TLSv1.2"}


async def test_a_426_for_a_whole_file_is_a_success(tmp_path: Path) -> None:
    async with printer(tmp_path) as made:
        made.emulator.card.says_426 = True
        await made.begin(0.3)
        await made.until(ending=Ending.COMPLETE)


async def test_a_226_that_comes_late_is_waited_for(tmp_path: Path) -> None:
    async with printer(tmp_path) as made:
        made.emulator.card.answers_late = 2.0
        await made.driver.put_file(made.file(gcode(1.0)), NAME, print)


async def test_half_a_file_is_noticed_and_deleted(tmp_path: Path) -> None:
    async with printer(tmp_path) as made:
        made.emulator.card.cuts_upload = True
        with pytest.raises(OutcomeUnknown, match="bytes arrived"):
            await made.driver.put_file(made.file(gcode(1.0)), NAME, print)
        assert made.emulator.card.files() == set()


async def test_a_busy_data_channel_is_tried_again(tmp_path: Path) -> None:
    async with printer(tmp_path) as made:
        made.emulator.card.busy_once = True
        await made.driver.put_file(made.file(gcode(1.0)), NAME, print)
        assert len(made.emulator.card.files()) == 1


async def test_a_data_channel_that_hangs_goes_in_clear_the_code_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("printfarm_agent.drivers.bambu.ftps._HANDSHAKE_SECONDS", 0.5)
    async with printer(tmp_path) as made:
        made.emulator.card.data_hangs = True
        await made.driver.put_file(made.file(gcode(1.0)), NAME, print)
        assert made.emulator.card.in_clear >= 1
        assert len(made.emulator.card.files()) == 1


async def test_damaged_bytes_are_refused_at_the_start_by_their_md5(tmp_path: Path) -> None:
    async with printer(tmp_path) as made:
        made.emulator.card.corrupts = True
        path = made.file(gcode(1.0))
        await made.driver.put_file(path, NAME, print)
        with pytest.raises(Refused, match="0500_4003"):
            await made.driver.start(path, NAME)
        assert made.machine.starts() == []


# -- the start


async def test_control_that_is_switched_off_is_named(tmp_path: Path) -> None:
    async with printer(tmp_path) as made:
        path = made.file(gcode(1.0))
        await made.driver.put_file(path, NAME, print)
        made.emulator.fun = "3EC1AFFF9CFF"
        await until(lambda: made.emulator._told.get("fun") == "3EC1AFFF9CFF")
        with pytest.raises(Refused, match="Developer Mode"):
            await made.driver.start(path, NAME)
        assert made.count("project_file") == 0, "not even tried"
        assert "Developer Mode" in (await made.driver.observe()).message


@pytest.mark.parametrize("how", ["verify", "hms"])
async def test_a_refusal_for_want_of_a_signature(tmp_path: Path, how: str) -> None:
    async with printer(tmp_path, style="p1") as made:
        made.emulator.fun = None
        made.emulator.refuses = how
        path = made.file(gcode(1.0))
        await made.driver.put_file(path, NAME, print)
        with pytest.raises(Refused, match="Developer Mode"):
            await made.driver.start(path, NAME)
        assert made.machine.starts() == []


async def test_a_report_with_a_commands_number_is_no_answer_to_it(tmp_path: Path) -> None:
    async with printer(tmp_path) as made:
        made.emulator.reports_share_sequences, made.emulator.refuses = True, "verify"
        with pytest.raises(Refused, match="Developer Mode"):
            await made.begin(5.0)
        assert made.machine.starts() == []


async def test_silence_after_a_start_is_an_unknown_outcome(tmp_path: Path) -> None:
    async with printer(tmp_path) as made:
        path = made.file(gcode(1.0))
        await made.driver.put_file(path, NAME, print)
        made.emulator.refuses = "silence"
        with pytest.raises(OutcomeUnknown):
            await made.driver.start(path, NAME)
        seen = await made.driver.observe()
        assert (seen.state, seen.file_name) == (ObservedState.IDLE, None)
        assert made.count("project_file") == 1


async def test_the_other_form_of_the_path_is_tried_once_when_the_first_is_not_found(tmp_path: Path) -> None:
    async with printer(tmp_path) as made:
        made.emulator.url_form = "file:///sdcard/"
        await made.begin(0.3)
        await made.until(ending=Ending.COMPLETE)
        assert made.count("project_file") == 2 and len(made.machine.starts()) == 1


async def test_no_form_of_the_path_is_found(tmp_path: Path) -> None:
    async with printer(tmp_path) as made:
        made.emulator.url_form = "nowhere:///"
        path = made.file(gcode(1.0))
        await made.driver.put_file(path, NAME, print)
        with pytest.raises(Refused, match="0500_4002"):
            await made.driver.start(path, NAME)
        assert made.machine.starts() == []


async def test_a_finish_that_lingers_after_the_start_is_not_the_end(tmp_path: Path) -> None:
    async with printer(tmp_path) as made:
        await made.begin(0.2)
        await made.until(ending=Ending.COMPLETE)
        made.emulator.finish_lingers = 2.0
        other = NAME.replace("0001", "0002")
        path = made.file(gcode(4.0))
        await made.driver.put_file(path, other, print)
        await made.driver.start(path, other)
        seen = await made.driver.observe()
        assert (seen.file_name, seen.ending) == (other, None)
        assert (await made.until(ending=Ending.COMPLETE)).file_name == other


async def test_what_somebody_began_in_place_of_our_print_is_not_touched(tmp_path: Path) -> None:
    async with printer(tmp_path) as made:
        made.emulator.ignores_starts = True
        await made.begin(20.0)
        assert (await made.driver.observe()).file_name == NAME
        made.emulator.start_foreign("vase", gcode(30.0))
        await until(lambda: made.emulator._told.get("subtask_name") == "vase")
        for command in (made.driver.cancel, made.driver.pause, made.driver.resume):
            with pytest.raises(Refused, match="something else"):
                await command()
        assert not {"stop", "pause", "resume"} & {fact["event"] for fact in made.machine.log}


async def test_an_agent_that_dies_while_the_last_finish_lingers_finds_its_print(tmp_path: Path) -> None:
    async with printer(tmp_path) as made:
        await made.begin(0.2)
        await made.until(ending=Ending.COMPLETE)
        made.emulator.finish_lingers = 3.0
        other = NAME.replace("0001", "0002")
        path = made.file(gcode(4.0))
        await made.driver.put_file(path, other, print)
        handle = await made.driver.start(path, other)
        async with open_driver(PrinterConfig("p", options(made.emulator, tmp_path))) as later:
            seen = await later.recover(other, handle)
            assert made.emulator._told["gcode_state"] == "FINISH"
            async with asyncio.timeout(PATIENCE_SECONDS):
                while seen.state is not ObservedState.PRINTING:
                    assert (seen.file_name, seen.ending) == (other, None)
                    seen = await later.observe()


async def test_a_change_before_the_whole_report_ends_no_print(tmp_path: Path) -> None:
    async with printer(tmp_path, style="p1") as made:
        await made.begin(30.0)
        await made.until(ObservedState.PRINTING)
        made.emulator.change_before_pushall = 0.5
        await made.emulator.unplug()
        with pytest.raises(ConnectionLost):
            await made.driver.observe()
        await made.emulator.plug_in()
        seen = await seen_again(made.driver)
        assert (seen.file_name, seen.state, seen.ending) == (NAME, ObservedState.PRINTING, None)


async def test_nothing_is_sent_again_after_a_reconnect(tmp_path: Path) -> None:
    async with printer(tmp_path) as made:
        await made.begin(20.0)
        await made.emulator.unplug()
        with pytest.raises(ConnectionLost):
            await made.driver.pause()
        await made.emulator.plug_in()
        seen = await seen_again(made.driver)
        assert seen.file_name == NAME and seen.state is ObservedState.PRINTING
        assert made.count("project_file") == 1 and made.count("pause") == 0


# -- looks


async def test_a_mute_socket_is_no_idle(tmp_path: Path) -> None:
    async with printer(tmp_path, style="p1") as made:
        await made.driver.connect()
        made.emulator.mute = True
        await refused_with(made.driver, "stopped talking")


async def test_deltas_alone_are_enough_and_pushall_is_asked_once(tmp_path: Path) -> None:
    async with printer(tmp_path, style="p1") as made:
        for _ in range(4):
            assert (await made.driver.observe()).heaters
        assert made.count("pushall") == 1


async def test_a_message_that_is_too_long_is_not_even_received(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = list[int]()

    def decoded(payload: bytes) -> dict[str, Any]:
        whole.append(len(payload))
        return decode(payload)

    monkeypatch.setattr("printfarm_agent.drivers.bambu.session.decode", decoded)
    async with printer(tmp_path) as made:
        await made.driver.observe()
        made.emulator.payload = b" " * (8 << 20)
        await until_noise(made.driver, "longer than")
        assert max(whole) < LONGEST_REPORT
        made.emulator.payload = b" " * (LONGEST_REPORT - 2) + b"{}"
        await until_heard(made, lambda: LONGEST_REPORT in whole)
        made.emulator.payload = None
        assert (await seen_again(made.driver)).state is ObservedState.IDLE


async def until_heard(made: Case, is_so: Callable[[], bool]) -> None:
    """Looks, in vain or not, until it is so."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not is_so():
            with contextlib.suppress(ConnectionLost, BadReply):
                await made.driver.observe()
            await asyncio.sleep(0.02)


async def test_names_in_broken_utf8_are_no_noise(tmp_path: Path) -> None:
    async with printer(tmp_path) as made:
        made.emulator.invalid_utf8 = True
        assert (await made.driver.observe()).state is ObservedState.IDLE


async def test_a_foreign_print_takes_no_start_and_no_cancel(tmp_path: Path) -> None:
    async with printer(tmp_path) as made:
        path = made.file(gcode(1.0))
        await made.driver.put_file(path, NAME, print)
        made.emulator.start_foreign("theirs", gcode(20.0))
        await made.until(ObservedState.PRINTING)
        with pytest.raises(Refused):
            await made.driver.start(path, NAME)
        with pytest.raises(Refused):
            await made.driver.cancel()
        assert made.count("project_file") == 0 and made.count("stop") == 0


async def test_a_cancel_at_the_screen_is_not_the_farms(tmp_path: Path) -> None:
    async with printer(tmp_path) as made:
        await made.begin(20.0)
        await made.until(ObservedState.PRINTING)
        made.emulator._stop()
        seen = await made.until(ending=Ending.CANCELLED)
        assert seen.by_farm is False


async def test_a_failure_after_a_stop_that_was_refused_is_no_cancel(tmp_path: Path) -> None:
    async with printer(tmp_path, style="p1") as made:
        made.emulator.fun = None
        await made.begin(20.0)
        await made.until(ObservedState.PRINTING)
        made.emulator.refuses = "verify"
        for stop in (made.driver.cancel, made.driver.emergency_stop):
            with pytest.raises(Refused, match="Developer Mode"):
                await stop()
        made.emulator.fail()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (seen := await made.driver.observe()).ending is None:
                pass
        assert seen.ending is Ending.FAILED and "spaghetti" in seen.message


async def test_noise_before_a_start_is_no_start(tmp_path: Path) -> None:
    async with printer(tmp_path) as made:
        path = made.file(gcode(1.0))
        await made.driver.put_file(path, NAME, print)
        await made.driver.observe()
        made.emulator.payload = b"noise"
        await until_noise(made.driver, "noise")
        with pytest.raises(ConnectionLost):
            await made.driver.start(path, NAME)
        assert made.count("project_file") == 0


async def test_an_emergency_stop_beside_a_session_that_hangs(tmp_path: Path) -> None:
    async with printer(tmp_path) as made:
        await made.begin(20.0)
        hanging = asyncio.create_task(made.driver.observe())
        await made.driver.emergency_stop()
        await until(lambda: made.count("stop") == 1)
        await asyncio.gather(hanging, return_exceptions=True)


@pytest.mark.parametrize(("fun", "how"), [("3EC1AFFF9CFF", "verify"), (None, "verify"), (None, "hms")])
@pytest.mark.parametrize("is_connected", [True, False], ids=["standing", "of its own"])
async def test_an_emergency_stop_that_is_not_taken_is_written_and_told_as_refused(
    tmp_path: Path, fun: str | None, how: str, is_connected: bool
) -> None:
    async with printer(tmp_path, style="p1") as made:
        made.emulator.fun, made.emulator.refuses = fun, how
        made.emulator.start_foreign("theirs", gcode(30.0))
        if is_connected:
            await made.until(ObservedState.PRINTING)
        with pytest.raises(Refused, match="Developer Mode"):
            await made.driver.emergency_stop()
        await until(lambda: made.count("stop"))
        assert made.machine.job is not None


async def test_an_emergency_stop_without_an_answer_is_no_stop_where_nobody_says_that_commands_are_taken(
    tmp_path: Path,
) -> None:
    async with printer(tmp_path) as made:
        made.emulator.fun = None
        await made.begin(30.0)
        made.emulator.refuses = "silence"
        with pytest.raises(OutcomeUnknown):
            await made.driver.emergency_stop()
        made.emulator.refuses = ""
        await made.driver.emergency_stop()
        await made.until(ending=Ending.CANCELLED)


async def test_what_the_ams_holds_is_told(tmp_path: Path) -> None:
    async with printer(tmp_path, ams_tray=1) as made:
        tray = [{"id": "1", "tray_type": "PETG", "tray_color": "00AE42FF"}]
        made.emulator.ams = {"ams": [{"id": "0", "tray": tray}], "tray_now": "255"}
        machine, _ = await made.driver.connect()
        assert (machine.material, machine.colour) == ("PETG", "#00AE42")
        await made.begin(0.2)
        (start,) = [fact for fact in made.machine.log if fact["event"] == "project_file"]
        assert start["ams_mapping"] == [1]


async def test_an_end_that_no_process_saw_is_told_by_the_next(tmp_path: Path) -> None:
    async with printer(tmp_path) as made:
        await made.begin(0.3)
        await until(lambda: made.machine.ended is not None)
        async with open_driver(PrinterConfig("p", options(made.emulator, tmp_path))) as later:
            seen = await later.observe()
        assert (seen.ending, seen.file_name, seen.end_of_file) == (Ending.COMPLETE, NAME, True)


# -- sliced files


async def test_a_chosen_plate_of_a_sliced_3mf_goes_as_it_is_and_is_printed(tmp_path: Path) -> None:
    content = sliced_3mf({1: gcode(9.0), 2: gcode(0.3), 3: gcode(9.0)})
    async with printer(tmp_path) as made:
        _, can = await made.driver.connect()
        assert can.file_kinds == ("gcode.3mf",)
        assert isinstance(made.driver, PlateDriver)
        path = made.file(content)
        made.driver.choose_plate(NAME, 2)
        await made.driver.put_file(path, NAME, print)
        stored = NAME + ".3mf"
        assert (made.emulator.card.folder / stored).read_bytes() == content
        await made.driver.start(path, NAME)
        seen = await made.until(ending=Ending.COMPLETE)
        assert (seen.file_name, seen.end_of_file) == (NAME, True)
        assert [fact["param"] for fact in made.machine.log if fact["event"] == "project_file"] == [
            "Metadata/plate_2.gcode"
        ]


async def test_after_a_restart_the_same_plate_is_started(tmp_path: Path) -> None:
    """The file was brought by an earlier process; whoever starts it tells the plate again."""
    path_of = sliced_3mf({4: gcode(5.0), 7: gcode(0.3)})
    async with printer(tmp_path) as made:
        await made.driver.connect()
        path = made.file(path_of)
        assert isinstance(made.driver, PlateDriver)
        made.driver.choose_plate(NAME, 7)
        await made.driver.put_file(path, NAME, print)
        async with open_driver(PrinterConfig("p", options(made.emulator, tmp_path))) as again:
            assert isinstance(again, PlateDriver)
            again.choose_plate(NAME, 7)
            await again.start(path, NAME)
        assert [fact["param"] for fact in made.machine.log if fact["event"] == "project_file"] == [
            "Metadata/plate_7.gcode"
        ]


@pytest.mark.parametrize(("plate", "why"), [(0, "has 2 plates, and nobody says which"), (3, "no plate 3 with G-code")])
async def test_a_plate_that_is_not_told_or_not_there_is_not_sent(tmp_path: Path, plate: int, why: str) -> None:
    async with printer(tmp_path) as made:
        await made.driver.connect()
        assert isinstance(made.driver, PlateDriver)
        if plate:
            made.driver.choose_plate(NAME, plate)
        with pytest.raises(Refused, match=why):
            await made.driver.put_file(made.file(sliced_3mf({1: gcode(1.0), 2: gcode(1.0)})), NAME, print)
        assert list(made.emulator.card.folder.iterdir()) == []
