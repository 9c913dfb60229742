"""What SimplyPrint's notes warn of, each against the emulated cloud. Nothing leaves this machine."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from printfarm_agent.driver import (
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
from printfarm_agent.drivers.simplyprint.driver import open_driver
from tests.support.machine import gcode
from tests.support.patience import PATIENCE_SECONDS
from tests.support.simplyprint_emulator import API_KEY, COMPANY, PRINTER, SimplyPrintEmulator

NAME = "pf-00000000-0000-4000-8000-000000000001.gcode"
Options = dict[str, str | int | float | bool]


class Case:
    """The cloud and the driver of one printer."""

    def __init__(self, cloud: SimplyPrintEmulator, driver: Driver, folder: Path, options: Options) -> None:
        self.cloud, self.driver, self.folder, self.options = cloud, driver, folder, options

    def file(self, content: bytes) -> Path:
        path = self.folder / "ours.gcode"
        path.write_bytes(content)
        return path

    async def bring(self, content: bytes) -> Path:
        path = self.file(content)
        await self.driver.put_file(path, NAME, print)
        return path

    async def begin(self, seconds: float) -> Handle:
        return await self.driver.start(await self.bring(gcode(seconds)), NAME)

    async def until(self, state: ObservedState | None = None, ending: Ending | None = None) -> Observation:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                seen = await self.driver.observe()
                if seen.state is state or (ending is not None and seen.ending is ending):
                    return seen

    def calls(self, path: str) -> int:
        return sum(request.path.endswith(path) for request in self.cloud.requests)


@asynccontextmanager
async def case(folder: Path, **more: str | float) -> AsyncIterator[Case]:
    cloud = SimplyPrintEmulator()
    (folder / "key").write_text(API_KEY)
    await cloud.plug_in()
    options: Options = {
        "api_url": cloud.url,
        "files_url": cloud.files.url,
        "poll_seconds": 0.05,
        "timeout_seconds": 2.0,
    }
    options |= {"company_id": COMPANY, "printer_id": PRINTER, "api_key_file": str(folder / "key"), **more}
    try:
        async with open_driver(PrinterConfig("p", options)) as driver:
            yield Case(cloud, driver, folder, options)
    finally:
        await cloud.close()


async def test_a_print_from_end_to_end(tmp_path: Path) -> None:
    async with case(tmp_path) as made:
        machine, can = await made.driver.connect()
        assert machine.model == "MK3S Prusa" and machine.serial_number == f"simplyprint-{PRINTER}"
        assert can.prints_autonomously and not can.has_camera
        handle = await made.begin(0.5)
        seen = await made.until(ending=Ending.COMPLETE)
        assert seen.end_of_file and seen.print_number == handle.facts["print_number"]


async def test_our_own_name_is_told_and_the_key_goes_in_its_header(tmp_path: Path) -> None:
    async with case(tmp_path) as made:
        await made.bring(gcode(1.0))
        for request in made.cloud.requests + made.cloud.files.requests:
            assert request.headers["user-agent"].startswith("PrintFarm")
            assert request.headers["x-api-key"] == API_KEY and API_KEY not in request.target


async def test_a_wrong_key_and_another_account_are_told(tmp_path: Path) -> None:
    async with case(tmp_path) as made:
        made.cloud.key = "another"
        with pytest.raises(ConnectionLost, match="API key") as told:
            await made.driver.connect()
        assert API_KEY not in str(told.value)
    async with case(tmp_path, printer_id=18) as made:
        with pytest.raises(ConnectionLost, match="no printer 18"):
            await made.driver.connect()


async def test_the_key_may_lie_in_the_variable_that_is_agreed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIMPLYPRINT_API_KEY", API_KEY)
    async with case(tmp_path) as made:
        bare = {key: value for key, value in made.options.items() if key != "api_key_file"}
        async with open_driver(PrinterConfig("p", bare)) as driver:
            assert (await driver.observe()).state is ObservedState.IDLE


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"company_id": 0}, "company_id"),
        ({"api_key": "k"}, "must not stand in this file"),
        ({"api_url": "http://api.simplyprint.io"}, "https"),
        ({"page": 3}, "page is not an option"),
    ],
)
def test_wrong_options(tmp_path: Path, more: Options, words: str) -> None:
    (tmp_path / "key").write_text("k")
    given: Options = {"company_id": 1, "printer_id": 2, "api_key_file": str(tmp_path / "key")}
    with pytest.raises(ValueError, match=words):
        open_driver(PrinterConfig("p", given | more))


async def test_one_poll_serves_all_printers_of_the_account(tmp_path: Path) -> None:
    async with case(tmp_path) as made:
        await made.driver.observe()
        before = made.calls("printers/Get")
        async with open_driver(PrinterConfig("q", made.options)) as other:
            await asyncio.gather(*(driver.observe() for driver in (made.driver, other) for _ in range(1)))
            assert made.calls("printers/Get") == before + 1
        await made.driver.observe()


async def test_a_printer_on_a_later_page_is_found(tmp_path: Path) -> None:
    async with case(tmp_path) as made:
        made.cloud.other_printers = 230
        assert (await made.driver.observe()).state is ObservedState.IDLE
        assert made.calls("printers/Get") == 3


async def test_too_many_calls_are_answered_by_silence(tmp_path: Path) -> None:
    async with case(tmp_path) as made:
        await made.driver.observe()
        made.cloud.too_many = 1
        made.cloud.retry_after = "600"
        for _ in range(3):
            with pytest.raises(ConnectionLost, match="fewer calls"):
                await made.driver.observe()
        asked = len(made.cloud.requests)
        with pytest.raises(ConnectionLost, match="fewer calls"):
            await made.driver.put_file(made.file(gcode(1.0)), NAME, print)
        assert len(made.cloud.requests) == asked
        await made.driver.emergency_stop()
        assert any(fact["event"] == "emergency_stop" for fact in made.cloud.machine.log), "a stop waits for no limit"


async def test_a_cloud_that_is_away_says_nothing_of_the_printer(tmp_path: Path) -> None:
    async with case(tmp_path) as made:
        await made.begin(20.0)
        await made.until(ObservedState.PRINTING)
        made.cloud.unwell = True
        with pytest.raises(ConnectionLost, match="not well"):
            await made.driver.observe()
        made.cloud.unwell = False
        made.cloud.link_is_down = True
        seen = await made.driver.observe()
        assert (seen.state, seen.ending) == (ObservedState.OFFLINE, None)
        made.cloud.link_is_down = False
        assert (await made.driver.observe()).file_name == NAME


async def test_a_start_that_waits_for_approval_is_unknown_and_not_repeated(tmp_path: Path) -> None:
    async with case(tmp_path) as made:
        made.cloud.wants_approval = True
        path = await made.bring(gcode(1.0))
        with pytest.raises(OutcomeUnknown, match="approved"):
            await made.driver.start(path, NAME)
        assert made.calls("CreateJob") == 1
        assert (await made.driver.observe()).state is ObservedState.IDLE


async def test_a_staggered_start_is_preparing(tmp_path: Path) -> None:
    async with case(tmp_path) as made:
        made.cloud.pends_seconds = 1.0
        await made.begin(1.0)
        seen = await made.driver.observe()
        assert (seen.state, seen.file_name) == (ObservedState.PREPARING, NAME) and "waits" in seen.message
        await made.until(ending=Ending.COMPLETE)


async def test_states_that_lag_are_no_end(tmp_path: Path) -> None:
    async with case(tmp_path) as made:
        await made.driver.observe()
        made.cloud.lag_seconds = 1.5
        await made.begin(3.0)
        seen = await made.driver.observe()
        assert (seen.state, seen.file_name, seen.ending) == (ObservedState.PREPARING, NAME, None)
        assert (await made.until(ending=Ending.COMPLETE)).file_name == NAME


async def test_an_upload_that_expired_cannot_be_started(tmp_path: Path) -> None:
    async with case(tmp_path) as made:
        path = await made.bring(gcode(1.0))
        made.cloud.expire_files()
        with pytest.raises(Refused, match="expired"):
            await made.driver.start(path, NAME)


async def test_a_big_file_goes_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("printfarm_agent.drivers.simplyprint.account.PART_BYTES", 300_000)
    async with case(tmp_path) as made:
        made.cloud.files.part_limit = 310_000
        content, told = gcode(1.0, padding=1_000_000), list[int]()
        await made.driver.put_file(made.file(content), NAME, told.append)
        assert made.cloud.files.requests[-1].length is not None and len(made.cloud.files.requests) == 4
        assert told == sorted(told) and told[-1] == len(content)
        assert [raw for _, raw in made.cloud.temporary.values()] == [content]


async def test_a_bed_that_the_cloud_wants_cleared_is_cleared_before_the_next_start(tmp_path: Path) -> None:
    async with case(tmp_path) as made:
        made.cloud.bed_must_be_cleared = True
        await made.begin(0.3)
        seen = await made.until(ending=Ending.COMPLETE)
        assert seen.state is ObservedState.IDLE and made.calls("ClearBed") == 0
        await made.begin(0.3)
        assert made.calls("ClearBed") == 1 and len(made.cloud.machine.starts()) == 2


async def test_a_bed_with_somebody_elses_print_on_it_is_not_told_as_clear(tmp_path: Path) -> None:
    async with case(tmp_path) as made:
        made.cloud.bed_must_be_cleared = True
        await made.begin(0.3)
        await made.until(ending=Ending.COMPLETE)
        # Somebody cleared it, printed, and went away; nobody looked meanwhile.
        made.cloud.awaits_clear = False
        made.cloud.start_foreign("theirs.gcode", gcode(0.1))
        path = await made.bring(gcode(0.3))
        seen = await made.until(ObservedState.PREPARING)
        while "not the farm's" not in seen.message:
            seen = await made.until(ObservedState.PREPARING)
        with pytest.raises(Refused, match="not the farm's"):
            await made.driver.start(path, NAME)
        assert made.calls("ClearBed") == 0 and len(made.cloud.machine.starts()) == 1
        asked = made.calls("GetPaginatedPrintJobs")
        for _ in range(3):
            await made.driver.observe()
        assert made.calls("GetPaginatedPrintJobs") == asked, "asked once for each bed"
        made.cloud.awaits_clear = False
        await made.until(ObservedState.IDLE)
        await made.begin(0.3)


async def test_a_job_is_found_by_its_name_after_a_crash(tmp_path: Path) -> None:
    async with case(tmp_path) as made:
        path = await made.bring(gcode(0.3))
        made.cloud.loses_start_reply = True
        with pytest.raises(OutcomeUnknown):
            await made.driver.start(path, NAME)
        while made.cloud.machine.advance().job is not None:  # noqa: ASYNC110 - the machine prints
            await asyncio.sleep(0.05)
        async with open_driver(PrinterConfig("p", made.options)) as later:
            seen = await later.recover(NAME, None)
        assert (seen.ending, seen.file_name) == (Ending.COMPLETE, NAME)


async def test_a_foreign_print_is_left_alone(tmp_path: Path) -> None:
    async with case(tmp_path) as made:
        path = await made.bring(gcode(1.0))
        made.cloud.start_foreign("theirs.gcode", gcode(20.0))
        assert (await made.until(ObservedState.PRINTING)).file_name == "theirs.gcode"
        for call in (made.driver.pause, made.driver.cancel):
            with pytest.raises(Refused):
                await call()
        with pytest.raises(Refused):
            await made.driver.start(path, NAME)
        assert made.calls("CreateJob") == 0 and made.calls("Cancel") == 0


async def test_a_plan_without_gcode_still_cancels_in_an_emergency(tmp_path: Path) -> None:
    async with case(tmp_path) as made:
        made.cloud.may_send_gcode = False
        await made.begin(20.0)
        await made.driver.emergency_stop()
        assert any(fact["event"] == "cancel" for fact in made.cloud.machine.log)
        await made.until(ending=Ending.CANCELLED)
        with pytest.raises(Refused, match="plan"):
            await made.driver.cool_down()


async def test_every_tool_cools_down_and_no_print_does(tmp_path: Path) -> None:
    async with case(tmp_path) as made:
        await made.driver.cool_down()
        assert made.cloud.gcode == ["M104 S0", "M140 S0"]
        made.cloud.tools = 3
        await made.driver.cool_down()
        assert made.cloud.gcode[2:] == ["M104 T0 S0", "M104 T1 S0", "M104 T2 S0", "M140 S0"]
        await made.begin(20.0)
        await made.until(ObservedState.PRINTING)
        with pytest.raises(Refused, match="printing"):
            await made.driver.cool_down()


async def test_a_failure_says_why(tmp_path: Path) -> None:
    async with case(tmp_path) as made:
        await made.begin(20.0)
        await made.until(ObservedState.PRINTING)
        made.cloud.machine.fail("x")
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (seen := await made.driver.observe()).state is not ObservedState.ERROR:
                pass
        assert "thermal" in seen.message and seen.ending is Ending.FAILED


async def test_an_end_that_no_process_saw_is_told_by_the_next(tmp_path: Path) -> None:
    async with case(tmp_path) as made:
        await made.begin(0.3)
        async with open_driver(PrinterConfig("p", made.options)) as later:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while (seen := await later.observe()).ending is None:
                    pass
        assert (seen.ending, seen.file_name) == (Ending.COMPLETE, NAME)
