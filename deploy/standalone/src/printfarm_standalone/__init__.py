"""The whole farm in one process: the same parts, joined."""

import os

from printfarm_rpc import require_tls_13

require_tls_13()
# The virtual printers are a program of their own, begun by exec: gRPC need not watch for forks, and complain of one.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
