"""Certificates that end while a print goes on: the machine notices nothing, the agent says why, a person enrols it anew."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from printfarm_coordinator.adapters.ca.authority import Authority
from printfarm_coordinator.app import enroll
from tests.e2e.test_farm import checked, finish
from tests.support.farm import GCODE, real_farm, until

# Twenty seconds more: it must still print when its agent is back with a new certificate.
RENEWED = GCODE + b"G4 S1200\n"
pytestmark = pytest.mark.timeout(240)


def test_a_certificate_that_expired_stops_no_print_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with real_farm(tmp_path, printer_count=1) as farm:
        job_id = farm.submit("expires", quantity=1)
        run = farm.wait_run(job_id, "printing")
        farm.agent.kill()
        authority = Authority.open(farm.data / "ca")
        with monkeypatch.context() as patch:
            patch.setattr(enroll, "_lifetime", lambda: timedelta(seconds=1))
            farm.enrol("a1", farm.folder / "agent", authority)
        pem = (farm.folder / "agent" / "credentials" / "certificate.pem").read_bytes()
        end = x509.load_pem_x509_certificates(pem)[0].not_valid_after_utc
        until(lambda: datetime.now(UTC) > end, why="it is over")
        farm.agent.start()
        # Its own look at the certificate tells, where the handshake would only be "Socket closed".
        until(lambda: "certificate.pem expired at" in farm.agent.log(), why="the agent says what is wrong")
        until(lambda: any(e["event"] == "end" for e in farm.printers.log(0)), why="the print goes on to its end")
        farm.agent.kill()
        farm.enrol("a1", farm.folder / "agent", authority)
        farm.agent.start()
        assert farm.wait_run(job_id, "finished")["run_id"] == run["run_id"]
        finish(farm, job_id)
        assert checked(farm)["physical_start"] == 1


def test_a_certificate_is_renewed_under_a_running_print(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than half of its life is over when the agent connects: it renews at once, and comes back with the new one."""
    with real_farm(tmp_path, printer_count=1) as farm:
        job_id = farm.submit("renews", gcode=RENEWED, quantity=1)
        farm.wait_run(job_id, "printing")
        farm.agent.kill()
        with monkeypatch.context() as patch:
            patch.setattr(enroll, "_lifetime", lambda: timedelta(seconds=45))
            farm.enrol("a1", farm.folder / "agent", Authority.open(farm.data / "ca"))
        farm.agent.start()
        until(lambda: "the certificate was renewed" in farm.agent.log(), 60, "renewed")
        said = farm.agent.log().split("the certificate was renewed")
        until(
            lambda: "connected to the coordinator" in farm.agent.log().split(said[0])[-1], 60, "back with the new one"
        )
        assert not [entry for entry in farm.printers.log(0) if entry["event"] == "end"]
        finish(farm, job_id)
        assert checked(farm)["physical_start"] == 1
