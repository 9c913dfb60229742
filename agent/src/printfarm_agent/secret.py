"""Secrets by reference: a driver's options say where a key lies, never the key itself.

For an option named ``api_key`` one of three keys stands in the TOML:

- ``api_key_file``: a file that holds it, and nothing else
- ``api_key_env``: a variable of the agent's environment
- ``api_key_credential``: a credential of the systemd unit (``LoadCredential=``)

It is read anew whenever it is needed: a file that a person mends counts from the next connection on.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

_LONGEST_BYTES = 4096
_KINDS = ("file", "env", "credential")
_CREDENTIALS = "CREDENTIALS_DIRECTORY"


@dataclass(frozen=True, slots=True)
class Secret:
    """Where a secret lies. Its text may be logged: it names the TOML's key, and neither the place nor what lies there."""

    key: str
    place: str = field(repr=False)

    def __str__(self) -> str:
        return f"the secret that {self.key} names"

    def reveal(self) -> str:
        """The secret, read now, without the line's end. Raises ValueError, naming the key and the mend."""
        text = self._text().rstrip("\r\n")
        if not text:
            raise ValueError(f"{self.key}: what it names is empty")
        if not text.isprintable():
            raise ValueError(f"{self.key}: what it names must be one line of printable characters")
        return text

    def _text(self) -> str:
        if self.key.endswith("_env"):
            if self.place not in os.environ:
                raise ValueError(f"{self.key}: the environment has no variable {self.place}")
            return os.environ[self.place]
        try:
            with self._path().open("rb") as file:
                raw = file.read(_LONGEST_BYTES + 1)
        except OSError as error:
            raise ValueError(f"{self.key}: {self._path()} cannot be read: {error.strerror}") from error
        if len(raw) > _LONGEST_BYTES:
            raise ValueError(f"{self.key}: {self._path()} is longer than {_LONGEST_BYTES} bytes")
        try:
            return raw.decode()
        except UnicodeDecodeError as error:
            raise ValueError(f"{self.key}: {self._path()} is not UTF-8") from error

    def _path(self) -> Path:
        if self.key.endswith("_file"):
            return Path(self.place)
        folder = os.environ.get(_CREDENTIALS)
        if not folder:
            raise ValueError(
                f"{self.key}: this process has no systemd credentials; see LoadCredential= in systemd.exec"
            )
        if Path(self.place).name != self.place:
            raise ValueError(f"{self.key}: must be the credential's name, not a path")
        return Path(folder) / self.place


def keys_of(name: str) -> tuple[str, ...]:
    """The TOML's keys that may name the secret ``name``."""
    return tuple(f"{name}_{kind}" for kind in _KINDS)


def find_secret(options: Mapping[str, object], name: str) -> Secret | None:
    """The reference among a driver's options; None if there is none. Raises ValueError, naming the key and the mend."""
    if name in options:
        raise ValueError(
            f"{name} must not stand in this file: put it into a file of its own, and name that in {name}_file"
        )
    given = [key for key in keys_of(name) if key in options]
    if not given:
        return None
    if len(given) > 1:
        raise ValueError(f"{given[0]} and {given[1]} name the same secret: leave one of them out")
    place = options[given[0]]
    if not isinstance(place, str) or not place:
        raise ValueError(f"{given[0]} must be a text")
    return Secret(given[0], place)
