"""The yardstick: grpc.aio on uvloop, mutual TLS, the same messages, nothing of ours around it.

Run as ``python -m tests.bench.bare_grpc PORT CREDENTIALS``, where the folder holds a server's key, certificate and roots.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import uvloop

from printfarm.agent.v1 import agent_service_pb2 as pb

CHUNK = bytes(1 << 20)
_MOST = [("grpc.max_receive_message_length", 2 << 20), ("grpc.max_send_message_length", 2 << 20)]


async def telemetry(requests: AsyncIterator[Any], context: object) -> pb.StreamTelemetryResponse:
    """Reads it."""
    async for _ in requests:
        pass
    return pb.StreamTelemetryResponse()


async def frames(requests: AsyncIterator[Any], context: object) -> AsyncIterator[pb.UploadFramesResponse]:
    """Reads it, and gives the credit for the next."""
    async for frame in requests:
        yield pb.UploadFramesResponse(printer_id=frame.printer_id, camera=frame.camera)


async def download(size: bytes, context: object) -> AsyncIterator[bytes]:
    """So many bytes, out of memory."""
    for _ in range(int(size) // len(CHUNK)):
        yield CHUNK


async def echo(requests: AsyncIterator[bytes], context: object) -> AsyncIterator[bytes]:
    """A standing stream."""
    async for request in requests:
        yield request


def _handlers() -> Any:
    return grpc.method_handlers_generic_handler(
        "bare",
        {
            "telemetry": grpc.stream_unary_rpc_method_handler(
                telemetry, pb.StreamTelemetryRequest.FromString, pb.StreamTelemetryResponse.SerializeToString
            ),
            "frames": grpc.stream_stream_rpc_method_handler(
                frames, pb.UploadFramesRequest.FromString, pb.UploadFramesResponse.SerializeToString
            ),
            "download": grpc.unary_stream_rpc_method_handler(download),
            "echo": grpc.stream_stream_rpc_method_handler(echo),
        },
    )


async def _serve(port: str, folder: Path) -> None:
    key, chain, roots = ((folder / name).read_bytes() for name in ("key.pem", "certificate.pem", "roots.pem"))
    server = grpc.aio.server(options=_MOST)
    server.add_generic_rpc_handlers((_handlers(),))
    server.add_secure_port(f"127.0.0.1:{port}", grpc.ssl_server_credentials([(key, chain)], roots, True))
    await server.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(_serve(sys.argv[1], Path(sys.argv[2])))
