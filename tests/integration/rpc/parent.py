"""A TLS server that begins one child process after another while it serves: ``parent.py KEY CERTIFICATE CHILDREN``."""

from printfarm_rpc import prepare_grpc

prepare_grpc()

import asyncio  # noqa: E402
import sys  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import grpc  # noqa: E402
import uvloop  # noqa: E402


class Echo(grpc.GenericRpcHandler):
    """Says what it hears."""

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        return grpc.unary_unary_rpc_method_handler(self.echo)

    async def echo(self, heard: bytes, context: Any) -> bytes:
        return heard


async def main(pair: tuple[bytes, bytes], children: int) -> None:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Echo(),))
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair]))
    await server.start()
    print(port, flush=True)
    for _ in range(children):
        # As the coordinator does with its readers; uvloop forks, where asyncio's own loop would use vfork.
        child = await asyncio.create_subprocess_exec("/bin/true")
        await child.wait()
        await asyncio.sleep(0.005)
    await server.wait_for_termination()


if __name__ == "__main__":
    uvloop.run(main((Path(sys.argv[1]).read_bytes(), Path(sys.argv[2]).read_bytes()), int(sys.argv[3])))
