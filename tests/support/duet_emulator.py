"""A Duet on the wire, standalone and behind an SBC, with the limits and quirks of RepRapFirmware 3.6 and DuetSoftwareFramework.

Its machine's log is the truth. Issue numbers: R = Duet3D/RepRapFirmware, F = Duet3D/DuetSoftwareFramework.
"""

import re
import secrets
import zlib
from typing import Any

from .http_emulator import HttpEmulator, Reply, Request
from .machine import Machine, Phase

PASSWORD = "correct-horse"
UNIQUE_ID = "08DLM-996RU-N8PS0-6J1F0-3SD6K-9VD6N"
_MOST_HEAD_BYTES, _MOST_KEYS, _SLOTS = 1460, 5, 8
_BUFFER_BYTES = 255
_BY_ADDRESS = "address"
# How much later than the state the SBC's flags of an end come.
_FLAGS_LAG_SECONDS = 0.3
_LIVE = {"status", "upTime", "filePosition", "duration", "layer", "timesLeft", "current", "active", "standby", "state"}
_LIVE |= {"userPosition"}
_KEYS = ("boards", "heat", "job", "move", "state", "tools", "volumes")


class DuetEmulator(HttpEmulator):
    """The board itself; the two servers dress it."""

    def __init__(self, machine: Machine | None = None, *, password: str = PASSWORD) -> None:
        super().__init__()
        self.machine = machine or Machine(delays={Phase.PAUSING: 0.3, Phase.CANCELLING: 0.3, Phase.FINISHING: 0.2})
        self.key = password
        self.firmware = "3.6.0"
        self.has_cancel_macro = False
        self.replies: list[str] = []
        self.seqs = 0
        self.last: dict[str, Any] = {"lastFileName": None, "lastDuration": 0}
        self.flags = {"lastFileAborted": False, "lastFileCancelled": False, "lastFileSimulated": False}
        self.message_box: dict[str, Any] | None = None
        self.heater_fault = False
        self._ended: object = None
        # By their numbers; all have the one heater.
        self.tool_targets: dict[int, float] = {0: 0.0}
        # Faults.
        self.state_word = ""
        self.broken_sensors = False
        self.refuses_starts = False
        self.loses_start_reply = False
        self.corrupts_upload = False
        self.buffer_full = 0
        self.start_shows_after = 0.0
        self._hidden_until = 0.0

    # -- people

    def start_foreign(self, name: str, content: bytes) -> None:
        self.machine.files[f"0:/gcodes/{name}"] = content
        self.machine.start(f"0:/gcodes/{name}", foreign=True)

    # -- G-code

    def run(self, text: str) -> None:
        """Carried out at once: nothing here waits."""
        machine = self.machine.advance()
        for line in text.split("\n"):
            word = line.strip().split(" ")[0].upper()
            match word:
                case "M32" | "M23":
                    self._file(word, line)
                case "M24":
                    machine.resume()
                case "M25":
                    machine.pause()
                case "M0":
                    # F#112: lost while it pauses.
                    if machine.phase is not Phase.PAUSED:
                        self.say("Error: M0: Pause the print before attempting to cancel it")
                    else:
                        machine.cancel()
                case "M112":
                    machine.emergency()
                case "M140" if machine.phase is Phase.IDLE:
                    machine.targets["bed"] = 0.0
                case "G10" if machine.phase is Phase.IDLE:
                    self._cool_tool(line)

    def _cool_tool(self, line: str) -> None:
        found = re.search(r"P(\d+)", line)
        if found and int(found[1]) in self.tool_targets:
            self.tool_targets[int(found[1])] = 0.0
        if not any(self.tool_targets.values()):
            self.machine.targets["hotend"] = 0.0

    def _file(self, word: str, line: str) -> None:
        machine = self.machine
        found = re.search(r'"([^"]*)"', line)
        path = found[1] if found else ""
        if machine.phase is not Phase.IDLE or self.refuses_starts:
            self.say(f"Error: {word}: Cannot set file to print, because a file is already being printed")
        elif path not in machine.files:
            self.say(f'Error: {word}: GCode file "{path}" not found')
        elif word == "M23":
            # It changes the last name, and not the last duration.
            self.last["lastFileName"] = path
            self.say(f"File {path} selected for printing")
        else:
            machine.start(path)
            self._ended = None
            self._hidden_until = machine.clock() + self.start_shows_after

    def say(self, text: str) -> None:
        """A reply, for all clients."""
        self.replies.append(text)
        self.seqs += 1

    # -- the model

    def model(self) -> dict[str, Any]:
        machine = self.machine.advance()
        self._note_end()
        job = machine.job if machine.clock() >= self._hidden_until else None
        heaters = machine.temperatures()
        sensors: list[Any] = [self._sensor(*heaters["bed"]), None, self._sensor(*heaters["hotend"])]
        if self.heater_fault:
            sensors[2]["state"] = "fault"
        if self.broken_sensors:
            sensors[0]["current"], sensors[2]["current"] = 2000.0, float("nan")
        file: dict[str, Any] = {"fileName": None, "size": 0, "numLayers": 20}
        state: dict[str, Any] = {
            "status": self.state_word or self.status(),
            "upTime": int(machine.clock() - machine.booted_at),
        }
        state |= {"messageBox": self.message_box, "displayMessage": "", "currentTool": 0}
        told: dict[str, Any] = {"file": file, "timesLeft": {"slicer": None, "file": None}}
        if job is not None and machine.phase is not Phase.CANCELLING:
            size = len(machine.files.get(job.file, b"x"))
            file |= {"fileName": job.file, "size": size}
            told |= {"filePosition": int(job.progress * size), "duration": int(job.done)}
            told["layer"] = int(job.progress * 20) + 1 if machine.phase is not Phase.HEATING else None
            told["timesLeft"] = {"slicer": job.seconds - job.done, "file": None}
        else:
            told |= {**self.last, **self.sbc_flags()}
        return {
            "boards": [
                {
                    "firmwareName": "RepRapFirmware",
                    "firmwareVersion": self.firmware,
                    "shortName": "MB6HC",
                    "uniqueId": UNIQUE_ID,
                }
            ],
            "heat": {"heaters": sensors, "bedHeaters": [0, -1], "chamberHeaters": [-1]},
            "job": told,
            "move": {"axes": [{"letter": a, "min": 0, "max": 300, "userPosition": 1.0} for a in "XYZ"]},
            "state": state,
            "tools": [
                None,
                *(
                    {"number": number, "heaters": [2], "active": [target], "standby": [0]}
                    for number, target in self.tool_targets.items()
                ),
            ],
            "volumes": [{"mounted": True, "freeSpace": max(0, machine.capacity - machine.used)}],
        }

    def _sensor(self, current: float, target: float) -> dict[str, Any]:
        return {"current": current, "active": target, "standby": 0, "state": "active" if target else "off"}

    def sbc_flags(self) -> dict[str, Any]:
        return {}

    def _note_end(self) -> None:
        ended = self.machine.ended
        if ended is None or ended is self._ended:
            if self.machine.boots > 1 and self.machine.job is None and ended is None:
                self.last = {"lastFileName": None, "lastDuration": 0}
            return
        self._ended = ended
        complete = ended.how == "complete"
        self.last = {
            "lastFileName": ended.print.file,
            "lastDuration": max(1, int(ended.print.seconds)) if complete else 0,
        }
        self.flags |= {
            "lastFileAborted": ended.how in ("failed", "lost"),
            "lastFileCancelled": ended.how == "cancelled",
        }
        word = "Finished" if complete else "Cancelled"
        self.say(f"{word} printing file {ended.print.file}, print time was 0h 1m")

    def status(self) -> str:
        if self.machine.clock() < self._hidden_until:
            return "idle"
        match self.machine.phase:
            case Phase.HALTED:
                return "halted"
            case Phase.PAUSING:
                return "pausing"
            case Phase.PAUSED:
                return "paused"
            case Phase.RESUMING:
                return "resuming"
            case Phase.CANCELLING:
                return "cancelling" if self.has_cancel_macro else "busy"
            case Phase.IDLE:
                return "idle"
        return "processing"

    async def receive(self, request: Request) -> bytes:
        content = await request.body(self.upload_bytes_per_second)
        if self.corrupts_upload:
            self.corrupts_upload = False
            content = content[:-1] + bytes([content[-1] ^ 1])
        return content


