"""The machine: files, heaters, one print at a time, and what it tells of itself."""

import asyncio
import hashlib
import json
import math
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from .faults import Faults
from .gcode import Interpreter, Step
from .log import Log
from .thermal import Heater

_NAME = re.compile(r"[A-Za-z0-9._-]{1,128}")
_OURS = re.compile(r"pf-([0-9a-f-]{36})\.gcode")
# Slept when the simulated clock is this far ahead of the wall's, so that many short moves cost one sleep.
_LEAD_SECONDS = 0.02
_LINES_PER_TURN = 500


class Refusal(Exception):
    """The printer says no. ``code`` is a stable word."""

    def __init__(self, code: str, text: str = "") -> None:
        super().__init__(text or code)
        self.code = code


@dataclass(frozen=True, slots=True)
class Model:
    """What the machine is and holds."""

    name: str = "virtual"
    model: str = "Virtual One"
    volume_mm: tuple[float, float, float] = (220.0, 220.0, 250.0)
    nozzle_mm: float = 0.4
    material: str = "PLA"
    colour: str = "black"
    plate_sensor: bool = False


@dataclass(slots=True)
class Memory:
    """What outlives a power cut."""

    boot_count: int = 0
    print_number: int = 0
    plate_occupied: bool = False


@dataclass(slots=True)
class Print:
    """The print under way, or the last one."""

    name: str
    number: int
    by: str
    began: float
    size: int
    read: int = 0
    layer: int = 0
    layer_count: int = 0
    moved: bool = False
    paused_at: float | None = None
    paused_for: float = 0.0
    ended_at: float | None = None
    ending: str = ""
    ended_by: str = ""
    message: str = ""
    lies: bool = False
    hangs: bool = False

    @property
    def progress(self) -> float:
        """0..1, by bytes."""
        return min(1.0, self.read / self.size) if self.size else 1.0


