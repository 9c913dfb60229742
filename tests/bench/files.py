"""A print file on its way to the agent: 50 MB, written, hashed, resumable."""

import asyncio
import hashlib
import shutil
import time
from pathlib import Path
from typing import Any

import uvloop

from printfarm_agent.files import Files
from tests.support.farm import GCODE, RealFarm

from .bare_grpc import CHUNK
from .farms import bare_grpc, serving_farm
from .figures import at_least, compare_async, tell
from .fleet import PlayedAgent, agents_target, enrolled, printer

_MB = 50
_PART = 16 << 20
# Without it the farm refuses a file: it was cut off.
COLD_END = b"M104 S0\nG1 X10 Y200\n"


def to_agent() -> None:
    """From the coordinator's store into the agent's folder, as the agent fetches it."""
    with serving_farm() as farm, bare_grpc(farm) as bare:
        sha256, size = _stored(farm)
        uvloop.run(_to_agent(farm, bare[0], sha256, size))


def _stored(farm: RealFarm) -> tuple[str, int]:
    """Uploaded in parts, as big files are. SHA-256 and size."""
    line = b"G1 X101.250 Y88.125 E0.04211 F3000\n"
    content = GCODE + line * ((_MB << 20) // len(line)) + COLD_END
    sha256 = hashlib.sha256(content).hexdigest()
    with farm.client() as client:
        order = {"name": "large.gcode", "size_bytes": len(content), "sha256": sha256}
        upload = client.post("/api/v1/uploads", json=order)
        assert upload.status_code == 201, upload.text
        place = f"/api/v1/uploads/{upload.json()['upload_id']}"
        for offset in range(0, len(content), _PART):
            answer = client.patch(
                place,
                content=content[offset : offset + _PART],
                headers={"Upload-Offset": str(offset), "Content-Type": "application/octet-stream"},
            )
            assert answer.status_code in (200, 204), answer.text
        answer = client.post(f"{place}/finish")
        assert answer.status_code in (200, 201), answer.text
    return sha256, len(content)


async def _to_agent(farm: RealFarm, bare_port: int, sha256: str, size: int) -> None:
    files = (await enrolled(farm, ["a"]))["a"]
    agent = PlayedAgent(agents_target(farm), "a", files, [printer("p")])
    bare = PlayedAgent(f"127.0.0.1:{bare_port}", "a", files, ())
    await agent.connect()
    made = await asyncio.to_thread(farm.post, "/api/v1/jobs", {"name": "large", "artifact_sha256": sha256})
    assert made.status_code == 202, made.text
    assert (await agent.assigned()).artifact_sha256 == sha256
    found = await compare_async(
        lambda: _fetch(agent, farm.folder / "fetched", sha256, size), lambda: _receive(bare.streams())
    )
    tell(f"file to agent, {_MB} MB", found, "MB/s", at_least(0.6))
    for each in (agent, bare):
        await each.close()


async def _fetch(agent: PlayedAgent, folder: Path, sha256: str, size: int) -> float:
    files = Files(folder)
    began = time.perf_counter()
    await files.fetch(sha256, size, agent.download)
    took = time.perf_counter() - began
    shutil.rmtree(folder)
    return size / (1 << 20) / took


async def _receive(channel: Any) -> float:
    began = time.perf_counter()
    received = 0
    async for chunk in channel.unary_stream("/bare/download")(str(_MB * len(CHUNK)).encode()):
        received += len(chunk)
    assert received == _MB * len(CHUNK)
    return _MB / (time.perf_counter() - began)
