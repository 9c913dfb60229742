"""SimplyPrint's cloud, by an emulator on loopback."""

from collections.abc import Mapping
from typing import ClassVar

from tests.support.http_emulator import HttpEmulator
from tests.support.simplyprint_emulator import COMPANY, PRINTER, SimplyPrintEmulator

from ..rig import Options
from .emulated import EmulatedRig

_TEMPORARY = "uploads are temporary and expire by themselves; the cloud documents no way to delete one"


class SimplyPrintRig(EmulatedRig):
    """One printer of an account."""

    driver = "simplyprint"
    exempt: ClassVar[Mapping[str, str]] = {
        "a_corrupt_transfer_is_noticed_and_cannot_be_started": "the API has no checksum; the size is compared",
        "its_file_is_removed_and_may_be_gone_already": _TEMPORARY,
        "its_file_is_removed_after_its_print": _TEMPORARY,
    }

    @classmethod
    def make(cls) -> HttpEmulator:
        return SimplyPrintEmulator()

    def options(self) -> Options:
        more: Options = {"api_url": self.emulator.url, "files_url": self.emulator.files.url, "poll_seconds": 0.05}
        more |= {"company_id": COMPANY, "printer_id": PRINTER}
        return {key: value for key, value in super().options().items() if key != "url"} | more

    async def files(self) -> set[str]:
        return {name for name, _ in self.emulator.temporary.values()}

    async def answer_never(self) -> None:
        self.emulator.silent = self.emulator.files.silent = True

    async def slow_transfers(self) -> None:
        self.emulator.files.upload_bytes_per_second = 200_000.0
