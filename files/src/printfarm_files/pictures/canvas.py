"""Points in space, seen from a corner above, on a square of pixels. The nearest at each pixel stays."""

import io
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..facts import Bounds

Floats = NDArray[np.float64]
OVERSAMPLED = 2
_MARGIN = 0.06
_DEPTHS = float(1 << 23)
# From the front right, above: X to the right and back, Y to the left and back.
_TURN, _TILT = np.radians(35.0), np.radians(32.0)
RIGHT = np.array([np.cos(_TURN), np.sin(_TURN), 0.0])
TOWARD = np.array([np.sin(_TURN) * np.cos(_TILT), -np.cos(_TURN) * np.cos(_TILT), np.sin(_TILT)])
UP = np.cross(TOWARD, RIGHT)
LIGHT = 0.55 * TOWARD + 0.35 * np.array([0.0, 0.0, 1.0]) - 0.45 * RIGHT
LIGHT = LIGHT / np.linalg.norm(LIGHT)


@dataclass(slots=True)
class Canvas:
    """``size`` is the picture's side in pixels; it is drawn larger, and shrunk at the end."""

    size: int
    bounds: Bounds
    scale: float = field(init=False)
    side: int = field(init=False)
    _offset: Floats = field(init=False)
    _far: float = field(init=False)
    _near: float = field(init=False)
    _pixels: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        self.side = self.size * OVERSAMPLED
        low, high = np.array(self.bounds.low), np.array(self.bounds.high)
        corners = np.array([[x, y, z] for x in (low[0], high[0]) for y in (low[1], high[1]) for z in (low[2], high[2])])
        flat = np.stack([corners @ RIGHT, corners @ UP], axis=1)
        extent = max(float((flat.max(axis=0) - flat.min(axis=0)).max()), 1e-6)
        self.scale = self.side * (1 - 2 * _MARGIN) / extent
        self._offset = self.side / 2 - (flat.max(axis=0) + flat.min(axis=0)) / 2 * self.scale
        depth = corners @ TOWARD
        self._far, self._near = float(depth.min()), max(float(depth.max()), float(depth.min()) + 1e-6)
        self._pixels = np.zeros(self.side * self.side, np.int64)

    def project(self, points: Floats) -> Floats:
        """Of points of shape (..., 3): pixels to the right, pixels down, and how near. All three are linear in the point."""
        across = points @ RIGHT * self.scale + self._offset[0]
        down = self.side - (points @ UP * self.scale + self._offset[1])
        near = ((points @ TOWARD) - self._far) * (_DEPTHS / (self._near - self._far)) + 1
        return np.stack([across, down, near], axis=-1)

    def plot(self, across: Floats, down: Floats, near: Floats, shades: NDArray[np.uint8]) -> None:
        """Projected points, and how light each is."""
        column, row = across.astype(np.int64), down.astype(np.int64)
        there = (column >= 0) & (column < self.side) & (row >= 0) & (row < self.side)
        place = np.where(there, row * self.side + column, 0)
        # Depth above, shade below: the largest is the nearest, whatever the order in which they come.
        key = np.maximum(near, 1).astype(np.int64) << 8 | shades
        seen = np.flatnonzero(there & (key > self._pixels[place]))
        np.maximum.at(self._pixels, place[seen], key[seen])

    def png(self, colour: tuple[int, int, int]) -> bytes:
        """On a transparent ground."""
        drawn = self._pixels.reshape(self.side, self.side)
        shade = (drawn & 255).astype(np.float64) / 255
        alpha = (drawn > 0).astype(np.float64)
        alpha, shade = _closed(alpha, shade)
        pixels = np.empty((self.side, self.side, 4))
        for channel, value in enumerate(colour):
            # Dark parts keep their colour; light ones go to white.
            light = np.clip(shade * 1.6, 0, 1) * value + np.clip(shade - 0.7, 0, 1) * 1.4 * (255 - value)
            pixels[..., channel] = np.clip(light, 0, 255) * alpha
        pixels[..., 3] = 255 * alpha
        mean = pixels.reshape(self.size, OVERSAMPLED, self.size, OVERSAMPLED, 4).mean(axis=(1, 3))
        covered = np.maximum(mean[..., 3:] / 255, 1e-9)
        mean[..., :3] = mean[..., :3] / covered
        return encoded(Image.fromarray(np.clip(mean.round(), 0, 255).astype(np.uint8)))


def _closed(alpha: Floats, shade: Floats) -> tuple[Floats, Floats]:
    """A pixel that was missed between others takes what is beside it."""
    around = np.stack([np.roll(alpha, step, axis) for axis in (0, 1) for step in (-1, 1)])
    light = np.stack([np.roll(shade, step, axis) for axis in (0, 1) for step in (-1, 1)])
    count = around.sum(axis=0)
    missed = (alpha == 0) & (count >= 3)
    mean = (around * light).sum(axis=0) / np.maximum(count, 1)
    return np.where(missed, 1.0, alpha), np.where(missed, mean, shade)


def encoded(image: Image.Image) -> bytes:
    """As PNG, without anything but pixels."""
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()
