"""Implicit FTPS as Bambu printers speak it, in a thread of its own. ``ftplib`` knows the explicit form only.

The data channel reuses the control channel's TLS session, which the printers demand, and is closed without TLS's goodbye, which
some never answer. What the server says at the end of a transfer is not believed either way: the size is.
"""

import asyncio
import contextlib
import ftplib
import socket
import ssl
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from ...driver import ConnectionLost, OutcomeUnknown, Refused, Sent
from ...secret import Secret
from .tls import PrinterTls, WrongCertificate

USER = "bblp"
_BUSY_SECONDS = 5.0
# Of the data channel alone.
_HANDSHAKE_SECONDS = 10.0
_LARGEST_BLOCK, _SMALLEST_BLOCK = 64 * 1024, 1024
_Result = TypeVar("_Result")


class DataChannelHangs(Exception):
    """The TLS handshake of the data channel does not come to an end: known of A1 and A1 mini."""


class _Ftp(ftplib.FTP_TLS):
    """Wrapped before the greeting."""

    def __init__(self, context: ssl.SSLContext, seconds: float) -> None:
        super().__init__(context=context, timeout=seconds)
        # The last word may come a minute late.
        self._final_seconds = 9 * seconds
        self._raw: list[socket.socket] = []
        self.broken = threading.Event()

    def open(self, host: str, port: int) -> None:
        raw = self._known(socket.create_connection((host, port), self.timeout))
        self.host, self.af = host, raw.family
        self.sock = self.context.wrap_socket(raw)
        self.file = self.sock.makefile("r", encoding=self.encoding)
        self.welcome = self.getresp()

    def ntransfercmd(self, cmd: str, rest: int | str | None = None) -> tuple[socket.socket, int | None]:
        connection, size = ftplib.FTP.ntransfercmd(self, cmd, rest)
        self._known(connection)
        if not self._prot_p:  # type: ignore[attr-defined]
            return connection, size
        connection.settimeout(_HANDSHAKE_SECONDS)
        try:
            assert isinstance(self.sock, ssl.SSLSocket)
            wrapped = self.context.wrap_socket(connection, session=self.sock.session)
        except TimeoutError as error:
            connection.close()
            raise DataChannelHangs from error
        wrapped.settimeout(self.timeout)
        return wrapped, size

    def store(self, stored: str, path: Path, size: int, told: Callable[[int], None]) -> bool:
        """False if the server said nothing at the end: this session can then be asked nothing more."""
        self.voidcmd("TYPE I")
        block = max(_SMALLEST_BLOCK, min(_LARGEST_BLOCK, size // 16))
        done = 0
        connection = self.transfercmd(f"STOR {stored}")
        try:
            with path.open("rb") as file:
                while chunk := file.read(block):
                    connection.sendall(chunk)
                    done += len(chunk)
                    told(done)
        finally:
            # The end of the file, without TLS's goodbye.
            self._raw.pop().close()
            connection.close()
        assert self.sock is not None
        self.sock.settimeout(self._final_seconds)
        try:
            self.voidresp()
        except TimeoutError:
            return False
        except ftplib.error_temp:
            # A 426, it may be, for a file that is whole.
            pass
        self.sock.settimeout(self.timeout)
        return True

    def break_off(self) -> None:
        """From another thread: whatever it waits for ends now."""
        self.broken.set()
        for raw in list(self._raw):
            with contextlib.suppress(OSError):
                raw.shutdown(socket.SHUT_RDWR)

    def let_go(self) -> None:
        self.close()
        for raw in self._raw:
            raw.close()

    def _known(self, raw: socket.socket) -> socket.socket:
        # A duplicate: TLS takes the first away, and its state must not be touched from another thread.
        self._raw.append(raw.dup())
        if self.broken.is_set():
            raw.close()
        return raw


class PrinterFiles:
    """The printer's card. One session at a time."""

    def __init__(self, address: tuple[str, int], code: Secret, tls: PrinterTls, seconds: float) -> None:
        self._address = address
        self._code = code
        self._tls = tls
        self._seconds = seconds
        self._in_clear = False
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="bambu-ftps")

    async def put(self, stored: str, path: Path, size: int, sent: Sent, whole_seconds: float) -> None:
        """Stores the file and compares its size. Raises Refused, ConnectionLost, OutcomeUnknown."""
        loop = asyncio.get_running_loop()

        def told(done: int) -> None:
            loop.call_soon_threadsafe(sent, done)

        def put(ftp: _Ftp) -> bool:
            return _put(ftp, stored, path, size, told)

        try:
            answered = await self._run(put, whole_seconds)
        except DataChannelHangs:
            # Its content goes in clear then, the access code does not. Remembered for this printer.
            self._in_clear = True
            try:
                answered = await self._run(put, whole_seconds)
            except DataChannelHangs as error:
                raise OutcomeUnknown("the printer's data channel hangs") from error
        if not answered:
            await self._run(lambda ftp: _check_size(ftp, stored, size), 3 * self._seconds)

    async def remove(self, stored: str) -> None:
        """Nothing happens if it is not there."""
        await self._run(lambda ftp: _remove(ftp, stored), 3 * self._seconds)

    async def _run(self, work: Callable[[_Ftp], _Result], whole_seconds: float) -> _Result:
        try:
            code = self._code.reveal()
        except ValueError as error:
            raise Refused(str(error)) from error
        ftp = _Ftp(self._tls.context(), self._seconds)
        future = asyncio.get_running_loop().run_in_executor(self._thread, self._session, ftp, work, code)
        try:
            async with asyncio.timeout(whole_seconds):
                return await asyncio.shield(future)
        except TimeoutError as error:
            raise OutcomeUnknown(f"the file was not there within {whole_seconds:g} s") from error
        finally:
            if not future.done():
                ftp.break_off()
                await asyncio.wait([future])
                # Whatever it raised was of no interest any more.
                future.exception()

    def _session(self, ftp: _Ftp, work: Callable[[_Ftp], _Result], code: str) -> _Result:
        logged_in = False
        try:
            ftp.open(*self._address)
            ftplib.FTP.login(ftp, USER, code)
            logged_in = True
            _protect(ftp, in_clear=self._in_clear)
            return work(ftp)
        except ftplib.error_perm as error:
            if not logged_in or str(error).startswith("530"):
                raise Refused(
                    f"the printer does not accept {self._code}; it changes with LAN Only and Developer Mode"
                ) from error
            raise _refusal(str(error)) from error
        except WrongCertificate as error:
            raise ConnectionLost(str(error.args[0])) from error
        except ftplib.Error as error:
            raise OutcomeUnknown(f"the printer's file server said {_words(str(error))}") from error
        except (OSError, EOFError, ValueError) as error:
            if logged_in:
                raise OutcomeUnknown(f"the transfer broke off: {type(error).__name__}") from error
            raise ConnectionLost("the printer's file server cannot be reached") from error
        finally:
            ftp.let_go()

    def close(self) -> None:
        """Nothing is under way any more."""
        self._thread.shutdown(wait=False)


def _protect(ftp: _Ftp, *, in_clear: bool) -> None:
    ftp.voidcmd("PBSZ 0")
    ftp.voidcmd("PROT C" if in_clear else "PROT P")
    ftp._prot_p = not in_clear  # type: ignore[attr-defined]


def _put(ftp: _Ftp, stored: str, path: Path, size: int, told: Callable[[int], None]) -> bool:
    _remove(ftp, stored)
    try:
        try:
            answered = ftp.store(stored, path, size, told)
        except ftplib.error_temp as error:
            if not str(error).startswith("425") or ftp.broken.wait(_BUSY_SECONDS):
                raise
            # The data channel of a transfer before is not free yet.
            answered = ftp.store(stored, path, size, told)
    except (DataChannelHangs, ftplib.error_perm):
        raise
    except (OSError, EOFError) as error:
        if ftp.broken.is_set():
            raise
        raise OutcomeUnknown(f"the transfer broke off: {type(error).__name__}") from error
    if answered:
        _check_size(ftp, stored, size)
    return answered


def _check_size(ftp: _Ftp, stored: str, size: int) -> None:
    """What the server says of a transfer is not believed either way: this is."""
    found = _size(ftp, stored)
    if found != size:
        _remove(ftp, stored)
        raise OutcomeUnknown(f"{found or 0} of {size} bytes arrived")


def _size(ftp: _Ftp, stored: str) -> int | None:
    try:
        return ftp.size(stored)
    except ftplib.error_perm:
        return None


def _remove(ftp: _Ftp, stored: str) -> None:
    try:
        ftp.delete(stored)
    except ftplib.error_perm as error:
        if not str(error).startswith("550"):
            raise


def _refusal(said: str) -> Refused:
    code = said[:3]
    if code == "552":
        return Refused("the printer's card is full")
    if code == "553":
        return Refused("the printer takes no file: it has no card, its card is full, or the name does not suit it")
    return Refused(f"the printer's file server said {_words(said)}")


def _words(said: Any) -> str:
    return "".join(c for c in str(said) if c.isprintable())[:128]
