"""What keeps an agent small: what it imports, how it reads its own certificate, how it answers Prometheus."""

import asyncio
import subprocess
import sys
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from cryptography import x509
from prometheus_client.parser import text_string_to_metric_families

import printfarm_agent
from printfarm_agent.credentials import new_request, new_request_elsewhere
from printfarm_agent.metrics import AgentFigures, MetricsServer
from printfarm_coordinator.adapters.ca.authority import Authority
from printfarm_rpc.identity import from_certificate
from printfarm_rpc.own import CredentialsError, checked_own, read_own
from tests.support.certificates import odd_certificate

_HEAVY = {
    "cryptography",
    "prometheus_client",
    "email",
    "http.server",
    "zipfile",
    "importlib.metadata",
    "aiohttp",
    "numpy",
}


def test_an_agent_imports_nothing_heavy() -> None:
    script = (
        "import sys; import printfarm_agent.__main__, printfarm_agent.bootstrap\n"
        "import printfarm_agent.drivers.virtual.driver; print(*sys.modules, sep='\\n')"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not _HEAVY & set(done.stdout.split())


def test_the_version_is_that_of_the_distribution() -> None:
    assert printfarm_agent.__version__ == version("printfarm-agent")


def test_its_own_certificate_is_read_as_the_library_reads_it(tmp_path: Path) -> None:
    authority = Authority.create(tmp_path / "ca")
    assert authority
    files = odd_certificate(tmp_path / "ca", tmp_path / "a", ["spiffe://farm/agent/a1"])
    leaf = x509.load_pem_x509_certificate(files.chain.read_bytes())
    own = read_own(files.chain)
    assert own.identity().uri == from_certificate(leaf).uri
    assert (own.begins, own.ends) == (leaf.not_valid_before_utc.timestamp(), leaf.not_valid_after_utc.timestamp())
    half = (own.begins + own.ends) / 2
    assert not own.is_due_for_renewal(half - 1) and own.is_due_for_renewal(half)
    assert checked_own(files.key, files.chain, half) == own
    for at, word in ((own.begins - 1, "not valid before"), (own.ends, "expired")):
        with pytest.raises(CredentialsError, match=word):
            checked_own(files.key, files.chain, at)


@pytest.mark.parametrize("uris", [[], ["spiffe://farm/agent/a1", "spiffe://farm/agent/a2"], ["https://farm/agent/a1"]])
def test_a_certificate_of_nobody_names_nobody(tmp_path: Path, uris: list[str]) -> None:
    Authority.create(tmp_path / "ca")
    files = odd_certificate(tmp_path / "ca", tmp_path / "a", uris, ends=timedelta(hours=1))
    with pytest.raises(ValueError):
        read_own(files.chain).identity()


def test_what_is_no_certificate_is_named(tmp_path: Path) -> None:
    with pytest.raises(CredentialsError, match=r"certificate\.pem cannot be read"):
        read_own(tmp_path / "certificate.pem")
    (tmp_path / "certificate.pem").write_text("half-way")
    with pytest.raises(CredentialsError, match=r"certificate\.pem is no certificate"):
        read_own(tmp_path / "certificate.pem")


async def test_the_request_of_a_renewal_is_made_in_a_process_that_ends(tmp_path: Path) -> None:
    key, request = await new_request_elsewhere(tmp_path)
    again, _ = await new_request_elsewhere(tmp_path)
    assert key == again == new_request(tmp_path)[0], "the same key until it is answered"
    asked = x509.load_der_x509_csr(request)
    assert asked.is_signature_valid
    with pytest.raises(OSError, match="status"):
        await new_request_elsewhere(tmp_path / "requested-key.pem")


def _figures() -> AgentFigures:
    worker = SimpleNamespace(counts=SimpleNamespace(driver_errors=2, starts=1, emergency_stops=0), progress_age=0.25)
    link = SimpleNamespace(
        figures=SimpleNamespace(connected=True, connects=3, failures=1), loop_lag=SimpleNamespace(latest=0.01)
    )
    given: Any = ({"p-1": worker}, link, SimpleNamespace(sent=7), None)
    return AgentFigures(*cast(tuple[Any, Any, Any, Any], given))


async def _ask(port: int, request: bytes) -> tuple[bytes, bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    answer = await reader.read()
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return head, body


async def test_prometheus_reads_the_figures() -> None:
    server = MetricsServer(_figures())
    port = await server.start("127.0.0.1", 0)
    try:
        head, body = await _ask(port, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ") and b"text/plain; version=0.0.4" in head
        samples = {
            (sample.name, sample.labels.get("printer", "")): sample.value
            for family in text_string_to_metric_families(body.decode())
            for sample in family.samples
        }
        assert samples["printfarm_agent_connected", ""] == 1
        assert samples["printfarm_agent_connects_total", ""] == 3
        assert samples["printfarm_agent_journal_usable", ""] == 0
        assert samples["printfarm_agent_driver_errors_total", "p-1"] == 2
        assert samples["printfarm_agent_driver_progress_age_seconds", "p-1"] == 0.25
        assert (await _ask(port, b"GET /else HTTP/1.1\r\n\r\n"))[0].startswith(b"HTTP/1.1 404 ")
        assert (await _ask(port, b"POST /metrics HTTP/1.1\r\n\r\n"))[0].startswith(b"HTTP/1.1 405 ")
        assert (await _ask(port, b"GET / HTTP/1.1\r\nX: " + bytes(1 << 16)))[0] == b"", "no head is that long"
    finally:
        await server.close()
