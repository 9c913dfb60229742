"""Addresses of printers that are powered off: some refuse every connection, some take it and never say a word."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from .ports import free_port


@contextmanager
def dead_addresses(count: int) -> Iterator[list[str]]:
    """Every other one is refused. The kernel takes the connections of the rest, and nobody ever accepts one."""
    with ExitStack() as stack:
        found = []
        for number in range(count):
            if number % 2:
                found.append(f"127.0.0.1:{free_port()}")
                continue
            hole = stack.enter_context(socket.socket())
            hole.bind(("127.0.0.1", 0))
            hole.listen(128)
            found.append(f"127.0.0.1:{hole.getsockname()[1]}")
        yield found
