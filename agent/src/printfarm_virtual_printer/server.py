"""The printer's wire protocol: one JSON object a line, each request answered on its own connection.

``{"id": 1, "op": "status"}`` -> ``{"id": 1, "ok": true, ...}`` or ``{"id": 1, "ok": false, "error": "busy", "text": "..."}``.
Operations named ``admin_...`` are for people and tests; no fault touches them.
"""

import asyncio
import base64
import contextlib
import hashlib
import json
from collections.abc import Callable
from typing import Any

from .faults import Argument, parse
from .printer import Machine, Refusal

LONGEST_LINE = 2 << 20
LARGEST_FILE = 2 << 30
_GARBAGE = b"\x00\xff\xfe wrong baud \x07\x80\n"
Request = dict[str, Any]


class Server:
    """One printer on one port."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._writers: set[asyncio.StreamWriter] = set()
        self._deaf_until = 0.0
        self._uploads: dict[str, Any] = {}

    async def listen(self, host: str, port: int) -> asyncio.Server:
        """Begins to take connections."""
        return await asyncio.start_server(self._connected, host, port, limit=LONGEST_LINE)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while line := await reader.readline():
                request = _parsed(line)
                if self._is_deaf() and not str(request.get("op", "")).startswith("admin_"):
                    return
                if not await self._answer(request, writer):
                    return
        except (ValueError, ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            self._writers.discard(writer)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    def _is_deaf(self) -> bool:
        return asyncio.get_running_loop().time() < self._deaf_until

    async def _answer(self, request: Request, writer: asyncio.StreamWriter) -> bool:
        """False ends the connection."""
        op = str(request.get("op", ""))
        is_admin = op.startswith("admin_")
        answer = await self._perform(op, request)
        if not is_admin and not await self._spoil(op, writer):
            return True
        line = json.dumps({"id": request.get("id"), **answer}).encode() + b"\n"
        writer.write(line)
        await writer.drain()
        return True

    async def _spoil(self, op: str, writer: asyncio.StreamWriter) -> bool:
        """False: no answer goes out, or another one went."""
        faults = self._machine.faults
        if (seconds := faults.number("answer_late")) is not None:
            await asyncio.sleep(seconds)
        if op == "start" and faults.has("lose_start_reply"):
            return False
        if faults.has("never_answer"):
            return False
        if faults.has("garbage"):
            writer.write(_GARBAGE)
            return False
        if faults.has("long_line"):
            for _ in range(160):
                writer.write(b"A" * 65_536)
                await writer.drain()
            return False
        return True

    async def _perform(self, op: str, request: Request) -> dict[str, object]:
        handler: Callable[[Request], Any] | None = getattr(self, f"_op_{op}", None) if op.isidentifier() else None
        if handler is None:
            return {"ok": False, "error": "unknown_op", "text": op[:64]}
        if not op.startswith("admin_") and op not in ("hello", "status", "list", "upload_chunk"):
            self._machine.log("command", op=op)
        try:
            made = handler(request)
            if asyncio.iscoroutine(made):
                made = await made
        except Refusal as refusal:
            return {"ok": False, "error": refusal.code, "text": str(refusal)}
        except (KeyError, TypeError, ValueError) as error:
            return {"ok": False, "error": "bad_request", "text": f"{type(error).__name__}: {error}"[:200]}
        return {"ok": True, **(made or {})}

    # -- operations

    def _op_hello(self, _request: Request) -> dict[str, object]:
        model = self._machine.model
        return {
            "model": model.model,
            "name": model.name,
            "firmware": "printfarm-virtual 1",
            "serial": f"VP-{model.name}",
            "volume_mm": model.volume_mm,
            "nozzle_mm": model.nozzle_mm,
            "material": model.material,
            "colour": model.colour,
            "plate_sensor": model.plate_sensor,
            "protocol": 1,
        }

    def _op_status(self, _request: Request) -> dict[str, object]:
        return self._machine.status()

    def _op_list(self, _request: Request) -> dict[str, object]:
        return {"files": self._machine.files()}

    def _op_delete(self, request: Request) -> None:
        self._machine.path(request["name"]).unlink(missing_ok=True)

    def _op_upload_begin(self, request: Request) -> None:
        if self._machine.faults.has("storage_full"):
            raise Refusal("storage_full", "there is no room")
        if not 0 < int(request["size"]) <= LARGEST_FILE:
            raise Refusal("bad_size")
        path = self._machine.path(request["name"])
        self._uploads[request["name"]] = path.with_name(path.name + ".part").open("wb")

    async def _op_upload_chunk(self, request: Request) -> None:
        data = base64.b64decode(request["data"], validate=True)
        if rate := self._machine.faults.number("slow_transfer"):
            await asyncio.sleep(len(data) / rate)
        if data and self._machine.faults.has("corrupt_transfer"):
            data = bytes([data[0] ^ 1]) + data[1:]
        self._uploads[request["name"]].write(data)

    def _op_upload_end(self, request: Request) -> dict[str, object]:
        name = request["name"]
        file = self._uploads.pop(name)
        file.close()
        path = self._machine.path(name)
        part = path.with_name(path.name + ".part")
        stored = hashlib.sha256(part.read_bytes()).hexdigest()
        part.replace(path)
        return {"sha256": stored, "size": path.stat().st_size}

    def _op_start(self, request: Request) -> dict[str, object]:
        return {"print_number": self._machine.start(request["name"], "farm").number}

    def _op_pause(self, _request: Request) -> None:
        self._machine.pause("farm")

    def _op_resume(self, _request: Request) -> None:
        self._machine.resume("farm")

    def _op_cancel(self, _request: Request) -> None:
        self._machine.cancel("farm")

    def _op_cool_down(self, _request: Request) -> None:
        self._machine.cool_down()

    def _op_emergency_stop(self, _request: Request) -> None:
        self._machine.log("emergency_stop")
        self._machine.halt("emergency stop")

    def _op_reset(self, _request: Request) -> None:
        self._machine.reset("farm")

    # -- for people and tests

    def _op_admin_status(self, _request: Request) -> dict[str, object]:
        return self._machine.status() | {"plate_occupied": self._machine.memory.plate_occupied}

    def _op_admin_fault(self, request: Request) -> None:
        argument: Argument | None = request.get("argument")
        self.set_fault(str(request["name"]), argument)

    def _op_admin_clear_fault(self, request: Request) -> None:
        self._machine.faults.clear(str(request.get("name", "")))

    def _op_admin_clear_plate(self, _request: Request) -> None:
        self._machine.clear_plate()

    def _op_admin_local_start(self, request: Request) -> None:
        self._machine.start(request["name"], "machine")

    def _op_admin_local_pause(self, _request: Request) -> None:
        self._machine.pause("machine")

    def _op_admin_local_resume(self, _request: Request) -> None:
        self._machine.resume("machine")

    def _op_admin_local_cancel(self, _request: Request) -> None:
        self._machine.cancel("machine")

    def _op_admin_local_file(self, request: Request) -> None:
        self._machine.path(request["name"]).write_text(request["text"])

    def _op_admin_set_heater(self, request: Request) -> None:
        self._machine.set_heater(str(request["heater"]), float(request["target"]))

    def _op_admin_reset(self, _request: Request) -> None:
        self._machine.reset("person")

    def set_fault(self, name: str, argument: Argument | None) -> None:
        """Those that strike by themselves strike now."""
        faults = self._machine.faults
        faults.set(name, argument)
        self._machine.log("fault_set", name=name, argument=argument)
        if name == "heater_drift":
            self._machine.drift(faults.number(name) or 0.0)
        elif name == "drop_line":
            self._deaf_until = asyncio.get_running_loop().time() + (faults.number(name) or 0.0)
            faults.clear(name)
            # A moment later, so that whoever asked for it still gets an answer.
            asyncio.get_running_loop().call_later(0.05, self._close_all)
        elif name == "power_cut":
            self._machine.on_power_cut()

    def _close_all(self) -> None:
        for writer in list(self._writers):
            writer.close()

    def set_faults(self, texts: list[str]) -> None:
        """From the command line."""
        for text in texts:
            self.set_fault(*parse(text))


def _parsed(line: bytes) -> Request:
    request = json.loads(line)
    if not isinstance(request, dict):
        raise ValueError("not an object")
    return request
