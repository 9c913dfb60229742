"""The gateway: the documented REST API of the farm, over gRPC to its coordinator."""

from importlib.metadata import version

from printfarm_rpc import prepare_grpc, prepare_logs

prepare_grpc()
prepare_logs()
__version__ = version("printfarm-gateway")
