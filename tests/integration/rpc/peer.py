"""One end of an idle stream, in a process of its own, so that a test can stop it: ``peer.py server|client PORT DIVISOR``."""

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Any

import grpc

from printfarm_rpc.limits import AGENT_CONTROL_CHANNEL, AGENT_SERVER, Options

METHOD = "/printfarm.test.Idle/Stay"


def faster(options: Options, divisor: int) -> Options:
    """All times divided, so that a test need not wait for real ones; how they relate stays."""
    return [(name, value // divisor if name.endswith("_ms") else value) for name, value in options]


class Idle(grpc.GenericRpcHandler):
    """A stream that says one word, then reads for ever. ``ended`` tells how it went."""

    def __init__(self) -> None:
        self.began = asyncio.Event()
        self.ended = asyncio.Event()

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        return grpc.stream_stream_rpc_method_handler(self.stay)

    async def stay(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        self.began.set()
        try:
            yield b"welcome"
            async for _ in requests:
                pass
            await asyncio.Event().wait()
        finally:
            self.ended.set()


async def serve(port: int, options: Options) -> tuple[grpc.aio.Server, Idle]:
    """Listening."""
    server, idle = grpc.aio.server(options=options), Idle()
    server.add_generic_rpc_handlers((idle,))
    assert server.add_insecure_port(f"127.0.0.1:{port}") == port
    await server.start()
    return server, idle


async def dial(port: int, options: Options) -> tuple[grpc.aio.Channel, Any]:
    """The stream, after its first word."""
    channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options)
    call = channel.stream_stream(METHOD)()
    assert await call.read() == b"welcome"
    return channel, call


async def main(role: str, port: int, divisor: int) -> None:
    if role == "server":
        made: Any = await serve(port, faster(AGENT_SERVER, divisor))
    else:
        made = await dial(port, faster(AGENT_CONTROL_CHANNEL, divisor))
    print("ready", flush=True)
    await asyncio.sleep(3_600)
    del made


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
