"""Whether a printer suits a print file by the file's own word (bad input 63). What the client requires wins over it, and it is
held against nothing that the printer does not state: the agent, which measures the file, has the last word.
"""

from collections.abc import Iterator

from printfarm_files.safety import MARGIN_BELOW_MM, Dialect

from .abilities import Abilities, Obstacle
from .file_asks import FileAsks, may_be_model, same_material, same_model
from .job import Requirements

_NOTHING = FileAsks()
_HEATERS = ("hotend", "bed", "chamber")
_SAME_MM = 0.005


def suits_file(has: Abilities, wanted: Requirements) -> bool:
    """Whether ``file_mismatches`` finds nothing."""
    if wanted.file == _NOTHING and wanted.printer_model is None:
        return True
    return next(_found(has, wanted), None) is None


def file_mismatches(has: Abilities, wanted: Requirements) -> list[Obstacle]:
    """Why the printer should not get the file, or not yet."""
    return list(_found(has, wanted))


def _found(has: Abilities, wanted: Requirements) -> Iterator[Obstacle]:
    file = wanted.file
    yield from _model(has, wanted)
    yield from _nozzle(has, wanted)
    if wanted.material is None and file.material and has.material and not same_material(has.material, file.material):
        said = f"the file is for {file.material}, it has {has.material}"
        yield Obstacle("material", f"{said}; require a material to print it all the same")
    yield from _heat(has, file)
    yield from _reach(has, file)
    if has.dialect in file.refused_by:
        yield Obstacle("file_refused", f"the safety check refuses the file for its firmware ({has.dialect})")
    elif has.dialect in file.waits_for:
        yield Obstacle("needs_override", "the safety check found what two people must allow: see the job's overrides")


def _nozzle(has: Abilities, wanted: Requirements) -> Iterator[Obstacle]:
    mine, own = wanted.file.nozzle_diameter_mm, has.nozzle_diameter_mm
    if wanted.nozzle_diameter_mm is None and mine and own and abs(own - mine) >= _SAME_MM:
        said = f"the file is for a {mine:g} mm nozzle, it has {own:g} mm"
        yield Obstacle("nozzle", f"{said}; require nozzle_diameter_mm to print it all the same")


def _model(has: Abilities, wanted: Requirements) -> Iterator[Obstacle]:
    if wanted.printer_model is not None:
        if not has.model or not same_model(has.model, wanted.printer_model):
            yield Obstacle(
                "printer_model",
                f"wanted printer model {wanted.printer_model}, it is {has.model or 'of an unknown one'}",
            )
        return
    own = wanted.file.printer_model
    # RepRapFirmware tells its board, not the machine around it.
    says_nothing = wanted.printer_ids or has.dialect == Dialect.REPRAP
    if own and not says_nothing and not may_be_model(has.model, own):
        said = f"the file is for {own}, it is {has.model}"
        yield Obstacle("printer_model", f"{said}; require printer_ids or printer_model to print it all the same")


def _heat(has: Abilities, file: FileAsks) -> Iterator[Obstacle]:
    if has.most_celsius is None:
        return
    for heater, asked, most in zip(_HEATERS, file.celsius, has.most_celsius, strict=True):
        if asked > most:
            yield Obstacle(
                "temperature", f"the file asks {asked:g} C of the {heater}, at most {most:g} is allowed there"
            )


def _reach(has: Abilities, file: FileAsks) -> Iterator[Obstacle]:
    if has.volume_mm is None or file.low_mm is None or file.high_mm is None:
        return
    margin = Dialect(has.dialect).margin_mm
    below = (margin, margin, MARGIN_BELOW_MM)
    # Where the agent does not say where its corner is, the usual two are tried: front left, and the middle of a round bed.
    x, y, _ = has.volume_mm
    corners = (has.origin_mm,) if has.origin_mm is not None else ((0.0, 0.0, 0.0), (-x / 2, -y / 2, 0.0))
    for corner in corners:
        sides = zip(file.low_mm, file.high_mm, corner, has.volume_mm, below, strict=True)
        if all(at - under <= low and high <= at + side + margin for low, high, at, side, under in sides):
            return
    reach = " x ".join(f"{low:g} to {high:g}" for low, high in zip(file.low_mm, file.high_mm, strict=True))
    volume = " x ".join(f"{side:g}" for side in has.volume_mm)
    yield Obstacle("exceeds_volume", f"the file moves to about {reach} mm, its build volume is {volume} mm")