class Standalone(DuetEmulator):
    """RepRapFirmware's own server."""

    def __init__(self, machine: Machine | None = None, *, password: str = PASSWORD) -> None:
        super().__init__(machine, password=password)
        self.session_seconds = 8.0
        # Key -> when it was last used, by the machine's clock.
        self.sessions: dict[str, float] = {}
        self.out_of_buffers = False
        self.rows_per_answer = 1
        # Before 3.5 the address is what a session is known by.
        self.gives_keys = True

    def reset(self) -> None:
        """Board reset: sessions, replies and the last job are gone."""
        self.machine.restart()
        self.sessions.clear()
        self.replies.clear()

    async def handle(self, request: Request) -> Reply:
        if request.head_bytes > _MOST_HEAD_BYTES or len(request.query) > _MOST_KEYS or len(request.headers) > 30:
            return Reply(500, "overflow")
        now = self.machine.clock()
        self.sessions = {key: at for key, at in self.sessions.items() if now - at < self.session_seconds}
        query, path = request.query, request.path
        # Without the parameter it is just another call that is not logged in.
        if path == "/rr_connect" and "password" in query:
            return self._connect(query, now)
        key = request.headers.get("x-session-key", "" if self.gives_keys else _BY_ADDRESS)
        if key not in self.sessions:
            if request.method == "POST":
                await request.body()
                return Reply(500, "Unknown message type or not authenticated")
            return Reply(401, "Not authorized")
        self.sessions[key] = now
        if self.out_of_buffers:
            # R#995, R#1074: bare, until somebody fetches the reply that holds the buffers.
            if path == "/rr_reply":
                self.out_of_buffers = False
                return Reply(200, self._reply())
            return Reply(raw=b"HTTP/1.1 503 Service Unavailable\r\n\r\n")
        return await self._answer(request, path, query, key)

    def _connect(self, query: dict[str, str], now: float) -> Reply:
        if self.key and query["password"] != self.key:
            return Reply(200, {"err": 1})
        if len(self.sessions) >= _SLOTS:
            return Reply(200, {"err": 2})
        key = str(secrets.randbelow(1 << 31)) if self.gives_keys else _BY_ADDRESS
        self.sessions[key] = now
        said: dict[str, Any] = {"err": 0, "sessionTimeout": 8000, "boardType": "duet3mb6hc100", "apiLevel": 2}
        return Reply(200, said | ({"sessionKey": int(key)} if self.gives_keys else {}))

    async def _answer(self, request: Request, path: str, query: dict[str, str], key: str) -> Reply:
        match path:
            case "/rr_disconnect":
                self.sessions.pop(key, None)
                return Reply(200, {"err": 0})
            case "/rr_model":
                return Reply(200, self._model(query))
            case "/rr_gcode":
                return self._gcode(query.get("gcode", ""))
            case "/rr_reply":
                return Reply(200, self._reply())
            case "/rr_upload":
                return await self._upload(request, query)
            case "/rr_fileinfo":
                content = self.machine.files.get(query.get("name", ""))
                return Reply(
                    200, {"err": 1} if content is None else {"err": 0, "size": len(content), "fileName": query["name"]}
                )
            case "/rr_delete":
                return Reply(200, {"err": 0 if self.machine.files.pop(query.get("name", ""), None) is not None else 1})
        return Reply(500, "Unknown rr_ command")

    def _reply(self) -> str:
        said, self.replies = "\n".join(self.replies), []
        return said

    def _model(self, query: dict[str, str]) -> dict[str, Any]:
        model, flags, key = self.model(), query.get("flags", ""), query.get("key", "")
        if not key:
            if "f" not in flags:
                return {"key": "", "flags": flags, "result": {name: {} for name in model}}
            live = {name: _live(value) for name, value in model.items()}
            return {
                "key": "",
                "flags": flags,
                "result": live | {"seqs": {**{k: self._seq(k, model) for k in _KEYS}, "reply": self.seqs}},
            }
        result, start = model.get(key), int((re.search(r"a(\d+)", flags) or [0, "0"])[1])
        answer: dict[str, Any] = {"key": key, "flags": flags, "result": result}
        if isinstance(result, list):
            # Long arrays are cut.
            part = result[start : start + self.rows_per_answer]
            answer |= {"result": part, "next": start + len(part) if start + len(part) < len(result) else 0}
        return answer

    def _seq(self, key: str, model: dict[str, Any]) -> int:
        return zlib.crc32(repr(_still(model[key])).encode()) & 0xFFFF

    def _gcode(self, text: str) -> Reply:
        if len(text) >= _BUFFER_BYTES or self.buffer_full > 0 or (self.refuses_starts and text.startswith("M32")):
            self.buffer_full -= 1
            return Reply(200, {"err": 1})
        self.run(text)
        if text.startswith("M32") and self.loses_start_reply:
            self.loses_start_reply = False
            return Reply(lost=True)
        return Reply(200, {"buff": 250})

    async def _upload(self, request: Request, query: dict[str, str]) -> Reply:
        if request.length is None:
            return Reply(500, "length required")
        name, machine = query["name"], self.machine.advance()
        content = await self.receive(request)
        if "crc32" in query and int(query["crc32"], 16) != zlib.crc32(content):
            return Reply(200, {"err": 1})
        if len(name) + 5 > 120 or machine.used + len(content) > machine.capacity:
            return Reply(200, {"err": 1})
        if machine.job is not None and machine.job.file == name:
            # The rename of the .part file fails, and nobody looks.
            return Reply(200, {"err": 0})
        machine.store(name, content)
        return Reply(200, {"err": 0})


