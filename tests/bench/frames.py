"""Camera frames into the coordinator, with the protocol's one credit a camera."""

import time
from typing import Any

import uvloop

from printfarm.agent.v1 import agent_service_pb2 as pb
from tests.support.farm import RealFarm

from .farms import bare_grpc, pid_of, serving_farm
from .figures import at_least, compare_async, tell
from .fleet import PlayedAgent, agents_target, enrolled, printer
from .processes import cpu_seconds

_FRAMES = 2_000
_CAMERAS = 8
_BYTES = 60_000


def ingest() -> None:
    """JPEGs of 60 KB from eight cameras on one agent's stream: all pictures in flight are answered before the next."""
    with serving_farm(with_gateway=False) as farm, bare_grpc(farm) as bare:
        uvloop.run(_ingest(farm, *bare))


async def _ingest(farm: RealFarm, bare_port: int, bare_pid: int) -> None:
    files = (await enrolled(farm, ["cameras"]))["cameras"]
    agent = PlayedAgent(agents_target(farm), "cameras", files, [printer(f"p{n}") for n in range(_CAMERAS)])
    bare = PlayedAgent(f"127.0.0.1:{bare_port}", "cameras", files, ())
    await agent.connect()
    messages = [_frame(f"p{number}") for number in range(_CAMERAS)]
    ours = agent.streams().stream_stream(
        "/printfarm.agent.v1.AgentService/UploadFrames", None, pb.UploadFramesResponse.FromString
    )
    theirs = bare.streams().stream_stream("/bare/frames", None, pb.UploadFramesResponse.FromString)
    pid = pid_of(farm.coordinator)
    before = cpu_seconds(bare_pid), cpu_seconds(pid)
    found = await compare_async(lambda: _flood(ours, messages), lambda: _flood(theirs, messages))
    cpu = (cpu_seconds(bare_pid) - before[0]) / (cpu_seconds(pid) - before[1])
    tell("camera ingest, 60 KB frames, 8 cameras", found, "frames/s", at_least(0.8), cpu_ratio=round(cpu, 3))
    for each in (agent, bare):
        await each.close()


def _frame(printer_id: str) -> bytes:
    """Begins and ends as a JPEG of 1280 x 720 does; what is between is not looked at."""
    head = b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(10) + b"\xff\xc0\x00\x11\x08\x02\xd0\x05\x00\x03" + bytes(9)
    jpeg = head + bytes(_BYTES) + b"\xff\xd9"
    return pb.UploadFramesRequest(printer_id=printer_id, camera="main", jpeg=jpeg).SerializeToString()


async def _flood(call: Any, messages: list[bytes]) -> float:
    """Each camera's next frame goes when its last was answered."""
    stream = call()
    began = time.perf_counter()
    for message in messages:
        await stream.write(message)
    for number in range(_FRAMES):
        answer = await stream.read()
        if answer.refused:
            raise RuntimeError(f"a frame was refused: {answer.refused}")
        if number < _FRAMES - len(messages):
            await stream.write(messages[int(answer.printer_id[1:])])
    took = time.perf_counter() - began
    stream.cancel()
    return _FRAMES / took
