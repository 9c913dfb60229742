"""Every program asks for TLS 1.3 before anything of it imports gRPC, which reads the wish once."""

import os
import subprocess
import sys

import pytest

VARIABLE = "GRPC_SSL_CIPHER_SUITES"
PROGRAMS = ["printfarm_coordinator", "printfarm_agent", "printfarm_gateway", "printfarm_standalone"]


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_package_asks_before_it_imports_grpc(program: str) -> None:
    look = f"import sys, os, {program}; assert 'grpc' not in sys.modules; print(os.environ['{VARIABLE}'])"
    environment = {name: value for name, value in os.environ.items() if name != VARIABLE}
    done = subprocess.run([sys.executable, "-c", look], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip().startswith("ECDHE-PSK-")
