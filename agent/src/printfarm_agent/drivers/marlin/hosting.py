"""The host process as the driver sees it: found by its socket, started where it is missing, replaced where its settings
are old."""

import asyncio
import contextlib
import os
import secrets
import socket
import sys
from pathlib import Path

from ...driver import BadReply, ConnectionLost, OutcomeUnknown, Refused
from . import talk
from .config import HostConfig

_START_SECONDS = 15.0
_LOOK_SECONDS = 0.05
_ERRORS = {"refused": Refused, "unreachable": ConnectionLost, "unknown": OutcomeUnknown}


class Hosting:
    """One printer's host process."""

    def __init__(self, folder: Path, config: HostConfig) -> None:
        self._folder, self.config = folder, config
        self._starting = asyncio.Lock()

    @property
    def token(self) -> str:
        """Shows that whoever speaks may read the printer's folder. Made at the first need."""
        path = self._folder / talk.TOKEN
        try:
            return path.read_text().strip()
        except FileNotFoundError:
            token = secrets.token_hex(32)
            _write(path, token)
            return token

    async def reach(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection, to a process that is started if need be. Raises ConnectionLost."""
        async with self._starting:
            try:
                return await self._connect()
            except OSError:
                await self._start()
            return await self._wait_for_it()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        # A path of this kind is at most 107 bytes long: it is named from within its folder.
        where = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            await asyncio.get_running_loop().sock_connect(connection, f"/proc/self/fd/{where}/{talk.SOCKET}")
            return await asyncio.open_unix_connection(sock=connection, limit=talk.LONGEST)
        except BaseException:
            connection.close()
            raise
        finally:
            os.close(where)

    async def _start(self) -> None:
        """Away from this process: it goes on when the agent ends, however it ends."""
        try:
            _ = self.token
            _keep(self._folder / talk.CONFIG, self.config.to_json())
        except OSError as error:
            raise ConnectionLost(f"the serial host's settings cannot be written: {error.strerror}") from error
        command = [sys.executable, "-m", "printfarm_serial_host", "--folder", str(self._folder)]
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                start_new_session=True,
                cwd="/",
            )
            async with asyncio.timeout(_START_SECONDS):
                code = await process.wait()
        except (OSError, TimeoutError) as error:
            raise ConnectionLost("the serial host cannot be started") from error
        if code == talk.DAMAGED_MEMORY:
            raise ConnectionLost(
                "the serial host's memory.json is damaged: move it away once it is known that nothing prints"
            )
        if code:
            raise ConnectionLost("the serial host ended at once: is the agent installed as printfarm-agent[marlin]?")

    async def _wait_for_it(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        deadline = asyncio.get_running_loop().time() + _START_SECONDS
        while True:
            try:
                return await self._connect()
            except OSError as error:
                if asyncio.get_running_loop().time() > deadline:
                    raise ConnectionLost(
                        f"the serial host does not answer; see {talk.LOG} in the printer's folder"
                    ) from error
            await asyncio.sleep(_LOOK_SECONDS)

    def prepare(self) -> None:
        """The printer's folder, for its own user alone."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._folder.chmod(0o700)


class Line:
    """One connection. After a lost or late answer it is thrown away: what comes later could be taken for another's."""

    def __init__(self, hosting: Hosting, seconds: float) -> None:
        self._hosting, self._seconds = hosting, seconds
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._number = 0

    async def claimed(self) -> talk.Message:
        """A claim, fresh. Raises ConnectionLost, BadReply, OutcomeUnknown from a host that is about to leave."""
        await self.close()
        self._streams = await self._hosting.reach()
        return await self.exchange("claim", token=self._hosting.token)

    @property
    def is_open(self) -> bool:
        if self._streams is None:
            return False
        reader, writer = self._streams
        return not (reader.at_eof() or writer.is_closing())

    async def open(self) -> None:
        """Without a claim, for the emergency."""
        self._streams = await self._hosting.reach()

    async def exchange(self, op: str, seconds: float | None = None, **arguments: object) -> talk.Message:
        """Raises ConnectionLost if nothing was sent, OutcomeUnknown if the answer did not come, BadReply, Refused."""
        if self._streams is None:
            raise ConnectionLost("there is no connection to the serial host")
        reader, writer = self._streams
        self._number += 1
        try:
            async with asyncio.timeout(seconds or self._seconds):
                writer.write(talk.encode({"id": self._number, "op": op, **arguments}))
                await writer.drain()
                line = await reader.readline()
            if not line.endswith(b"\n"):
                raise OutcomeUnknown("the serial host ended before it answered")
            return self._read(line)
        except (Refused, ConnectionLost):
            raise
        except TimeoutError as error:
            await self.close()
            raise OutcomeUnknown(f"the serial host did not answer within {seconds or self._seconds:g} s") from error
        except OSError as error:
            await self.close()
            raise OutcomeUnknown("the connection to the serial host broke") from error
        except BaseException:
            await self.close()
            raise

    def _read(self, line: bytes) -> talk.Message:
        try:
            reply = talk.decode(line)
        except talk.Garbled as error:
            raise BadReply("the serial host answered with noise") from error
        if reply.get("id") != self._number or not isinstance(reply.get("ok"), bool):
            raise BadReply("the serial host answered something else")
        if not reply["ok"]:
            raise _ERRORS.get(str(reply.get("error")), OutcomeUnknown)(str(reply.get("text", "")))
        return reply

    async def close(self) -> None:
        """The host process goes on."""
        if self._streams is None:
            return
        _, writer = self._streams
        self._streams = None
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def _keep(path: Path, text: str) -> None:
    """Written where it differs only: a host that died is replaced on a full disk too."""
    with contextlib.suppress(FileNotFoundError, UnicodeDecodeError):
        if path.read_text() == text:
            return
    _write(path, text)


def _write(path: Path, text: str) -> None:
    fresh = path.with_suffix(".new")
    with open(fresh, "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(text)
    fresh.replace(path)
