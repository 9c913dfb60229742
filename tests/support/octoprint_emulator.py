"""Something that answers as an OctoPrint with an idle printer does: for tests of many, where the real one is too large."""

import json
import time
from typing import Any

from .http_emulator import HttpEmulator, Reply, Request

KEY = "an-octoprint-key"
_PERMISSIONS = ["STATUS", "FILES_LIST", "FILES_UPLOAD", "FILES_SELECT", "FILES_DELETE", "PRINT", "CONTROL"]
_FLAGS = {"operational": True, "ready": True, **dict.fromkeys(("printing", "paused", "closedOrError", "error"), False)}
_ANSWERS: dict[str, Any] = {
    "/api/version": {"api": "0.1", "server": "1.11.8", "text": "OctoPrint 1.11.8"},
    "/api/currentuser": {"name": "farm", "permissions": _PERMISSIONS, "groups": ["users"]},
    "/api/connection": {"current": {"state": "Operational", "port": "VIRTUAL", "printerProfile": "_default"}},
    "/api/printerprofiles/_default": {
        "model": "Generic",
        "volume": {"width": 200, "depth": 200, "height": 200},
        "extruder": {"count": 1, "nozzleDiameter": 0.4},
        "heatedBed": True,
    },
    "/api/job": {"job": {"file": {"name": None, "path": None}}, "progress": {}, "state": "Operational"},
    "/api/printer": {
        "state": {"text": "Operational", "flags": _FLAGS},
        "temperature": {"tool0": {"actual": 21.3, "target": 0.0}, "bed": {"actual": 21.3, "target": 0.0}},
    },
}


class OctoPrintEmulator(HttpEmulator):
    """``looks`` and ``stops``: when a look began, and when a stop came, by the monotonic clock."""

    def __init__(self) -> None:
        super().__init__()
        self.looks: list[float] = []
        self.stops: list[float] = []

    async def handle(self, request: Request) -> Reply:
        """The requests themselves are not kept."""
        now = time.monotonic()
        self.requests.clear()
        if request.headers.get("x-api-key") != KEY:
            return Reply(403, {"error": "You don't have the permission"})
        if request.method == "POST" and request.path == "/api/printer/command":
            if json.loads(await request.body())["command"] == "M112":
                self.stops.append(now)
            return Reply(204)
        if request.path == "/api/job":
            self.looks.append(now)
        answer = _ANSWERS.get(request.path)
        return Reply(404, {"error": "there is none"}) if answer is None else Reply(200, answer)
