"""Duet boards, by an emulator of each server."""

from collections.abc import Mapping
from typing import ClassVar

from tests.support.duet_emulator import Sbc, Standalone
from tests.support.http_emulator import HttpEmulator

from .emulated import EmulatedRig


class StandaloneRig(EmulatedRig):
    """RepRapFirmware's own server."""

    driver = "duet"
    secret_key = "password_file"

    @classmethod
    def make(cls) -> HttpEmulator:
        return Standalone()

    def agents_name(self, name: str) -> str:
        return name.rpartition("/")[2]

    async def restart_the_machine(self) -> None:
        self.emulator.reset()

    async def corrupt_the_next_transfer(self) -> None:
        self.emulator.corrupts_upload = True


class SbcRig(EmulatedRig):
    """With DuetSoftwareFramework."""

    driver = "duet"
    secret_key = "password_file"
    exempt: ClassVar[Mapping[str, str]] = {
        "a_corrupt_transfer_is_noticed_and_cannot_be_started": "an SBC takes no checksum; the size is compared",
    }

    @classmethod
    def make(cls) -> HttpEmulator:
        return Sbc()

    def agents_name(self, name: str) -> str:
        return name.rpartition("/")[2]
