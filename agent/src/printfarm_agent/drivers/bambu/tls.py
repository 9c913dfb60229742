"""Who answers at the printer's address: its certificate carries its serial number, and nothing else that Python would check.

With the vendor's CA file the chain is checked too. Without, the certificate's name must be the serial number, and its SHA-256
the one that was configured, or that this process saw first. That is checked before anything is sent: the access code goes to
no impostor.
"""

import hashlib
import socket
import ssl
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.x509.oid import NameOID

CHANGED = "the printer's certificate changed: if that is right, set certificate_sha256 anew"


class WrongCertificate(ssl.SSLCertVerificationError):
    """Another printer answers, or somebody in its place. The text may be shown."""


class PrinterTls:
    """Contexts for all ports of one printer, with one memory of its certificate."""

    def __init__(self, serial_number: str, pin: str, ca_file: Path | None) -> None:
        self._serial_number = serial_number
        self._pin = pin.lower().replace(":", "")
        self._ca_file = ca_file
        # Why the last one was not accepted: libraries in between lose the words.
        self.refused = ""

    @property
    def serial_number(self) -> str:
        return self._serial_number

    def context(self) -> "PrinterContext":
        """TLS 1.2: newer versions break the reuse of sessions that the printers' FTP servers demand."""
        context = PrinterContext(ssl.PROTOCOL_TLS_CLIENT)
        context.printer = self
        context.sslsocket_class = _Socket
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
        if self._ca_file is not None:
            context.load_verify_locations(cafile=self._ca_file)
            # The vendor's certificates are older than the strict rules.
            context.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", 0)
        else:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    def check(self, der: bytes | None) -> None:
        """Raises WrongCertificate."""
        try:
            self._check(der)
        except WrongCertificate as error:
            self.refused = str(error.args[0])
            raise
        self.refused = ""

    def _check(self, der: bytes | None) -> None:
        if der is None:
            raise WrongCertificate("the printer shows no certificate")
        name = _common_name(der)
        if name != self._serial_number:
            raise WrongCertificate("the certificate at this address is another printer's: see serial_number and host")
        digest = hashlib.sha256(der).hexdigest()
        if self._pin and digest != self._pin:
            raise WrongCertificate(CHANGED)
        self._pin = digest


class PrinterContext(ssl.SSLContext):
    """Says the serial number for every host's name, whoever wraps a socket with it."""

    printer: PrinterTls
    # At most so many bytes may be asked for at once: the MQTT library asks for the whole rest of a message, however long.
    longest_read = 1 << 30
    was_too_long = False

    def wrap_socket(self, sock: socket.socket, *args: Any, **kwargs: Any) -> ssl.SSLSocket:
        kwargs["server_hostname"] = self.printer.serial_number
        return super().wrap_socket(sock, *args, **kwargs)


class _Socket(ssl.SSLSocket):
    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        context = self.context
        assert isinstance(context, PrinterContext)
        if buflen > context.longest_read:
            context.was_too_long = True
            raise ConnectionAbortedError("a message is longer than allowed")
        return super().recv(buflen, flags)

    def do_handshake(self, block: bool = False) -> None:
        super().do_handshake(block)
        context = self.context
        assert isinstance(context, PrinterContext)
        try:
            context.printer.check(self.getpeercert(binary_form=True))
        except WrongCertificate:
            self.close()
            raise


def _common_name(der: bytes) -> str:
    try:
        names = x509.load_der_x509_certificate(der).subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        return str(names[0].value) if names else ""
    except ValueError:
        return ""
