"""Free ports on loopback."""

import socket


def free_port() -> int:
    """One that nobody listened on a moment ago."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
