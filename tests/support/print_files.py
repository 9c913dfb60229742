"""Makes models and print files byte by byte: sound ones, and ones with a chosen fault."""

import hashlib
import io
import struct
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from itertools import product

import heatshrink2

Triangle = Sequence[Sequence[float]]
CORNERS = tuple(product((0.0, 1.0), repeat=3))
# Outward, by corner number (x y z as bits 4 2 1).
CUBE_FACES = (
    (0, 1, 3), (0, 3, 2), (4, 6, 7), (4, 7, 5), (0, 4, 5), (0, 5, 1),
    (2, 3, 7), (2, 7, 6), (0, 2, 6), (0, 6, 4), (1, 5, 7), (1, 7, 3),
)  # fmt: skip


def cube(side: float = 20.0, at: Sequence[float] = (0.0, 0.0, 0.0)) -> list[list[list[float]]]:
    """Twelve triangles, closed, outward."""
    points = [[at[axis] + side * corner[axis] for axis in range(3)] for corner in CORNERS]
    return [[points[i] for i in face] for face in CUBE_FACES]


def binary_stl(triangles: Iterable[Triangle], header: bytes = b"", count: int | None = None) -> bytes:
    """``count`` may lie."""
    facets = [struct.pack("<12fH", 0, 0, 0, *(v for corner in t for v in corner), 0) for t in triangles]
    return header.ljust(80, b"\0") + struct.pack("<I", len(facets) if count is None else count) + b"".join(facets)


def text_stl(triangles: Iterable[Triangle], name: str = "cube") -> str:
    """As most programs write it."""
    lines = [f"solid {name}"]
    for triangle in triangles:
        corners = [f"      vertex {x:.6e} {y:.6e} {z:.6e}" for x, y, z in triangle]
        lines += ["  facet normal 0 0 0", "    outer loop", *corners, "    endloop", "  endfacet"]
    return "\n".join([*lines, f"endsolid {name}", ""])


TYPES = '<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"/>'
RELATIONS = (
    '<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
    '<Relationship Target="/3D/3dmodel.model" Id="r" Type="http://schemas.microsoft.com/3dmanufacturing/2013/01/3dmodel"/>'
    "</Relationships>"
)


def mesh_xml(side: float = 20.0) -> str:
    """A cube's ``<mesh>``."""
    vertices = "".join(f'<vertex x="{x * side}" y="{y * side}" z="{z * side}"/>' for x, y, z in CORNERS)
    faces = "".join(f'<triangle v1="{a}" v2="{b}" v3="{c}"/>' for a, b, c in CUBE_FACES)
    return f"<mesh><vertices>{vertices}</vertices><triangles>{faces}</triangles></mesh>"


def model_xml(
    resources: str | None = None, build: str = '<item objectid="1"/>', unit: str = "millimeter", before: str = ""
) -> str:
    """A model part; one cube where nothing else is given. ``before`` comes before the root element."""
    resources = f'<object id="1" type="model">{mesh_xml()}</object>' if resources is None else resources
    core = "http://schemas.microsoft.com/3dmanufacturing/core/2015/02"
    production = "http://schemas.microsoft.com/3dmanufacturing/production/2015/06"
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>{before}<model unit="{unit}" xmlns="{core}" xmlns:p="{production}">'
        f"<resources>{resources}</resources><build>{build}</build></model>"
    )


