"""A file's picture: its own thumbnail where that is large enough, else its mesh or its toolpath."""

import io
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from .. import toolpath
from ..errors import Refused
from ..facts import Bounds, FileFacts, Thumbnail
from ..mesh import Corners, Mesh, batches
from ..reading import gcode_pieces, read_model
from ..scan import Floats, Ints
from ..thumbnails import LONGEST_SIDE, PICTURE_SIZES
from .canvas import LIGHT, RIGHT, TOWARD, Canvas, encoded

SIZES = PICTURE_SIZES
_MODEL, _PATH = (74, 144, 217), (240, 134, 40)
_LINE_MM = 0.45
_MOST_POINTS = 400_000_000
_BATCH_POINTS = 1 << 20
_FORMATS = {"png": "PNG", "jpg": "JPEG", "qoi": "QOI"}
_ENOUGH = 0.4


def of_file(path: Path, facts: FileFacts, size: int = 256, *, plate: int | None = None) -> bytes:
    """A PNG, ``size`` pixels wide and high. Raises Refused if there is nothing to see, OSError."""
    _check(size)
    large = tuple(t for t in facts.thumbnails if max(t.width, t.height) >= size * _ENOUGH)
    if picture := of_thumbnails(large, size):
        return picture
    if facts.kind.is_model:
        mesh, measured = read_model(path, facts.kind)
        return of_mesh(mesh, measured.bounds, size)
    bounds = facts.bounds_model or facts.bounds_all
    if bounds is None:
        raise Refused("nothing in the file can be drawn")
    return of_toolpath(gcode_pieces(path, facts.kind, plate=plate), bounds, size)


