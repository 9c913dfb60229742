"""The words between the driver and the host process: one JSON object a line over a Unix socket. Pure.

``{"id": 1, "op": "status"}`` is answered by ``{"id": 1, "ok": true, ...}`` or ``{"id": 1, "ok": false, "error", "text"}``.
``claim`` comes first and carries the token. ``emergency_stop`` and ``look`` carry it too, and need no claim: whoever may
read the printer's folder may look, and may stop the machine.

| error | the driver raises |
|---|---|
| ``refused`` | Refused: nothing was sent |
| ``unreachable`` | ConnectionLost: nothing was sent |
| ``unknown`` | OutcomeUnknown |
"""

import json
from typing import Any

LONGEST = 64 * 1024
# Of this conversation: a host that an older agent left behind is let finish, then replaced.
VERSION = 1
SOCKET, TOKEN, CONFIG, LOCK, LOG, PID = "host.sock", "token", "config.json", "host.lock", "host.log", "host.pid"
# The process ended at once, with this code: its memory cannot be read, so it is not known what the printer does.
DAMAGED_MEMORY = 3
Message = dict[str, Any]


class Garbled(ValueError):
    """What came is no message."""


def encode(message: Message) -> bytes:
    """One line."""
    return json.dumps(message, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def decode(line: bytes) -> Message:
    """Raises Garbled."""
    try:
        message = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise Garbled("no JSON") from error
    if not isinstance(message, dict):
        raise Garbled("no object")
    return message


def answer(number: object, **facts: Any) -> bytes:
    """Yes, with facts."""
    return encode({"id": number, "ok": True, **facts})


def refusal(number: object, error: str, text: str) -> bytes:
    """No, and why."""
    return encode({"id": number, "ok": False, "error": error, "text": text})
