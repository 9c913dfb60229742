"""What a slicer is given in place of what a client sent: triangles alone, which each engine has written anew."""

from pathlib import Path

import numpy as np

from printfarm_files import Bounds, Kind, Refused
from printfarm_files.mesh import Soup, measure
from printfarm_files.stl import read_stl
from printfarm_files.threemf import Model, Part, read_3mf

from .engine import SlicingFailed

_UNIT = np.eye(4, 3)


def read_model(source: Path, kind: str) -> tuple[Model, Bounds]:
    """The triangles of what a client sent and the box around them, checked whole; nothing else of the file is kept.

    Raises SlicingFailed ``model_refused``.
    """
    try:
        model = read_3mf(source) if kind == Kind.THREE_MF else _of_soup(read_stl(source)[0])
        return model, measure(model).bounds
    except Refused as error:
        raise SlicingFailed("model_refused", error.reason) from None


def _of_soup(soup: Soup) -> Model:
    """Corners at the same place become one vertex: a slicer sees holes between those that are not shared."""
    corners = np.asarray(soup.array, dtype=np.float32).reshape(-1, 3)
    vertices, faces = np.unique(corners, axis=0, return_inverse=True)
    part = Part("", vertices.astype(np.float64), faces.reshape(-1, 3).astype(np.uint32))
    return Model((part,), (((0, _UNIT),),))