def zipped(entries: Mapping[str, str | bytes]) -> bytes:
    """As they come, deflated."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        for name, data in entries.items():
            made.writestr(name, data)
    return out.getvalue()


def three_mf(model: str | None = None, more: Mapping[str, str | bytes] | None = None) -> bytes:
    """A whole 3MF."""
    base: dict[str, str | bytes] = {"[Content_Types].xml": TYPES, "_rels/.rels": RELATIONS}
    return zipped(base | {"3D/3dmodel.model": model_xml() if model is None else model} | dict(more or {}))


def sliced_3mf(
    plates: Mapping[int, str | bytes], more: Mapping[str, str | bytes] | None = None, *, filament: str = "PLA"
) -> bytes:
    """As Bambu Studio exports it: the G-code of each plate with its MD5, and what is said of it."""
    entries: dict[str, str | bytes] = {"3D/3dmodel.model": model_xml("", "")}
    told = []
    for number, gcode in plates.items():
        content = gcode.encode() if isinstance(gcode, str) else gcode
        name = f"Metadata/plate_{number}.gcode"
        entries |= {name: content, f"{name}.md5": hashlib.md5(content, usedforsecurity=False).hexdigest().upper()}
        told.append(
            f'<plate><metadata key="index" value="{number}"/><metadata key="prediction" value="{number}00"/>'
            f'<metadata key="weight" value="{number}.5"/><metadata key="nozzle_diameters" value="0.4"/>'
            f'<filament id="{number}" type="{filament}" color="#112233" used_m="1.5" used_g="{number}.5"/></plate>'
        )
    entries["Metadata/slice_info.config"] = f'<?xml version="1.0" encoding="UTF-8"?><config>{"".join(told)}</config>'
    return three_mf_of(entries | dict(more or {}))


def three_mf_of(entries: Mapping[str, str | bytes]) -> bytes:
    """The parts that every 3MF has, and these."""
    return zipped({"[Content_Types].xml": TYPES, "_rels/.rels": RELATIONS} | dict(entries))


def binary_gcode(text: str, comments: str = "", *, compression: int = 3, pictures: Iterable[bytes] = ()) -> bytes:
    """As PrusaSlicer writes it: what it says in blocks of their own, the G-code packed with its comments."""
    settings = [line.removeprefix("; ") for line in comments.splitlines()]
    print_meta = "\n".join(settings).encode() + b"\n"
    blocks = [
        bgcode_block(0, b"Producer=PrusaSlicer 2.8.1\n"),
        bgcode_block(3, print_meta),
        *(bgcode_block(5, picture, (0, 16, 16)) for picture in pictures),
        bgcode_block(4, print_meta, compression=1),
        bgcode_block(2, print_meta, compression=1),
    ]
    lines = text.splitlines(keepends=True)
    pieces = ["".join(lines[at : at + 2_000]) for at in range(0, len(lines), 2_000)]
    return bgcode([*blocks, *(bgcode_block(1, meatpacked(piece), (2,), compression) for piece in pieces)])


def meatpacked(text: str, *, no_spaces: bool = False) -> bytes:
    """Written after the protocol's description, apart from the decoder: comment lines go unpacked, as encoding 2 has them."""
    table = {c: i for i, c in enumerate("0123456789. \nGX")}
    if no_spaces:
        table = {("E" if c == " " else c): i for c, i in table.items()}
    out, packing = bytearray(b"\xff\xff\xf7" if no_spaces else b""), False
    for line in text.splitlines():
        if line.startswith(";"):
            out += b"\xff\xff\xfa" if packing else b""
            out += line.encode() + b"\n"
            packing = False
            continue
        out += b"" if packing else b"\xff\xff\xfb"
        packing = True
        packed = (line.replace(" ", "") if no_spaces else line) + "\n"
        packed += "\n" if len(packed) % 2 else ""
        for first, second in zip(packed[::2], packed[1::2], strict=True):
            low, high = table.get(first, 15), table.get(second, 15)
            out.append(high << 4 | low)
            out += (first.encode() if low == 15 else b"") + (second.encode() if high == 15 else b"")
    return bytes(out)


def bgcode_block(
    kind: int, data: bytes, parameters: Sequence[int] = (0,), compression: int = 0, *, crc: bool = True
) -> bytes:
    """One block, compressed as asked."""
    stored = data
    if compression == 1:
        stored = zlib.compress(data)
    elif compression:
        stored = bytes(heatshrink2.compress(data, window_sz2=9 + compression, lookahead_sz2=4))
    header = struct.pack("<HHI", kind, compression, len(data)) + (
        struct.pack("<I", len(stored)) if compression else b""
    )
    body = header + struct.pack(f"<{len(parameters)}H", *parameters) + stored
    return body + (struct.pack("<I", zlib.crc32(body)) if crc else b"")


def bgcode(blocks: Iterable[bytes], *, crc: bool = True) -> bytes:
    """A file of these blocks."""
    return b"GCDE" + struct.pack("<IH", 1, int(crc)) + b"".join(blocks)
