"""What printing costs, from the rate to the job's status, over real control services."""

from typing import Any

import pytest

from printfarm_coordinator.app.facts import keep_facts
from printfarm_coordinator.app.farm import Caller, Farm
from printfarm_coordinator.app.ports import Role
from printfarm_coordinator.app.rates import RateOrder, put_rate
from printfarm_coordinator.domain.errors import RuleError
from printfarm_coordinator.domain.rate import RateKind
from printfarm_coordinator.domain.run import Fact
from printfarm_files import FileFacts, Kind, Tool
from tests.support.control_plane import HOUR
from tests.support.gateway import TestedGateway
from tests.support.memory_store import MemoryStore

pytestmark = pytest.mark.asyncio(loop_scope="module")
UNKNOWN = "01932f6e-7b1c-7c3a-9d2f-5e8a4b6c7d10"


async def put(gateway: TestedGateway, **rate: Any) -> dict[str, Any]:
    async with gateway.client("admin") as client:
        answer = await client.put("/api/v1/rates", json=rate)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def started(gateway: TestedGateway, job_id: str, printer_id: str) -> str:
    async with gateway.client() as client:
        answer = await client.post(f"/api/v1/printers/{printer_id}/assign", json={"job_id": job_id})
    assert answer.status_code == 202, answer.text
    run_id = str(answer.json()["run_id"])
    await gateway.plane.report(run_id, Fact.ACCEPTED, Fact.STARTED)
    return run_id


