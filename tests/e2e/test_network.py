"""The way between agent and coordinator made worse, and processes stopped at the worst moment."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.test_farm import all_events, checked, finish
from tests.support.farm import LONG, RealFarm, real_farm, until
from tests.support.proxy import FaultProxy

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def proxied(tmp_path: Path) -> Iterator[tuple[RealFarm, FaultProxy]]:
    """A farm whose agent reaches its coordinator through the proxy."""
    farm = RealFarm(tmp_path)
    with FaultProxy(f"127.0.0.1:{farm.ports['agents']}") as proxy:
        farm.agent_target = proxy.address
        farm.prepare()
        try:
            yield farm.start(), proxy
        finally:
            farm.stop()


def test_partition_while_it_prints(proxied: tuple[RealFarm, FaultProxy]) -> None:
    """I24: the print goes on, its end is told after the heal, nothing is started twice."""
    farm, proxy = proxied
    job_id = farm.submit("partitioned", gcode=LONG)
    run = farm.wait_run(job_id, "printing")
    proxy.weather.hole_up = proxy.weather.hole_down = True
    index = int(run["printer_id"][1:])
    until(lambda: any(e["event"] == "end" for e in farm.printers.log(index)), why="it printed to the end")
    farm.wait_run(job_id, "unconfirmed")
    assert len(farm.status(job_id)["runs"]) == 1
    proxy.weather.hole_up = proxy.weather.hole_down = False
    proxy.cut()
    farm.wait_run(job_id, "finished", seconds=90)
    finish(farm, job_id)
    assert checked(farm)["physical_start"] == 1


def test_answers_are_lost_while_questions_arrive(proxied: tuple[RealFarm, FaultProxy]) -> None:
    """The coordinator hears the agent, the agent hears nothing: it connects anew, and nothing is started twice."""
    farm, proxy = proxied
    job_id = farm.submit("one way")
    proxy.weather.hole_down = True
    until(lambda: "connecting anew" in farm.agent.log() or "no session" in farm.agent.log(), 60, "the agent notices")
    proxy.weather.hole_down = False
    proxy.cut()
    finish(farm, job_id)
    assert checked(farm)["physical_start"] >= 1


@pytest.mark.parametrize("way", ["up", "down"])
def test_one_direction_dead_is_one_absence(proxied: tuple[RealFarm, FaultProxy], way: str) -> None:
    """Nobody flaps: the agent is missed once, and comes back once. What printed is the same run."""
    farm, proxy = proxied
    job_id = farm.submit(f"only {way} is dead", gcode=LONG, quantity=1)
    run = farm.wait_run(job_id, "printing")
    before = agent_events(farm)
    setattr(proxy.weather, f"hole_{way}", True)
    # What the agent says still arrives where only the answers are lost.
    farm.wait_run(job_id, *(("unconfirmed",) if way == "up" else ("unconfirmed", "finished")))
    index = int(run["printer_id"][1:])
    until(lambda: any(e["event"] == "end" for e in farm.printers.log(index)), why="it printed to the end")
    until(lambda: "connecting anew" in farm.agent.log() or "no session" in farm.agent.log(), 60, "the agent notices")
    setattr(proxy.weather, f"hole_{way}", False)
    proxy.cut()
    assert farm.wait_run(job_id, "finished", seconds=90)["run_id"] == run["run_id"]
    after = agent_events(farm)[len(before) :]
    assert after.count("agent.unreachable") <= 1, after
    # Once more if its first Hello was answered into the hole.
    assert after.count("agent.connected") <= 2, after
    finish(farm, job_id)
    assert checked(farm)["physical_start"] == 1


def agent_events(farm: RealFarm) -> list[str]:
    return [event["type"] for event in all_events(farm) if event["type"].startswith("agent.")]


def test_connections_are_cut_again_and_again(proxied: tuple[RealFarm, FaultProxy]) -> None:
    farm, proxy = proxied
    job_id = farm.submit("stuttering", quantity=2)
    for _ in range(5):
        before = farm.agent.log().count("connected to the coordinator")
        proxy.cut()
        until(lambda seen=before: farm.agent.log().count("connected to the coordinator") > seen, 60, "connected again")
    finish(farm, job_id)
    assert checked(farm)["physical_start"] == 2


def test_damaged_bytes_never_reach_a_printer(proxied: tuple[RealFarm, FaultProxy]) -> None:
    """TLS refuses them; the agent tries again; what is printed has the digest that was ordered (I17)."""
    farm, proxy = proxied
    proxy.weather.flip_chance = 0.05
    job_id = farm.submit("noisy")
    until(lambda: "no session" in farm.agent.log() or farm.status(job_id)["runs"], 60)
    proxy.weather.flip_chance = 0.0
    proxy.cut()
    finish(farm, job_id)
    status = farm.status(job_id)
    starts = [e for i in range(farm.printer_count) for e in farm.printers.starts(i)]
    assert {e["sha256"] for e in starts} == {status["artifact_sha256"]}
    checked(farm)


def test_slow_network_still_prints(proxied: tuple[RealFarm, FaultProxy]) -> None:
    """64 kbit/s and half a second each way."""
    farm, proxy = proxied
    proxy.weather.delay, proxy.weather.bytes_per_second = 0.5, 8_000
    job_id = farm.submit("slow")
    farm.wait_run(job_id, "printing", "finishing", "finished", seconds=120)
    proxy.weather.delay, proxy.weather.bytes_per_second = 0.0, 0.0
    finish(farm, job_id)
    checked(farm)


def test_agent_held_up_between_the_look_at_its_clock_and_the_write(tmp_path: Path) -> None:
    """The limit that stays: it starts late, notices, stops at once, says so; no other run is touched."""
    with real_farm(tmp_path) as farm:
        farm.agent.kill()
        farm.agent.start(fail_at="authority_checked=sleep:6")
        until(farm.is_ready)
        job_id = farm.submit("late", quantity=1, max_retries=5)

        def late() -> bool:
            return any(run["reason_code"] == "late_start" for run in farm.status(job_id)["runs"])

        until(late, 90, f"late_start; {farm.status(job_id)}")
        run = next(run for run in farm.status(job_id)["runs"] if run["reason_code"] == "late_start")
        index = int(run["printer_id"][1:])
        until(lambda: any(e["event"] == "end" for e in farm.printers.log(index)), why="stopped at once")
        ends = [e["ending"] for e in farm.printers.log(index) if e["event"] == "end" and run["run_id"] in e["file"]]
        assert ends == ["cancelled"]
        printer = farm.get(f"/api/v1/printers/{run['printer_id']}")
        assert printer["bed"]["state"] in ("occupied", "unknown")
        farm.printers.admin("clear_plate", index)
        farm.post(f"/api/v1/printers/{run['printer_id']}/bed/clear")
        finish(farm, job_id)
        checked(farm)


def test_an_agent_that_asks_too_late_never_starts_under_that_authority(tmp_path: Path) -> None:
    """It sleeps for longer than an authority lasts, with its question journalled and not yet sent."""
    with real_farm(tmp_path) as farm:
        farm.agent.kill()
        farm.agent.start(fail_at="after_journal.authorising=sleep:10")
        until(farm.is_ready)
        job_id = farm.submit("stopped", quantity=1)
        finish(farm, job_id)
        assert farm.agent.is_alive
        assert checked(farm)["physical_start"] == 1
        farm.agent.signal(signal.SIGTERM)
        assert farm.agent.wait() == 0


def test_agent_process_stopped_between_authority_and_start(tmp_path: Path) -> None:
    """It sleeps while its authority runs out, with its start decided and not yet journalled: it never starts under it."""
    with real_farm(tmp_path, printer_count=1) as farm:
        farm.agent.kill()
        farm.agent.start(fail_at="before_journal.starting=sleep:2")
        until(farm.is_ready, 60)
        job_id = farm.submit("stopped in between", quantity=1)
        run = farm.wait_run(job_id, "authorised")
        farm.agent.signal(signal.SIGSTOP)
        assert farm.printers.starts(0) == []
        # Longer than the authority, and than the lease.
        farm.wait_run(job_id, "unconfirmed")
        farm.agent.signal(signal.SIGCONT)
        finish(farm, job_id)
        started = [start["run_id"] for start in farm.printers.starts(0)]
        assert run["run_id"] not in started
        assert len(started) == 1
        assert checked(farm)["run.fenced"] >= 1
