"""A Bambu printer on the LAN: an emulated firmware behind a real Mosquitto and a real implicit-FTPS server.

It has the quirks that its notes tell of. Its machine's log is the truth: ``project_file`` and ``physical_start`` above all.
"""

import asyncio
import contextlib
import hashlib
import json
import ssl
import zipfile
from pathlib import Path
from typing import Any

import aiomqtt

from .ftps_server import FtpsServer
from .machine import Machine, Phase
from .mosquitto import MosquittoServer, make_certificate

SERIAL = "01S00C123456789"
CODE = "12345678"
_USERS = {"printer": "inside"}
_VERIFY = 0x05024007
_HMS_VERIFY = {"attr": 0x05000500, "code": 0x00010007}


class BambuEmulator:
    """``style``: ``x1`` reports everything each time, ``p1`` only what changed."""

    def __init__(self, folder: Path, *, style: str = "x1", report_seconds: float = 0.05) -> None:
        self.folder, self.style, self.report_seconds = folder, style, report_seconds
        self.fingerprint = make_certificate(folder, SERIAL)
        self.machine = Machine(delays={Phase.PAUSING: 0.2, Phase.CANCELLING: 0.3, Phase.FINISHING: 0.1})
        self.broker = MosquittoServer(folder, _USERS | {"bblp": CODE})
        self.card = FtpsServer(folder / "card", folder, CODE)
        self.ids = {"subtask_id": "0", "task_id": "0", "project_id": "0"}
        self.subtask_name, self.gcode_file = "", ""
        self.print_error, self.print_error_until = 0, 0.0
        self.reports_share_sequences = False
        self.hms: list[dict[str, int]] = []
        self.fun: str | None = "3EC18FFF9CFF"
        self.url_form = "ftp:///"
        self.ams: dict[str, Any] = {}
        # Faults.
        self.mute = False
        self.late_seconds = 0.0
        self.state_word = ""
        self.broken_sensors = False
        self.payload: bytes | None = None
        self.refuses = ""
        self.loses_start_reply = False
        self.ignores_starts = False
        self.finish_lingers = 0.0
        self.change_before_pushall = 0.0
        self.invalid_utf8 = False
        self.unknown_stage: int | None = None
        self._lingering: tuple[float, dict[str, Any]] | None = None
        self._told: dict[str, Any] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._client: aiomqtt.Client | None = None
        self._connected, self._healed = asyncio.Event(), asyncio.Event()

    # -- power and cables

    async def plug_in(self) -> None:
        """Broker, card and firmware are there."""
        await asyncio.to_thread(self.broker.start)
        self.card.start()
        if not self._tasks:
            self._tasks = [asyncio.create_task(self._live()), asyncio.create_task(self._report_for_ever())]
        await asyncio.wait_for(self._connected.wait(), 20.0)

    async def unplug(self) -> None:
        """Open connections break, and nobody listens."""
        self._connected.clear()
        await asyncio.to_thread(self.broker.kill)
        await asyncio.to_thread(self.card.stop)

    async def close(self) -> None:
        left: set[asyncio.Task[None]] = set(self._tasks)
        while left:
            # Once is not always enough: what the library waits in may lose it.
            for task in left:
                task.cancel()
            _, left = await asyncio.wait(left, timeout=1.0)
        await self.unplug()
        await asyncio.to_thread(self.broker.close)

    async def heal(self) -> None:
        """No fault stands any more."""
        self._healed.set()
        self._healed = asyncio.Event()
        self.mute, self.late_seconds, self.state_word, self.broken_sensors = False, 0.0, "", False
        self.payload, self.refuses, self.ignores_starts = None, "", False
        self.card.full, self.card.bytes_per_second, self.card.data_hangs = False, 0.0, False
        if not self._connected.is_set():
            await self.plug_in()

    async def new_certificate(self) -> None:
        """As after a reset, or with somebody else in the printer's place."""
        await self.unplug()
        self.fingerprint = make_certificate(self.folder, SERIAL)
        await self.plug_in()

    def set_code(self, code: str) -> None:
        """As when the mode is switched."""
        self.card.code = code
        self.broker.set_users(_USERS | {"bblp": code})

    # -- the firmware's own connection

    async def _live(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        while True:
            try:
                async with aiomqtt.Client(
                    "127.0.0.1", self.broker.port, username="printer", password="inside", tls_context=context
                ) as client:
                    await client.subscribe(f"device/{SERIAL}/request")
                    self._client, self._told = client, {}
                    self._connected.set()
                    async for message in client.messages:
                        assert isinstance(message.payload, bytes)
                        await self._asked(json.loads(message.payload))
            except aiomqtt.MqttError:
                self._client = None
                await asyncio.sleep(0.05)

    async def _report_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self.report_seconds)
            with contextlib.suppress(aiomqtt.MqttError):
                await self._push(whole=self.style == "x1")

    async def _push(self, *, whole: bool) -> None:
        if self.payload is not None:
            await self._publish_raw(self.payload)
            return
        now = self._state()
        news = now if whole else {key: value for key, value in now.items() if self._told.get(key) != value}
        self._told = now
        if news:
            await self._publish({"print": {"command": "push_status", **news}})

    async def _publish(self, body: dict[str, Any]) -> None:
        raw = json.dumps(body).encode()
        if self.invalid_utf8:
            raw = raw.replace(b'"subtask_name": "', b'"subtask_name": "\xff\xfe')
        await self._publish_raw(raw)

    async def _publish_raw(self, raw: bytes) -> None:
        if self.mute or self._client is None:
            return
        if self.late_seconds:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.late_seconds):
                    await self._healed.wait()
        client = self._client
        if client is not None and not self.mute:
            await client.publish(f"device/{SERIAL}/report", raw)

    # -- requests

    async def _asked(self, body: dict[str, Any]) -> None:
        if self.mute:
            return
        for top, request in body.items():
            command = request.get("command")
            if (top, command) == ("info", "get_version"):
                await self._publish({"info": {**request, "module": self._modules()}})
            elif top == "pushing":
                self.machine.note("pushall")
                if self.change_before_pushall:
                    # Of a P1: whatever changes just then.
                    word = {"gcode_state": self._word()[0]}
                    await self._publish({"print": {"command": "push_status", **word}})
                    await asyncio.sleep(self.change_before_pushall)
                await self._push(whole=True)
            elif top == "print":
                await self._print(request)

    def _modules(self) -> list[dict[str, str]]:
        model = "X1 Carbon" if self.style == "x1" else "P1S"
        return [{"name": "ota", "sw_ver": "01.08.02.00", "product_name": model, "sn": SERIAL}]

    async def _print(self, request: dict[str, Any]) -> None:
        command = str(request["command"])
        if self.reports_share_sequences:
            # Reports are counted by the printer itself.
            shared = {"command": "push_status", "sequence_id": request["sequence_id"]}
            await self._publish({"print": {**shared, **self._state()}})
        told = ("subtask_id", "url", "param", "ams_mapping")
        self.machine.note(command, **{k: request[k] for k in told if k in request})
        if self.refuses == "hms":
            # P1S: accepted and echoed, and nothing moves.
            self.hms = [_HMS_VERIFY]
            self.ids["subtask_id"] = str(request.get("subtask_id", self.ids["subtask_id"]))
            await self._publish({"print": {**request, "result": "success"}})
            return
        if self.refuses == "verify":
            answer = {"result": "failed", "reason": "mqtt message verify failed", "err_code": _VERIFY}
            await self._publish({"print": {**request, **answer}})
            return
        if self.refuses == "silence":
            return
        if command == "project_file":
            await self._project_file(request)
            return
        moves = {"pause": self.machine.pause, "resume": self.machine.resume, "stop": self._stop}
        if command in moves:
            moves[command]()
        elif command == "clean_print_error":
            self.print_error = 0
        elif command == "gcode_line" and self.machine.advance().phase is Phase.IDLE:
            self.machine.targets = {"hotend": 0.0, "bed": 0.0}
        await self._publish({"print": {**request, "result": "success"}})

    def _stop(self) -> bool:
        self.machine.note("emergency_stop")
        if not self.machine.cancel():
            return False
        # The figures fall to zero, and the code stands for a moment only.
        self._raise_error(0x0300400C, 1.0)
        return True

    def _raise_error(self, code: int, seconds: float = 1e9) -> None:
        self.print_error, self.print_error_until = code, self.machine.clock() + seconds

    async def _project_file(self, request: dict[str, Any]) -> None:
        if self.machine.advance().phase is not Phase.IDLE:
            self.machine.note("project_file_while_busy")
            self._raise_error(0x05004004)
        elif self.refuses == "busy":
            self._raise_error(0x05004004)
        elif self.ignores_starts:
            pass
        elif code := self._begin(request):
            self._raise_error(code)
        if self.loses_start_reply:
            self.loses_start_reply = False
            return
        await self._publish({"print": {**request, "result": "success"}})

    def _begin(self, request: dict[str, Any]) -> int:
        """0, or why not."""
        url = str(request["url"])
        path = self.card.folder / url.rpartition("/")[2]
        if not url.startswith(self.url_form) or not path.exists():
            return 0x05004002
        if request["md5"] and request["md5"].lower() != hashlib.md5(path.read_bytes()).hexdigest():
            return 0x05004003
        try:
            with zipfile.ZipFile(path) as project:
                content = project.read(str(request["param"]))
        except (KeyError, zipfile.BadZipFile):
            return 0x05004003
        assert isinstance(request["use_ams"], bool)
        before = self._state()
        self.print_error = 0
        self.machine.start(path.name, content=content)
        self.ids = {key: str(request[key]) for key in ("subtask_id", "task_id", "project_id")}
        self.subtask_name, self.gcode_file = str(request["subtask_name"]), str(request["file"])
        if self.finish_lingers:
            self._lingering = (self.machine.clock() + self.finish_lingers, before)
        return 0

    # -- people

    def start_foreign(self, name: str, content: bytes) -> None:
        """From the card, at the screen, or from the cloud: ids of nobody here."""
        self.machine.start(name, foreign=True, content=content)
        self.ids = {key: "0" for key in self.ids}
        self.subtask_name, self.gcode_file = name, name

    # -- state

    def _state(self) -> dict[str, Any]:
        machine = self.machine.advance()
        if self._lingering is not None:
            until, before = self._lingering
            if machine.clock() < until:
                return before
            self._lingering = None
        if machine.clock() > self.print_error_until:
            self.print_error = 0
        if machine.phase is Phase.IDLE and machine.ended is None and machine.boots > 1:
            self.ids, self.subtask_name, self.gcode_file = {key: "0" for key in self.ids}, "", ""
        word, stage = self._word()
        job = machine.job
        heaters = machine.temperatures()
        over = machine.ended is not None and machine.ended.how == "complete"
        state: dict[str, Any] = {
            "gcode_state": self.state_word or word,
            "stg_cur": stage if self.unknown_stage is None else self.unknown_stage,
            "mc_percent": int(job.progress * 100) if job else (100 if over else 0),
            "mc_remaining_time": int((job.seconds - job.done) / 60) if job else 0,
            "layer_num": int(job.progress * 20) + 1 if job and machine.phase is not Phase.HEATING else 0,
            "total_layer_num": 20,
            "gcode_file_prepare_percent": "99",
            "nozzle_temper": heaters["hotend"][0],
            "nozzle_target_temper": heaters["hotend"][1],
            "bed_temper": heaters["bed"][0],
            "bed_target_temper": heaters["bed"][1],
            "nozzle_diameter": "0.4",
            "print_error": self.print_error,
            "hms": self.hms,
            "home_flag": 0x100,
            "subtask_name": self.subtask_name,
            "gcode_file": self.gcode_file,
            **self.ids,
        }
        if self.fun is not None:
            state["fun"] = self.fun
        if self.ams:
            state["ams"] = self.ams
        if self.broken_sensors:
            state |= {"nozzle_temper": float("nan"), "bed_temper": -270.0}
        if machine.phase is Phase.CANCELLING:
            state |= {"mc_percent": 0, "layer_num": 0}
        return state

    def _word(self) -> tuple[str, int]:
        machine = self.machine
        none = -1 if self.style == "x1" else 255
        match machine.phase:
            case Phase.HEATING:
                return "PREPARE", 2
            case Phase.PAUSED:
                return "PAUSE", 16
            case Phase.HALTED:
                return "FAILED", none
            case Phase.IDLE:
                ended = machine.ended
                if ended is None or ended.how == "lost":
                    return "IDLE", none
                return ("FINISH" if ended.how == "complete" else "FAILED"), none
        return "RUNNING", 0

    def fail(self) -> None:
        """Spaghetti."""
        self.machine.fail("spaghetti")
        self._raise_error(0x03008003)
