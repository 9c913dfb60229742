"""Triangles, measured: box, volume, and whether they close. Works in batches, so that memory does not grow with the model."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .errors import Refused
from .facts import Bounds, Point, Warned

Corners = NDArray[np.float32]
MOST_TRIANGLES = 5_000_000
# Larger than any printer; PrusaSlicer aborts on a cube of a kilometre.
LARGEST_MM = 10_000.0
FARTHEST_MM = 1_000_000.0
_BATCH = 1 << 17
_COUNTED_TRIANGLES = 2_000_000
_SMALL_MM, _LARGE_MM = 1.0, 1_000.0
_A, _B, _C = (np.uint64(k) for k in (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9))


class Mesh(Protocol):
    """Triangles in millimetres, in the order of the file."""

    @property
    def count(self) -> int:
        """Of triangles."""
        ...

    def corners(self, start: int, stop: int) -> Corners:
        """Of some of them: an array of shape (n, 3 corners, 3 axes)."""
        ...


def batches(mesh: Mesh) -> Iterator[Corners]:
    """All triangles, bit by bit."""
    for start in range(0, mesh.count, _BATCH):
        yield mesh.corners(start, min(start + _BATCH, mesh.count))


@dataclass(frozen=True, slots=True)
class Soup:
    """Triangles that each have their own corners, as an STL has them."""

    array: Corners

    @property
    def count(self) -> int:
        """Of triangles."""
        return len(self.array)

    def corners(self, start: int, stop: int) -> Corners:
        """Some of them."""
        return np.ascontiguousarray(self.array[start:stop])


@dataclass(frozen=True, slots=True)
class Measured:
    """Of one mesh. ``is_closed``: each edge is met by one that runs the other way, so that there is an inside."""

    triangles: int
    bounds: Bounds
    volume_mm3: float
    is_closed: bool
    degenerate: int
    open_edges: int | None

    @property
    def warnings(self) -> tuple[Warned, ...]:
        """What a person may want to know; none of it keeps a slicer from trying."""
        found = []
        if not self.is_closed:
            count = "" if not self.open_edges else f" ({self.open_edges} edges)"
            found.append(
                Warned("not_closed", f"the surface is not closed{count}: the slicer repairs it as it thinks best")
            )
        elif self.volume_mm3 == 0:
            found.append(Warned("no_volume", "the surface encloses nothing"))
        elif self.volume_mm3 < 0:
            found.append(Warned("inside_out", "the surface is inside out"))
        if self.degenerate:
            found.append(Warned("degenerate", f"{self.degenerate} of {self.triangles} triangles have no area"))
        largest = max(self.bounds.size)
        if largest < _SMALL_MM:
            found.append(Warned("tiny", f"the model is {largest:g} mm large: it was probably made in metres or inches"))
        if largest > _LARGE_MM:
            found.append(Warned("huge", f"the model is {largest:g} mm large: it was probably made in micrometres"))
        return tuple(found)


def measure(mesh: Mesh) -> Measured:
    """Raises Refused for no triangles, too many, numbers that are none, and sizes that no printer has."""
    check_count(mesh.count)
    low, high = np.full(3, np.inf), np.full(3, -np.inf)
    for corners in batches(mesh):
        flat = corners.reshape(-1, 3)
        with np.errstate(invalid="ignore"):
            low, high = np.minimum(low, flat.min(axis=0)), np.maximum(high, flat.max(axis=0))
        # A sum is not finite if any part of it is not: cheaper than to look at each.
        if not np.isfinite(low).all() or not np.isfinite(high).all():
            raise Refused("the model has a corner that is not a number")
    _check_size(low, high)
    volume, degenerate, balance = 0.0, 0, 0
    centre = ((low + high) / 2).astype(np.float32)
    for corners in batches(mesh):
        a, b, c = (corners[:, i] - centre for i in range(3))
        across = np.cross(b - a, c - a)
        volume += float(np.einsum("ij,ij->", a, across, dtype=np.float64)) / 6
        degenerate += int(np.count_nonzero(np.einsum("ij,ij->i", across, across) == 0))
        balance += _balance(corners)
    closed = balance % (1 << 64) == 0
    return Measured(
        mesh.count, Bounds(_point(low), _point(high)), volume, closed, degenerate, None if closed else _open_edges(mesh)
    )


def check_count(count: int) -> None:
    """Raises Refused."""
    if count == 0:
        raise Refused("the model has no triangles")
    if count > MOST_TRIANGLES:
        raise Refused(f"the model has {count} triangles; at most {MOST_TRIANGLES} are taken: simplify it")


def _check_size(low: NDArray[np.float64], high: NDArray[np.float64]) -> None:
    largest = float((high - low).max())
    if largest > LARGEST_MM or max(abs(low).max(), abs(high).max()) > FARTHEST_MM:
        raise Refused(f"the model reaches over {largest:g} mm; at most {LARGEST_MM:g} mm are taken: check its unit")


def _point(values: NDArray[np.float64]) -> Point:
    x, y, z = (float(value) for value in values)
    return (x, y, z)


def _mixed(value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    value = value ^ (value >> np.uint64(31))
    value *= _A
    value ^= value >> np.uint64(29)
    return value


def _marks(corners: Corners) -> NDArray[np.uint64]:
    """A number for each corner that is the same where the corner is: shape (n, 3)."""
    # Adding nothing makes -0.0 and 0.0 one.
    bits = np.ascontiguousarray(corners + np.float32(0)).view(np.uint32).astype(np.uint64)
    return _mixed(bits[..., 0] * _A + bits[..., 1] * _B + bits[..., 2] * _C)


def _balance(corners: Corners) -> int:
    """Sum over all edges of a mark of the edge minus that of the edge turned round: 0 if the surface is closed.

    It takes one pass and no sorting; that an open surface sums to 0 is as likely as any other 64-bit number."""
    marks = _marks(corners)
    after = np.roll(marks, -1, axis=1)
    forth, back = _mixed(marks * _B + after), _mixed(after * _B + marks)
    return int(forth.sum(dtype=np.uint64)) - int(back.sum(dtype=np.uint64))


def _open_edges(mesh: Mesh) -> int | None:
    """How many edges do not have exactly two triangles; None where counting would cost too much."""
    if mesh.count > _COUNTED_TRIANGLES:
        return None
    edges = np.empty((mesh.count, 3), np.uint64)
    start = 0
    for corners in batches(mesh):
        marks = _marks(corners)
        after = np.roll(marks, -1, axis=1)
        edges[start : start + len(marks)] = _mixed((marks ^ after) * _C + (marks + after))
        start += len(marks)
    flat = np.sort(edges, axis=None)
    changes = np.flatnonzero(np.diff(flat))
    runs = np.diff(np.concatenate(([-1], changes, [len(flat) - 1])))
    return int(np.count_nonzero(runs != 2))
