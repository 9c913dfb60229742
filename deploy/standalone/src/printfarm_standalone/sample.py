"""The first start's sample job: posted, followed and signed off through the REST API, as any client would."""

import asyncio
import json
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path

import httpx

SAMPLE = files("printfarm_standalone") / "samples" / "cube.gcode"
_FINAL = {"completed", "failed", "cancelled"}
_ENDED = {"finished", "failed", "cancelled", "fenced"}
Show = Callable[[str, float], None]


async def run_sample(url: str, key_path: Path, printer_ids: Sequence[str], show: Show) -> str:
    """Returns the job's last state. ``show`` is told each change: words, and progress 0..1.

    Only these printers take it: nobody asked for a cube on a real machine, and nobody would have looked at it.
    """
    key = await asyncio.to_thread(key_path.read_text)
    headers = {"X-API-Key": key.strip()}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=30.0) as client:
        job_id = await _post(client, printer_ids)
        show(f"job {job_id} accepted", 0.0)
        return await _follow(client, job_id, show)


async def _post(client: httpx.AsyncClient, printer_ids: Sequence[str]) -> str:
    requirements = {"printer_ids": list(printer_ids)}
    job = {"name": "sample cube", "quantity": 1, "parts_per_plate": 1, "requirements": requirements}
    content = await asyncio.to_thread(SAMPLE.read_bytes)
    parts: list[tuple[str, tuple[str | None, bytes | str, str]]] = [
        ("file", ("cube.gcode", content, "text/x.gcode")),
        ("job", (None, json.dumps(job), "application/json")),
    ]
    answer = await client.post("/api/v1/jobs/receive", files=parts, headers={"Idempotency-Key": "sample-cube"})
    answer.raise_for_status()
    return str(answer.json()["job_id"])


async def _follow(client: httpx.AsyncClient, job_id: str, show: Show) -> str:
    judged: set[str] = set()
    while True:
        answer = await client.get(f"/api/v1/jobs/{job_id}/status")
        answer.raise_for_status()
        job = answer.json()
        runs = job["runs"]
        if job["state"] in _FINAL:
            show(f"job {job['state']}", 1.0)
            return str(job["state"])
        if runs:
            show(f"{runs[-1]['state']} on {runs[-1]['printer_id']}", runs[-1]["progress"])
            if runs[-1]["state"] == "finished" and runs[-1]["run_id"] not in judged:
                judged.add(runs[-1]["run_id"])
                await _sign_off(client, runs[-1], show)
        elif job["waiting"]:
            show(f"waiting: {job['waiting']['summary']}", 0.0)
        await asyncio.sleep(0.3)


async def _sign_off(client: httpx.AsyncClient, run: dict[str, object], show: Show) -> None:
    """A virtual part needs no hands: the sample says that it is good, where a person would look first."""
    body = {"good_parts": 1, "reason": "sample of the first start: a virtual part, signed off by this program"}
    answer = await client.post(f"/api/v1/runs/{run['run_id']}/verdict", json=body)
    answer.raise_for_status()
    show("signed off by this program (a person does this on real printers)", 1.0)
