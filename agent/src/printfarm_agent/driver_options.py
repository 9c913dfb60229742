"""A driver's own keys of the TOML, read strictly: what is wrong or unknown is named, with the mend."""

import math
import re
from urllib.parse import urlsplit

from .driver import PrinterConfig
from .secret import Secret, find_secret, keys_of

_HOST = re.compile(r"[A-Za-z0-9._:-]{1,253}")


class DriverOptions:
    """Each option is asked for once; ``finish`` then refuses those that nobody asked for. All raise ValueError."""

    def __init__(self, config: PrinterConfig) -> None:
        self._printer_id = config.printer_id
        self._given = dict(config.options)
        self._known: list[str] = []

    def text(self, key: str, default: str = "") -> str:
        """One line, at most 256 characters."""
        value = self._take(key, default)
        if not isinstance(value, str) or len(value) > 256 or not (value.isprintable() or value == ""):
            raise self.wrong(f"{key} must be a text of one line")
        return value

    def choice(self, key: str, choices: tuple[str, ...], default: str) -> str:
        """One of the words."""
        value = self.text(key, default)
        if value not in choices:
            raise self.wrong(f"{key} must be one of {', '.join(choices)}")
        return value

    def number(self, key: str, default: float, lowest: float, highest: float) -> float:
        """Within the two."""
        value = self._take(key, default)
        is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not is_number or not lowest <= float(value) <= highest:
            raise self.wrong(f"{key} must be a number from {lowest:g} to {highest:g}")
        return float(value)

    def integer(self, key: str, default: int, lowest: int, highest: int) -> int:
        """Within the two."""
        value = self.number(key, default, lowest, highest)
        if value != int(value):
            raise self.wrong(f"{key} must be a whole number")
        return int(value)

    def flag(self, key: str, default: bool) -> bool:
        """true or false."""
        value = self._take(key, default)
        if not isinstance(value, bool):
            raise self.wrong(f"{key} must be true or false")
        return value

    def url(self, key: str, default: str = "") -> str:
        """Where a printer answers, without a slash at the end: ``http://host:port/path``. A bare host means http."""
        value = self.text(key, default)
        whole = value if "://" in value else f"http://{value}"
        try:
            parts = urlsplit(whole)
            fits = parts.scheme in ("http", "https") and parts.port != 0 and bool(_HOST.fullmatch(parts.hostname or ""))
        except ValueError:
            fits, parts = False, urlsplit("")
        if not fits or parts.query or parts.fragment:
            raise self.wrong(f"{key} must be the printer's address, such as http://192.168.1.20")
        if parts.username is not None:
            raise self.wrong(f"{key} must not hold a user or a password: name the secret's file instead")
        return whole.rstrip("/")

    def secret(self, name: str) -> Secret | None:
        """What one of ``name_file``, ``name_env`` and ``name_credential`` refers to, and that it can be read now."""
        self._known += keys_of(name)
        try:
            found = find_secret(self._given, name)
            if found is not None:
                found.reveal()
        except ValueError as error:
            raise self.wrong(str(error)) from error
        for key in keys_of(name):
            self._given.pop(key, None)
        return found

    def needed_secret(self, name: str) -> Secret:
        """As ``secret``; it must be there."""
        found = self.secret(name)
        if found is None:
            raise self.wrong(f"{name}_file is missing: a file that holds the secret (or {name}_env, {name}_credential)")
        return found

    def finish(self) -> None:
        """Every key was somebody's."""
        for key in sorted(self._given):
            raise self.wrong(f"{key} is not an option of this driver; there are {', '.join(self._known)}")

    def wrong(self, words: str) -> ValueError:
        """An error that names the printer."""
        return ValueError(f"printer {self._printer_id}: options.{words}")

    def _take(self, key: str, default: str | float | bool) -> str | int | float | bool:
        self._known.append(key)
        return self._given.pop(key, default)
