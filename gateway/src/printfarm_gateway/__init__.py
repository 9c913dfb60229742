"""The gateway: the documented REST API of the farm, over gRPC to its coordinator."""

from importlib.metadata import version

from printfarm_rpc import require_tls_13

require_tls_13()
__version__ = version("printfarm-gateway")
