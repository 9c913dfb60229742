"""PrusaLink, by an emulator of each dialect."""

from collections.abc import Mapping
from typing import ClassVar

from printfarm_agent.drivers.prusalink.protocol import long_name
from tests.support.http_emulator import HttpEmulator
from tests.support.prusalink_emulator import Buddy, Pi

from .emulated import EmulatedRig

_NO_STOP = "the protocol has no emergency stop: it cancels the job, which ends idle, and refuses where there is none"
EXEMPT = {
    "a_corrupt_transfer_is_noticed_and_cannot_be_started": "the protocol has no checksum; the size is compared",
    "an_emergency_stop_stops_a_print": _NO_STOP,
    "an_emergency_stop_may_be_repeated": _NO_STOP,
    "heaters_cool_down_when_nothing_prints": "the protocol sets no temperatures; declared as a capability",
}


class _PrusaLinkRig(EmulatedRig):
    driver = "prusalink"
    exempt: ClassVar[Mapping[str, str]] = EXEMPT

    def agents_name(self, name: str) -> str:
        return long_name(name)

    async def is_stopped(self) -> bool:
        return any(fact["event"] == "cancel" for fact in self.machine.log)


class BuddyRig(_PrusaLinkRig):
    """With an API key."""

    @classmethod
    def make(cls) -> HttpEmulator:
        return Buddy()


class PiRig(_PrusaLinkRig):
    """With Digest."""

    secret_key = "password_file"

    @classmethod
    def make(cls) -> HttpEmulator:
        return Pi(ending_seconds=5.0)
