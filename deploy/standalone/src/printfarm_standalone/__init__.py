"""The whole farm in one process: the same parts, joined."""

from printfarm_rpc import require_tls_13

require_tls_13()
