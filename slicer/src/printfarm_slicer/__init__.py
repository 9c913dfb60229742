"""Slices models for the farm: claims work from a coordinator, runs a slicer in a sandbox, hands back a checked print file."""

from printfarm_rpc import prepare_grpc, prepare_logs

prepare_grpc()
prepare_logs()
