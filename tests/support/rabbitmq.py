"""A private RabbitMQ with its own name, folders, cookie and port mapper, so that it can be killed and started again."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from tests.servers import program

from .ports import free_port

_SECONDS = 90.0
_LOOK_SECONDS = 0.2


class RabbitServer:
    """Started with ``start``; ``kill`` is ``kill -9``. Durable things are there again after the next ``start``."""

    def __init__(self) -> None:
        found = program("rabbitmq")
        assert found is not None
        self._program = found
        self._folder = Path(tempfile.mkdtemp(prefix="pfrabbit-"))
        self.port = free_port()
        mapper_port = free_port()
        self._shell: subprocess.Popen[bytes] | None = None
        (self._folder / "plugins").write_text("[].")
        limits = "vm_memory_high_watermark.absolute = 512MB\ndisk_free_limit.absolute = 50MB\n"
        (self._folder / "rabbitmq.conf").write_text(limits)
        self._environment = os.environ | {
            "HOME": str(self._folder),
            "RABBITMQ_NODENAME": f"t{self.port}@localhost",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(mapper_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_MNESIA_BASE": str(self._folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self._folder / "log"),
            "RABBITMQ_PID_FILE": str(self._pid_file),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self._folder / "plugins"),
            "RABBITMQ_CONFIG_FILE": str(self._folder / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
        }

        # As our own child: the one that a broker starts by itself is a daemon, and outlives it.
        self._mapper = subprocess.Popen(
            [shutil.which("epmd") or "epmd", "-port", str(mapper_port), "-address", "127.0.0.1"], start_new_session=True
        )

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"

    @property
    def _pid_file(self) -> Path:
        return self._folder / "pid"

    def start(self) -> None:
        """Returns when it takes connections."""
        self._pid_file.unlink(missing_ok=True)
        with (self._folder / "output").open("ab") as output:
            self._shell = subprocess.Popen(
                [self._program], env=self._environment, stdout=output, stderr=output, start_new_session=True
            )
        deadline = time.monotonic() + _SECONDS
        while not self._answers():
            if time.monotonic() > deadline or self._shell.poll() is not None:
                raise RuntimeError((self._folder / "output").read_text()[-2000:])
            time.sleep(_LOOK_SECONDS)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 2.0) as connection:
                connection.sendall(b"AMQP\x00\x00\x09\x01")
                # A method frame: Connection.Start.
                return connection.recv(1) == b"\x01"
        except OSError:
            return False

    def signal(self, number: int) -> None:
        """SIGSTOP and SIGCONT make the broker itself hang and go on; the Popen is only a shell around it."""
        if self._pid_file.exists():
            os.kill(int(self._pid_file.read_text()), number)

    def kill(self) -> None:
        """As a power cut would: the broker and the shell around it."""
        if self._shell is not None:
            self.signal(signal.SIGKILL)
            os.killpg(self._shell.pid, signal.SIGKILL)
            self._shell.wait()
            self._shell = None

    def close(self) -> None:
        """Ends it with its port mapper, and throws its folder away."""
        self.kill()
        self._mapper.kill()
        self._mapper.wait()
        shutil.rmtree(self._folder, ignore_errors=True)
