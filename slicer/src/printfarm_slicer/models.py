"""What a slicer is given in place of what a client sent: triangles alone, which each engine has written anew."""

from itertools import islice
from pathlib import Path
from typing import Any

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


def save(model: Model, box: Bounds, target: Path) -> None:
    """What ``load`` reads."""
    arrays: dict[str, Any] = {f"vertices{n}": part.vertices for n, part in enumerate(model.parts)}
    arrays |= {f"faces{n}": part.faces for n, part in enumerate(model.parts)}
    places = [place for item in model.items for place in item]
    np.savez(
        target,
        box=np.array([box.low, box.high]),
        sizes=np.array([len(item) for item in model.items]),
        indexes=np.array([index for index, _ in places]),
        matrices=np.array([matrix for _, matrix in places]),
        **arrays,
    )


def load(path: Path) -> tuple[Model, Bounds]:
    """The triangles and the box around them, as ``read_model`` found them; of names and pictures nothing is left."""
    with np.load(path) as kept:
        count = sum(name.startswith("faces") for name in kept.files)
        parts = tuple(Part("", kept[f"vertices{n}"], kept[f"faces{n}"]) for n in range(count))
        places = iter(list(zip(kept["indexes"].tolist(), kept["matrices"], strict=True)))
        items = tuple(tuple(islice(places, size)) for size in kept["sizes"].tolist())
        low, high = kept["box"].tolist()
    return Model(parts, items), Bounds(tuple(low), tuple(high))
