"""What PrusaLink's notes and issues warn of, each against the emulator that does it."""

import asyncio
import contextlib
import resource
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from printfarm_agent.driver import (
    BadReply,
    ConnectionLost,
    Driver,
    DriverError,
    Ending,
    Handle,
    NothingToStop,
    Observation,
    ObservedState,
    OutcomeUnknown,
    PrinterConfig,
    Refused,
)
from printfarm_agent.drivers.prusalink.driver import open_driver
from printfarm_agent.drivers.prusalink.protocol import short_name
from printfarm_files import heatshrink
from tests.support.machine import Machine, gcode
from tests.support.patience import PATIENCE_SECONDS, until
from tests.support.print_files import binary_gcode
from tests.support.prusalink_emulator import API_KEY, Buddy, Pi, PrusaLinkEmulator
from tests.support.prusalink_pi import KEY, PrusaLinkPi

NAME = "pf-00000000-0000-4000-8000-000000000001.gcode"


class Case:
    """An emulator and its driver."""

    def __init__(self, emulator: PrusaLinkEmulator, driver: Driver, folder: Path) -> None:
        self.emulator, self.driver, self._folder = emulator, driver, folder

    @property
    def machine(self) -> Machine:
        return self.emulator.machine.advance()

    def file(self, content: bytes) -> Path:
        path = self._folder / "ours.gcode"
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
async def case(
    emulator: PrusaLinkEmulator, folder: Path, *, digest: bool = False, **options: str
) -> AsyncIterator[Case]:
    (folder / "key").write_text(API_KEY)
    await emulator.plug_in()
    given = {"url": emulator.url, "password_file" if digest else "api_key_file": str(folder / "key")}
    try:
        async with open_driver(PrinterConfig("p", given | {"timeout_seconds": 2.0} | options)) as driver:
            yield Case(emulator, driver, folder)
    finally:
        await emulator.close()


@pytest.fixture
async def buddy(tmp_path: Path) -> AsyncIterator[Case]:
    async with case(Buddy(), tmp_path) as made:
        await made.driver.connect()
        yield made


@pytest.fixture
async def pi(tmp_path: Path) -> AsyncIterator[Case]:
    async with case(Pi(ending_seconds=1.0), tmp_path) as made:
        await made.driver.connect()
        yield made


# -- access


@pytest.mark.parametrize("emulator", [Buddy, Pi])
@pytest.mark.parametrize("digest", [False, True])
async def test_both_ways_in_work_with_both(emulator: type[PrusaLinkEmulator], digest: bool, tmp_path: Path) -> None:
    async with case(emulator(), tmp_path, digest=digest) as made:
        machine, can = await made.driver.connect()
        assert machine.serial_number == made.emulator.serial_number
        assert machine.nozzle_diameter_mm == 0.4
        assert can.can_pause and not can.can_cool_down
        await made.begin(0.3)
        assert (await made.until(ending=Ending.COMPLETE)).end_of_file


@pytest.mark.parametrize("emulator", [Buddy, Pi])
@pytest.mark.parametrize("digest", [False, True])
async def test_a_wrong_secret_names_its_key(emulator: type[PrusaLinkEmulator], digest: bool, tmp_path: Path) -> None:
    async with case(emulator(key="another"), tmp_path, digest=digest) as made:
        with pytest.raises(ConnectionLost, match="password_file" if digest else "api_key_file") as told:
            await made.driver.connect()
        assert API_KEY not in str(told.value)
        with pytest.raises(Refused):
            await made.driver.start(made.file(gcode(1.0)), NAME)
        assert made.machine.starts() == []


async def test_a_secret_that_was_mended_counts_at_once(tmp_path: Path) -> None:
    async with case(Buddy(key="mended"), tmp_path) as made:
        with pytest.raises(ConnectionLost):
            await made.driver.connect()
        (tmp_path / "key").write_text("mended\n")
        await made.driver.connect()


