"""The coordinator: owns the queue and decides which printer prints what."""

from importlib.metadata import version

from printfarm_rpc import require_tls_13

require_tls_13()
__version__ = version("printfarm-coordinator")
