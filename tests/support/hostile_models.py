"""Hostile models, by their number in the catalogue of bad input (41 to 50), each with what its refusal says."""

import io
import stat
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable

from printfarm_files.archive import MOST_ENTRIES

from .print_files import RELATIONS, TYPES, binary_stl, cube, mesh_xml, model_xml, text_stl, three_mf, zipped

NAN, INF = float("nan"), float("inf")
WHOLE = three_mf()
GCODE = b"; a print\nG28\nM104 S200\nG1 X1 E1\n"
Made = bytes | str


def with_corner(value: float) -> bytes:
    triangles = cube()
    triangles[3][1][2] = value
    return binary_stl(triangles)


def bomb() -> bytes:
    """A settings part of nothing."""
    return three_mf(more={"Metadata/a.config": b"\0" * (100 << 20)})


def forged(data: bytes, field: int, value: bytes) -> bytes:
    """Of the first entry of the directory: sizes at 20 and 24, CRC at 16, flags at 8, place at 42."""
    place = data.index(b"PK\x01\x02") + field
    return data[:place] + value + data[place + len(value) :]


def many(count: int) -> bytes:
    """So many entries beside the model's own."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        for name, text in (
            ("[Content_Types].xml", TYPES),
            ("_rels/.rels", RELATIONS),
            ("3D/3dmodel.model", model_xml()),
        ):
            made.writestr(name, text)
        for number in range(count):
            made.writestr(f"Metadata/{number}", b"")
    return out.getvalue()


def overlapping() -> bytes:
    """Two names of the directory point to the same bytes."""
    data = zipped(
        {
            "[Content_Types].xml": TYPES,
            "_rels/.rels": RELATIONS,
            "3D/3dmodel.model": model_xml(),
            "3D/3dmodel.mode2": "",
        }
    )
    last = data.rindex(b"PK\x01\x02")
    first = data.index(b"PK\x01\x02", data.index(b"PK\x01\x02", data.index(b"PK\x01\x02") + 4) + 4)
    return data[: last + 42] + data[first + 42 : first + 46] + data[last + 46 :]


def zip64_lie() -> bytes:
    """The end says: look in the 64-bit end; there is none."""
    end = WHOLE.rindex(b"PK\x05\x06")
    return WHOLE[: end + 8] + b"\xff" * 12 + WHOLE[end + 20 :]


def linked() -> bytes:
    """The model is a symbolic link."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        link = zipfile.ZipInfo("3D/3dmodel.model")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        made.writestr(link, "/etc/passwd")
    return out.getvalue()


def doubled() -> bytes:
    """Two entries of one name."""
    out = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(out, "w") as made:
        warnings.simplefilter("ignore")
        for _ in range(2):
            made.writestr("3D/3dmodel.model", model_xml())
    return out.getvalue()


def shorter_than_it_is() -> bytes:
    """The directory says that the model is 50 bytes shorter."""
    text = model_xml().encode()
    return forged(zipped({"3D/3dmodel.model": text}), 24, struct.pack("<I", len(text) - 50))


def repeated() -> bytes:
    """A model of 60 MB that packs to a 250th."""
    faces = "".join(f'<triangle v1="{i % 8}" v2="1" v3="2"/>' for i in range(998)) * 2_000
    corners = '<vertex x="1" y="2" z="3"/>' * 8
    mesh = f"<mesh><vertices>{corners}</vertices><triangles>{faces}</triangles></mesh>"
    return three_mf(model_xml(f'<object id="1">{mesh}</object>'))


def endless() -> bytes:
    """A sound cube, and behind it a million elements that nobody knows: they pack to no more than a tenth."""
    return three_mf(model_xml(f'<object id="1">{mesh_xml()}</object>' + "".join(f'<a b="{i}"/>' for i in range(10**6))))


def scattered() -> bytes:
    """The same, in a hundred parts."""
    some = "".join(f'<a b="{i}"/>' for i in range(11_000))
    parts = {f"3D/{n}.model": model_xml(f'<object id="1">{mesh_xml()}</object>{some}', "") for n in range(100)}
    children = "".join(f'<component p:path="/{name}" objectid="1"/>' for name in parts)
    return three_mf(model_xml(f'<object id="1"><components>{children}</components></object>'), parts)


def placed(triangles: int = 20_000, times: int = 251) -> bytes:
    """A model of half a megabyte that is built so often that it has five million triangles."""
    faces = "".join(f'<triangle v1="{i % 8}" v2="{(i + 1) % 8}" v3="{(i + 3) % 8}"/>' for i in range(triangles))
    mesh = mesh_xml().partition("<triangles>")[0] + f"<triangles>{faces}</triangles></mesh>"
    return three_mf(model_xml(f'<object id="1">{mesh}</object>', '<item objectid="1"/>' * times))


def assembled() -> bytes:
    """Ten of ten of ten ... : ten thousand million cubes."""
    objects = f'<object id="1">{mesh_xml()}</object>'
    for number in range(2, 12):
        children = f'<component objectid="{number - 1}"/>' * 10
        objects += f'<object id="{number}"><components>{children}</components></object>'
    return three_mf(model_xml(objects, '<item objectid="11"/>'))


