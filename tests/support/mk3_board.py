"""An MK3S with Prusa-Firmware 3.14, as PrusaLink on a Raspberry Pi sees it: what that firmware answers beyond Marlin.

Its EEPROM outlives a reset; PrusaLink keeps the number of the last print there.
"""

import re
from dataclasses import dataclass, field

from .marlin_board import Board, Firmware

_JOB_NUMBER = 0x0D05
_ANSWERS = {
    "PRUSA Fir": "3.14.0-8094",
    "PRUSA SN": "CZPX1234X004XC12345",
    "M862.1 Q": "0.40",
    "M862.2 Q": "302",
    "M27 P": "Not SD printing",
    "M220": "100%",
    "M221": "100%",
    "M420": "Mesh bed leveling not active.",
    "M21": "echo:SD init fail",
}
_READ = re.compile(r"D3 Ax?([0-9A-Fa-f]+) C(\d+)")
_WRITE = re.compile(r"D3 Ax?([0-9A-Fa-f]+) X([0-9A-Fa-f ]+)")


def _firmware() -> Firmware:
    return Firmware(dialect="prusa", emergency_parser=False, machine_type="Prusa i3 MK3S", time_scale=20.0)


@dataclass
class Mk3Board(Board):
    """``Board`` with the M-codes that PrusaLink needs. Pause, resume and stop are the printer's own."""

    firmware: Firmware = field(default_factory=_firmware)
    eeprom: bytearray = field(default_factory=lambda: bytearray(4096))

    @property
    def job_number(self) -> int:
        """Of the last print that PrusaLink began, by its own word."""
        at = _JOB_NUMBER
        return int.from_bytes(self.eeprom[at : at + 4], "big")

    def says(self, text: str) -> None:
        """A line that nobody asked for, such as a button's."""
        self._note("said", text=text)
        self.say(text)

    def holds(self, seconds: float) -> None:
        """It is busy with itself, and carries nothing out for so long."""
        self._free_at = self.now + seconds

    def _carry_out(self, line: str) -> None:
        if line in _ANSWERS:
            self._note("command", command=line)
            self.say(_ANSWERS[line])
            self._ok()
        else:
            super()._carry_out(line)

    def _m20(self, _words: dict[str, float], _: str) -> None:
        self.say("Begin file list")
        self.say("End file list")
        self._ok()

    def _d3(self, _words: dict[str, float], rest: str) -> None:
        line = f"D3 {rest}"
        if read := _READ.fullmatch(line):
            at, count = int(read[1], 16), int(read[2])
            data = bytes(self.eeprom[at : at + count])
            for start in range(0, count, 16):
                self.say(f"{at + start:04x}  {data[start : start + 16].hex(' ')}")
        elif written := _WRITE.fullmatch(line):
            at, data = int(written[1], 16), bytes.fromhex(written[2])
            self.eeprom[at : at + len(data)] = data
        self._ok()

    def _forget(self) -> None:
        super()._forget()
        self._told = dict.fromkeys("PRQS", -1)

    def _m73(self, words: dict[str, float], _: str) -> None:
        # What is not given stays as it was; without a word it only tells.
        self._told |= {word: int(words[word]) for word in self._told if word in words}
        for mode, percent, left in (("NORMAL", "P", "R"), ("SILENT", "Q", "S")):
            done, minutes = self._told[percent], self._told[left]
            self.say(f"{mode} MODE: Percent done: {done}; print time remaining in mins: {minutes}; Change in mins: -1")
        self._ok()

    def _m601(self, _words: dict[str, float], _: str) -> None:
        self.says("// action:paused")
        self._ok()

    def _m602(self, _words: dict[str, float], _: str) -> None:
        self.says("// action:resumed")
        self._ok()

    def _m603(self, _words: dict[str, float], _: str) -> None:
        for heater in self.heaters.values():
            heater.target = 0.0
        self.says("// action:cancel")
        self._ok()

    def _chatter(self) -> None:
        reports = self._report_at <= self.now
        super()._chatter()
        if reports:
            at = self.position
            where = f"X:{at['X']:.2f} Y:{at['Y']:.2f} Z:{at['Z']:.2f} E:{at['E']:.2f}"
            self.say(f"{where} Count X: {at['X']:.2f} Y:{at['Y']:.2f} Z:{at['Z']:.2f} E:{at['E']:.2f}")
            self.say("E0:0 RPM PRN1:0 RPM E0@:0 PRN1@:0")

    def _temperatures(self) -> str:
        if self.faults.temperatures:
            return self.faults.temperatures
        hotend, bed = self.heaters["T"], self.heaters["B"]
        nozzle = f"{hotend.current:.1f} /{hotend.target:.1f}"
        return f"T:{nozzle} B:{bed.current:.1f} /{bed.target:.1f} T0:{nozzle} @:0 B@:0 P:0.0 A:30.0"