@dataclass(slots=True)
class Machine:
    """One printer. Simulated time is wall time times ``scale``."""

    folder: Path
    model: Model
    scale: float
    on_power_cut: Callable[[], None] = field(default=lambda: None)
    faults: Faults = field(default_factory=Faults)
    halted: str = ""
    last: Print | None = None
    memory: Memory = field(default_factory=Memory)
    _task: asyncio.Task[None] | None = None
    _going: asyncio.Event = field(default_factory=asyncio.Event)
    heaters: dict[str, Heater] = field(default_factory=dict)
    position: tuple[float, float, float] = (0.0, 0.0, 0.0)
    _log: Log | None = None

    # -- power

    def power_on(self) -> None:
        """Boots: whatever it printed is gone, what lies on the plate is not."""
        (self.folder / "files").mkdir(parents=True, exist_ok=True)
        self._log = Log(self.folder / "log.jsonl")
        kept = self.folder / "memory.json"
        if kept.exists():
            self.memory = Memory(**json.loads(kept.read_text()))
        self._boot("power_on")

    def _boot(self, why: str) -> None:
        self.memory.boot_count += 1
        self._remember()
        self.heaters = {"hotend": Heater(30.0), "bed": Heater(60.0)}
        self.halted = ""
        self.last = None
        self.log(why, boot_count=self.memory.boot_count)

    def _remember(self) -> None:
        scratch = self.folder / "memory.tmp"
        scratch.write_text(json.dumps({f: getattr(self.memory, f) for f in Memory.__slots__}))
        scratch.replace(self.folder / "memory.json")

    def log(self, event: str, **facts: object) -> None:
        """Into its own log."""
        if self._log is not None:
            self._log.write(event, **facts)

    def now(self) -> float:
        """Simulated seconds."""
        return time.monotonic() * self.scale

    # -- what it says

    @property
    def active(self) -> Print | None:
        """The print that goes on physically."""
        return self.last if self.last and not self.last.ending else None

    def state(self) -> str:
        """Its own word, which a fault may make a lie."""
        if self.faults.has("unknown_state"):
            return "confused"
        if self.halted:
            return "error"
        doing = self.active
        if doing is None or doing.lies:
            return "idle"
        if doing.paused_at is not None:
            return "paused"
        if not doing.moved:
            return "preparing"
        return "finishing" if doing.read >= doing.size else "printing"

    def status(self) -> dict[str, object]:
        """One look."""
        now, last = self.now(), self.last
        state = self.state()
        told: dict[str, object] = {
            "state": state,
            "heaters": {name: self._reading(heater, now) for name, heater in self.heaters.items()},
            "position": self.position,
            "boot_count": self.memory.boot_count,
            "message": self.halted,
        }
        if self.model.plate_sensor:
            told["plate_occupied"] = self.memory.plate_occupied
        if last is not None:
            told |= self._print_status(last, now)
        return told

    def _print_status(self, last: Print, now: float) -> dict[str, object]:
        progress = 1.0 if last.lies else last.progress
        elapsed = (last.ended_at or last.paused_at or now) - last.began - last.paused_for
        remaining = elapsed * (1.0 - progress) / progress if progress > 0.01 else None
        return {
            "file": last.name,
            "print_number": last.number,
            "progress": progress,
            "layer": last.layer,
            "layer_count": last.layer_count or None,
            "elapsed": elapsed,
            "remaining": remaining if remaining is not None and not last.ending else None,
            "ending": "complete" if last.lies else last.ending or None,
            "end_of_file": last.lies or last.read >= last.size,
            "by": last.ended_by or last.by,
            "message": self.halted or last.message,
        }

    def _reading(self, heater: Heater, now: float) -> dict[str, float]:
        value = round(heater.reading(now), 2)
        if self.faults.has("nan_temperature"):
            value = math.nan
        elif self.faults.has("open_thermistor"):
            value = -15.0
        return {"current": value, "target": heater.target}

    # -- files

    def path(self, name: str) -> Path:
        """Where a file lies on the printer."""
        if not _NAME.fullmatch(name) or name.startswith("."):
            raise Refusal("bad_name", "letters, digits, dot, dash and underscore only")
        return self.folder / "files" / name

    def files(self) -> dict[str, dict[str, object]]:
        """Name -> size and SHA-256."""
        return {
            path.name: {"size": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
            for path in sorted((self.folder / "files").glob("*"))
            if path.suffix != ".part"
        }

    # -- printing

    def start(self, name: str, by: str) -> Print:
        """Begins to print. Raises Refusal."""
        path = self.path(name)
        if self.halted:
            raise Refusal("halted", self.halted)
        if self.active is not None:
            raise Refusal("busy", f"it prints {self.active.name}")
        if self.faults.has("refuse_start"):
            raise Refusal("refused", "asked to refuse")
        if not path.exists():
            raise Refusal("no_file", f"there is no {name}")
        self.memory.print_number += 1
        was_occupied = self.memory.plate_occupied
        self.memory.plate_occupied = True
        self._remember()
        begun = Print(name, self.memory.print_number, by, self.now(), path.stat().st_size)
        self.last = begun
        ours = _OURS.fullmatch(name)
        self.log(
            "physical_start",
            file=name,
            run_id=ours[1] if ours else None,
            print_number=begun.number,
            by=by,
            sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
            plate_occupied=was_occupied,
        )
        if was_occupied:
            self.log("crash_on_part", print_number=begun.number)
        self._going.set()
        self._task = asyncio.get_running_loop().create_task(self._run(begun, path))
        return begun

    async def _run(self, begun: Print, path: Path) -> None:
        interpreter = Interpreter()
        ahead = self.now()
        turn = 0
        with path.open("rb") as file:
            for raw in file:
                step = interpreter.read(raw.decode("utf-8", "replace").rstrip("\r\n"))
                begun.read += len(raw)
                ahead = max(ahead, self.now() - _LEAD_SECONDS * self.scale)
                ahead += self._do(begun, step)
                x, y, z = (interpreter.position[axis] for axis in "XYZ")
                self.position = (x, y, z)
                if await self._strike(begun):
                    return
                turn += 1
                wait = (ahead - self.now()) / self.scale
                if wait > _LEAD_SECONDS:
                    await asyncio.sleep(wait)
                elif turn % _LINES_PER_TURN == 0:
                    await asyncio.sleep(0)
                if not self._going.is_set():
                    await self._going.wait()
                    ahead = self.now()
        await asyncio.sleep(max(0.0, (ahead - self.now()) / self.scale))
        for command in sorted(interpreter.unknown):
            self.log("unknown_command", command=command)
        self._end(begun, "complete", begun.by)

    def _do(self, begun: Print, step: Step) -> float:
        """Takes effect; returns how many simulated seconds it takes."""
        if step.halts:
            self.halt("M112 in the file")
        if step.heater:
            self.set_heater(step.heater, step.target)
        if step.is_layer:
            begun.layer += 1
        if step.layer_count:
            begun.layer_count = step.layer_count
        if step.message:
            begun.message = step.message
        if step.is_move:
            begun.moved = True
        if step.wait_for:
            return self.heaters[step.wait_for].seconds_to_reach(self.now())
        return step.seconds

    async def _strike(self, begun: Print) -> bool:
        """Faults at a fraction of the file. True: the print is over."""
        progress = begun.progress
        if self.halted:
            return True
        if not self.faults.standing:
            return False
        if self.faults.reached("lie_done_at", progress):
            begun.lies = True
            self.log("fault", name="lie_done", progress=progress)
        if self.faults.reached("reset_at", progress):
            self._task = None
            self.reset("fault")
            return True
        if self.faults.reached("thermal_runaway_at", progress):
            self.halt("THERMAL RUNAWAY")
            return True
        if (at := self.faults.number("hang_at")) is not None and progress >= at:
            begun.hangs = True
            self.log("fault", name="hang", progress=progress)
            await self.faults.until_cleared("hang_at")
            begun.hangs = False
        return False

    def _end(self, done: Print, ending: str, by: str) -> None:
        if done.ending:
            return
        done.ending, done.ended_by, done.ended_at = ending, by, self.now()
        self.log("end", file=done.name, print_number=done.number, ending=ending, by=by, progress=done.progress)

    def _stop_task(self) -> None:
        task, self._task = self._task, None
        if task is not None and task is not asyncio.current_task():
            task.cancel()

    def pause(self, by: str) -> None:
        """Holds the print where it is. Paused already: nothing."""
        doing = self._doing()
        if doing.paused_at is None:
            doing.paused_at = self.now()
            self._going.clear()
            self.log("paused", print_number=doing.number, by=by)
        doing.by = by if by == "machine" else doing.by

    def resume(self, by: str) -> None:
        """Goes on."""
        doing = self._doing()
        if doing.paused_at is not None:
            doing.paused_for += self.now() - doing.paused_at
            doing.paused_at = None
            self._going.set()
            self.log("resumed", print_number=doing.number, by=by)

    def cancel(self, by: str) -> None:
        """Ends the print; heaters off."""
        doing = self._doing()
        self._stop_task()
        self._all_off()
        self._end(doing, "cancelled", by)

    def _doing(self) -> Print:
        if self.active is None:
            raise Refusal("not_printing", "it prints nothing")
        return self.active

    def set_heater(self, name: str, target: float) -> None:
        """A new target."""
        if name not in self.heaters:
            raise Refusal("no_heater", f"there is no heater {name}")
        self.heaters[name].set_target(target, self.now())
        self.log("heater", name=name, target=target)

    def _all_off(self) -> None:
        for name, heater in self.heaters.items():
            if heater.target:
                self.set_heater(name, 0.0)

    def cool_down(self) -> None:
        """All heaters off."""
        if self.active is not None:
            raise Refusal("busy", "it prints")
        self._all_off()

    def halt(self, why: str) -> None:
        """Stops all motion and heat; only a reset ends it."""
        self._stop_task()
        self.halted = why
        self._all_off()
        self.log("halted", why=why)
        if self.active is not None:
            self._end(self.active, "failed", "machine")

    def reset(self, why: str) -> None:
        """The firmware restarts: the print is gone."""
        self._stop_task()
        if self.active is not None:
            self._end(self.active, "failed", "machine")
        self._boot(f"reset_by_{why}")

    def clear_plate(self) -> None:
        """Somebody took the part off."""
        self.memory.plate_occupied = False
        self._remember()
        self.log("plate_cleared")

    def drift(self, degrees_per_minute: float, heater: str = "hotend") -> None:
        """The reading of a heater leaves the truth from now on."""
        self.heaters[heater].begin_drift(degrees_per_minute, self.now())
