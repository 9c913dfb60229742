"""Ports of 127.0.0.1 for servers that tests start."""

import itertools
import os
import random
import socket

# Below what the kernel gives to outgoing connections: one of those could take a port between the look at it and its use.
_LOWEST, _HIGHEST = 10_000, 32_000
_WORKERS = 8
_SHARE = (_HIGHEST - _LOWEST) // _WORKERS
# Tests that run side by side take from shares of their own, and none takes the same twice in a row.
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _WORKERS
_NEXT = itertools.count(random.randrange(_SHARE))


def free_port() -> int:
    """A port that nobody listens on."""
    while True:
        port = _LOWEST + _WORKER * _SHARE + next(_NEXT) % _SHARE
        with socket.socket() as attempt:
            try:
                attempt.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
