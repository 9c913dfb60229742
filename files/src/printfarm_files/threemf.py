"""3MF: meshes, where they stand, and nothing else. A project's settings are never read from it for a slicer.

After the 3MF core specification and its production extension (``p:path``: meshes in other parts, as Bambu Studio
and OrcaSlicer write).
"""

import math
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from . import xml
from .archive import Archive, open_archive
from .errors import Refused
from .facts import Thumbnail, Warned
from .mesh import MOST_TRIANGLES, Corners
from .thumbnails import checked

_UNITS = {"micron": 0.001, "millimeter": 1.0, "centimeter": 10.0, "inch": 25.4, "foot": 304.8, "meter": 1000.0}
_MODEL_TYPE = "/3dmodel"
_MOST_PLACES = 10_000
_MOST_OBJECTS = 10_000
_MOST_NESTED = 16
_MOST_PARTS = 1_000
_SMALL_PART_BYTES = 4 << 20
_PICTURE_BYTES = 2 << 20
_BY_THE_MILLION = frozenset({"vertex", "triangle"})
_NOT_PRINTED = ("support", "other")
Matrix = NDArray[np.float64]
Key = tuple[str, str]


@dataclass(slots=True)
class _Object:
    """As the model part says it; which of the two lists is filled tells mesh from assembly."""

    kind: str
    name: str
    unit: float
    vertices: "array[float]" = field(default_factory=lambda: array("d"))
    faces: "array[int]" = field(default_factory=lambda: array("I"))
    components: list[tuple[Key, Matrix]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Part:
    """One mesh, in millimetres: vertices of shape (n, 3), and three of them for each face."""

    name: str
    vertices: NDArray[np.float64]
    faces: NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class Model:
    """What stands on the plate: meshes, and for each item of the build the meshes in it, each with its 4x3 matrix."""

    parts: tuple[Part, ...]
    items: tuple[tuple[tuple[int, Matrix], ...], ...]
    thumbnails: tuple[Thumbnail, ...] = ()
    warnings: tuple[Warned, ...] = ()
    application: str | None = None

    @property
    def count(self) -> int:
        """Of triangles, those of every copy."""
        return sum(len(self.parts[index].faces) for item in self.items for index, _ in item)

    def corners(self, start: int, stop: int) -> Corners:
        """Where they stand: as ``mesh.Mesh``."""
        found: list[Corners] = []
        first = 0
        for index, matrix in (place for item in self.items for place in item):
            part = self.parts[index]
            low, high = max(start - first, 0), min(stop - first, len(part.faces))
            if low < high:
                corners = part.vertices[part.faces[low:high]]
                # What is too large for a number is one that ``measure`` refuses.
                with np.errstate(over="ignore", invalid="ignore"):
                    found.append((corners @ matrix[:3] + matrix[3]).astype(np.float32))
            first += len(part.faces)
        return np.concatenate(found) if found else np.empty((0, 3, 3), np.float32)


def read_3mf(path: Path) -> Model:
    """Raises Refused for what is broken or hostile, OSError."""
    with open_archive(path) as archive:
        return read_model(archive)


def read_model(archive: Archive) -> Model:
    """Of an archive that is open already."""
    root = _root(archive)
    reader = _Reader(archive)
    reader.read(root)
    if not reader.items:
        raise Refused("the 3MF has nothing to print: its build is empty")
    places = _Places(reader)
    items = tuple(tuple(places.of(key, matrix)) for key, matrix in reader.items)
    if not any(items):
        raise Refused("the 3MF has nothing to print: its build has no mesh")
    return Model(tuple(places.parts), tuple(item for item in items if item), pictures(archive), (), reader.application)


def _root(archive: Archive) -> str:
    """The part that the package's relationships name as its model."""
    found: list[str] = []

    def start(name: str, given: dict[str, str]) -> None:
        if name == "Relationship" and given.get("Type", "").endswith(_MODEL_TYPE):
            found.append(given.get("Target", ""))

    if "_rels/.rels" in archive.names:
        xml.parse([archive.read("_rels/.rels", _SMALL_PART_BYTES)], start)
    name = _part_name(found[0]) if found else "3D/3dmodel.model"
    if name not in archive.names:
        raise Refused("the archive is no 3MF: it has no model")
    return name


def _part_name(target: str) -> str:
    return str(PurePosixPath(target.lstrip("/")))


class _Reader:
    """All parts of the model, by name and object id."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self.objects: dict[Key, _Object] = {}
        self.items: list[tuple[Key, Matrix]] = []
        self.application: str | None = None
        self._triangles = 0
        self._elements = xml.Elements(_BY_THE_MILLION)
        self._wanted: list[str] = []
        self._part = ""
        self._unit = 1.0
        self._now: _Object | None = None

    def read(self, root: str) -> None:
        """The root part, and whatever it points to."""
        self._wanted = [root]
        seen: set[str] = set()
        while self._wanted:
            name = self._wanted.pop()
            if name in seen:
                continue
            seen.add(name)
            if name not in self._archive.names:
                raise Refused(f"the 3MF points to {name[:80]!r}, which is not in it")
            if len(seen) > _MOST_PARTS:
                raise Refused("the 3MF has too many parts")
            self._part, self._unit, self._now = name, 1.0, None
            start = self._start if name == root else self._start_outside
            xml.parse(self._archive.pieces(name), start, self._end, self._elements)

    def _start_outside(self, name: str, given: dict[str, str]) -> None:
        if name != "item":
            self._start(name, given)

    def _start(self, name: str, given: dict[str, str]) -> None:
        now = self._now
        # The two that come by the million stand first.
        if name == "vertex" and now is not None:
            try:
                now.vertices.extend((float(given["x"]), float(given["y"]), float(given["z"])))
            except (KeyError, ValueError):
                raise Refused("the 3MF has a corner that is not a number") from None
            if len(now.vertices) > 9 * MOST_TRIANGLES:
                raise Refused("the 3MF has too many corners")
        elif name == "triangle" and now is not None:
            self._triangle(now, given)
        elif name == "object":
            self._object(given)
        elif name == "component" and now is not None:
            now.components.append((self._key(given), self._matrix(given)))
            if len(now.components) > _MOST_PLACES:
                raise Refused("the 3MF has too many components")
        elif name == "item" and given.get("printable", "1") != "0":
            self.items.append((self._key(given), self._matrix(given)))
            if len(self.items) > _MOST_PLACES:
                raise Refused("the 3MF has too many items")
        elif name == "model":
            unit = given.get("unit", "millimeter")
            if unit not in _UNITS:
                raise Refused(f"the 3MF has an unknown unit {unit[:40]!r}")
            self._unit = _UNITS[unit]
        elif name == "metadata":
            self._metadata = given.get("name", "")

    _metadata = ""

    def _end(self, name: str, text: str) -> None:
        if name == "object":
            self._now = None
        elif name == "metadata" and self._metadata == "Application" and self.application is None:
            self.application = "".join(c for c in text if c.isprintable())[:120]

    def _triangle(self, now: _Object, given: dict[str, str]) -> None:
        try:
            now.faces.extend((int(given["v1"]), int(given["v2"]), int(given["v3"])))
        except (KeyError, ValueError, OverflowError):
            raise Refused("the 3MF has a triangle whose corners are not numbers") from None
        self._triangles += 1
        if self._triangles > MOST_TRIANGLES:
            raise Refused(f"the 3MF has more than {MOST_TRIANGLES} triangles: simplify it")

    def _object(self, given: dict[str, str]) -> None:
        key = (self._part, given.get("id", ""))
        if key in self.objects or len(self.objects) >= _MOST_OBJECTS:
            raise Refused(
                "the 3MF has two objects of the same id" if key in self.objects else "the 3MF has too many objects"
            )
        name = "".join(c for c in given.get("name", "") if c.isprintable())[:120]
        self._now = self.objects[key] = _Object(given.get("type", "model"), name, self._unit)

    def _key(self, given: dict[str, str]) -> Key:
        path = next((value for name, value in given.items() if name.endswith(" path")), None)
        part = self._part if path is None else _part_name(path)
        if path is not None:
            self._wanted.append(part)
        return part, given.get("objectid", "")

    def _matrix(self, given: dict[str, str]) -> Matrix:
        """Twelve numbers in rows; its translation is in the unit of its part, made millimetres here."""
        text = given.get("transform")
        if text is None:
            return np.vstack([np.eye(3), np.zeros(3)])
        try:
            values = [float(part) for part in text.split()]
        except ValueError:
            values = []
        if len(values) != 12 or not all(math.isfinite(value) and abs(value) < 1e9 for value in values):
            raise Refused("the 3MF has a transform that is not twelve numbers")
        matrix = np.array(values).reshape(4, 3)
        matrix[3] *= self._unit
        return matrix


class _Places:
    """Follows the items to their meshes. Assemblies of assemblies multiply: there is an end to it."""

    def __init__(self, reader: _Reader) -> None:
        self._objects = reader.objects
        self._made: dict[Key, int] = {}
        self._left = _MOST_PLACES
        self._steps = 10 * _MOST_PLACES
        self._triangles = 0
        self.parts: list[Part] = []

    def of(self, key: Key, matrix: Matrix, depth: int = 0) -> Iterator[tuple[int, Matrix]]:
        """Each mesh under an object, with where it stands."""
        found = self._objects.get(key)
        if found is None:
            raise Refused("the 3MF's build names an object that is not in it")
        self._steps -= 1
        if depth > _MOST_NESTED or self._steps < 0:
            raise Refused("the 3MF's components are nested without end")
        if found.kind in _NOT_PRINTED:
            return
        if len(found.faces):
            index = self._part(key, found)
            self._left -= 1
            self._triangles += len(self.parts[index].faces)
            if self._left < 0 or self._triangles > MOST_TRIANGLES:
                raise Refused(f"the 3MF places more than {_MOST_PLACES} meshes or {MOST_TRIANGLES} triangles")
            yield index, matrix
        for child, inner in found.components:
            yield from self.of(child, _chained(inner, matrix), depth + 1)

    def _part(self, key: Key, found: _Object) -> int:
        if key not in self._made:
            flat = np.frombuffer(found.vertices, np.float64) if found.vertices else np.empty(0)
            vertices = flat.reshape(-1, 3) * found.unit
            faces = np.frombuffer(found.faces, np.uint32).reshape(-1, 3)
            if faces.max() >= len(vertices):
                raise Refused("the 3MF has a triangle whose corner is not there")
            self._made[key] = len(self.parts)
            self.parts.append(Part(found.name, vertices, faces))
        return self._made[key]


def _chained(inner: Matrix, outer: Matrix) -> Matrix:
    """First the inner, then the outer; row vectors, as 3MF has them."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.vstack([inner[:3] @ outer[:3], inner[3] @ outer[:3] + outer[3]])


def pictures(archive: Archive) -> tuple[Thumbnail, ...]:
    """Those under ``Metadata``: the package's own, and those of plates. What is broken is left out."""
    found = []
    names = [name for name in archive.names if name.lower().endswith((".png", ".jpg", ".jpeg"))]
    for name in names[:64]:
        folder, _, base = name.rpartition("/")
        if folder not in ("Metadata", "Thumbnails") or base.startswith(("pick_", "top_", "plate_no_light")):
            continue
        if archive.size(name) > _PICTURE_BYTES:
            continue
        if picture := checked(base.rpartition(".")[2].lower(), 1, 1, archive.read(name, _PICTURE_BYTES)):
            found.append(picture)
    return tuple(found[:16])
