"""The agent: drives a group of printers, and keeps them printing whatever becomes of the rest."""

from printfarm_rpc import prepare_grpc

prepare_grpc()
# Written down: reading it from the installation brings in a mail parser, 2 MB of each agent. A test compares them.
__version__ = "0.1.0"
