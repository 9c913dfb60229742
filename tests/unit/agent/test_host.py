"""What the doctor looks at on the host: room, clock, port, secrets."""

import http.server
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from printfarm_agent import host


def test_room_and_its_lack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "LEAST_FREE_BYTES", 1)
    assert host.disk(tmp_path)[0]
    monkeypatch.setattr(host, "LEAST_FREE_BYTES", 1 << 62)
    good, words = host.disk(tmp_path)
    assert not good and "make room" in words
    assert "Create it" in host.disk(tmp_path / "no")[1]


def test_the_clock() -> None:
    assert host.clock(0) == (True, "synchronised")
    good, words = host.clock(5)
    assert not good and "chrony" in words
    assert host.clock(None)[0]
    assert host.clock_state() in (None, *range(6)), "the kernel's own word"


class Page(http.server.BaseHTTPRequestHandler):
    body = b"printfarm_agent_starts 1\n"

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_: object) -> None:
        """Silent."""


@pytest.fixture
def page() -> Iterator[str]:
    server = http.server.HTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_port_is_free_or_the_agents_or_somebody_elses(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert host.metrics_port(page) == (True, f"{page}: an agent is running")
    monkeypatch.setattr(Page, "body", b"something else")
    good, words = host.metrics_port(page)
    assert not good and "agent.metrics_address" in words
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert host.metrics_port(f"127.0.0.1:{port}")[0]
    assert not host.metrics_port("127.0.0.1:x")[0]


def test_secrets_that_others_may_read(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("k")
    os.chmod(path, 0o644)
    good, words = host.secrets({"api_key_file": str(path), "url": "x"})
    assert not good and "chmod 600" in words
    os.chmod(path, 0o600)
    assert host.secrets({"api_key_file": str(path)})[0]
    assert "cannot be read" in host.secrets({"api_key_file": str(tmp_path / "no")})[1]
    assert host.secrets({"address": "x"})[0]
