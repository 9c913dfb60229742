"""The whole farm in one process: the same parts, joined."""

from printfarm_rpc import prepare_grpc, prepare_logs

prepare_grpc()
prepare_logs()
