"""HTTP Digest as the two PrusaLinks ask for it. Pure.

Buddy: RFC 2069 form, without qop, algorithm or opaque; an algorithm in the answer broke older firmware, so it is repeated only
where the challenge has it. Pi: RFC 2617 with ``qop=auth`` and ``MD5-sess``, its nonce bound to the User-Agent.
Formulas: RFC 2617, section 3.2.2.
"""

import hashlib
import re
from dataclasses import dataclass

_PAIR = re.compile(r'(\w+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,]+))')
_LONGEST_CHALLENGE = 2048


@dataclass(frozen=True, slots=True)
class Challenge:
    """What the server wants to be proven. ``qop`` and ``algorithm`` are empty if it does not name them."""

    realm: str
    nonce: str
    qop: str = ""
    algorithm: str = ""
    opaque: str = ""


def read_challenge(header: str) -> Challenge | None:
    """Of a ``WWW-Authenticate`` header; None for another scheme, or for what this answers to nobody."""
    scheme, _, rest = header[:_LONGEST_CHALLENGE].strip().partition(" ")
    if scheme.lower() != "digest":
        return None
    said = {name.lower(): quoted or bare for name, quoted, bare in _PAIR.findall(rest)}
    qops = {word.strip() for word in said.get("qop", "").split(",")} - {""}
    algorithm = said.get("algorithm", "")
    unknown = algorithm.upper() not in ("", "MD5", "MD5-SESS") or bool(qops and "auth" not in qops)
    if unknown or not said.get("nonce"):
        return None
    return Challenge(said.get("realm", ""), said["nonce"], "auth" if qops else "", algorithm, said.get("opaque", ""))


def answer(challenge: Challenge, user: str, password: str, method: str, uri: str, number: int, cnonce: str) -> str:
    """The ``Authorization`` header. ``number`` counts the uses of this nonce from 1; ``cnonce`` is random."""
    ha1 = _md5(f"{user}:{challenge.realm}:{password}")
    if challenge.algorithm.upper() == "MD5-SESS":
        ha1 = _md5(f"{ha1}:{challenge.nonce}:{cnonce}")
    ha2 = _md5(f"{method}:{uri}")
    count = f"{number:08x}"
    middle = f"{count}:{cnonce}:{challenge.qop}:" if challenge.qop else ""
    response = _md5(f"{ha1}:{challenge.nonce}:{middle}{ha2}")
    parts = [f'username="{user}"', f'realm="{challenge.realm}"', f'nonce="{challenge.nonce}"', f'uri="{uri}"']
    parts.append(f'response="{response}"')
    if challenge.algorithm:
        parts.append(f"algorithm={challenge.algorithm}")
    if challenge.opaque:
        parts.append(f'opaque="{challenge.opaque}"')
    if challenge.qop:
        parts += [f"qop={challenge.qop}", f"nc={count}", f'cnonce="{cnonce}"']
    return "Digest " + ", ".join(parts)


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
