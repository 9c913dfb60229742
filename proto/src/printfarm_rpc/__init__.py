"""What every peer of the farm needs to speak gRPC with another: TLS, channels, limits, errors, identity."""

import os
import sys


def prepare_grpc() -> None:
    """What this process' gRPC must know before it is imported: each program's ``__init__`` calls it.

    TLS 1.3 only: Python's gRPC has no setting for the lowest version. But C-core offers these suites up to TLS 1.2 (1.3 has its
    own), and the one named here needs a shared secret that none of our credentials have.

    No handlers of forks: our child processes are begun by exec and never speak gRPC. With the handlers, records on the parent's
    TLS connections were seen broken while children were begun; without them none (``tests/integration/rpc/test_children.py``).
    """
    os.environ.setdefault("GRPC_SSL_CIPHER_SUITES", "ECDHE-PSK-CHACHA20-POLY1305")
    os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"


def prepare_logs() -> None:
    """Imports structlog without rich, which it takes once, when it is imported, wherever rich is installed: 6 MB in every
    program, to draw tracebacks with the values of local variables. Each program's ``__init__`` calls it, and the
    agent's logs, for the host process of a serial line needs none."""
    if "rich" in sys.modules:
        return
    sys.modules["rich"] = None  # type: ignore[assignment]
    try:
        import structlog  # noqa: F401
    finally:
        del sys.modules["rich"]
