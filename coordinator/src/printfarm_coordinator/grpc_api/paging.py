"""Page tokens: opaque, and only those that were given out are taken."""

import base64
import binascii
import hashlib
import hmac
import json
import secrets
from collections.abc import Sequence

from google.protobuf.message import Message

from printfarm_rpc.errors import invalid
from printfarm_rpc.limits import FILE_MESSAGE_BYTES

DEFAULT_SIZE, LARGEST_SIZE = 50, 500
PAGE_BYTES = FILE_MESSAGE_BYTES // 2
_MAC_BYTES = 12
# Of this process: a token does not outlive a restart, and the client begins its list again.
_KEY = secrets.token_bytes(32)


def page_size(asked: int) -> int:
    """0 stands for the default; more than the largest is the largest."""
    if asked < 0:
        raise invalid("page_size", f"must be 1 to {LARGEST_SIZE}")
    return min(asked or DEFAULT_SIZE, LARGEST_SIZE)


def as_many_as_fit(messages: Sequence[Message]) -> int:
    """How many of the first an answer takes: what people wrote may be long, and an answer has its limit. At least one."""
    left = PAGE_BYTES
    for count, message in enumerate(messages):
        left -= message.ByteSize()
        if left < 0:
            return max(1, count)
    return len(messages)


def token(kind: str, *place: int | str) -> str:
    """Where the next page begins, for lists of that kind."""
    body = json.dumps([kind, *place], separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(_mac(body) + body).decode().rstrip("=")


def place(kind: str, text: str) -> list[int | str] | None:
    """What ``token`` was given; None for the first page. Raises FarmError INVALID_ARGUMENT for a forged or foreign one."""
    if not text:
        return None
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        raw = b""
    body = raw[_MAC_BYTES:]
    if not body or not hmac.compare_digest(raw[:_MAC_BYTES], _mac(body)):
        raise invalid("page_token", "is not one that this farm gave out: begin without one")
    found: list[int | str] = json.loads(body)
    if found[0] != kind:
        raise invalid("page_token", "belongs to another list")
    return found[1:]


def _mac(body: bytes) -> bytes:
    return hmac.digest(_KEY, body, hashlib.sha256)[:_MAC_BYTES]
