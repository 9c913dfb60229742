"""The gateway's hot requests, on SQLite and on PostgreSQL."""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.servers import program
from tests.support.farm import GCODE, RealFarm
from tests.support.postgres import PostgresServer

from .farms import serving_farm
from .figures import at_least, compare, tell
from .files import COLD_END
from .http import per_second, request
from .processes import yardstick

_JSON = "application/json"
# What print files consist of.
_MOVE = b"G1 X101.250 Y88.125 E0.04211 F3000\n"
_FILE_BYTES = 1 << 20


def rest() -> None:
    """GET status, POST of metadata, POST with a file of 1 MB: the embedded farm."""
    with serving_farm() as farm, yardstick("bare_http", str(farm.folder / "bare.db")) as (bare, _):
        job_id = farm.submit("bench")
        sha256 = farm.status(job_id)["artifact_sha256"]
        port = farm.ports["gateway"]
        get = request("GET", f"/api/v1/jobs/{job_id}/status", X_API_Key=farm.key)
        found = compare(
            lambda: _rate(port, lambda _: get, 1_600), lambda: _rate(bare, lambda _: request("GET", "/status"), 3_200)
        )
        tell("GET job status, 16 connections", found, "requests/s", at_least(0.8))
        _post(farm, bare, sha256, "POST job (metadata), SQLite, 16 connections", 0.7)

        form, boundary = _form(GCODE + _MOVE * (_FILE_BYTES // len(_MOVE)) + COLD_END)
        kind = f"multipart/form-data; boundary={boundary}"
        ours = request("POST", "/api/v1/jobs/receive", form, X_API_Key=farm.key, Content_Type=kind)
        theirs = request("POST", "/file", form, Content_Type=kind)
        found = compare(lambda: _rate(port, lambda _: ours, 64, 8), lambda: _rate(bare, lambda _: theirs, 64, 8))
        tell("POST job with a file of 1 MB, 8 connections", found, "requests/s", at_least(0.8))


def postgres() -> None:
    """POST of metadata on PostgreSQL."""
    if program("postgres") is None:
        print(
            '{"benchmark": "POST job (metadata), PostgreSQL", "skipped": "no PostgreSQL on this machine"}', flush=True
        )
        return
    with (
        _postgres() as server,
        serving_farm(database_url=server.database()) as farm,
        yardstick("bare_http", server.database()) as (bare, _),
    ):
        sha256 = farm.status(farm.submit("bench"))["artifact_sha256"]
        _post(farm, bare, sha256, "POST job (metadata), PostgreSQL, 16 connections", 0.6)


@contextmanager
def _postgres() -> Iterator[PostgresServer]:
    server = PostgresServer()
    server.start()
    try:
        yield server
    finally:
        server.close()


def _post(farm: RealFarm, bare: int, sha256: str, name: str, least: float) -> None:
    body = json.dumps({"name": "bench", "quantity": 1, "artifact_sha256": sha256}).encode()
    port = farm.ports["gateway"]
    ours = request("POST", "/api/v1/jobs", body, X_API_Key=farm.key, Content_Type=_JSON)
    theirs = request("POST", "/job", body, Content_Type=_JSON)
    found = compare(lambda: _rate(port, lambda _: ours, 640), lambda: _rate(bare, lambda _: theirs, 960))
    tell(name, found, "requests/s", at_least(least))


def _rate(port: int, make: Callable[[int], bytes], total: int, connections: int = 16) -> float:
    return asyncio.run(per_second(port, make, total, connections))


def _form(content: bytes) -> tuple[bytes, str]:
    boundary = "benchmarkboundary"
    job = json.dumps({"name": "bench"}).encode()
    parts = [
        b'Content-Disposition: form-data; name="job"\r\nContent-Type: application/json\r\n\r\n' + job,
        b'Content-Disposition: form-data; name="file"; filename="a.gcode"\r\n\r\n' + content,
    ]
    marks = b"".join(b"--" + boundary.encode() + b"\r\n" + part + b"\r\n" for part in parts)
    return marks + b"--" + boundary.encode() + b"--\r\n", boundary
