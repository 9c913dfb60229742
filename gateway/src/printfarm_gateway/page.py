"""The live page: plain HTML and script from this host, nothing from elsewhere."""

from importlib.resources import files

from fastapi import APIRouter, Response

router = APIRouter(include_in_schema=False)
_FOLDER = files("printfarm_gateway") / "static"
_SCRIPT = "text/javascript; charset=utf-8"
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data: blob:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@router.get("/")
async def page() -> Response:
    """The page."""
    return _file("index.html", "text/html; charset=utf-8")


@router.get("/page.js")
async def script() -> Response:
    """What it asks for, and when."""
    return _file("page.js", _SCRIPT)


@router.get("/page-cards.js")
async def cards() -> Response:
    """How printers, runs and jobs look."""
    return _file("page-cards.js", _SCRIPT)


@router.get("/page-files.js")
async def stored_files() -> Response:
    """How files look, and are looked for."""
    return _file("page-files.js", _SCRIPT)


@router.get("/page-pictures.js")
async def pictures() -> Response:
    """Where their pictures come from."""
    return _file("page-pictures.js", _SCRIPT)


@router.get("/page-dom.js")
async def dom() -> Response:
    """What both draw with."""
    return _file("page-dom.js", _SCRIPT)


@router.get("/page.css")
async def style() -> Response:
    """Its style."""
    return _file("page.css", "text/css; charset=utf-8")


def _file(name: str, kind: str) -> Response:
    headers = {"Content-Security-Policy": _POLICY, "Cache-Control": "no-cache"}
    return Response((_FOLDER / name).read_bytes(), media_type=kind, headers=headers)
