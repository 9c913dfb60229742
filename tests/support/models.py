"""Models that tests send: small, whole, and hostile."""

import io
import struct
import zipfile

_CORNERS = [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 1)]
_FACES = [
    *((0, 2, 1), (0, 3, 2), (4, 5, 6), (4, 6, 7), (0, 1, 5), (0, 5, 4)),
    *((1, 2, 6), (1, 6, 5), (2, 3, 7), (2, 7, 6), (3, 0, 4), (3, 4, 7)),
]


def box_stl(x: float = 20.0, y: float = 20.0, z: float = 10.0) -> bytes:
    """A box as a binary STL, in millimetres."""
    body = bytearray(b"a box".ljust(80, b" ") + struct.pack("<I", len(_FACES)))
    for face in _FACES:
        body += struct.pack("<3f", 0, 0, 0)
        for index in face:
            cx, cy, cz = _CORNERS[index]
            body += struct.pack("<3f", cx * x, cy * y, cz * z)
        body += b"\0\0"
    return bytes(body)


def box_3mf(x: float = 20.0, y: float = 20.0, z: float = 10.0, config: str = "") -> bytes:
    """A box as a 3MF; ``config`` is put where PrusaSlicer keeps a project's settings."""
    vertices = "".join(f'<vertex x="{a * x}" y="{b * y}" z="{c * z}"/>' for a, b, c in _CORNERS)
    faces = "".join(f'<triangle v1="{a}" v2="{b}" v3="{c}"/>' for a, b, c in _FACES)
    model = (
        '<?xml version="1.0" encoding="UTF-8"?><model unit="millimeter"'
        ' xmlns="http://schemas.microsoft.com/3dmanufacturing/core/2015/02"><resources><object id="1" type="model"><mesh>'
        f"<vertices>{vertices}</vertices><triangles>{faces}</triangles></mesh></object></resources>"
        '<build><item objectid="1"/></build></model>'
    )
    relations = (
        '<?xml version="1.0" encoding="UTF-8"?><Relationships'
        ' xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Target="/3D/3dmodel.model"'
        ' Id="rel0" Type="http://schemas.microsoft.com/3dmanufacturing/2013/01/3dmodel"/></Relationships>'
    )
    types = (
        '<?xml version="1.0" encoding="UTF-8"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        '<Default Extension="model" ContentType="application/vnd.ms-package.3dmanufacturing-3dmodel+xml"/></Types>'
    )
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", types)
        archive.writestr("_rels/.rels", relations)
        archive.writestr("3D/3dmodel.model", model)
        if config:
            archive.writestr("Metadata/Slic3r_PE.config", config)
    return made.getvalue()
