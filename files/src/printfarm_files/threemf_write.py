"""A 3MF of meshes alone: what a slicer is given in place of a project, whose settings may hold commands (bad input 49)."""

import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from .threemf import Matrix, Model, Part

_CORE = "http://schemas.microsoft.com/3dmanufacturing/core/2015/02"
_TYPES = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
    '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    '<Default Extension="model" ContentType="application/vnd.ms-package.3dmanufacturing-3dmodel+xml"/></Types>'
)
_RELATIONS = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
    '<Relationship Target="/3D/3dmodel.model" Id="rel0" Type="http://schemas.microsoft.com/3dmanufacturing/2013/01/3dmodel"/>'
    "</Relationships>"
)
_WHEN = (1980, 1, 1, 0, 0, 0)
_ROWS = 50_000


def write_clean_3mf(model: Model, path: Path) -> None:
    """Meshes, assemblies and places; no settings, no names, no pictures, no other part. The same model gives the same bytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as made:
        for name, text in (("[Content_Types].xml", _TYPES), ("_rels/.rels", _RELATIONS)):
            made.writestr(zipfile.ZipInfo(name, _WHEN), text)
        info = zipfile.ZipInfo("3D/3dmodel.model", _WHEN)
        info.compress_type = zipfile.ZIP_DEFLATED
        with made.open(info, "w", force_zip64=True) as stream:
            for text in _xml(model):
                stream.write(text.encode())


def _xml(model: Model) -> Iterator[str]:
    yield f'<?xml version="1.0" encoding="UTF-8"?>\n<model unit="millimeter" xml:lang="en-US" xmlns="{_CORE}">\n<resources>\n'
    for index, part in enumerate(model.parts):
        yield from _mesh(index + 1, part)
    build = []
    for number, item in enumerate(model.items, len(model.parts) + 1):
        if len(item) == 1:
            build.append(f'<item objectid="{item[0][0] + 1}" transform="{_transform(item[0][1])}"/>\n')
            continue
        yield f'<object id="{number}" type="model"><components>\n'
        for index, matrix in item:
            yield f'<component objectid="{index + 1}" transform="{_transform(matrix)}"/>\n'
        yield "</components></object>\n"
        build.append(f'<item objectid="{number}"/>\n')
    yield "</resources>\n<build>\n"
    yield from build
    yield "</build>\n</model>\n"


def _mesh(number: int, part: Part) -> Iterator[str]:
    yield f'<object id="{number}" type="model"><mesh><vertices>\n'
    for start in range(0, len(part.vertices), _ROWS):
        rows = part.vertices[start : start + _ROWS].tolist()
        yield "".join(f'<vertex x="{x:.9g}" y="{y:.9g}" z="{z:.9g}"/>\n' for x, y, z in rows)
    yield "</vertices><triangles>\n"
    for start in range(0, len(part.faces), _ROWS):
        faces = part.faces[start : start + _ROWS].tolist()
        yield "".join(f'<triangle v1="{a}" v2="{b}" v3="{c}"/>\n' for a, b, c in faces)
    yield "</triangles></mesh></object>\n"


def _transform(matrix: Matrix) -> str:
    return " ".join(f"{value:.9g}" for value in np.asarray(matrix).ravel().tolist())
