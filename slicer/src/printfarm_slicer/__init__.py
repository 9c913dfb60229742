"""Slices models for the farm: claims work from a coordinator, runs a slicer in a sandbox, hands back a checked print file."""

from printfarm_rpc import require_tls_13

require_tls_13()
