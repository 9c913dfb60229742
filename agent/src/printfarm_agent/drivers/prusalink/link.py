"""One way to a PrusaLink: requests with the key or with Digest, and what its answers mean for the port."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...driver import OutcomeUnknown, Refused
from ...secret import Secret
from ..http_peer import Answer, HttpPeer, Upload
from . import digest, protocol


@dataclass(frozen=True, slots=True)
class Login:
    """An API key, or a user with a password for Digest."""

    secret: Secret
    user: str = ""


class Link:
    """Asks one thing at a time: Buddy has three places for all of its clients."""

    def __init__(self, url: str, login: Login, seconds: float) -> None:
        self._peer = HttpPeer(url, connect_seconds=min(5.0, seconds), seconds=seconds)
        self._login = login
        self._challenge: digest.Challenge | None = None
        self._uses = 0

    async def ask(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, body: Upload | None = None
    ) -> Answer:
        """Raises as ``HttpPeer.ask``, and Refused, naming the key to mend, where the printer does not let us in."""
        answer = await self._once(method, path, headers, body)
        challenge = digest.read_challenge(answer.headers.get("www-authenticate", "")) if answer.status == 401 else None
        if challenge is not None and self._login.user:
            # Not let in, so not carried out: asking again with a fresh nonce repeats nothing.
            self._challenge, self._uses = challenge, 0
            answer = await self._once(method, path, headers, body)
        if answer.status in (401, 403):
            raise Refused(f"PrusaLink does not accept {self._login.secret}; see its network settings, and mend it")
        return answer

    async def _once(self, method: str, path: str, headers: Mapping[str, str] | None, body: Upload | None) -> Answer:
        sent = {"Accept": "application/json", **(headers or {}), **self._proof(method, path)}
        return await self._peer.ask(method, path, headers=sent, body=body)

    def _proof(self, method: str, path: str) -> dict[str, str]:
        try:
            secret = self._login.secret.reveal()
        except ValueError as error:
            raise Refused(str(error)) from error
        if not self._login.user:
            return {"X-Api-Key": secret}
        if self._challenge is None:
            return {}
        self._uses += 1
        made = digest.answer(self._challenge, self._login.user, secret, method, path, self._uses, secrets.token_hex(8))
        return {"Authorization": made}

    async def close(self) -> None:
        """May be repeated."""
        await self._peer.close()


def complaint(answer: Answer) -> str:
    """The printer's words for a no; its status code if it gave none."""
    said: Any = None
    if answer.body[:1] == b"{":
        said = answer.json()
    return protocol.complaint(said) or f"the printer answered {answer.status}"


def taken(answer: Answer, refusals: frozenset[int]) -> None:
    """Returns if it was. Raises Refused for an answer that says no for certain, OutcomeUnknown for any other."""
    if 200 <= answer.status < 300:
        return
    if answer.status in refusals:
        raise Refused(complaint(answer))
    raise OutcomeUnknown(complaint(answer))
