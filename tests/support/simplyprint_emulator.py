"""SimplyPrint's cloud on loopback, with one printer that is a machine and others that are only rows.

Quirks: a no with HTTP 200, query and body strictly apart, two hosts, uploads in parts with ids that expire, 429, 403 for
a library's own User-Agent, states that lag, starts that wait for approval or for their turn.
"""

import re
import secrets
from typing import Any

from .http_emulator import HttpEmulator, Reply, Request
from .machine import Ended, Machine, Phase

API_KEY = "sp-0123456789abcdef"
COMPANY, PRINTER = 4711, 17
_WORDS = {
    Phase.HEATING: "printing",
    Phase.PRINTING: "printing",
    Phase.PAUSING: "pausing",
    Phase.PAUSED: "paused",
    Phase.RESUMING: "resuming",
    Phase.CANCELLING: "cancelling",
    Phase.FINISHING: "printing",
    Phase.HALTED: "error",
    Phase.IDLE: "operational",
}
_STATUS = {"complete": "done", "cancelled": "cancelled", "failed": "failed", "lost": "failed"}


class SimplyPrintEmulator(HttpEmulator):
    """The API's host; ``files`` is the other one."""

    def __init__(self, machine: Machine | None = None, *, key: str = API_KEY) -> None:
        super().__init__()
        self.machine = machine or Machine(delays={Phase.PAUSING: 0.2, Phase.CANCELLING: 0.3, Phase.FINISHING: 0.1})
        self.key = key
        self.files = FilesHost(self)
        self.lag_seconds = 0.0
        self.other_printers = 0
        self.bed_must_be_cleared = False
        self.wants_approval = False
        self.pends_seconds = 0.0
        self.needs_cancel_reason = True
        self.may_send_gcode = True
        self.tools = 1
        # All that was sent to be carried out.
        self.gcode: list[str] = []
        self.too_many = 0
        self.retry_after = ""
        self.unwell = False
        self.link_is_down = False
        # Faults.
        self.state_word = ""
        self.broken_sensors = False
        self.refuses_starts = False
        self.loses_start_reply = False
        # Number -> its record.
        self.records: dict[int, dict[str, Any]] = {}
        self.temporary: dict[str, tuple[str, bytes]] = {}
        self.job: int | None = None
        self.awaits_clear = False
        self._pending: tuple[float, str] | None = None
        self._number = 9000
        self._ended: Ended | None = None
        self._shown: tuple[float, dict[str, Any]] | None = None

    async def plug_in(self) -> None:
        await super().plug_in()
        await self.files.plug_in()

    async def unplug(self) -> None:
        await super().unplug()
        await self.files.unplug()

    async def heal(self) -> None:
        await super().heal()
        self.files.silent, self.files.late_seconds, self.files.upload_bytes_per_second = False, 0.0, 0.0

    # -- people

    def start_foreign(self, name: str, content: bytes) -> None:
        """At the printer: the cloud sees it come from outside."""
        self.machine.files[name] = content
        self.machine.start(name, foreign=True)
        self._record(name, outside=True)

    def expire_files(self) -> None:
        """A day has passed."""
        self.temporary.clear()

    # -- the API

    def refusal(self, request: Request) -> Reply | None:
        """Who may not come in."""
        if "aiohttp" in request.headers.get("user-agent", "").lower() or not request.headers.get("user-agent"):
            return Reply(403, "Forbidden")
        if self.unwell:
            return Reply(503, "maintenance")
        if self.too_many > 0:
            self.too_many -= 1
            return Reply(429, "", {"Retry-After": self.retry_after} if self.retry_after else {})
        if request.headers.get("x-api-key") != self.key:
            return no("No API key provided, or not logged in")
        if not request.path.startswith(f"/{COMPANY}/"):
            return no("You don't have access to this account")
        return None

    async def handle(self, request: Request) -> Reply:
        if refused := self.refusal(request):
            await request.body()
            return refused
        body = await request.json() or {}
        self._follow()
        path, query = request.path.removeprefix(f"/{COMPANY}/"), request.query
        match path:
            case "account/Test":
                return yes(message="Your API key is valid!")
            case "printers/Get":
                return self._printers(body)
            case "jobs/GetPaginatedPrintJobs":
                found = [job for job in self.records.values() if PRINTER in body.get("printer_ids", [PRINTER])]
                return yes(page_amount=1, data=[self._list_row(job) for job in reversed(found)])
            case "jobs/GetDetails":
                return self._details(query)
            case "printers/actions/CreateJob":
                return self._create(body)
        if path.startswith("printers/actions/"):
            return self._act(path.rpartition("/")[2], query, body)
        if path == "files/Upload":
            return no("This endpoint refuses API keys")
        return Reply(404, {"status": False, "message": "Not found"})

    def _printers(self, body: dict[str, Any]) -> Reply:
        now = self.machine.clock()
        if self._shown is None or now - self._shown[0] >= self.lag_seconds:
            self._shown = (now, self._row())
        rows = [
            self._shown[1],
            *({"id": 1000 + n, "printer": {"state": "operational"}} for n in range(self.other_printers)),
        ]
        size, page = int(body.get("page_size", 10)), int(body.get("page", 1))
        # Ours comes last: whoever reads the first page alone does not see it.
        rows = rows[::-1]
        return yes(page_amount=-(-len(rows) // size), data=rows[(page - 1) * size : page * size])

    def _row(self) -> dict[str, Any]:
        machine = self.machine
        heaters = machine.temperatures()
        current: dict[str, Any] = {"tool": [heaters["hotend"][0]] * self.tools, "bed": heaters["bed"][0]}
        if self.broken_sensors:
            current = {"tool": [float("nan")], "bed": -300}
        target = {"tool": [heaters["hotend"][1]] * self.tools, "bed": heaters["bed"][1]}
        word = self.state_word or ("offline" if self.link_is_down else self._word())
        printer: dict[str, Any] = {
            "name": "Prusa 3",
            "state": word,
            "online": not self.link_is_down,
            "firmware": "Marlin 2.1",
        }
        printer |= {"model": {"brand": "Prusa", "name": "MK3S"}, "temps": {"current": current, "target": target}}
        printer |= {"outOfOrder": 0, "unsupported": 0}
        job = self.records.get(self.job) if self.job is not None else None
        return {"id": PRINTER, "printer": printer, "job": self._row_job(job) if job and not self.link_is_down else None}

    def _word(self) -> str:
        if self._pending is not None:
            return "print_pending"
        if self.awaits_clear and self.machine.phase is Phase.IDLE:
            return "awaiting_bed_clear"
        return _WORDS[self.machine.phase]

    def _row_job(self, job: dict[str, Any]) -> dict[str, Any]:
        running = self.machine.job
        percent = round(running.progress * 100) if running else 0
        return {
            **job,
            "state": "ongoing",
            "percentage": percent,
            "time": int(running.done) if running else 0,
            "layer": 1,
        }

    def _list_row(self, job: dict[str, Any]) -> dict[str, Any]:
        return {"id": job["id"], "uid": job["uid"], "status": job["status"], "filename": job["file"], "endDate": None}

    def _details(self, query: dict[str, str]) -> Reply:
        found = next((job for job in self.records.values() if job["uid"] == query.get("id")), None)
        if found is None:
            return no("Job not found")
        job = {"state": found["status"], "percentage": found["percentage"], "failedReason": found.get("reason")}
        return yes(job=job | {"outsideSystem": found["outside"], "cancelInfo": None})

    def _create(self, body: dict[str, Any]) -> Reply:
        # The printer in the query is dropped without a word; then nobody is asked to print.
        if body.get("pid") != PRINTER:
            return no("No printers selected")
        if self.refuses_starts or self._word() != "operational":
            return no("The printer must be operational")
        name, content = self.temporary.get(str(body.get("file_id")), ("", b""))
        if not name:
            return no("File not found or expired")
        if self.wants_approval:
            return yes(token="approve-me")
        self.machine.files[name] = content
        number = self._record(name, outside=False)
        if self.pends_seconds:
            self._pending = (self.machine.clock() + self.pends_seconds, name)
        else:
            self.machine.start(name)
        if self.loses_start_reply:
            self.loses_start_reply = False
            return Reply(lost=True)
        return yes(files=[{"name": name, "printers": [PRINTER]}], jobIds=[number])

    def _record(self, name: str, *, outside: bool) -> int:
        self._number += 1
        self.job, self._ended = self._number, None
        self.records[self._number] = {
            "id": self._number,
            "uid": secrets.token_hex(6),
            "file": name,
            "status": "ongoing",
            "percentage": 0,
            "outside": outside,
        }
        return self._number

    def _act(self, action: str, query: dict[str, str], body: dict[str, Any]) -> Reply:
        if query.get("pid") != str(PRINTER):
            return no("No printers selected")
        machine = self.machine
        match action:
            case "Pause":
                return yes() if machine.pause() else no("The printer must be printing")
            case "Resume":
                return yes() if machine.resume() else no("The printer must be paused")
            case "Cancel":
                if self.needs_cancel_reason and not body.get("reason"):
                    return no("A reason is required")
                return yes() if machine.cancel() else no("The printer is not printing")
            case "ClearBed":
                self.awaits_clear = False
                return yes()
            case "SendGcode":
                if not self.may_send_gcode:
                    return no("Your plan does not include this")
                self.gcode += body.get("gcode", [])
                for line in body.get("gcode", []):
                    if line == "M112":
                        machine.emergency()
                    elif re.match(r"M1[04]", line) and machine.phase is Phase.IDLE:
                        machine.targets = {"hotend": 0.0, "bed": 0.0}
                return yes()
        return Reply(404, {"status": False, "message": "Not found"})

    def _follow(self) -> None:
        """Brings the records to the machine's time."""
        machine = self.machine.advance()
        if self._pending is not None and machine.clock() >= self._pending[0]:
            machine.start(self._pending[1])
            self._pending = None
        if self.job is None:
            return
        record = self.records[self.job]
        if machine.job is not None:
            record["percentage"] = round(machine.job.progress * 100)
        ended = machine.ended
        if ended is not None and ended is not self._ended:
            self._ended = ended
            record |= {"status": _STATUS[ended.how], "percentage": round(ended.print.progress * 100)}
            record["reason"] = "thermal runaway" if ended.how == "failed" else None
            self.job, self.awaits_clear = None, self.bed_must_be_cleared
        elif machine.job is None and self._pending is None and machine.phase is Phase.IDLE and ended is None:
            # Power was away: the link came back to an idle printer.
            record |= {"status": "failed", "reason": "the printer restarted"}
            self.job = None


class FilesHost(HttpEmulator):
    """``files.simplyprint.io``."""

    def __init__(self, cloud: SimplyPrintEmulator) -> None:
        super().__init__()
        self.cloud = cloud
        self.part_limit = 100 << 20
        self._parts: dict[str, tuple[bytes, int]] = {}

    async def handle(self, request: Request) -> Reply:
        refused = self.cloud.refusal(request)
        body = await request.body(self.upload_bytes_per_second)
        if refused is not None:
            return refused
        if len(body) > self.part_limit:
            return no("The part is too large")
        name, content, fields = _parsed(body)
        token = fields.get("continueToken", "")
        before, total = self._parts.pop(token, (b"", int(fields.get("totalSize", len(content)))))
        whole = before + content
        if len(whole) < total:
            token = secrets.token_hex(8)
            self._parts[token] = (whole, total)
            return yes(continueToken=token)
        if sum(len(raw) for _, raw in self.cloud.temporary.values()) + len(whole) > self.cloud.machine.capacity:
            return no("Your storage is full")
        file_id = secrets.token_hex(32)
        self.cloud.temporary[file_id] = (name, whole)
        return yes(file={"id": file_id, "name": name, "size": len(whole), "expires_at": 0})


def _parsed(body: bytes) -> tuple[str, bytes, dict[str, str]]:
    boundary = body.partition(b"\r\n")[0]
    fields, name, content = dict[str, str](), "", b""
    for part in body.split(boundary)[1:-1]:
        head, _, value = part[2:-2].partition(b"\r\n\r\n")
        found = re.search(rb'name="([^"]*)"', head)
        file = re.search(rb'filename="([^"]*)"', head)
        if file is not None:
            name, content = file[1].decode(), value
        elif found is not None:
            fields[found[1].decode()] = value.decode()
    return name, content, fields


def yes(**payload: Any) -> Reply:
    return Reply(200, {"status": True, "message": None, **payload})


def no(message: str) -> Reply:
    return Reply(200, {"status": False, "message": message})
