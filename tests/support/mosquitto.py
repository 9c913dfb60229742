"""A private Mosquitto with TLS and passwords, as the broker inside a printer: a direct child that can be killed and started."""

import datetime
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.servers import program

from .ports import free_port

_SECONDS = 60.0


def make_certificate(folder: Path, serial_number: str) -> str:
    """A self-signed leaf as old printers have: the serial number as its name, and no other. Returns its SHA-256."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, serial_number)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "key.pem").write_bytes(private)
    (folder / "certificate.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return made.fingerprint(hashes.SHA256()).hex()


class MosquittoServer:
    """``users`` may be changed by ``set_users``; the certificate is whatever lies in ``folder`` when it starts."""

    def __init__(self, folder: Path, users: dict[str, str]) -> None:
        found = program("mosquitto")
        assert found is not None
        self._program = found
        # Mosquitto gives up its rights where it may, and cannot read a folder of root's then.
        self._folder = folder
        self._private = Path(tempfile.mkdtemp(prefix="pfmosquitto-"))
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._write_users(users)

    def start(self) -> None:
        """Returns when it takes connections."""
        lines = [f"listener {self.port} 127.0.0.1", "allow_anonymous false", f"password_file {self._private}/passwords"]
        lines += [f"certfile {self._folder}/certificate.pem", f"keyfile {self._folder}/key.pem", "persistence false"]
        if os.geteuid() == 0:
            lines.append("user root")
        (self._private / "conf").write_text("\n".join(lines) + "\n")
        with (self._private / "log").open("ab") as log:
            command = [self._program, "-c", str(self._private / "conf")]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        deadline = time.monotonic() + _SECONDS
        while not self._listens():
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise RuntimeError((self._private / "log").read_text()[-2000:])
            time.sleep(0.02)

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1.0).close()
        except OSError:
            return False
        return True

    def set_users(self, users: dict[str, str]) -> None:
        """From the next connection on."""
        self._write_users(users)
        self.signal(signal.SIGHUP)

    def _write_users(self, users: dict[str, str]) -> None:
        path = self._private / "passwords"
        path.write_text("".join(f"{user}:{password}\n" for user, password in users.items()))
        path.chmod(0o600)
        subprocess.run(["mosquitto_passwd", "-U", str(path)], check=True, capture_output=True)

    def signal(self, number: int) -> None:
        """To the broker."""
        if self._process is not None:
            os.killpg(self._process.pid, number)

    def kill(self) -> None:
        """As a power cut would."""
        if self._process is not None:
            self.signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def close(self) -> None:
        """Ends it and throws its folder away."""
        self.kill()
        shutil.rmtree(self._private, ignore_errors=True)
