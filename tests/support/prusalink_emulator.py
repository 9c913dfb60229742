"""PrusaLink on the wire, in both dialects, with the quirks that their notes and issues tell of; its machine's log is the truth.

Issue numbers: B = prusa3d/Prusa-Firmware-Buddy, L = prusa3d/Prusa-Link, W = prusa3d/Prusa-Link-Web.
"""

import asyncio
import hashlib
import re
import secrets
from typing import Any

from .http_emulator import HttpEmulator, Reply, Request
from .machine import BUSY, Machine, Phase

API_KEY = "a1b2c3d4e5f60718"
USER = "maker"
_GCODE = (".gcode", ".gco", ".g", ".bgcode")
_FILES = "/api/v1/files/"


class PrusaLinkEmulator(HttpEmulator):
    """What both have in common."""

    realm = ""
    storage = ""
    ending_seconds: float

    def __init__(self, machine: Machine | None = None, *, key: str = API_KEY) -> None:
        super().__init__()
        self.machine = machine or Machine(delays={Phase.CANCELLING: 0.4, Phase.PAUSING: 0.2, Phase.FINISHING: 0.2})
        self.key = key
        self.serial_number = "10589-3742441631999"
        self.job_number = 41
        self.nonces: dict[str, str] = {}
        self.attention = False
        self.busy = False
        # Faults of the printer.
        self.state_word = ""
        self.broken_sensors = False
        self.refuses_starts = False
        self.loses_start_reply = False
        self.loses_upload_reply = False
        self.truncates_upload = False
        self.is_starting = False
        # Buddy's preview: a start is taken, and waits for an answer at the screen.
        self.asks_before_a_print = False
        self._asked_about = ""
        self._open = 0
        self._dismissed: object = None

    # -- a person, or the world

    def touch_screen(self) -> None:
        """Somebody dismisses what the screen shows."""
        self._dismissed = self.machine.advance().ended

    def answer_question(self) -> None:
        """Somebody says yes."""
        name, self._asked_about, self.attention = self._asked_about, "", False
        assert self._begin(name)

    def start_foreign(self, name: str, content: bytes) -> None:
        """From the stick, at the printer."""
        self.machine.files[name] = content
        self._begin(name, foreign=True)

    def _begin(self, name: str, *, foreign: bool = False) -> bool:
        if not self.machine.start(name, foreign=foreign):
            return False
        self.job_number = (self.job_number + 1) % 65536
        return True

    # -- asking

    async def handle(self, request: Request) -> Reply:
        self._open += 1
        try:
            if self._open > self.slots:
                self.machine.note("too_many_clients")
                return Reply(503)
            if request.headers.get("authorization", "").lower().startswith("basic"):
                await self._stopped.wait()  # B#3705: the server hangs
            if self.is_starting:
                return Reply(503)
            refusal = self.authenticate(request)
            return refusal if refusal is not None else await self._route(request)
        finally:
            self._open -= 1

    slots = 3

    def authenticate(self, request: Request) -> Reply | None:
        raise NotImplementedError

    def challenge(self, request: Request, *, stale: bool = False) -> Reply:
        raise NotImplementedError

    def is_proven(self, request: Request) -> bool:
        """Digest, checked with a calculation of its own (RFC 2617, 3.2.2)."""
        said = dict(re.findall(r'(\w+)="?([^",]*)"?', request.headers.get("authorization", "")))
        ha1 = _md5(f"{USER}:{self.realm}:{self.key}")
        if said.get("algorithm", "").lower() == "md5-sess":
            ha1 = _md5(f"{ha1}:{said['nonce']}:{said['cnonce']}")
        ha2 = _md5(f"{request.method}:{request.target}")
        middle = f"{said['nc']}:{said['cnonce']}:{said['qop']}:" if "qop" in said else ""
        return said.get("response") == _md5(f"{ha1}:{said.get('nonce')}:{middle}{ha2}")

    async def _route(self, request: Request) -> Reply:
        path, method = request.path, request.method
        if method == "GET" and path == "/api/version":
            return Reply(200, self.version_body())
        if method == "GET" and path == "/api/v1/info":
            return Reply(200, {"name": "", "location": "", "serial": self.serial_number, "nozzle_diameter": 0.4})
        if method == "GET" and path == "/api/v1/storage":
            return Reply(200, {"storage_list": self.storage_list()})
        if method == "GET" and path == "/api/v1/status":
            return Reply(200, self._status())
        if method == "GET" and path == "/api/v1/job":
            job = self._job()
            return Reply(204) if job is None else Reply(200, {**job, "file": self._job_file()})
        if method == "GET" and path == "/api/v1/transfer":
            return self.transfer()
        if path.startswith("/api/v1/job/"):
            return self._control(method, path.removeprefix("/api/v1/job/"))
        if path.startswith(f"{_FILES}{self.storage}/"):
            return await self._file(request, path.removeprefix(f"{_FILES}{self.storage}/"))
        return self.error(404, "Not Found")

    # -- looks

    def native(self) -> str:
        """The state word."""
        machine = self.machine.advance()
        if self.state_word:
            return self.state_word
        if machine.phase is Phase.HALTED:
            return "ERROR"
        if self.attention:
            return "ATTENTION"
        if machine.phase in (Phase.PAUSING, Phase.PAUSED, Phase.RESUMING):
            return "PAUSED"
        if machine.phase in BUSY:
            # Heating, levelling, finishing and aborting as well.
            return "PRINTING"
        ended = machine.ended
        fresh = ended is not None and ended is not self._dismissed
        if ended is not None and fresh and machine.clock() - ended.at < self.ending_seconds:
            return "FINISHED" if ended.how == "complete" else "STOPPED"
        return "BUSY" if self.busy else "IDLE"

    def _job(self) -> dict[str, Any] | None:
        """Gone with the end, and while it aborts or parks."""
        machine = self.machine.advance()
        if machine.job is None or machine.phase in (Phase.CANCELLING, Phase.FINISHING):
            return None
        print_ = machine.job
        return {
            "id": self.job_number,
            "state": self.native(),
            "progress": float(int(print_.progress * 100)),
            "time_remaining": int(print_.seconds - print_.done),
            "time_printing": int(print_.done) if machine.phase is Phase.HEATING else int(print_.done) + 1,
        }

    def _job_file(self) -> dict[str, Any]:
        job = self.machine.job
        assert job is not None
        return {"name": self.short(job.file), "display_name": job.file, "path": f"/{self.storage}", "size": 1}

    def short(self, name: str) -> str:
        return name

    def _status(self) -> dict[str, Any]:
        heaters = self.machine.advance().temperatures()
        printer: dict[str, Any] = {
            "state": self.native(),
            "temp_nozzle": heaters["hotend"][0],
            "target_nozzle": heaters["hotend"][1],
            "temp_bed": heaters["bed"][0],
            "target_bed": heaters["bed"][1],
            "axis_z": 0.2,
            "flow": 100,
            "speed": 100,
            "status_printer": {"ok": True, "message": "OK"},
        }
        if self.machine.phase is Phase.HALTED:
            printer["status_printer"] = {"ok": False, "message": "THERMAL RUNAWAY"}
        if self.machine.phase is Phase.IDLE:
            printer |= {"axis_x": 0.0, "axis_y": -4.0}
        if self.broken_sensors:
            printer |= {"temp_nozzle": float("nan"), "temp_bed": -273.0}
        body: dict[str, Any] = {"printer": printer, "storage": self.status_storage()}
        if (job := self._job()) is not None:
            body["job"] = job
        return body

    # -- control

    def _control(self, method: str, rest: str) -> Reply:
        number, _, word = rest.partition("/")
        if method == "DELETE":
            return self.stop(number)
        if self._job() is None or number != str(self.job_number):
            return self.error(404, "Job does not exist")
        moves = {"pause": self.machine.pause, "resume": self.machine.resume}
        if word not in moves:
            return self.unknown_word()
        return Reply(204) if moves[word]() else self.error(409, "Not in a state for it")

    def stop(self, number: str) -> Reply:
        raise NotImplementedError

    def unknown_word(self) -> Reply:
        return self.error(404, "Not Found")

    # -- files

    async def _file(self, request: Request, name: str) -> Reply:
        files = self.machine.advance().files
        match request.method:
            case "PUT":
                return await self.upload(request, name)
            case "POST":
                return self._start(name)
            case "GET" | "HEAD":
                size = self.indexed(name)
                if size is None:
                    return self.error(404, "Not Found")
                return Reply(200, {"name": self.short(name), "display_name": name, "size": size})
            case "DELETE":
                if name not in files:
                    return self.vanished(name)
                if self.is_locked(name):
                    return self.error(409, "File is busy")
                self.changes(name)
                del files[name]
                return Reply(204)
        return self.error(405, "Method Not Allowed")

    def _start(self, name: str) -> Reply:
        if name not in self.machine.files:
            return self.error(404, "Not Found")
        if self.refuses_starts or self.attention:
            return self.error(409, "Not in state to print")
        if self.asks_before_a_print:
            self.attention, self._asked_about = True, name
        elif not self._begin(name):
            return self.error(409, "Not in state to print")
        if self.loses_start_reply:
            self.loses_start_reply = False
            return Reply(lost=True)
        return Reply(204)

    async def receive(self, request: Request, name: str) -> Reply | None:
        """The body, stored. None if it was."""
        content = await request.body(self.upload_bytes_per_second)
        if self.truncates_upload:
            self.truncates_upload, content = False, content[: len(content) // 2]
        if not self.machine.store(name, content):
            return self.error(507, "Insufficient Storage")
        if request.headers.get("print-after-upload") == "?1":
            self.machine.note("print_after_upload", file=name)
            if not self._begin(name):
                return self.error(409, "Can't print right now")
        if self.loses_upload_reply:
            self.loses_upload_reply = False
            return Reply(lost=True)
        return None

    def is_locked(self, name: str) -> bool:
        return self.machine.job is not None and self.machine.job.file == name

    def indexed(self, name: str) -> int | None:
        """A file's size, as the server knows it."""
        content = self.machine.files.get(name)
        return None if content is None else len(content)

    def changes(self, name: str) -> None:
        """A file comes, is replaced, or goes."""

    def vanished(self, name: str) -> Reply:
        """To a DELETE of what is not there."""
        assert name not in self.machine.files
        return self.error(404, "Not Found")

    def transfer(self) -> Reply:
        return Reply(204)

    def error(self, status: int, words: str) -> Reply:
        return Reply(status, {"title": f"{status}: {words}", "message": words})

    def version_body(self) -> dict[str, Any]:
        raise NotImplementedError

    def storage_list(self) -> list[dict[str, Any]]:
        raise NotImplementedError

    def status_storage(self) -> Any:
        raise NotImplementedError

    async def upload(self, request: Request, name: str) -> Reply:
        raise NotImplementedError


class Buddy(PrusaLinkEmulator):
    """Buddy firmware 6.3.2."""

    realm = "Printer API"
    storage = "usb"
    # Until the screen is touched, or the next start.
    ending_seconds = float("inf")

    def __init__(self, machine: Machine | None = None, *, key: str = API_KEY) -> None:
        super().__init__(machine, key=key)
        self.has_stick = True
        self.takes_uploads = True
        # W#471: an upload without print opens the preview, which locks the file.
        self.preview_locks = False
        self.previewed = ""
        self.transferring = 0

    def authenticate(self, request: Request) -> Reply | None:
        if "x-api-key" in request.headers:
            good = request.headers["x-api-key"] == self.key
            return None if good else Reply(401, "", {"WWW-Authenticate": "ApiKey"})
        said = request.headers.get("authorization", "")
        nonce = re.search(r'nonce="([^"]*)"', said)
        if nonce is None:
            return self.challenge(request)
        if nonce[1] not in self.nonces:
            return self.challenge(request, stale=True)
        # B PR#3665: an algorithm that was not asked for broke the parser.
        good = "algorithm=" not in said and self.is_proven(request)
        return None if good else self.challenge(request)

    def challenge(self, request: Request, *, stale: bool = False) -> Reply:
        nonce = secrets.token_hex(8)
        self.nonces[nonce] = ""
        header = f'Digest realm="{self.realm}", nonce="{nonce}", stale={"true" if stale else "false"}'
        return Reply(401, "", {"WWW-Authenticate": header})

    def expire_nonces(self) -> None:
        """300 seconds have passed."""
        self.nonces.clear()

    def version_body(self) -> dict[str, Any]:
        body: dict[str, Any] = {"api": "2.0.0", "server": "2.1.2", "nozzle_diameter": 0.4, "text": "PrusaLink"}
        return body | {"hostname": "prusa-mk4", "capabilities": {"upload-by-put": True} if self.takes_uploads else {}}

    def storage_list(self) -> list[dict[str, Any]]:
        return [{"path": "/usb/", "name": "usb", "type": "USB", "read_only": False, "available": self.has_stick}]

    def status_storage(self) -> Any:
        return {"path": "/usb/", "name": "usb", "read_only": False}

    def short(self, name: str) -> str:
        return f"{name[:6].upper()}~1.GCO"

    def is_locked(self, name: str) -> bool:
        ended = self.machine.advance().ended
        shown = ended is not None and ended is not self._dismissed and ended.print.file == name
        # B#3235: what was just printed stays open while the screen shows it. Only overwriting fails.
        return super().is_locked(name) or name == self.previewed or (shown and self._overwriting)

    _overwriting = False

    def touch_screen(self) -> None:
        super().touch_screen()
        self.previewed = ""

    def _begin(self, name: str, *, foreign: bool = False) -> bool:
        self.previewed = ""
        return super()._begin(name, foreign=foreign)

    def transfer(self) -> Reply:
        return Reply(200, {"type": "FROM_CLIENT", "progress": 1.0}) if self.transferring else Reply(204)

    async def upload(self, request: Request, name: str) -> Reply:
        if refusal := self._refusal(request, name):
            await request.body()
            return refusal
        if self.machine.phase in BUSY:
            # B#3403: it stalls the print.
            self.machine.note("upload_during_print")
            self.machine.pause()
        self.transferring += 1
        try:
            failed = await self.receive(request, name)
        finally:
            self.transferring -= 1
        if failed is None and self.preview_locks:
            self.previewed = name
        return failed or Reply(201)

    def _refusal(self, request: Request, name: str) -> Reply | None:
        if request.length is None:
            return self.error(411, "Length Required")
        if request.length == 0:
            return self.error(501, "Not Implemented")
        if not name.lower().endswith(_GCODE):
            return self.error(415, "Unsupported Media Type")
        if re.search(r'[<>:"\\|?*]', name) or len(name) > 96:
            return self.error(422, "Unprocessable")
        if not self.has_stick:
            return self.error(507, "Insufficient Storage")
        if self.transferring:
            return self.error(409, "Another transfer in progress")
        self._overwriting = True
        locked = self.is_locked(name)
        self._overwriting = False
        if locked:
            return self.error(409, "File is busy")
        if name in self.machine.files and request.headers.get("overwrite") != "?1":
            return self.error(409, "File already exists")
        return None

    def stop(self, number: str) -> Reply:
        if self._job() is None:
            return self.error(409, "No job")
        if number != str(self.job_number):
            return self.error(404, "Job does not exist")
        return Reply(204) if self.machine.cancel() else self.error(409, "Not printing")

    def error(self, status: int, words: str) -> Reply:
        return Reply(status, {"title": f"{status}: X", "message": words})


class Pi(PrusaLinkEmulator):
    """PrusaLink 0.8.1 beside an MK3S."""

    version = "1.0"
    realm = "Administrator"
    storage = "local"
    slots = 64

    def __init__(self, machine: Machine | None = None, *, key: str = API_KEY, ending_seconds: float = 11.0) -> None:
        super().__init__(machine, key=key)
        self.ending_seconds = ending_seconds
        self.index_lag = 0.5
        # Name -> what the index said before the last change, and when that was.
        self._before: dict[str, tuple[float, int | None]] = {}

    def authenticate(self, request: Request) -> Reply | None:
        if "x-api-key" in request.headers:
            return None if request.headers["x-api-key"] == self.key else Reply(403, "Bad X-Api-Key.")
        agent = request.headers.get("user-agent", "")
        nonce = re.search(r'nonce="([^"]*)"', request.headers.get("authorization", ""))
        good = nonce is not None and self.nonces.get(nonce[1]) == agent and self.is_proven(request)
        return None if good else self.challenge(request)

    def challenge(self, request: Request, *, stale: bool = False) -> Reply:
        nonce = secrets.token_hex(16)
        self.nonces[nonce] = request.headers.get("user-agent", "")
        header = f'Digest realm="{self.realm}", nonce="{nonce}", qop="auth", algorithm=MD5-sess, opaque="o"'
        return Reply(401, "", {"WWW-Authenticate": header})

    def version_body(self) -> dict[str, Any]:
        body: dict[str, Any] = {"api": "2.0.0", "server": "0.8.1", "original": "PrusaLink I3MK3S", "sdk": "0.8.1"}
        return body | {"text": "PrusaLink 0.8.1", "firmware": "3.14.0-8094", "capabilities": {}, "hostname": "pi"}

    def storage_list(self) -> list[dict[str, Any]]:
        free = self.machine.capacity - self.machine.used
        local = {"path": "/local", "name": "local", "type": "LOCAL", "read_only": False, "available": True}
        card = {"path": "/sdcard", "name": "SD card", "type": "SDCARD", "read_only": True, "available": True}
        return [card, local | {"free_space": free, "total_space": self.machine.capacity}]

    def status_storage(self) -> Any:
        return [{"path": "/local", "name": "local", "read_only": False}]

    def indexed(self, name: str) -> int | None:
        at, before = self._before.get(name, (-1e9, None))
        return before if self.machine.clock() - at < self.index_lag else super().indexed(name)

    def changes(self, name: str) -> None:
        self._before[name] = self.machine.clock(), self.indexed(name)

    def vanished(self, name: str) -> Reply:
        if self.indexed(name) is None:
            return super().vanished(name)
        # The index still has it, the disk does not.
        return Reply(500, "<html>Internal Server Error</html>", {"Content-Type": "text/html"})

    def _begin(self, name: str, *, foreign: bool = False) -> bool:
        # "Already printing", as long as it shows the end of the last print.
        return self.native() not in ("FINISHED", "STOPPED") and super()._begin(name, foreign=foreign)

    async def upload(self, request: Request, name: str) -> Reply:
        if not name.lower().endswith(_GCODE):
            await request.body()
            return self.error(415, "Unsupported Media Type")
        if request.headers.get("content-type") == "application/octet-stream":
            await request.body()
            self.machine.files.pop(name, None)
            return Reply(500, "<html>Internal Server Error</html>", {"Content-Type": "text/html"})
        if name in self.machine.files and request.headers.get("overwrite") != "?1":
            await request.body()
            return self.error(409, "File already exists")
        if self.machine.job is not None and self.machine.job.file == name:
            self.machine.note("overwrote_the_file_that_prints", file=name)
        self.changes(name)
        failed = await self.receive(request, name)
        self._before[name] = self.machine.clock(), self._before[name][1]
        return failed or Reply(201, {})

    def stop(self, number: str) -> Reply:
        machine = self.machine.advance()
        if machine.phase is Phase.CANCELLING:
            # The first stop is still queued.
            return Reply(204)
        if machine.job is None:
            return self.error(409, "Nothing prints")
        if number != str(self.job_number):
            return self.error(404, "Job does not exist")
        machine.cancel()
        return Reply(204)

    def unknown_word(self) -> Reply:
        return Reply(204)

    async def lose_serial(self, seconds: float) -> None:
        """The cable to the printer: ERROR meanwhile, and the print is gone. It clears by itself."""
        self.machine.fail("serial")
        await asyncio.sleep(seconds)
        self.machine.restart()


def _md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()
