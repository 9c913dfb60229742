"""Start and end code. CuraEngine writes it as it is, so its places for settings, ``{material_print_temperature}``, are filled
here."""

import re
from collections.abc import Mapping

from .definitions import SettingError
from .formulas import Value

# Also ``{name, 0}``: of the first extruder. Other braces are the firmware's own.
_PLACE = re.compile(r"\{([a-z][a-z0-9_]{0,80})(?:,\s?0)?\}")
_HEATING = {
    "bed": re.compile(r"\{(?:default_)?material_bed_temperature|^[ \t]*M1[49]0\b", re.M),
    "print": re.compile(r"\{(?:default_)?material_(?:\w{1,20}_)?(?:print|standby)_temperature|^[ \t]*M10[49]\b", re.M),
}


def filled(key: str, code: str, settings: Mapping[str, Value]) -> str:
    """The code with each setting's worth. Raises SettingError for one that is none."""

    def worth(place: re.Match[str]) -> str:
        value = settings.get(place[1])
        if value is None or isinstance(value, list) or place[1] in ("machine_start_gcode", "machine_end_gcode"):
            raise SettingError(f"{key}: {{{place[1]}}} is no setting that can stand in it")
        return f"{value:.4f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)

    return _PLACE.sub(worth, code)


def heats(code: str, what: str) -> bool:
    """The code heats the ``bed`` or the nozzle (``print``) itself; CuraEngine then leaves that to it."""
    return _HEATING[what].search(code) is not None
