"""Reads what the rules of slicing need to know."""

import re
from collections.abc import Iterable, Sequence

from ..domain.job import Job
from ..domain.preparing import Workshop
from ..domain.refusals import REMEMBERED_US, Refusals
from ..domain.safety_policy import Policy
from ..domain.setup import Catalogue
from ..domain.slicing import Slicing
from .ports import Reading
from .slicing_ports import SlicerWorker

# A worker asks, or renews a claim, at least every half of this.
WORKER_ALIVE_US = 90_000_000
WORKER_KNOWN_US = 24 * 3_600_000_000
_NO_PROFILES = Catalogue(())
_NONE: Refusals = {}
_NO_ENGINES: dict[str, str] = {}


async def refusals(look: Reading) -> Refusals:
    """Files that were refused, not long ago."""
    return await look.refused_files(look.now - REMEMBERED_US)


async def workshop_for(
    look: Reading, jobs: Sequence[Job], refused: Refusals = _NONE, policy: Policy | None = None
) -> Workshop:
    """What is known of files for these jobs. Costs nothing where none of them is a model's."""
    rules = policy.version if policy else ""
    models = sorted({job.artifact_sha256 for job in jobs if job.needs_slicing})
    if not models:
        return Workshop(_NO_PROFILES, {}, _NO_ENGINES, refused, rules)
    by_model: dict[str, list[Slicing]] = {}
    for task in await look.slicings_of(models):
        by_model.setdefault(task.key.model_sha256, []).append(task)
    engines = newest_engines(await look.slicer_workers(look.now - WORKER_ALIVE_US))
    return Workshop(Catalogue(await look.profiles()), by_model, engines, refused, rules)


def newest_engines(workers: Iterable[SlicerWorker]) -> dict[str, str]:
    """Engine -> the newest version that any of the workers has."""
    found: dict[str, str] = {}
    for worker in workers:
        for engine, version in worker.engines.items():
            if engine not in found or _order(version) > _order(found[engine]):
                found[engine] = version
    return found


def _order(version: str) -> tuple[tuple[int, ...], str]:
    return tuple(int(number) for number in re.findall(r"\d{1,9}", version)), version
