"""An operator's own tool against a live coordinator: ``buf curl``, with a certificate and without."""

import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from printfarm_rpc.tls import CredentialFiles
from tests.support.farm import RealFarm, real_farm, until

BUF = Path(sys.executable).with_name("buf")
JOBS = "printfarm.control.v1.JobService"
SECONDS = 30


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealFarm]:
    folder = tmp_path_factory.mktemp("operator")
    with real_farm(folder, printer_count=1, environment={"PRINTFARM_REFLECTION": "true"}) as made:
        yield made


def command(farm: RealFarm, port: str, *arguments: str, identity: str | None = "data/operator") -> list[str]:
    """``buf curl`` as docs/operations.md shows it; the last argument is the path."""
    files = CredentialFiles.in_folder(farm.folder / identity) if identity else None
    roots = CredentialFiles.in_folder(farm.folder / "data/operator").roots
    made = [str(BUF), "curl", "--protocol", "grpc", "--servername", "coordinator", "--cacert", str(roots)]
    if files:
        made += ["--cert", str(files.chain), "--key", str(files.key)]
    *options, path = arguments
    return [*made, *options, f"https://127.0.0.1:{farm.ports[port]}{path}"]


def buf(
    farm: RealFarm, *arguments: str, port: str = "control", identity: str | None = "data/operator"
) -> tuple[int, str]:
    """Its exit code and all that it says."""
    done = subprocess.run(
        command(farm, port, *arguments, identity=identity), capture_output=True, text=True, check=False, timeout=SECONDS
    )
    return done.returncode, done.stdout + done.stderr


def test_lists_every_service_and_method(farm: RealFarm) -> None:
    code, methods = buf(farm, "--list-methods", "")
    assert code == 0, methods
    for name in ("JobService/CreateJob", "PrinterService/ListPrinters", "RunService/GiveVerdict", "EventService/Watch"):
        assert f"printfarm.control.v1.{name}" in methods
    _, services = buf(farm, "--list-services", "")
    assert "grpc.health.v1.Health" in services
    # Agents' methods are on another listener.
    assert "AgentService\n" not in services


def test_calls_and_is_answered_with_codes_of_the_catalogue(farm: RealFarm) -> None:
    code, said = buf(farm, "-d", "{}", "/printfarm.control.v1.FarmService/GetStats")
    assert code == 0, said
    assert "agentsConnected" in json.loads(said)
    code, said = buf(farm, "-d", '{"jobId": "none"}', f"/{JOBS}/GetJob")
    assert code != 0
    refused = json.loads(said)
    assert refused["code"] == "not_found"
    value = refused["details"][0]["value"]
    assert b"NOT_FOUND" in base64.b64decode(value + "=" * (-len(value) % 4))


def test_health_per_service(farm: RealFarm) -> None:
    code, said = buf(farm, "-d", json.dumps({"service": JOBS}), "/grpc.health.v1.Health/Check")
    assert (code, json.loads(said)) == (0, {"status": "SERVING"})


def test_watches_events_as_they_are_committed(farm: RealFarm) -> None:
    watch = command(farm, "control", "-d", '{"afterPosition": "-1"}', "/printfarm.control.v1.EventService/Watch")
    log = farm.folder / "watch.json"
    with log.open("wb") as out:
        watching = subprocess.Popen(watch, stdout=out, stderr=subprocess.STDOUT)
    try:
        until(lambda: "position" in log.read_text(), SECONDS, "the watch has begun")
        job_id = farm.submit("watched", quantity=1)
        until(lambda: job_id in log.read_text() and "job.received" in log.read_text(), SECONDS, "the event was seen")
    finally:
        watching.kill()
        watching.wait(SECONDS)


@pytest.mark.parametrize("path", ["/printfarm.control.v1.FarmService/GetStats", "/grpc.health.v1.Health/Check"])
def test_nobody_without_a_certificate(farm: RealFarm, path: str) -> None:
    code, said = buf(farm, "--schema", "proto", "-d", "{}", path, identity=None)
    assert code != 0
    assert "agentsConnected" not in said
    assert "SERVING" not in said


def test_an_agents_certificate_is_refused_where_the_table_says_so(farm: RealFarm) -> None:
    code, said = buf(
        farm,
        "--schema",
        "proto",
        "-d",
        "{}",
        "/printfarm.control.v1.FarmService/GetStats",
        identity="agent/credentials",
    )
    assert code != 0
    assert "permission_denied" in said
    code, said = buf(farm, "--list-services", "", identity="agent/credentials")
    assert code != 0
    # And an operator is no agent.
    asked = '{"sha256": "aa"}'
    path = "/printfarm.agent.v1.AgentService/DownloadArtifact"
    code, said = buf(farm, "--schema", "proto", "-d", asked, path, port="agents")
    assert code != 0
    assert "permission_denied" in said