def of_thumbnails(thumbnails: Iterable[Thumbnail], size: int = 256) -> bytes | None:
    """The best that can be decoded, made anew: never as the file has it. None if there is none."""
    _check(size)

    def worse(thumbnail: Thumbnail) -> tuple[bool, int]:
        longest = max(thumbnail.width, thumbnail.height)
        return longest < size, abs(longest - size)

    for thumbnail in sorted(thumbnails, key=worse):
        if picture := _decoded(thumbnail):
            picture.thumbnail((size, size), Image.Resampling.LANCZOS)
            ground = Image.new("RGBA", (size, size))
            ground.paste(picture, ((size - picture.width) // 2, (size - picture.height) // 2))
            return encoded(ground)
    return None


def _check(size: int) -> None:
    if size not in SIZES:
        raise ValueError(f"size must be one of {', '.join(map(str, SIZES))}")


def _decoded(thumbnail: Thumbnail) -> Image.Image | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with Image.open(io.BytesIO(thumbnail.data), formats=[_FORMATS[thumbnail.format]]) as image:
                return None if max(image.size) > LONGEST_SIDE else image.convert("RGBA")
    # Decoders raise whatever they stumble over.
    except Exception:
        return None


def of_mesh(mesh: Mesh, bounds: Bounds, size: int = 256) -> bytes:
    """Every triangle as points, dense enough to hide what is behind."""
    _check(size)
    canvas = Canvas(size, bounds)
    left = _MOST_POINTS
    for corners in batches(mesh):
        left = _triangles(canvas, corners, left)
    return canvas.png(_MODEL)


def _triangles(canvas: Canvas, corners: Corners, left: int) -> int:
    """Triangles of about the same size share a grid. Returns how many points may still be drawn."""
    points: Floats = corners.astype(np.float64)
    a, b, c = (points[:, i] for i in range(3))
    across = np.cross(b - a, c - a)
    normal = across / np.maximum(np.linalg.norm(across, axis=1), 1e-30)[:, None]
    # Seen from behind it is lit as from the front: a model that is inside out is still seen.
    normal *= np.where(normal @ TOWARD < 0, -1.0, 1.0)[:, None]
    shades = (255 * np.clip(0.18 + 0.62 * np.clip(normal @ LIGHT, 0, 1), 0, 1)).astype(np.uint8)
    base, along, toward = _sides(canvas.project(points))
    long, high = _steps(along), _steps(toward)
    for steps in np.unique(np.stack([long, high], axis=1), axis=0).tolist():
        u, v = _grid(*steps)
        chosen = np.flatnonzero((long == steps[0]) & (high == steps[1]))
        share = max(1, _BATCH_POINTS // len(u))
        for start in range(0, len(chosen), share):
            some = chosen[start : start + share]
            left -= len(some) * len(u)
            if left < 0:
                return left
            x, y, near = ((base[some, i] + u * along[some, i] + v * toward[some, i]).ravel() for i in range(3))
            canvas.plot(x, y, near, np.tile(shades[some], len(u)))
    return left


def _sides(seen: Floats) -> tuple[Floats, Floats, Floats]:
    """Of projected triangles: where the longest side begins, the way along it, and the way from there to the third corner."""
    ways = np.roll(seen, -1, axis=1) - seen
    first = np.argmax((ways[..., :2] ** 2).sum(axis=2), axis=1)
    rows = np.arange(len(seen))
    base = seen[rows, first]
    return base, ways[rows, first], seen[rows, (first + 2) % 3] - base


def _steps(ways: Floats) -> Ints:
    """Pixels along a way, as one of a few numbers."""
    length = np.maximum(np.hypot(ways[:, 0], ways[:, 1]), 1.0)
    steps: Ints = np.ceil(2.0 ** (np.ceil(np.log2(length) * 2) / 2)).astype(np.int64)
    return steps


def _grid(long: int, high: int) -> tuple[Floats, Floats]:
    """Weights of the two ways from a corner, evenly over the triangle."""
    u, v = np.meshgrid(np.arange(long + 1) / long, np.arange(high + 1) / high, indexing="ij")
    inside = u + v <= 1 + 1e-9
    return u[inside][:, None], v[inside][:, None]


def of_toolpath(pieces: Iterator[bytes], bounds: Bounds, size: int = 256) -> bytes:
    """Every printed line within ``bounds``, as wide as a usual one."""
    _check(size)
    canvas = Canvas(size, bounds)
    low, high = np.array(bounds.low) - 1e-3, np.array(bounds.high) + 1e-3
    left = _MOST_POINTS

    def draw(segments: Floats, tools: Ints) -> None:
        nonlocal left
        inside = ((segments >= low) & (segments <= high)).all(axis=(1, 2))
        if left > 0:
            left = _lines(canvas, segments[inside], left)

    toolpath.scan(pieces, draw)
    return canvas.png(_PATH)


def _lines(canvas: Canvas, segments: Floats, left: int) -> int:
    start, way = segments[:, 0], segments[:, 1] - segments[:, 0]
    length = np.linalg.norm(way, axis=1)
    keep = length > 0
    start, way, length = start[keep], way[keep], length[keep]
    side = np.stack([-way[:, 1], way[:, 0], np.zeros(len(way))], axis=1) / np.maximum(length, 1e-9)[:, None]
    # A line across the view is light, one along it dark: walls that meet are told apart.
    turned = side @ RIGHT
    shades = (255 * np.clip(0.30 + 0.34 * (1 - np.abs(turned)) + 0.12 * turned, 0.1, 0.9)).astype(np.uint8)
    counts = np.minimum(np.ceil(length * canvas.scale), 4096).astype(np.int64) + 1
    rows = max(1, min(int(np.ceil(_LINE_MM * canvas.scale)), 24))
    across = np.linspace(-1.0, 1.0, rows) if rows > 1 else np.zeros(1)
    ends = np.cumsum(counts)
    first = 0
    while first < len(counts):
        done = int(ends[first - 1]) if first else 0
        last = max(first + 1, int(np.searchsorted(ends, done + _BATCH_POINTS // rows)))
        left -= int(ends[last - 1] - done) * rows
        if left < 0:
            return left
        which = np.repeat(np.arange(first, last), counts[first:last])
        place = np.arange(done, done + len(which)) - (ends - counts)[which]
        points = canvas.project(start[which] + way[which] * (place / np.maximum(counts[which] - 1, 1))[:, None])
        aside = canvas.project(side[which] * (_LINE_MM / 2)) - canvas.project(np.zeros(3))
        for offset in across.tolist():
            # Its middle is lighter than its sides, so that lines beside each other are told apart.
            lit = (shades[which] * (1.12 - 0.30 * offset**2)).clip(0, 255).astype(np.uint8)
            moved = points + aside * offset
            canvas.plot(moved[:, 0], moved[:, 1], moved[:, 2], lit)
        first = last
    return left