async def test_a_run_costs_by_the_rates_of_its_start_and_the_job_by_all_of_its_runs(gateway: TestedGateway) -> None:
    for name in ("p1", "p2"):
        await gateway.plane.add_printer(name)
    pla = await put(gateway, kind="material", material="PLA", price="20")
    hour = await put(gateway, kind="machine", price="2")
    await put(gateway, kind="machine", printer_id="p2", price="3")
    fee = await put(gateway, kind="start", price="0.25")
    job_id = await gateway.submit(quantity=4, parts_per_plate=2)
    async with gateway.client() as client:
        asked = {"artifact_sha256": await gateway.store(), "quantity": 4, "parts_per_plate": 2}
        vague = (await client.post("/api/v1/jobs/estimate", json=asked)).json()["cost"]
        assert (vague["currency"], vague["low"], vague["high"]) == ("EUR", None, None)
        assert "the file does not tell how much filament it takes" in vague["missing"]
        facts = FileFacts(Kind.GCODE, 75, tools=(Tool(0, "PLA", weight_g=31.5),))
        await keep_facts(gateway.plane.farm, asked["artifact_sha256"], facts)
        # Two plates: 0.63 of PLA, an hour and a start each; the file says 1 h.
        estimated = (await client.post("/api/v1/jobs/estimate", json=asked)).json()["cost"]
        assert estimated == {"currency": "EUR", "low": "5.76", "high": "7.76", "missing": []}

        run_id = await started(gateway, job_id, "p1")
        gateway.plane.clock.forward(HOUR // 2)
        # A change while it prints is not of this run.
        await put(gateway, kind="machine", price="100")
        gateway.plane.clock.forward(HOUR)
        await gateway.plane.report(run_id, Fact.FINISHED)
        run = (await client.get(f"/api/v1/runs/{run_id}")).json()
        assert run["cost"] == {
            "currency": "EUR",
            "total": "3.88",
            "material": "0.63",
            "machine": "3",
            "start": "0.25",
            "missing": [],
            "rate_ids": [pla["rate_id"], hour["rate_id"], fee["rate_id"]],
        }
        await gateway.plane.position()
        events = (await client.get("/api/v1/events", params={"type": "run.finished"})).json()["items"]
        assert {e["subject_id"]: (e["data"]["cost"], e["data"]["currency"]) for e in events}[run_id] == ("3.88", "EUR")

        # A failed run costs too: what the one good part really cost.
        failed = await started(gateway, job_id, "p2")
        async with gateway.plane.farm.store.write("progress") as tx:
            await tx.save_progress({failed: 0.5})
        gateway.plane.clock.forward(HOUR)
        await gateway.plane.report(failed, Fact.FAILED)
        assert (await client.get(f"/api/v1/runs/{failed}")).json()["cost"]["total"] == "3.565"
        judged = await client.post(f"/api/v1/runs/{run_id}/verdict", json={"good_parts": 2})
        assert judged.status_code == 200, judged.text
        cost = (await client.get(f"/api/v1/jobs/{job_id}/status")).json()["cost"]
        assert (cost["so_far"], cost["per_good_part"], cost["missing"]) == ("7.445", "3.7225", [])
        listed = {job["job_id"]: job["cost"] for job in (await client.get("/api/v1/jobs")).json()["items"]}
        assert listed[job_id] == {name: cost[name] for name in ("currency", "so_far", "per_good_part", "missing")}
        today = (await client.get("/api/v1/dashboard/stats")).json()["cost_today"]
        assert today == {"currency": "EUR", "total": "7.445", "unfinished": "3.565", "runs": 2, "runs_unknown": 0}
        # One plate is owed: on p2 for 3, on p1 for 100 an hour.
        assert cost["to_come"] == {"currency": "EUR", "low": "3.88", "high": "100.88", "missing": []}


async def test_a_run_that_ended_before_it_printed_has_no_cost(gateway: TestedGateway) -> None:
    await gateway.plane.add_printer("p3")
    await put(gateway, kind="machine", price="1")
    job_id = await gateway.submit()
    async with gateway.client() as client:
        run_id = (await client.post("/api/v1/printers/p3/assign", json={"job_id": job_id})).json()["run_id"]
        await client.post(f"/api/v1/jobs/{job_id}/cancel")
        status = (await client.get(f"/api/v1/jobs/{job_id}/status")).json()
        assert [(run["run_id"], run["cost"]) for run in status["runs"]] == [(run_id, None)]
        assert (status["cost"]["so_far"], status["cost"]["to_come"]) == ("0", None)


async def test_rates_are_set_told_and_retired_by_an_administrator_on_record(gateway: TestedGateway) -> None:
    rate = await put(gateway, kind="material", material="PETG", colour="Gold", price="25.50", density_g_cm3=1.27)
    assert await put(gateway, kind="material", material="petg", colour="gold", price="25.5", density_g_cm3=1.27) == rate
    later = await put(
        gateway, kind="material", material="petg", colour="gold", price="27", valid_from="2190-01-01T00:00:00Z"
    )
    async with gateway.client() as client:
        for answer in (
            await client.put("/api/v1/rates", json={"kind": "machine", "price": "1"}),
            await client.delete(f"/api/v1/rates/{rate['rate_id']}"),
        ):
            assert (answer.status_code, answer.json()["code"]) == (403, "PERMISSION_DENIED")

        async def mine(**params: Any) -> list[tuple[str, str | None]]:
            listed = (await client.get("/api/v1/rates", params=params)).json()
            assert listed["currency"] == "EUR"
            return [(r["rate_id"], r["price"]) for r in listed["items"] if r["material"] == "petg"]

        both = [(rate["rate_id"], "25.5"), (later["rate_id"], "27")]
        assert await mine() == both
        async with gateway.client("admin") as admin:
            for _ in range(2):
                assert (await admin.delete(f"/api/v1/rates/{rate['rate_id']}")).status_code == 204
            assert (await admin.delete(f"/api/v1/rates/{UNKNOWN}")).status_code == 404
            rows = (await admin.get("/api/v1/audit", params={"subject_id": rate["rate_id"]})).json()["items"]
        assert [(row["action"], row["actor"]) for row in rows] == [
            ("rate.retired", "key/admin"),
            ("rate.put", "key/admin"),
        ]
        assert await mine() == []
        told = await mine(history="true")
        assert set(both) <= set(told)
        assert [price for _, price in told].count(None) == 2


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"kind": "material", "price": 1.5}, "price"),
        ({"kind": "material", "price": "-1"}, "price"),
        ({"kind": "material", "price": "1000000.5"}, "price"),
        ({"kind": "machine", "material": "PLA", "price": "1"}, "material"),
        ({"kind": "material", "colour": "red", "price": "1"}, "material"),
        ({"kind": "machine", "price": "1", "valid_from": "2001-01-01T00:00:00Z"}, "valid_from"),
    ],
)
async def test_a_wrong_rate_is_refused_by_its_field(gateway: TestedGateway, body: dict[str, Any], field: str) -> None:
    gateway.plane.clock.now = max(gateway.plane.clock.now, 1_800_000_000_000_000)
    async with gateway.client("admin") as client:
        answer = await client.put("/api/v1/rates", json=body)
    assert answer.status_code == 422, answer.text
    assert [error["field"] for error in answer.json()["errors"]] == [field]


async def test_a_rate_of_a_printer_that_is_not_there(gateway: TestedGateway) -> None:
    async with gateway.client("admin") as client:
        answer = await client.put("/api/v1/rates", json={"kind": "start", "price": "1", "printer_id": "nobody"})
    assert (answer.status_code, answer.json()["code"]) == (404, "NOT_FOUND")


async def test_a_farm_without_a_currency_says_which_setting_is_missing() -> None:
    farm = Farm(MemoryStore(), None, None, None)  # type: ignore[arg-type]
    with pytest.raises(RuleError) as error:
        await put_rate(farm, Caller("user/ana", Role.ADMIN), RateOrder(RateKind.MACHINE, "1"))
    assert error.value.code == "NO_CURRENCY"
    assert "PRINTFARM_CURRENCY" in error.value.reason