def circle() -> bytes:
    """An assembly of itself."""
    return three_mf(model_xml('<object id="1"><components><component objectid="1"/></components></object>'))


_LAUGHED = "".join(f'<!ENTITY {chr(98 + i)} "{10 * f"&{chr(97 + i)};"}">' for i in range(9))
LAUGHS = f'<!DOCTYPE m [<!ENTITY a "ha">{_LAUGHED}]>'
NOWHERE = '<!DOCTYPE model SYSTEM "http://127.0.0.1:1/x.dtd">'
OUTSIDE = '<!DOCTYPE m [<!ENTITY x SYSTEM "file:///etc/passwd">]>'


def typed(before: str, entity: str) -> bytes:
    """A model part with a document type, and an entity of it in use."""
    used = f'<metadata name="Application">{entity}</metadata><resources>'
    return three_mf(model_xml(before=before).replace("<resources>", used))


def inside(name: str) -> Callable[[], bytes]:
    """A 3MF with an entry of that name."""
    return lambda: three_mf(more={name: b"x"})


# Number and what it is -> the file, and a part of the reason for which it is refused.
HOSTILE: dict[str, tuple[Callable[[], Made], str]] = {
    "41 count 2^32-1": (lambda: binary_stl(cube()[:1], b"solid", count=2**32 - 1), "triangles"),
    "41 one too many": (lambda: binary_stl(cube(), b"solid\0", count=13), "13 triangles need 734 bytes"),
    "42 none": (lambda: binary_stl([], b"solid\0"), "no triangles"),
    "43 NaN": (lambda: with_corner(NAN), "not a number"),
    "43 inf": (lambda: with_corner(INF), "not a number"),
    "43 1e38": (lambda: with_corner(1e38), "at most 10000 mm"),
    "43 a cube of a kilometre": (lambda: binary_stl(cube(1e6)), "at most 10000 mm"),
    "43 NaN as text": (lambda: text_stl(cube()).replace("2.000000e+01", "nan", 1), "not a number"),
    "43 inf in a 3MF": (lambda: three_mf(model_xml().replace('x="20.0"', 'x="inf"', 1)), "not a number"),
    "43 1e308 in a 3MF": (lambda: three_mf(model_xml().replace('x="20.0"', 'x="1e308"', 1)), "not a number"),
    "46 bomb": (bomb, "200 times its size"),
    "46 a bomb that is the model itself": (repeated, "200 times its size"),
    "46 elements without end": (endless, "elements without end"),
    "46 elements without end, in many parts": (scattered, "elements without end"),
    "46 a bomb of placements": (placed, "places more than 10000 meshes or 5000000 triangles"),
    "46 too many entries": (lambda: many(MOST_ENTRIES + 1), f"more than {MOST_ENTRIES} entries"),
    "46 overlapping": (overlapping, "overlap"),
    "46 encrypted": (lambda: forged(WHOLE, 8, b"\1\0"), "encrypted"),
    "46 zip64 lie": (zip64_lie, "end is broken"),
    "46 wrong CRC": (lambda: forged(zipped({"3D/3dmodel.model": model_xml()}), 16, b"\1\2\3\4"), "is broken"),
    "46 larger than it says": (shorter_than_it_is, "is broken"),
    "46 points to where no entry is": (lambda: forged(WHOLE, 42, b"\x09\0\0\0"), "points to where no entry is"),
    "46 cut off": (lambda: WHOLE[:-30], "cut off"),
    "47 parent": (inside("../../etc/x"), "leads elsewhere"),
    "47 absolute": (inside("/etc/x"), "leads elsewhere"),
    "47 drive": (inside("C:/x"), "leads elsewhere"),
    "47 backslash": (inside("a\\..\\x"), "leads elsewhere"),
    "47 control character": (inside("a\nb"), "leads elsewhere"),
    "47 the same name in other case": (inside("3d/3DMODEL.model"), "same name"),
    "47 the same name": (doubled, "same name"),
    "47 a symbolic link": (linked, "symbolic link"),
    "48 laughs": (lambda: typed(LAUGHS, "&j;"), "document type"),
    "48 XXE": (lambda: typed(OUTSIDE, "&x;"), "document type"),
    "48 a document type elsewhere": (lambda: three_mf(model_xml(before=NOWHERE)), "document type"),
    "48 depth": (lambda: three_mf("<a>" * 100_000), "deeper"),
    "48 an assembly of itself": (circle, "without end"),
    "48 assemblies of assemblies": (assembled, "places more than 10000 meshes"),
    "50 something behind": (lambda: WHOLE + b"\0" * 10, "after its end"),
    "50 G-code before": (lambda: GCODE + WHOLE, "NUL"),
    "50 another archive before": (lambda: WHOLE[:4] + b"\0" * 30 + WHOLE, "directory is not where"),
    "50 a page": (lambda: b"<html><script>alert(1)</script></html>", "web page"),
    "50 packed G-code": (lambda: zlib.compress(GCODE).replace(b"\0", b"\1"), "no G-code command"),
    "52 ten metres": (lambda: binary_stl(cube(10_001)), "at most 10000 mm"),
}


def as_bytes(made: Made) -> bytes:
    """The file."""
    return made.encode() if isinstance(made, str) else made
