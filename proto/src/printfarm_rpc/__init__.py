"""What every peer of the farm needs to speak gRPC with another: TLS, channels, limits, errors, identity."""

import os


def require_tls_13() -> None:
    """TLS 1.3 only, for every connection of this process. Works before gRPC is imported: each program's ``__init__`` calls it.

    Python's gRPC has no setting for the lowest version. But C-core offers these suites up to TLS 1.2 (1.3 has its own), and
    the one named here needs a shared secret that none of our credentials have.
    """
    os.environ.setdefault("GRPC_SSL_CIPHER_SUITES", "ECDHE-PSK-CHACHA20-POLY1305")
