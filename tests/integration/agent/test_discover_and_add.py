"""``printfarm-agent discover`` and ``add``: on loopback alone, against real sockets and an emulated printer."""

import asyncio
import socket
import tomllib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from zeroconf import IPVersion
from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

from printfarm_agent.add import Ask, add
from printfarm_agent.adding import Question
from printfarm_agent.discover import Ears, discover
from printfarm_agent.discovery import Finding, from_port
from printfarm_agent.settings import WrongSettings
from tests.support.fake_marlin import FakeMarlin
from tests.support.marlin_board import Firmware
from tests.support.ports import free_port
from tests.support.prusalink_emulator import API_KEY, Buddy
from tests.support.serial_host import SerialHost
from tests.unit.agent.test_discovery import NOTIFY

LOOPBACK = "127.0.0.1"


async def test_what_announces_itself_and_what_is_plugged_in(tmp_path: Path) -> None:
    (tmp_path / "usb-Prusa_MK3-if00").touch()
    port = free_port()
    mdns = AsyncZeroconf(interfaces=[LOOPBACK], ip_version=IPVersion.V4Only)
    kind = "_octoprint._tcp.local."
    info = AsyncServiceInfo(kind, f"Workshop.{kind}", addresses=[socket.inet_aton(LOOPBACK)], port=5000)
    await mdns.async_register_service(info)

    async def announce() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mouth:
            while True:
                mouth.sendto(b"noise", (LOOPBACK, port))
                mouth.sendto(NOTIFY, (LOOPBACK, port))
                await asyncio.sleep(0.1)

    announcing = asyncio.create_task(announce())
    try:
        ears = Ears(seconds=6.0, interface=LOOPBACK, ssdp_port=port, group="", ports=tmp_path)
        found = await discover(ears)
    finally:
        announcing.cancel()
        await asyncio.gather(announcing, return_exceptions=True)
        await mdns.async_close()
    assert Finding("octoprint", "Workshop", (("url", "http://127.0.0.1:5000"),)) in found
    assert [finding.driver for finding in found] == ["bambu", "marlin", "octoprint"]


@pytest.fixture
async def printer() -> AsyncIterator[Buddy]:
    buddy = Buddy()
    await buddy.plug_in()
    yield buddy
    await buddy.close()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "agent.toml"
    path.write_text('# ours\n[agent]\ncoordinator = "farm.lan:4101"\n')
    return path


def content(path: Path) -> str:
    return path.read_text()


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def is_private(path: Path) -> bool:
    return path.stat().st_mode & 0o077 == 0


def answers(**known: str) -> Ask:
    def ask(question: Question) -> str:
        return known.get(question.key, "")

    return ask


async def test_a_printer_that_answers_is_written_down(printer: Buddy, config: Path) -> None:
    told = await asyncio.to_thread(add, config, "mk4-1", "prusalink", {"url": printer.url}, answers(api_key=API_KEY))
    assert "idle" in told and printer.serial_number in told
    text = content(config)
    assert text.startswith("# ours\n") and API_KEY not in text
    (table,) = tomllib.loads(text)["printer"]
    secret = Path(table["options"]["api_key_file"])
    assert content(secret) == f"{API_KEY}\n" and is_private(secret)
    assert table == {"id": "mk4-1", "driver": "prusalink", "options": {"url": printer.url, "api_key_file": str(secret)}}
    with pytest.raises(WrongSettings, match="already"):
        await asyncio.to_thread(add, config, "mk4-1", "prusalink", {}, answers())


@pytest.mark.parametrize(
    ("driver", "given", "words"),
    [
        ("prusalink", {}, "api_key_file"),
        ("prusalink", {"api_key": "x"}, "secrets are asked for"),
        ("prusalink", {"colour": "red"}, "colour is not an option"),
        ("no-such", {}, "there is no driver no-such"),
    ],
)
async def test_nothing_is_written_unless_it_works(
    printer: Buddy, config: Path, driver: str, given: dict[str, str], words: str
) -> None:
    before = content(config)
    with pytest.raises(WrongSettings, match=words):
        await asyncio.to_thread(add, config, "mk4-1", driver, {"url": printer.url, **given}, answers(api_key="wrong"))
    assert content(config) == before
    assert files_in(config.parent) == [config]


async def test_what_is_needed_and_not_given_is_named(config: Path) -> None:
    with pytest.raises(WrongSettings, match="url is needed"):
        await asyncio.to_thread(add, config, "mk4-1", "prusalink", {}, answers())


async def test_a_port_that_was_found_is_completed_tried_and_written_down(tmp_path: Path) -> None:
    """What ``discover`` says of it is the port alone; the process that holds it is the one that the agent will find."""
    config = tmp_path / "agent.toml"
    config.write_text(f'[agent]\ncoordinator = "farm.lan:4101"\nstate_dir = "{tmp_path / "state"}"\n')
    host = SerialHost(tmp_path / "state" / "printers" / "ender-1")
    try:
        with FakeMarlin(tmp_path / "board", Firmware()) as board:
            given = dict(from_port(str(board.path)).options)
            with pytest.raises(WrongSettings, match="volume_mm must be three numbers"):
                await asyncio.to_thread(add, config, "ender-1", "marlin", given, answers(volume_mm="large"))
            told = await asyncio.to_thread(
                add, config, "ender-1", "marlin", given, answers(volume_mm="220 x 220 x 250")
            )
            assert "Ender-3" in told and "idle" in told
            assert host.is_alive()
    finally:
        host.kill()
    (table,) = tomllib.loads(content(config))["printer"]
    assert table == {"id": "ender-1", "driver": "marlin", "volume_mm": [220.0, 220.0, 250.0], "options": given}
