"""How many parts the next plate of a model gets, where the client asked for as many as fit."""

from .job import Job, parts_owed
from .slicing import FITTED, MOST_PARTS, TRANSIENT, Slicing, SlicingState


def parts_wanted(job: Job) -> int:
    """No plate holds more than the job still owes, or than a slicer is asked to arrange; at least one."""
    return max(1, min(parts_owed(job), MOST_PARTS))


def plate_wanted(wanted: int, whole: Slicing | None, fitted: Slicing | None) -> int:
    """The ``parts`` of the slicing that the plate needs: a number, or FITTED.

    ``whole``: the slicing of just as many as are wanted; ``fitted``: the one that finds out how many the bed takes. All that
    are wanted are tried first: where they fit, nobody needs to know how many more would. Where they do not, the bed is filled;
    once it is known what it takes, the last plate holds what is left."""
    if fitted is not None and fitted.state is SlicingState.DONE:
        return FITTED if fitted.plate_parts <= wanted else wanted
    if fitted is not None:
        return FITTED
    refused = whole is not None and whole.state is SlicingState.FAILED and whole.error_code not in TRANSIENT
    return FITTED if refused and wanted > 1 else wanted
