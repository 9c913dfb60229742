"""Tokens for people: signed with one algorithm and one key, short-lived, void at once when the user changes."""

import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt

from printfarm_rpc.keys import write_private

ALGORITHM = "HS256"
ISSUER = "printfarm"
AUDIENCE = "printfarm-api"
LEEWAY_SECONDS = 30
ACCESS_SECONDS, REFRESH_SECONDS = 900, 12 * 3_600
# Whatever would tell us where to find a key is refused: there is one key, and it is ours.
_REFUSED_HEADERS = {"crit", "jku", "jwk", "x5u", "x5c", "kid", "x5t", "x5t#S256"}


class TokenRefused(Exception):
    """The token is not one of ours, or not for this, or over."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token says."""

    name: str
    generation: int


class Tokens:
    """Makes and reads them."""

    def __init__(self, secret: str) -> None:
        self._secret = secret

    @classmethod
    def with_secret(cls, secret: str, data_dir: Path) -> "Tokens":
        """With the configured secret, or one kept in the data folder."""
        path = data_dir / "jwt-secret"
        if not secret:
            if not path.exists():
                write_private(path, secrets.token_hex(32).encode())
            secret = path.read_text().strip()
        return cls(secret)

    def make(self, name: str, generation: int, kind: str) -> str:
        """``kind`` is access or refresh."""
        now = int(time.time())
        seconds = ACCESS_SECONDS if kind == "access" else REFRESH_SECONDS
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": name,
            "iat": now,
            "nbf": now,
            "exp": now + seconds,
            "gen": generation,
            "use": kind,
        }
        return jwt.encode(claims, self._secret, ALGORITHM, headers={"typ": "JWT"})

    def read(self, token: str, kind: str) -> Claims:
        """Raises TokenRefused."""
        try:
            header = jwt.get_unverified_header(token)
            if header.get("alg") != ALGORITHM or header.get("typ") != "JWT" or _REFUSED_HEADERS & header.keys():
                raise TokenRefused("header")
            claims: dict[str, Any] = jwt.decode(
                token,
                self._secret,
                algorithms=[ALGORITHM],
                audience=AUDIENCE,
                issuer=ISSUER,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "nbf", "iat", "iss", "aud", "sub"]},
            )
        except (jwt.PyJWTError, ValueError, RecursionError) as error:
            raise TokenRefused(type(error).__name__) from error
        generation = claims.get("gen")
        if claims.get("use") != kind or type(generation) is not int or not 0 <= generation < 1 << 63:
            raise TokenRefused("use")
        return Claims(str(claims["sub"]), generation)
