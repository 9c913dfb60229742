"""The only service open without a client certificate: one-time token and request in, certificate out."""

import math
import time
from collections.abc import Callable

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from printfarm.agent.v1 import enrollment_service_pb2 as pb
from printfarm.agent.v1 import enrollment_service_pb2_grpc as rpc
from printfarm_rpc.buckets import Bucket
from printfarm_rpc.errors import Code, FarmError, invalid
from printfarm_rpc.serving import Context

from ..app import enroll
from ..app.farm import Farm

ATTEMPTS_PER_MINUTE = 30
_LONGEST_TOKEN = 200
_LONGEST_REQUEST = 16 * 1024


class EnrollmentServicer(rpc.EnrollmentServiceServicer):
    """Attempts are counted per source address before anything is looked up."""

    def __init__(self, farm: Farm, signer: enroll.Signer, clock: Callable[[], float] = time.monotonic) -> None:
        self._farm = farm
        self._signer = signer
        self._attempts = Bucket(ATTEMPTS_PER_MINUTE, clock)

    async def Enroll(self, request: pb.EnrollRequest, context: Context) -> pb.EnrollResponse:
        source = _address(context.peer())
        if (wait := self._attempts.take(source)) > 0:
            raise FarmError(Code.RATE_LIMITED, retry_after=f"{math.ceil(wait)}")
        if not 1 <= len(request.token) <= _LONGEST_TOKEN:
            raise FarmError(Code.TOKEN_INVALID)
        if not 1 <= len(request.certificate_signing_request) <= _LONGEST_REQUEST:
            raise invalid("certificate_signing_request", "must be a PKCS #10 request, DER, of at most 16 KiB")
        agent_id, signed = await enroll.enroll(
            self._farm, self._signer, request.token, request.certificate_signing_request
        )
        expires = Timestamp()
        expires.FromSeconds(signed.expires_at)
        return pb.EnrollResponse(
            agent_id=agent_id,
            certificate_chain=signed.chain_pem,
            trusted_roots=signed.roots_pem,
            expire_time=expires,
        )


def _address(peer: str) -> str:
    """``ipv4:127.0.0.1:5000`` without the port."""
    return peer.rsplit(":", 1)[0]


def add_enrollment_service(
    server: grpc.aio.Server, farm: Farm, signer: enroll.Signer, clock: Callable[[], float] = time.monotonic
) -> None:
    """Registers it. Attempts are counted by ``clock``."""
    rpc.add_EnrollmentServiceServicer_to_server(EnrollmentServicer(farm, signer, clock), server)
