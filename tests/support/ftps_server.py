"""A real implicit-FTPS server, as Bambu printers have one, in a thread; its faults are switched by attributes."""

import threading
import time
import warnings
from pathlib import Path
from typing import Any

from OpenSSL import SSL

from .ports import free_port

with warnings.catch_warnings():
    # It rests on a part of the standard library that newer Pythons have as a package.
    warnings.simplefilter("ignore", DeprecationWarning)
    from pyftpdlib.authorizers import AuthenticationFailed, DummyAuthorizer
    from pyftpdlib.handlers import TLS_DTPHandler, TLS_FTPHandler
    from pyftpdlib.ioloop import IOLoop
    from pyftpdlib.servers import FTPServer

USER = "bblp"


class FtpsServer:
    """The card lies in ``folder``. Listens on loopback alone, on the same port after each start."""

    def __init__(self, folder: Path, certificates: Path, code: str) -> None:
        self.folder, self._certificates, self.code = folder, certificates, code
        folder.mkdir(exist_ok=True)
        self.port = free_port()
        # Faults.
        self.full = False
        self.data_hangs = False
        self.says_426 = False
        self.cuts_upload = False
        self.corrupts = False
        self.bytes_per_second = 0.0
        self.answers_late = 0.0
        self.busy_once = False
        # What was seen.
        self.sessions_reused: list[bool] = []
        self.in_clear = 0
        self.versions: set[str] = set()
        self._thread: threading.Thread | None = None
        self._raw: list[Any] = []
        self._server: FTPServer | None = None

    def start(self) -> None:
        """Returns when it listens."""
        loop = IOLoop()
        self._server = FTPServer(("127.0.0.1", self.port), self._handler(), ioloop=loop)
        self._thread = threading.Thread(target=self._serve, args=(self._server, loop), daemon=True)
        self._stop = threading.Event()
        self._thread.start()

    def _serve(self, server: FTPServer, loop: Any) -> None:
        while not self._stop.is_set():
            loop.loop(timeout=0.02, blocking=False)
        server.close_all()

    def stop(self) -> None:
        """Open connections break."""
        if self._thread is not None:
            self._stop.set()
            self._thread.join()
            self._thread = None
        for raw in self._raw:
            # Those of broken handshakes stay open otherwise.
            raw.close()
        self._raw.clear()

    def files(self) -> set[str]:
        """On the card."""
        return {path.name for path in self.folder.iterdir()}

    def _handler(self) -> type[TLS_FTPHandler]:
        owner = self

        class Authorizer(DummyAuthorizer):  # type: ignore[misc]
            def validate_authentication(self, username: str, password: str, handler: Any) -> None:
                if username != USER or password != owner.code:
                    raise AuthenticationFailed("Login incorrect.")

        class Data(TLS_DTPHandler):  # type: ignore[misc]
            def __init__(self, sock: Any, cmd_channel: Any) -> None:
                super().__init__(sock, cmd_channel)
                if not cmd_channel._prot:
                    owner.in_clear += 1

            def secure_connection(self, ssl_context: Any) -> None:
                owner._raw.append(self.socket)
                if not owner.data_hangs:
                    super().secure_connection(ssl_context)

            def handle_ssl_established(self) -> None:
                # One secret for both channels: the client has taken the session up again. The printers' server demands it.
                control = self.cmd_channel.socket
                owner.sessions_reused.append(self.socket.master_key() == control.master_key())
                if not owner.sessions_reused[-1]:
                    self.cmd_channel.respond("522 SSL connection failed: session reuse required")
                    self.close()
                    return
                super().handle_ssl_established()

            def handle_read(self) -> None:
                if owner.bytes_per_second:
                    self.ac_in_buffer_size = 2048
                    time.sleep(self.ac_in_buffer_size / owner.bytes_per_second)
                super().handle_read()

            def close(self) -> None:
                if owner.answers_late and self.receive and not self._closed:
                    time.sleep(owner.answers_late)
                super().close()

        class Handler(TLS_FTPHandler):  # type: ignore[misc]
            dtp_handler = Data
            certfile = str(owner._certificates / "certificate.pem")
            keyfile = str(owner._certificates / "key.pem")
            ssl_protocol = SSL.TLS_METHOD
            tls_control_required = True
            authorizer = Authorizer()
            masquerade_address = None
            use_sendfile = False
            auth_failed_timeout = 0.1

            def handle(self) -> None:
                owner._raw.append(self.socket)
                self.secure_connection(self.get_ssl_context())

            def handle_ssl_established(self) -> None:
                owner.versions.add(self.socket.get_protocol_version_name())
                TLS_FTPHandler.handle(self)

            def ftp_STOR(self, file: str, mode: str = "w") -> Any:
                if owner.full:
                    self.respond("553 Could not create file.")
                    return None
                if owner.busy_once:
                    owner.busy_once = False
                    self.respond("425 Data channel busy.")
                    return None
                return super().ftp_STOR(file, mode)

            def on_file_received(self, file: str) -> None:
                owner._received(Path(file))

            def respond(self, resp: str, logfun: Any = None) -> None:
                if owner.says_426 and resp.startswith("226"):
                    resp = "426 Failure reading network stream."
                super().respond(resp, logfun) if logfun else super().respond(resp)

        Handler.authorizer.add_user(USER, "", str(owner.folder), perm="elradfmw")
        Handler.ssl_context = None
        return Handler

    def _received(self, path: Path) -> None:
        content = path.read_bytes()
        if self.cuts_upload:
            self.cuts_upload = False
            path.write_bytes(content[: len(content) // 2])
        if self.corrupts:
            self.corrupts = False
            path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
