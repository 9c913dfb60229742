"""The coordinator, as a worker calls it."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration

from printfarm.slicer.v1 import slicing_service_pb2 as pb
from printfarm.slicer.v1 import slicing_service_pb2_grpc as rpc
from printfarm_rpc import refusing
from printfarm_rpc.channel import open_channel
from printfarm_rpc.errors import Code, FarmError, from_rpc_error
from printfarm_rpc.limits import CHUNK_BYTES, CONTROL_CHANNEL, UNARY_DEADLINE_SECONDS
from printfarm_rpc.tls import CredentialFiles, client_credentials

from .check import Checked
from .engine import SlicingFailed

WAIT_SECONDS = 20.0
FILE_SECONDS = 600.0
# The coordinator looks through the whole result first.
COMPLETE_SECONDS = 600.0


class FarmClient:
    """One channel. Every method raises FarmError."""

    def __init__(self, target: str, files: CredentialFiles, server_name: str) -> None:
        self._channel = open_channel(target, client_credentials(files), CONTROL_CHANNEL, server_name)
        self._stub = rpc.SlicingServiceStub(self._channel)

    async def claim(self, engines: dict[str, str]) -> pb.Task | None:
        """The next task, or None if none came within ``WAIT_SECONDS``."""
        named = [pb.Engine(name=name, version=version) for name, version in engines.items()]
        request = pb.ClaimWorkRequest(engines=named, wait=_duration(WAIT_SECONDS))
        answer = await _called(self._stub.ClaimWork, request, WAIT_SECONDS + UNARY_DEADLINE_SECONDS)
        return answer.task if answer.HasField("task") else None

    async def renew(self, task: pb.Task, progress: float) -> float:
        """How long the claim lasts from now, in seconds. Raises FarmError CLAIM_LOST."""
        request = pb.RenewClaimRequest(**_named(task), progress=progress)
        answer = await _called(self._stub.RenewClaim, request, UNARY_DEADLINE_SECONDS)
        return float(answer.claim_lifetime.ToNanoseconds() / 1e9)

    async def read_model(self, task: pb.Task, target: Path) -> None:
        """The model's bytes, whole and of the digest that was named; else FarmError CHECKSUM_MISMATCH."""
        digest = hashlib.sha256()
        call = self._stub.ReadModel(pb.ReadModelRequest(**_named(task)), timeout=FILE_SECONDS)
        try:
            with target.open("wb") as file:
                async for answer in call:
                    digest.update(answer.chunk)
                    file.write(answer.chunk)
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error
        finally:
            call.cancel()
        if digest.hexdigest() != task.model_sha256:
            raise FarmError(Code.CHECKSUM_MISMATCH, "the model did not come whole")

    async def store(self, task: pb.Task, result: Path) -> str:
        """The print file's SHA-256, once the coordinator has it."""
        sha256 = await asyncio.to_thread(_sha256, result)
        try:
            await refusing.send(self._stub.StoreResult, _chunks(task, result, sha256), timeout=FILE_SECONDS)
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error
        return sha256

    async def complete(self, task: pb.Task, sha256: str, checked: Checked, parts: int) -> None:
        """The slicing is done, with so many copies on the plate. May be repeated."""
        seconds = checked.estimated_seconds
        request = pb.CompleteWorkRequest(
            **_named(task),
            result_sha256=sha256,
            estimated_duration=None if seconds is None else _duration(seconds),
            filament_grams=checked.filament_grams,
            parts=parts,
        )
        await _called(self._stub.CompleteWork, request, COMPLETE_SECONDS)

    async def fail(self, task: pb.Task, failure: SlicingFailed) -> None:
        """The slicing failed, or this worker could not do it."""
        code = pb.FailureCode.Value(f"FAILURE_CODE_{failure.code.upper()}")
        request = pb.FailWorkRequest(**_named(task), code=code, reason=_shown(failure.reason))
        await _called(self._stub.FailWork, request, UNARY_DEADLINE_SECONDS)

    async def close(self) -> None:
        """Ends the channel."""
        await self._channel.close()


async def _called(method: Any, request: Any, seconds: float) -> Any:
    try:
        return await method(request, timeout=seconds)
    except grpc.aio.AioRpcError as error:
        raise from_rpc_error(error) from error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


async def _chunks(task: pb.Task, result: Path, sha256: str) -> AsyncIterator[pb.StoreResultRequest]:
    yield pb.StoreResultRequest(**_named(task), sha256=sha256)
    with result.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield pb.StoreResultRequest(chunk=chunk)


def _named(task: pb.Task) -> dict[str, Any]:
    return {"slicing_id": task.slicing_id, "claim_token": task.claim_token}


def _duration(seconds: float) -> Duration:
    made = Duration()
    made.FromNanoseconds(round(seconds * 1e9))
    return made


def _shown(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)[:300]
