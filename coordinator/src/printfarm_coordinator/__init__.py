"""The coordinator: owns the queue and decides which printer prints what."""

from importlib.metadata import version

from printfarm_rpc import prepare_grpc, prepare_logs

prepare_grpc()
prepare_logs()
__version__ = version("printfarm-coordinator")
