"""The agent's key and certificate. A new pair replaces the old one in one step: after a crash, either is whole.

Run as ``python -m printfarm_agent.credentials STATE_DIR`` it makes the request of a renewal and prints it, DER in base64: the
library that makes keys would stay in the agent's memory for good.
"""

import asyncio
import base64
import os
import shutil
import sys
import uuid
from pathlib import Path

from printfarm_rpc.durability import write_private

_CURRENT = "credentials"
_REQUESTED = "requested-key.pem"
_REQUEST_SECONDS = 60.0


def new_request(state_dir: Path) -> tuple[bytes, bytes]:
    """A key (PEM) and its certificate request (DER). The same key until it is answered: the call may be repeated."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    from printfarm_rpc.keys import key_pem, new_key, signing_request

    path = state_dir / _REQUESTED
    if path.exists():
        key = serialization.load_pem_private_key(path.read_bytes(), None)
        if isinstance(key, ec.EllipticCurvePrivateKey):
            return key_pem(key), signing_request(key)
    key = new_key()
    write_private(path, key_pem(key))
    return key_pem(key), signing_request(key)


async def new_request_elsewhere(state_dir: Path) -> tuple[bytes, bytes]:
    """As ``new_request``, in a process that ends. Raises OSError."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-m", "printfarm_agent.credentials", str(state_dir)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(_REQUEST_SECONDS):
            printed, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await asyncio.shield(process.wait())
    if process.returncode != 0:
        raise OSError(f"the process that makes the request ended with status {process.returncode}")
    key = await asyncio.to_thread((state_dir / _REQUESTED).read_bytes)
    return key, base64.b64decode(printed)


def accept_certificate(state_dir: Path, key: bytes, chain: bytes, roots: bytes) -> Path:
    """Makes the pair the current one, and forgets those before it. Returns the folder to read from."""
    folder = state_dir / f"{_CURRENT}-{uuid.uuid4().hex[:8]}"
    try:
        write_private(folder / "key.pem", key)
        write_private(folder / "certificate.pem", chain)
        write_private(folder / "roots.pem", roots)
        link = state_dir / f".{_CURRENT}.new"
        link.unlink(missing_ok=True)
        link.symlink_to(folder.name)
        link.replace(state_dir / _CURRENT)
    except OSError:
        # Each try would leave a pair on a disk that is full already.
        shutil.rmtree(folder, ignore_errors=True)
        raise
    handle = os.open(state_dir, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    for old in state_dir.glob(f"{_CURRENT}-*"):
        if old != folder:
            shutil.rmtree(old, ignore_errors=True)
    (state_dir / _REQUESTED).unlink(missing_ok=True)
    return state_dir / _CURRENT


if __name__ == "__main__":
    print(base64.b64encode(new_request(Path(sys.argv[1]))[1]).decode())
