"""SlicingService: thin, over the use cases. Its callers are workers, known by their certificates."""

from collections.abc import AsyncIterator

from google.protobuf.message import Message

from printfarm.slicer.v1 import slicing_service_pb2 as pb
from printfarm.slicer.v1 import slicing_service_pb2_grpc as rpc
from printfarm_rpc.errors import Code, FarmError, invalid
from printfarm_rpc.limits import CHUNK_BYTES, LARGEST_CHUNK_BYTES
from printfarm_rpc.serving import PEER, Context

from ..app import slicing as cases
from ..app.artifacts import check_sha256, store_artifact
from ..app.farm import Farm
from ..domain.slicing import MOST_PARTS, SlicingResult
from .agent_convert import duration, seconds
from .convert import FAILURES
from .streams import first_of
from .validate import check_text

PRINT_FILE_NAME = "sliced.gcode"


class SlicingServicer(rpc.SlicingServiceServicer):
    """Registered on the control listener, behind the Guard."""

    def __init__(self, farm: Farm) -> None:
        self._farm = farm

    async def ClaimWork(self, request: pb.ClaimWorkRequest, context: Context) -> pb.ClaimWorkResponse:
        worker = _worker(request)
        engines = {engine.name: engine.version for engine in request.engines}
        claim = await cases.claim_slicing(self._farm, worker, engines, seconds(request.wait))
        return pb.ClaimWorkResponse(task=_task(claim) if claim else None)

    async def RenewClaim(self, request: pb.RenewClaimRequest, context: Context) -> pb.RenewClaimResponse:
        worker = _worker(request)
        lasting = await cases.renew_claim(self._farm, worker, request.slicing_id, request.claim_token, request.progress)
        return pb.RenewClaimResponse(claim_lifetime=duration(lasting / 1e6))

    async def ReadModel(self, request: pb.ReadModelRequest, context: Context) -> AsyncIterator[pb.ReadModelResponse]:
        _worker(request)
        task = await cases.check_claim(self._farm, request.slicing_id, request.claim_token)
        if request.offset < 0:
            raise invalid("offset", "must not be negative")
        offset = request.offset
        while chunk := await self._read(task.key.model_sha256, offset):
            yield pb.ReadModelResponse(chunk=chunk)
            offset += len(chunk)

    async def StoreResult(
        self, request_iterator: AsyncIterator[pb.StoreResultRequest], context: Context
    ) -> pb.StoreResultResponse:
        first = await first_of(request_iterator)
        _worker(first)
        check_sha256("sha256", first.sha256)
        await cases.check_claim(self._farm, first.slicing_id, first.claim_token)
        made = await store_artifact(
            self._farm, PRINT_FILE_NAME, first.sha256, _chunks(first, request_iterator), inspects=False
        )
        return pb.StoreResultResponse(sha256=made.sha256)

    async def CompleteWork(self, request: pb.CompleteWorkRequest, context: Context) -> pb.CompleteWorkResponse:
        _worker(request)
        check_sha256("result_sha256", request.result_sha256)
        result = SlicingResult(
            request.result_sha256,
            seconds(request.estimated_duration) if request.HasField("estimated_duration") else None,
            request.filament_grams if request.HasField("filament_grams") else None,
            request.parts or None,
        )
        await cases.complete_slicing(self._farm, request.slicing_id, request.claim_token, result)
        return pb.CompleteWorkResponse()

    async def FailWork(self, request: pb.FailWorkRequest, context: Context) -> pb.FailWorkResponse:
        _worker(request)
        if request.code not in FAILURES:
            raise invalid("code", "must be one of the known failures")
        code = FAILURES[request.code]
        await cases.fail_slicing(self._farm, request.slicing_id, request.claim_token, code, request.reason)
        return pb.FailWorkResponse()

    async def _read(self, sha256: str, offset: int) -> bytes:
        try:
            return await self._farm.blobs.read(sha256, offset, CHUNK_BYTES)
        except FileNotFoundError as error:
            raise FarmError(Code.UNAVAILABLE, "the stored file is missing") from error


def _worker(request: Message) -> str:
    """The worker that calls. The Guard has checked that there is one."""
    identity = PEER.get()
    if identity is None:
        raise FarmError(Code.UNAUTHENTICATED)
    check_text(request)
    return identity.name


async def _chunks(first: pb.StoreResultRequest, rest: AsyncIterator[pb.StoreResultRequest]) -> AsyncIterator[bytes]:
    yield _checked(first.chunk)
    async for request in rest:
        yield _checked(request.chunk)


def _checked(chunk: bytes) -> bytes:
    if len(chunk) > LARGEST_CHUNK_BYTES:
        raise invalid("chunk", f"must be at most {LARGEST_CHUNK_BYTES} bytes")
    return chunk


def _task(claim: cases.Claim) -> pb.Task:
    task, model = claim.task, claim.model
    return pb.Task(
        slicing_id=task.slicing_id,
        claim_token=task.claim_token,
        claim_lifetime=duration(claim.lasting_us / 1e6),
        model_sha256=model.sha256,
        model_size_bytes=model.size_bytes,
        model_kind=model.kind,
        engine=pb.Engine(name=task.key.engine, version=task.key.engine_version),
        settings=dict(task.settings),
        parts=task.key.parts,
        most_parts=MOST_PARTS,
    )
