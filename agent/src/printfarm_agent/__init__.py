"""The agent: drives a group of printers, and keeps them printing whatever becomes of the rest."""

from importlib.metadata import version

from printfarm_rpc import require_tls_13

require_tls_13()
__version__ = version("printfarm-agent")
