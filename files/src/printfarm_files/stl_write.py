"""A binary STL of triangles alone: for slicers that read nothing else."""

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .facts import Point
from .mesh import Mesh, batches
from .stl import RECORD

_HEADER = b"triangles in millimetres".ljust(80, b" ")


def write_stl(mesh: Mesh, path: Path, places: Sequence[Point] = ((0.0, 0.0, 0.0),)) -> None:
    """Every triangle once for each place, moved by so many millimetres; normals are left to the reader."""
    with path.open("wb") as file:
        file.write(_HEADER + struct.pack("<I", mesh.count * len(places)))
        for place in places:
            for corners in batches(mesh):
                records = np.zeros(len(corners), dtype=RECORD)
                records["corners"] = corners.astype(np.float64) + np.asarray(place)
                file.write(records.tobytes())