class Sbc(DuetEmulator):
    """DuetSoftwareFramework."""

    def __init__(self, machine: Machine | None = None, *, password: str = PASSWORD) -> None:
        super().__init__(machine, password=password)
        self.sessions: set[str] = set()
        self.board_is_away = False
        self._shown = dict(self.flags)
        self._changed_at: float | None = None

    async def handle(self, request: Request) -> Reply:
        path, query = request.path, request.query
        if path == "/rr_connect":
            return Reply(200, {"err": 0, "apiLevel": 1, "isEmulated": True})
        if path == "/machine/connect":
            if self.key and query.get("password") != self.key:
                return Reply(403)
            key = secrets.token_hex(16)
            self.sessions.add(key)
            return Reply(200, {"sessionKey": key})
        if request.headers.get("x-session-key", "") not in self.sessions:
            await request.body()
            return Reply(403)
        if self.board_is_away:
            return Reply(503, "Failed to connect to DCS")
        return await self._answer(request, path, query)

    async def _answer(self, request: Request, path: str, query: dict[str, str]) -> Reply:
        if path in ("/machine/model", "/machine/status"):
            model = self.model() | {"messages": [{"content": text} for text in self.replies[-10:]]}
            return Reply(200, model)
        if path == "/machine/disconnect":
            return Reply(204)
        if path == "/machine/code" and request.method == "POST":
            return await self._code((await request.body()).decode(), request.query.get("async") == "true")
        if path.startswith("/machine/fileinfo/"):
            content = self.machine.files.get(path.removeprefix("/machine/fileinfo/"))
            return Reply(404) if content is None else Reply(200, {"size": len(content)})
        if path.startswith("/machine/file/"):
            return await self._file_request(request, path.removeprefix("/machine/file/"))
        return Reply(404)

    async def _code(self, text: str, is_async: bool) -> Reply:
        before = self.seqs
        if self.refuses_starts and text.startswith("M32"):
            self.say("Error: M32: Cannot set file to print, because a file is already being printed")
        else:
            self.run(text)
        if text.startswith("M32") and self.loses_start_reply:
            self.loses_start_reply = False
            return Reply(lost=True)
        # Whoever waits for it gets the answer to his own command.
        said = self.replies[len(self.replies) - (self.seqs - before) :]
        return Reply(200, "" if is_async else "\n".join(said))

    async def _file_request(self, request: Request, path: str) -> Reply:
        machine = self.machine.advance()
        if request.method == "PUT":
            # Straight into the file, without a .part.
            return (
                Reply(201)
                if machine.store(path, await self.receive(request))
                else Reply(500, "no space left on device")
            )
        if request.method == "DELETE":
            return Reply(204 if machine.files.pop(path, None) is not None else 404)
        return Reply(405)

    def sbc_flags(self) -> dict[str, Any]:
        """They come with a later update than the state, however often anybody asks."""
        if self._shown != self.flags:
            now = self.machine.clock()
            self._changed_at = now if self._changed_at is None else self._changed_at
            if now - self._changed_at > _FLAGS_LAG_SECONDS:
                self._shown, self._changed_at = dict(self.flags), None
        return self._shown


def _live(value: Any) -> Any:
    if isinstance(value, dict):
        found = {k: v if k in _LIVE else _live(v) for k, v in value.items() if k in _LIVE or isinstance(v, dict | list)}
        return {k: v for k, v in found.items() if v is not None}
    return [_live(each) for each in value] if isinstance(value, list) else None


def _still(value: Any) -> Any:
    """What is not live: a key's number changes with it."""
    if isinstance(value, dict):
        return {k: _still(v) for k, v in value.items() if k not in _LIVE}
    return [_still(each) for each in value] if isinstance(value, list) else value
