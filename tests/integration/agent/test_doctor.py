"""The doctor over several printers: each is told by itself, with what to do."""

from pathlib import Path

from printfarm_agent.doctor import examine
from printfarm_agent.settings import parse
from tests.support.ports import free_port
from tests.support.prusalink_emulator import API_KEY, Buddy


async def test_each_printer_is_told_with_what_to_do(tmp_path: Path) -> None:
    for name, text in (("right", API_KEY), ("wrong", "wrong"), ("open", API_KEY)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o644 if name == "open" else 0o600)
    buddy = Buddy()
    await buddy.plug_in()

    def printer(printer_id: str, url: str, key: str) -> dict[str, object]:
        options = {"url": url, "api_key_file": str(tmp_path / key), "timeout_seconds": 2.0}
        return {"id": printer_id, "driver": "prusalink", "options": options}

    settings = parse(
        {
            "agent": {
                "coordinator": f"127.0.0.1:{free_port()}",
                "state_dir": str(tmp_path / "state"),
                "metrics_address": f"127.0.0.1:{free_port()}",
            },
            "printer": [
                printer("good", buddy.url, "right"),
                printer("stranger", buddy.url, "wrong"),
                printer("open", buddy.url, "open"),
                printer("off", f"http://127.0.0.1:{free_port()}", "right"),
            ],
        }
    )
    (tmp_path / "state").mkdir()
    told: dict[str, tuple[bool, str]] = {}
    try:
        assert not await examine(settings, lambda what, good, words: told.update({what: (good, words)}))
    finally:
        await buddy.close()
    assert told["printer good"][0] and buddy.serial_number in told["printer good"][1]
    assert not told["printer stranger"][0] and "api_key_file" in told["printer stranger"][1]
    assert not told["printer open"][0] and "chmod 600" in told["printer open"][1]
    assert not told["printer off"][0] and "reached" in told["printer off"][1]
    assert told["metrics"][0] and told["journal"][0]
    assert not told["certificate"][0] and not told["coordinator"][0]
    assert {"clock", "disk"} <= told.keys()
