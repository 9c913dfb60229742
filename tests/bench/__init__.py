"""Benchmarks: each figure with its yardstick, run in the same minutes, as a ratio. ``make bench`` prints JSON."""

import os

# C-core tells of every connection that ends; a benchmark ends many. It is read when gRPC is first imported.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
