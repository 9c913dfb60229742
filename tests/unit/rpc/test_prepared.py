"""Every program says what its gRPC must know before anything of it imports gRPC, which reads it once."""

import os
import subprocess
import sys

import pytest

CIPHERS, FORKS = "GRPC_SSL_CIPHER_SUITES", "GRPC_ENABLE_FORK_SUPPORT"
PROGRAMS = ["printfarm_coordinator", "printfarm_agent", "printfarm_gateway", "printfarm_slicer", "printfarm_standalone"]


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_package_asks_before_it_imports_grpc(program: str) -> None:
    said = f"os.environ['{CIPHERS}'], os.environ['{FORKS}']"
    look = f"import sys, os, {program}; assert 'grpc' not in sys.modules; print({said})"
    environment = {name: value for name, value in os.environ.items() if name not in (CIPHERS, FORKS)}
    done = subprocess.run([sys.executable, "-c", look], env=environment, capture_output=True, text=True, check=True)
    ciphers, forks = done.stdout.split()
    assert (ciphers[:10], forks) == ("ECDHE-PSK-", "0")


@pytest.mark.parametrize("program", PROGRAMS)
def test_no_log_draws_the_values_of_local_variables(program: str) -> None:
    """structlog would with rich, which is installed here, and stays there for whoever wants it."""
    look = f"import {program}.__main__, structlog; assert structlog.dev.rich is None; import rich"
    subprocess.run([sys.executable, "-c", look], check=True)
