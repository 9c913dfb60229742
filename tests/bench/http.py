"""A load generator that costs little: keep-alive connections, requests made beforehand, answers read by their length."""

import asyncio
import time
from collections.abc import Callable


def request(method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
    """As bytes on the wire."""
    lines = [f"{method} {path} HTTP/1.1", "Host: bench", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def _one(port: int, make: Callable[[int], bytes], numbers: range) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    good = 0
    try:
        for number in numbers:
            writer.write(make(number))
            await writer.drain()
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
            good += head.split(b" ", 2)[1] in (b"200", b"202")
    finally:
        writer.close()
    return good


async def per_second(port: int, make: Callable[[int], bytes], total: int, connections: int) -> float:
    """Good answers a second. Raises if any answer was not good."""
    share = total // connections
    began = time.perf_counter()
    done = await asyncio.gather(*(_one(port, make, range(i * share, (i + 1) * share)) for i in range(connections)))
    took = time.perf_counter() - began
    if sum(done) != share * connections:
        raise RuntimeError(f"{share * connections - sum(done)} of {share * connections} answers were not good")
    return sum(done) / took
