"""What printers say of themselves on the network, and what hangs on USB. Pure: datagrams and names in, findings out."""

import re
from dataclasses import dataclass

LONGEST_DATAGRAM = 8192
# Of mDNS: type of service -> driver.
SERVICES = {
    "_octoprint._tcp.local.": "octoprint",
    "_moonraker._tcp.local.": "moonraker",
    "_prusalink._tcp.local.": "prusalink",
    "_duet._tcp.local.": "duet",
}
BAMBU_TYPE = "urn:bambulab-com:device:3dprinter:1"
_MODELS = {
    "BL-P001": "X1C",
    "BL-P002": "X1",
    "C13": "X1E",
    "C11": "P1P",
    "C12": "P1S",
    "N1": "A1 mini",
    "N2S": "A1",
    "N7": "P2S",
    "N6": "X2D",
    "O1D": "H2D",
    "O1S": "H2S",
    "O1C": "H2C",
    "O1C2": "H2C",
    "O1E": "H2D Pro",
    "O2D": "H2D Pro",
}
_ADDRESS = re.compile(r"[0-9A-Fa-f:.]{3,45}")
_SERIAL = re.compile(r"[A-Z0-9]{10,20}")


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """A printer, or a port where one may hang. ``options`` are those of the driver that are known already."""

    driver: str
    name: str
    options: tuple[tuple[str, str], ...]

    @property
    def where(self) -> str:
        """Its address or port."""
        return self.options[0][1] if self.options else ""


def from_ssdp(datagram: bytes) -> Finding | None:
    """A Bambu printer's announcement; None for anything else."""
    if len(datagram) > LONGEST_DATAGRAM:
        return None
    lines = datagram.decode("utf-8", "replace").splitlines()
    said = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    if BAMBU_TYPE not in (said.get("nt"), said.get("st")):
        return None
    host, serial = said.get("location", ""), said.get("usn", "")
    if not _ADDRESS.fullmatch(host) or not _SERIAL.fullmatch(serial):
        return None
    model = _clean(said.get("devmodel.bambu.com", ""))
    name = f"{_MODELS.get(model, model or 'Bambu Lab')} {_clean(said.get('devname.bambu.com', ''))}".strip()
    return Finding("bambu", name, (("host", host), ("serial_number", serial)))


def from_service(kind: str, instance: str, addresses: list[str], port: int | None) -> Finding | None:
    """A service that mDNS tells of; None for one that no driver speaks to."""
    driver = SERVICES.get(kind)
    found = next((each for each in addresses if _ADDRESS.fullmatch(each) and ":" not in each), None)
    if driver is None or found is None or not port:
        return None
    name = _clean(instance.removesuffix(f".{kind}"))
    return Finding(driver, name, (("url", f"http://{found}" + ("" if port == 80 else f":{port}")),))


def from_port(path: str) -> Finding:
    """A serial port by its lasting name."""
    name = path.rpartition("/")[2].removeprefix("usb-")
    return Finding("marlin", _clean(name), (("port", path),))


def _clean(text: str) -> str:
    return "".join(c for c in text if c.isprintable())[:64]