async def test_a_nonce_that_grew_old_is_replaced(tmp_path: Path) -> None:
    buddy = Buddy()
    async with case(buddy, tmp_path, digest=True) as made:
        await made.driver.connect()
        buddy.expire_nonces()
        assert (await made.driver.observe()).state is ObservedState.IDLE
        buddy.expire_nonces()
        await made.begin(0.2)
        assert len(made.machine.starts()) == 1


async def test_a_firmware_that_takes_no_uploads_is_refused(tmp_path: Path) -> None:
    old = Buddy()
    old.takes_uploads = False
    async with case(old, tmp_path) as made:
        with pytest.raises(BadReply, match="update"):
            await made.driver.connect()


async def test_another_printer_at_the_address_is_noticed(buddy: Case) -> None:
    handle = await buddy.begin(5.0)
    buddy.emulator.serial_number = "another"
    with pytest.raises(BadReply, match="another"):
        await buddy.driver.connect()
    stranger = Handle(1, {**handle.facts, "serial_number": "another"})
    with pytest.raises(BadReply, match="another"):
        await buddy.driver.recover(NAME, stranger)


async def test_a_pi_that_is_not_ready_is_offline(pi: Case) -> None:
    pi.emulator.is_starting = True
    with pytest.raises(ConnectionLost, match="not ready"):
        await pi.driver.observe()
    with pytest.raises(DriverError):
        await pi.driver.start(pi.file(gcode(1.0)), NAME)
    assert pi.machine.starts() == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"url": "ftp://x"}, "options.url"),
        ({"url": "x"}, "api_key_file or password_file"),
        ({"url": "x", "api_key": "k"}, "must not stand in this file"),
        ({"url": "x", "api_key_env": "NO_SUCH_VARIABLE"}, "NO_SUCH_VARIABLE"),
        ({"url": "x", "api_key_env": "HOME", "timeout_seconds": 0}, "timeout_seconds"),
        ({"url": "x", "api_key_env": "HOME", "pasword": "x"}, "pasword is not an option"),
    ],
)
def test_wrong_options(options: dict[str, str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        open_driver(PrinterConfig("p", options))


# -- files


async def test_never_prints_by_upload_and_never_sends_octets(buddy: Case, pi: Case) -> None:
    for made in (buddy, pi):
        await made.driver.put_file(made.file(gcode(1.0)), NAME, print)
        (put,) = [request for request in made.emulator.requests if request.method == "PUT"]
        assert "print-after-upload" not in put.headers
        assert put.headers["content-type"] == "text/x.gcode"
        assert put.headers["content-length"] == str(len(gcode(1.0)))
        assert (await made.driver.observe()).state is ObservedState.IDLE


async def test_a_truncated_file_is_noticed_and_deleted(buddy: Case, pi: Case) -> None:
    for made in (buddy, pi):
        made.emulator.truncates_upload = True
        with pytest.raises(Refused, match="bytes"):
            await made.driver.put_file(made.file(gcode(1.0)), NAME, print)
        assert made.machine.files == {}


async def test_a_lost_upload_answer_is_harmless(buddy: Case) -> None:
    buddy.emulator.loses_upload_reply = True
    path = buddy.file(gcode(1.0))
    with pytest.raises(OutcomeUnknown):
        await buddy.driver.put_file(path, NAME, print)
    assert (await buddy.driver.observe()).state is ObservedState.IDLE
    await buddy.driver.put_file(path, NAME, print)


async def test_a_transfer_under_way_is_waited_for(tmp_path: Path) -> None:
    buddy = Buddy()
    async with case(buddy, tmp_path) as made:
        buddy.transferring = 1
        work = asyncio.create_task(made.driver.put_file(made.file(gcode(1.0)), NAME, print))
        await until(lambda: any(request.path.endswith("/transfer") for request in buddy.requests))
        buddy.transferring = 0
        await work
        assert short_name(NAME) in made.machine.files


async def test_no_stick_is_named(tmp_path: Path) -> None:
    buddy = Buddy()
    buddy.has_stick = False
    async with case(buddy, tmp_path) as made:
        with pytest.raises(Refused, match="USB stick"):
            await made.driver.put_file(made.file(gcode(1.0)), NAME, print)


async def test_a_file_that_the_preview_holds_is_refused(tmp_path: Path) -> None:
    buddy = Buddy()
    buddy.preview_locks = True
    async with case(buddy, tmp_path) as made:
        path = made.file(gcode(0.3))
        await made.driver.put_file(path, NAME, print)
        with pytest.raises(Refused, match="busy"):
            await made.driver.put_file(path, NAME, print)
        await made.driver.start(path, NAME)
        await made.until(ending=Ending.COMPLETE)


async def test_no_file_is_sent_to_a_printer_that_prints(buddy: Case, pi: Case) -> None:
    for made in (buddy, pi):
        await made.begin(20.0)
        with pytest.raises(Refused, match="prints"):
            await made.driver.put_file(made.file(gcode(1.0)), NAME, print)
        assert not any(
            fact["event"] in ("upload_during_print", "overwrote_the_file_that_prints") for fact in made.machine.log
        )


async def test_one_request_at_a_time(buddy: Case) -> None:
    await asyncio.gather(*(buddy.driver.observe() for _ in range(8)))
    assert not any(fact["event"] == "too_many_clients" for fact in buddy.machine.log)


# -- the print


async def test_the_name_on_the_printer_fits_its_file_system(buddy: Case) -> None:
    handle = await buddy.begin(5.0)
    (stored,) = buddy.machine.files
    assert len(stored) <= 40
    assert handle.facts["print_number"] == buddy.emulator.job_number
    assert (await buddy.driver.observe()).file_name == NAME


async def test_the_end_on_a_pi_outlives_its_eleven_seconds(pi: Case) -> None:
    await pi.begin(0.3)
    await pi.until(ending=Ending.COMPLETE)
    await until(lambda: pi.emulator.native() == "IDLE")
    seen = await pi.driver.observe()
    assert (seen.ending, seen.file_name, seen.state) == (Ending.COMPLETE, NAME, ObservedState.IDLE)


async def test_an_end_that_was_missed_on_a_pi_is_a_persons_to_judge(pi: Case) -> None:
    handle = await pi.begin(30.0)
    pi.machine.cancel()
    await until(lambda: pi.emulator.native() == "IDLE")
    seen = await pi.until(ending=Ending.FAILED)
    assert "unseen" in seen.message
    async with open_driver(PrinterConfig("p", pi_options(pi))) as later:
        await later.connect()
        await later.recover(NAME, handle)
        assert (await later.observe()).ending is Ending.FAILED


def pi_options(made: Case) -> dict[str, str | int | float | bool]:
    return {"url": made.emulator.url, "api_key_file": str(made.file(b"").parent / "key"), "timeout_seconds": 2.0}


async def test_buddy_knows_the_end_until_the_screen_is_touched(buddy: Case) -> None:
    handle = await buddy.begin(0.3)
    await buddy.until(ending=Ending.COMPLETE)
    async with open_driver(PrinterConfig("p", pi_options(buddy))) as later:
        await later.connect()
        assert (await later.recover(NAME, handle)).ending is Ending.COMPLETE
    buddy.emulator.touch_screen()
    async with open_driver(PrinterConfig("p", pi_options(buddy))) as latest:
        await latest.connect()
        await latest.recover(NAME, handle)
        assert (await latest.observe()).ending is Ending.FAILED


async def test_the_number_guards_a_print_that_came_meanwhile(buddy: Case) -> None:
    await buddy.begin(20.0)
    buddy.machine.cancel()
    await until(lambda: buddy.machine.job is None)
    buddy.emulator.start_foreign("theirs.gcode", gcode(20.0))
    with pytest.raises(Refused):
        await buddy.driver.cancel()
    assert buddy.machine.job is not None and buddy.machine.job.file == "theirs.gcode"


async def test_stopping_twice_is_harmless(pi: Case) -> None:
    await pi.begin(20.0)
    await pi.driver.cancel()
    with contextlib.suppress(Refused):
        await pi.driver.cancel()
    assert [fact["event"] for fact in pi.machine.log].count("cancel") == 1
    seen = await pi.until(ending=Ending.CANCELLED)
    assert seen.by_farm is True


async def test_a_stop_at_the_machine_is_not_the_farms(buddy: Case) -> None:
    await buddy.begin(20.0)
    buddy.machine.cancel()
    assert (await buddy.until(ending=Ending.CANCELLED)).by_farm is False


async def test_attention_in_a_print_is_a_pause_that_says_so(buddy: Case) -> None:
    await buddy.begin(20.0)
    buddy.emulator.attention = True
    seen = await buddy.until(ObservedState.PAUSED)
    assert seen.file_name == NAME and "screen" in seen.message


async def test_attention_without_a_print_takes_no_start(buddy: Case) -> None:
    await buddy.driver.put_file(buddy.file(gcode(1.0)), NAME, print)
    buddy.emulator.attention = True
    with pytest.raises(Refused, match="attention"):
        await buddy.driver.start(buddy.file(gcode(1.0)), NAME)


async def test_a_lost_cable_of_a_pi_is_an_error_that_clears(tmp_path: Path) -> None:
    emulator = Pi(ending_seconds=1.0)
    async with case(emulator, tmp_path) as made:
        await made.driver.connect()
        await made.begin(20.0)
        lost = asyncio.create_task(emulator.lose_serial(0.5))
        seen = await made.until(ObservedState.ERROR)
        assert not seen.halted and seen.message
        await lost
        assert (await made.until(ObservedState.IDLE)).ending is Ending.FAILED


async def test_the_strongest_stop_is_a_cancel_and_says_when_there_is_none(buddy: Case) -> None:
    with pytest.raises(NothingToStop, match="no emergency stop"):
        await buddy.driver.emergency_stop()
    await buddy.begin(20.0)
    await buddy.driver.emergency_stop()
    assert any(fact["event"] == "cancel" for fact in buddy.machine.log)


async def test_a_print_that_waits_for_an_answer_is_no_standstill(buddy: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("printfarm_agent.drivers.prusalink.driver._NUMBER_SECONDS", 0.1)
    buddy.emulator.asks_before_a_print = True
    await buddy.begin(20.0)
    with pytest.raises(Refused, match="attention"):
        await buddy.driver.emergency_stop()
    buddy.emulator.answer_question()
    await buddy.driver.emergency_stop()
    assert any(fact["event"] == "cancel" for fact in buddy.machine.log)


@pytest.mark.parametrize("word", ["BUSY", "PRINTING", "ATTENTION", "PONDERING", "ERROR"])
async def test_only_a_word_for_standstill_is_one(buddy: Case, word: str) -> None:
    buddy.emulator.state_word = word
    with pytest.raises(Refused, match="nothing to cancel yet"):
        await buddy.driver.emergency_stop()


@pytest.mark.parametrize("is_known", [False, True])
async def test_a_start_that_does_not_show_yet_is_no_standstill(
    buddy: Case, is_known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("printfarm_agent.drivers.prusalink.driver._NUMBER_SECONDS", 0.1)
    monkeypatch.setattr(buddy.emulator, "_begin", lambda name: True)
    buddy.emulator.loses_start_reply = not is_known
    with contextlib.nullcontext() if is_known else pytest.raises(OutcomeUnknown):
        await buddy.begin(20.0)
    with pytest.raises(Refused, match="idle"):
        await buddy.driver.emergency_stop()


async def test_a_look_before_the_start_that_fails_is_no_start(buddy: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    path = buddy.file(gcode(1.0))
    await buddy.driver.put_file(path, NAME, print)
    monkeypatch.setattr(buddy.emulator, "_status", dict)
    with pytest.raises(ConnectionLost):
        await buddy.driver.start(path, NAME)
    assert buddy.machine.starts() == []


async def test_a_start_that_was_refused_is_a_standstill(buddy: Case) -> None:
    buddy.emulator.refuses_starts = True
    with pytest.raises(Refused):
        await buddy.begin(20.0)
    with pytest.raises(NothingToStop):
        await buddy.driver.emergency_stop()


async def test_a_persons_file_with_a_name_like_ours_is_not_ours(buddy: Case) -> None:
    buddy.emulator.start_foreign("pfeife.gcode", gcode(20.0))
    await buddy.until(ObservedState.PRINTING)
    for command in (buddy.driver.cancel, buddy.driver.pause, buddy.driver.resume):
        with pytest.raises(Refused, match="somebody else's"):
            await command()
    assert not any(fact["event"] in ("cancel", "pause") for fact in buddy.machine.log)


# -- the real PrusaLink for a Raspberry Pi


@asynccontextmanager
async def real(server: PrusaLinkPi, folder: Path) -> AsyncIterator[Driver]:
    """Its driver, with the API key."""
    (folder / "key").write_text(KEY)
    given: dict[str, str | int | float | bool] = {"url": server.url, "api_key_file": str(folder / "key")}
    async with open_driver(PrinterConfig("p", given)) as driver:
        await driver.connect()
        yield driver


async def seen_by(driver: Driver, is_so: Callable[[Observation], bool]) -> Observation:
    """Looks until it is."""
    async with asyncio.timeout(30.0):
        while not is_so(seen := await driver.observe()):  # noqa: ASYNC110 - only the printer knows
            await asyncio.sleep(0.05)
    return seen


async def test_a_file_that_is_no_text_never_reaches_a_real_pi(prusalink_pi: PrusaLinkPi, tmp_path: Path) -> None:
    await asyncio.to_thread(prusalink_pi.clear)
    path = tmp_path / "ours.gcode"
    path.write_bytes(b"; K\xfchler\n" + b"G4 P400\n" * 100)
    async with real(prusalink_pi, tmp_path) as driver:
        with pytest.raises(Refused, match="UTF-8"):
            await driver.put_file(path, NAME, print)
    assert not list(prusalink_pi.gcodes.glob("*.gcode"))


async def test_a_real_pi_that_could_not_write_a_file_takes_no_other(prusalink_pi: PrusaLinkPi, tmp_path: Path) -> None:
    await asyncio.to_thread(prusalink_pi.clear)
    path = tmp_path / "ours.gcode"
    path.write_bytes(b"; long\n" * 200_000)
    resource.prlimit(prusalink_pi.pid, resource.RLIMIT_FSIZE, (1 << 19, resource.RLIM_INFINITY))
    async with real(prusalink_pi, tmp_path) as driver:
        with pytest.raises(DriverError):
            await driver.put_file(path, NAME, print)
        resource.prlimit(prusalink_pi.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        with pytest.raises(Refused, match="restart PrusaLink"):
            await driver.put_file(path, NAME, print)
        await asyncio.to_thread(prusalink_pi.kill)
        await asyncio.to_thread(prusalink_pi.clear)
        await driver.put_file(path, NAME, print)


async def test_a_real_pi_that_is_restarted_in_a_print_ended_it_unseen(
    prusalink_pi: PrusaLinkPi, tmp_path: Path
) -> None:
    await asyncio.to_thread(prusalink_pi.clear)
    path = tmp_path / "ours.gcode"
    path.write_bytes(b"G4 P400\n" * 3000)
    async with real(prusalink_pi, tmp_path) as driver:
        await driver.put_file(path, NAME, print)
        await driver.start(path, NAME)
        await asyncio.to_thread(prusalink_pi.kill)
        await asyncio.to_thread(prusalink_pi.power_on)
        await driver.observe()
        seen = await driver.observe()
    assert (seen.ending, seen.state, seen.file_name) == (Ending.FAILED, ObservedState.IDLE, NAME)
    assert "unseen" in seen.message


async def test_a_real_pi_shows_the_last_prints_figures_and_nobody_believes_them(
    prusalink_pi: PrusaLinkPi, tmp_path: Path
) -> None:
    await asyncio.to_thread(prusalink_pi.clear)
    first, second = tmp_path / "first.gcode", tmp_path / "second.gcode"
    first.write_bytes(b"G4 P400\n" * 20 + b"M73 P100 R0\n" + b"G4 P400\n" * 20)
    # It heats for longer than anybody looks, and tells nothing.
    second.write_bytes(b"G4 S600\n" * 3)
    other = NAME.replace("0001", "0002")
    async with real(prusalink_pi, tmp_path) as driver:
        await driver.put_file(first, NAME, print)
        await driver.start(first, NAME)
        seen = await seen_by(driver, lambda seen: seen.ending is not None)
        assert (seen.ending, seen.end_of_file) == (Ending.COMPLETE, True)
        await driver.put_file(second, other, print)
        await driver.start(second, other)
        told = prusalink_pi.get("/api/v1/status")["job"]
        assert (told["progress"], told["time_remaining"]) == (100.0, 0)
        seen = await driver.observe()
        assert (seen.file_name, seen.progress, seen.remaining_seconds) == (other, None, None)
        await asyncio.to_thread(prusalink_pi.kill)
        await asyncio.to_thread(prusalink_pi.power_on)
        await driver.observe()
        seen = await driver.observe()
    assert (seen.ending, seen.end_of_file, seen.file_name) == (Ending.FAILED, False, other)


async def test_a_real_pi_that_is_stopped_before_its_first_line_tells_so_all_the_same(
    prusalink_pi: PrusaLinkPi, tmp_path: Path
) -> None:
    await asyncio.to_thread(prusalink_pi.clear)
    path = tmp_path / "ours.gcode"
    path.write_bytes(b"G4 P400\n" * 3000)
    async with real(prusalink_pi, tmp_path) as driver:
        await driver.put_file(path, NAME, print)
        prusalink_pi.printer.do(lambda _: prusalink_pi.board.holds(3.0))
        await driver.start(path, NAME)
        await driver.cancel()
        assert (await driver.observe()).ending is None, "it has not stopped yet"
        seen = await seen_by(driver, lambda seen: seen.ending is not None)
        assert (seen.ending, seen.state, seen.file_name) == (Ending.CANCELLED, ObservedState.IDLE, NAME)
        # Its printing thread died of it: the next print has another.
        assert "FileNotFoundError" in (prusalink_pi.folder / "console.log").read_text()
        await driver.put_file(path, NAME, print)
        await driver.start(path, NAME)
        await seen_by(driver, lambda seen: seen.state is ObservedState.PRINTING)
        await driver.cancel()


# -- binary G-code


async def test_buddy_takes_binary_gcode_under_its_own_name(buddy: Case) -> None:
    name = NAME.replace(".gcode", ".bgcode")
    _, can = await buddy.driver.connect()
    assert can.file_kinds == ("bgcode",)
    content = binary_gcode(gcode(0.3).decode(), "; estimated printing time (normal mode) = 1s\n")
    path = buddy.file(content)
    await buddy.driver.put_file(path, name, print)
    [stored] = buddy.machine.files
    assert stored == short_name(name) and stored.endswith(".bgcode") and len(stored) == 40
    assert buddy.machine.files[stored] == content
    await buddy.driver.start(path, name)
    seen = await buddy.until(ending=Ending.COMPLETE)
    assert (seen.file_name, seen.end_of_file) == (name, True)
    await buddy.driver.remove_file(name)
    assert buddy.machine.files == {}


async def test_the_pi_takes_text_alone(pi: Case) -> None:
    """Its printers know no binary G-code, whatever PrusaLink would store."""
    _, can = await pi.driver.connect()
    assert can.file_kinds == ()


async def test_a_host_that_cannot_look_into_binary_gcode_asks_for_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heatshrink, "find_spec", lambda _name: None)
    async with case(Buddy(), tmp_path) as made:
        _, can = await made.driver.connect()
        assert can.file_kinds == ()
