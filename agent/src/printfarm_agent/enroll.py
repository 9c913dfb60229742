"""The first certificate: a one-time token, and the CA's hash to know the coordinator by."""

import hashlib
import hmac
import socket
import ssl
from pathlib import Path
from typing import Any

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from printfarm.agent.v1 import enrollment_service_pb2 as pb
from printfarm.agent.v1 import enrollment_service_pb2_grpc as rpc
from printfarm_rpc.errors import Code, FarmError, from_rpc_error
from printfarm_rpc.tls import roots_only_credentials

from .credentials import accept_certificate, new_request

_SECONDS = 10.0


def fetch_root(address: str, ca_sha256: str) -> bytes:
    """The CA's certificate (PEM) as the coordinator shows it, if it has the hash that the operator was given.

    Nothing is sent before it is known to be the right one. Raises FarmError."""
    host, _, port = address.rpartition(":")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Not trust without looking: the chain is compared with the hash below, and the call that follows verifies against it.
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    try:
        with socket.create_connection((host, int(port)), _SECONDS) as raw, context.wrap_socket(raw) as secured:
            chain = _chain(secured)
    except (OSError, ValueError) as error:
        raise FarmError(Code.UNAVAILABLE, f"{address} does not answer with TLS: {error}") from error
    for der in chain:
        if hmac.compare_digest(hashlib.sha256(der).hexdigest(), ca_sha256.lower()):
            return x509.load_der_x509_certificate(der).public_bytes(serialization.Encoding.PEM)
    raise FarmError(Code.PERMISSION_DENIED, f"{address} does not show a CA with SHA-256 {ca_sha256}: not the farm's")


def _chain(secured: ssl.SSLSocket) -> list[bytes]:
    """Public since Python 3.13; before that, only the object below has it."""
    if hasattr(secured, "get_unverified_chain"):
        return list(secured.get_unverified_chain())
    inner: Any = secured._sslobj  # type: ignore[attr-defined]
    return [ssl.PEM_cert_to_DER_cert(certificate.public_bytes()) for certificate in inner.get_unverified_chain()]


def enroll(address: str, token: str, ca_sha256: str, state_dir: Path, server_name: str = "coordinator") -> str:
    """Gets and keeps a certificate; returns the agent's id. May be repeated with the same token while it lives.

    Raises FarmError."""
    root = fetch_root(address, ca_sha256)
    key, request = new_request(state_dir)
    options = [("grpc.ssl_target_name_override", server_name)]
    with grpc.secure_channel(address, roots_only_credentials(root), options) as channel:
        try:
            answer = rpc.EnrollmentServiceStub(channel).Enroll(
                pb.EnrollRequest(token=token, certificate_signing_request=request), timeout=_SECONDS
            )
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error  # type: ignore[arg-type]
    accept_certificate(state_dir, key, answer.certificate_chain, answer.trusted_roots)
    return str(answer.agent_id)
