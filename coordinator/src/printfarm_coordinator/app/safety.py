"""The farm's own look at print files: what no printer may be asked is refused, what a person must allow is asked for.

Small files are looked at while they come in, so that the answer says it. Large ones are looked at when a job needs them, in a
process of its own: the job is ``preparing`` meanwhile, and fails with the lines' numbers if the file is refused.
"""

import asyncio

from printfarm_files import Kind
from printfarm_files.inspecting import SMALL_BYTES, inspect_bytes
from printfarm_files.safety import RULES, Inspection

from ..domain.errors import UnsafeFile
from ..domain.safety_policy import refusal
from .farm import Farm, transact
from .file_ports import Artifact
from .ports import Received, Writing


def is_current(found: Inspection | None) -> bool:
    """It was inspected, by the rules of this release."""
    return found is not None and found.rules == RULES


def refuse_unsafe(farm: Farm, found: Inspection | None) -> None:
    """Raises UnsafeFile for a file that no printer may print."""
    if farm.safety is None or found is None or found.rules != RULES:
        return
    if why := refusal(found, farm.safety):
        raise UnsafeFile(why, tuple(str(each) for each in found.refused) or (why,))


async def inspect_received(received: Received, kind: Kind) -> Inspection | None:
    """Of a small file of G-code text, whose first bytes are all of it; None of any other."""
    if kind is not Kind.GCODE or received.size_bytes > min(SMALL_BYTES, len(received.head)):
        return None
    # Some milliseconds: the event loop does not wait for it.
    return await asyncio.to_thread(inspect_bytes, received.head)


async def inspected(farm: Farm, artifact: Artifact, *, is_result: bool = False) -> Inspection:
    """What is in the file, looked at now unless the rules have seen it. ``is_result``: a worker made it, and waits.

    Raises NotRead, FileNotFoundError."""
    if artifact.inspection is not None and is_current(artifact.inspection):
        return artifact.inspection
    if is_result and artifact.kind == Kind.GCODE.value:
        found = await farm.blobs.inspect_result(artifact.sha256)
    else:
        found = await farm.blobs.inspect(artifact.sha256, Kind(artifact.kind))

    async def work(tx: Writing) -> None:
        await tx.save_inspection(artifact.sha256, found)

    await transact(farm, "inspection", work)
    return found
