"""The rigs, in the table's order. Each module is imported only when its rig is used."""

from importlib import import_module

from ..rig import Rig, Row

ROWS = (
    Row("virtual", "virtual", "VirtualRig"),
    Row("octoprint", "octoprint", "OctoPrintRig", server="octoprint_server"),
    Row("moonraker", "moonraker", "MoonrakerRig", server="klipper_server"),
    Row("prusalink-buddy", "prusalink", "BuddyRig"),
    Row("prusalink-pi", "prusalink", "PiRig"),
    Row("prusalink-pi-real", "prusalink_pi", "RealPiRig", server="prusalink_pi"),
    Row("marlin", "marlin", "MarlinRig"),
    Row("bambu-x1", "bambu", "BambuRig", "mosquitto"),
    Row("bambu-p1", "bambu", "BambuDeltasRig", "mosquitto"),
    Row("duet", "duet", "StandaloneRig"),
    Row("duet-sbc", "duet", "SbcRig"),
    Row("simplyprint", "simplyprint", "SimplyPrintRig"),
)


def rig_class(row: Row) -> type[Rig]:
    """The class of a row."""
    found: type[Rig] = getattr(import_module(f"{__name__}.{row.module}"), row.rig)
    return found
