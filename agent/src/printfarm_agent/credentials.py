"""The agent's key and certificate. A new pair replaces the old one in one step: after a crash, either is whole."""

import os
import shutil
import uuid
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from printfarm_rpc.keys import key_pem, new_key, signing_request, write_private

_CURRENT = "credentials"
_REQUESTED = "requested-key.pem"


def new_request(state_dir: Path) -> tuple[bytes, bytes]:
    """A key (PEM) and its certificate request (DER). The same key until it is answered: the call may be repeated."""
    path = state_dir / _REQUESTED
    if path.exists():
        key = serialization.load_pem_private_key(path.read_bytes(), None)
        if isinstance(key, ec.EllipticCurvePrivateKey):
            return key_pem(key), signing_request(key)
    key = new_key()
    write_private(path, key_pem(key))
    return key_pem(key), signing_request(key)


def accept_certificate(state_dir: Path, key: bytes, chain: bytes, roots: bytes) -> Path:
    """Makes the pair the current one, and forgets those before it. Returns the folder to read from."""
    folder = state_dir / f"{_CURRENT}-{uuid.uuid4().hex[:8]}"
    write_private(folder / "key.pem", key)
    write_private(folder / "certificate.pem", chain)
    write_private(folder / "roots.pem", roots)
    link = state_dir / f".{_CURRENT}.new"
    link.unlink(missing_ok=True)
    link.symlink_to(folder.name)
    link.replace(state_dir / _CURRENT)
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
