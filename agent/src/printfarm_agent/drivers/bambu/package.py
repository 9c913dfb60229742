"""What a Bambu printer takes: a sliced 3MF. Plain G-code is put into one; a sliced 3MF is checked and goes as it is.

Layout after Bambu Studio: ``Metadata/plate_N.gcode`` with its MD5 beside it. The same G-code gives the same bytes, so that the
MD5 which the printer is told at the start can be worked out anew.
"""

import hashlib
import re
import xml.etree.ElementTree as ET
import zipfile
from dataclasses import dataclass
from pathlib import Path

from ...driver import Refused

_PLATE = re.compile(r"Metadata/plate_(\d{1,3})\.gcode")
_WHEN = (2020, 1, 1, 0, 0, 0)
_COPY_BYTES = 1 << 20
_MOST_ENTRIES = 10_000
_LONGEST_FACTS = 1 << 20
_ZIP = b"PK\x03\x04"
_TYPES = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
    '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    '<Default Extension="gcode" ContentType="text/x.gcode"/></Types>'
)
_RELATIONS = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"/>'
)


@dataclass(frozen=True, slots=True)
class Filament:
    """Of the project, by its place from 0. Colour RRGGBB, empty if it does not matter."""

    place: int
    material: str
    colour: str


@dataclass(frozen=True, slots=True)
class Package:
    """A sliced 3MF on this host. ``plate`` is the entry to print; ``filaments`` those that it uses, of ``filament_count``."""

    path: Path
    size: int
    md5: str
    plate: str
    filaments: tuple[Filament, ...] = ()
    filament_count: int = 1


def pack(source: Path, target: Path, plate: int = 0) -> Package:
    """What is sent for ``source``; ``target`` is written if it has to be made. ``plate`` of a sliced 3MF; 0 is its only one.

    Slow: for a thread. Raises Refused, OSError."""
    with source.open("rb") as file:
        is_zip = file.read(4) == _ZIP
    if is_zip:
        return _checked(source, plate)
    _wrap(source, target)
    return Package(target, target.stat().st_size, _digest(target), "Metadata/plate_1.gcode")


def _wrap(source: Path, target: Path) -> None:
    digest = hashlib.md5(usedforsecurity=False)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as made:
        _write(made, "[Content_Types].xml", _TYPES)
        _write(made, "_rels/.rels", _RELATIONS)
        entry = zipfile.ZipInfo("Metadata/plate_1.gcode", _WHEN)
        entry.compress_type = zipfile.ZIP_DEFLATED
        with source.open("rb") as file, made.open(entry, "w", force_zip64=True) as inside:
            while chunk := file.read(_COPY_BYTES):
                digest.update(chunk)
                inside.write(chunk)
        _write(made, "Metadata/plate_1.gcode.md5", digest.hexdigest().upper())


def _write(made: zipfile.ZipFile, name: str, text: str) -> None:
    made.writestr(zipfile.ZipInfo(name, _WHEN), text)


def _checked(source: Path, plate: int) -> Package:
    try:
        with zipfile.ZipFile(source) as given:
            if len(given.infolist()) > _MOST_ENTRIES:
                raise Refused("the 3MF has too many entries")
            plates = [name for name in given.namelist() if _PLATE.fullmatch(name) and given.getinfo(name).file_size]
            if not plates:
                raise Refused("the 3MF is a project without a sliced plate: slice it first")
            if len(plates) > 1 and not plate:
                raise Refused(f"the 3MF has {len(plates)} plates, and nobody says which is to be printed")
            chosen = f"Metadata/plate_{plate}.gcode" if plate else plates[0]
            if chosen not in plates:
                raise Refused(f"the 3MF has no plate {plate} with G-code")
            _check_md5(given, chosen)
            filaments, count = _filaments(given, chosen)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, RuntimeError) as error:
        raise Refused("the 3MF is damaged") from error
    return Package(source, source.stat().st_size, _digest(source), chosen, filaments, count)


def _check_md5(given: zipfile.ZipFile, plate: str) -> None:
    """The printer refuses a wrong one; better here than there."""
    name = f"{plate}.md5"
    if name not in given.namelist():
        return
    digest = hashlib.md5(usedforsecurity=False)
    with given.open(plate) as inside:
        while chunk := inside.read(_COPY_BYTES):
            digest.update(chunk)
    with given.open(name) as told:
        if told.read(64).decode("ascii", "replace").strip().lower() != digest.hexdigest():
            raise Refused("the 3MF is damaged: the plate has another MD5 than it says")


def _filaments(given: zipfile.ZipFile, plate: str) -> tuple[tuple[Filament, ...], int]:
    """Of ``slice_info.config``: ids are places from 1 among the project's filaments, of which a plate may use a few."""
    name = "Metadata/slice_info.config"
    if name not in given.namelist():
        return (), 1
    with given.open(name) as inside:
        raw = inside.read(_LONGEST_FACTS + 1)
    if len(raw) > _LONGEST_FACTS or b"<!" in raw.replace(b"<!--", b""):
        raise Refused("the 3MF's slice_info is too long, or defines entities")
    try:
        told = ET.fromstring(raw)
    except ET.ParseError as error:
        raise Refused("the 3MF's slice_info is no XML") from error
    count = max((each.place for each in _rows(told)), default=0) + 1
    match = _PLATE.fullmatch(plate)
    number_of_plate = match[1] if match else ""
    mine = next((each for each in told.iter("plate") if _number(each) == number_of_plate), told)
    return tuple(_rows(mine)), count


def _number(plate: ET.Element) -> str:
    """It stands in a ``metadata``, not in an attribute."""
    return next((row.get("value", "") for row in plate.iter("metadata") if row.get("key") == "index"), "")


def _rows(told: ET.Element) -> list[Filament]:
    found = []
    for row in told.iter("filament"):
        number = row.get("id", "")
        if number.isdecimal() and 1 <= int(number) <= 64:
            colour = row.get("color", "").lstrip("#")[:6].upper()
            found.append(Filament(int(number) - 1, row.get("type", "")[:32], colour))
    return found


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
