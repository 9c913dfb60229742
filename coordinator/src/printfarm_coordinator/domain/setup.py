"""Which profiles slice a job for a printer: by its model, nozzle and loaded material, and the job's word on quality."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from .job import Job
from .printer import Abilities, Obstacle, Printer, effective_abilities
from .profile import Profile, ProfileKind, settings_hash


@dataclass(frozen=True, slots=True)
class Setup:
    """What a slicer is given beside the model. ``labels``: the profiles it came from, as name@version."""

    engine: str
    settings_hash: str
    labels: tuple[str, ...]
    settings: Mapping[str, str] = field(hash=False, compare=False)


class Catalogue:
    """All versions of all profiles. A job keeps the versions that were there when it was accepted."""

    def __init__(self, profiles: Iterable[Profile]) -> None:
        self._versions: dict[str, list[Profile]] = {}
        for profile in sorted(profiles, key=lambda p: (p.name, p.version)):
            self._versions.setdefault(profile.name, []).append(profile)
        self._known: dict[object, tuple[Setup, ...] | Obstacle] = {}

    def at(self, moment: int) -> list[Profile]:
        """Of each profile the version for a job accepted then: the newest of that time, else the first made since.

        A profile that was retired by then is left out.
        """
        found = []
        for versions in self._versions.values():
            retired = versions[-1].retired_at
            if retired is None or retired > moment:
                found.append(next((p for p in reversed(versions) if p.created_at <= moment), versions[0]))
        return found

    def quality(self, name: str, moment: int) -> Profile | None:
        """The quality profile of that name, for a job accepted then."""
        return next((p for p in self.at(moment) if p.kind is ProfileKind.QUALITY and p.name == name), None)

    def setups_for(self, printer: Printer, job: Job) -> tuple[Setup, ...] | Obstacle:
        """The setups that fit, at most one for each printer's profile, the preferred first; or why there is none."""
        return self.setups_of(effective_abilities(printer), job.profile, job.created_at)

    def setups_of(self, has: Abilities, quality: str, moment: int) -> tuple[Setup, ...] | Obstacle:
        """As ``setups_for``, of a printer of these abilities. ``quality``: a profile's name, or empty for the default one."""
        key = (has.model, has.nozzle_diameter_mm, has.material, quality, moment)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = _setups(self.at(moment), has, quality)
        return found


def _setups(profiles: list[Profile], has: Abilities, quality: str) -> tuple[Setup, ...] | Obstacle:
    machines = _preferred([p for p in profiles if _is_for_printer(p, has)])
    if not machines:
        nozzle = f" with a {has.nozzle_diameter_mm:g} mm nozzle" if has.nozzle_diameter_mm is not None else ""
        return Obstacle("no_profile", f"no printer profile is for the model {has.model or 'unknown'}{nozzle}")
    if not has.material:
        return Obstacle("no_profile", "its loaded material is unknown, so no material profile can be chosen")
    tried = [_of_machine(profiles, machine, has.material, quality) for machine in machines]
    found = tuple(each for each in tried if isinstance(each, Setup))
    # What the preferred profile lacks is what a person looks for first.
    return found or next(each for each in tried if isinstance(each, Obstacle))


def _of_machine(profiles: list[Profile], machine: Profile, material: str, quality: str) -> Setup | Obstacle:
    """With the preferred ones of the same engine: a slicer reads no other's settings."""
    same_engine = [p for p in profiles if p.engine == machine.engine]
    materials = _preferred([p for p in same_engine if _is_for_material(p, material)])
    qualities = _preferred([p for p in same_engine if _is_for_quality(p, quality)])
    if not materials:
        return Obstacle("no_profile", f"no material profile of {machine.engine} is for {material}")
    if not qualities:
        what = f"no quality profile {quality}" if quality else "no default quality profile"
        return Obstacle("no_profile", f"there is {what} of {machine.engine}")
    return _joined(machine, materials[0], qualities[0])


def _preferred(profiles: list[Profile]) -> list[Profile]:
    return sorted(profiles, key=lambda p: (not p.is_default, p.name))


def _is_for_printer(profile: Profile, has: Abilities) -> bool:
    if profile.kind is not ProfileKind.PRINTER:
        return False
    nozzle = profile.nozzle_diameter_mm
    fits = has.nozzle_diameter_mm is None or abs(has.nozzle_diameter_mm - nozzle) < 0.005
    return fits and has.model.casefold() in {model.casefold() for model in profile.printer_models}


def _is_for_material(profile: Profile, material: str) -> bool:
    is_material = profile.kind is ProfileKind.MATERIAL
    return is_material and profile.material_type.casefold() == material.casefold()


def _is_for_quality(profile: Profile, name: str) -> bool:
    return profile.kind is ProfileKind.QUALITY and (profile.name == name if name else profile.is_default)


def _joined(*profiles: Profile) -> Setup:
    engine = profiles[0].engine
    # The kinds' keys are disjoint: the allow-list gives each key to one kind.
    settings = {key: value for profile in profiles for key, value in profile.settings.items()}
    return Setup(engine, settings_hash(engine, settings), tuple(p.label for p in profiles), settings)
