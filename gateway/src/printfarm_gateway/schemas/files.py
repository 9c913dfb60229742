"""Stored files, and uploads."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, Field, StrictInt, StrictStr
from pydantic.config import JsonDict

from .base import EXAMPLE_ID, EXAMPLE_SHA256, SHA256, Strict, example

_ARTIFACT: JsonDict = {
    "sha256": EXAMPLE_SHA256,
    "size_bytes": 7340032,
    "kind": "gcode",
    "name": "bracket.gcode",
    "created_at": "2026-11-23T08:00:00Z",
    "estimated_seconds": 5400.0,
}


class FileKind(StrEnum):
    """By content."""

    GCODE = "gcode"
    STL = "stl"
    THREE_MF = "3mf"


class UploadOrder(Strict):
    """A resumable upload: how many bytes, with which digest, and what to call it."""

    model_config = example({"size_bytes": 7340032, "sha256": EXAMPLE_SHA256, "name": "bracket.gcode"})

    size_bytes: Annotated[StrictInt, Field(ge=1, le=1 << 40)]
    sha256: SHA256
    name: Annotated[StrictStr, Field(max_length=4_096)] = ""


class Artifact(BaseModel):
    """A stored file. ``estimated_seconds`` as its slicer reckons it: null where the file does not say, and for models."""

    model_config = example(_ARTIFACT)

    sha256: str
    size_bytes: int
    kind: str
    name: str
    created_at: datetime | None
    estimated_seconds: float | None


class Upload(BaseModel):
    """A resumable upload. ``artifact`` once it is finished."""

    model_config = example(
        {
            "upload_id": EXAMPLE_ID,
            "size_bytes": 7340032,
            "offset": 1048576,
            "sha256": EXAMPLE_SHA256,
            "name": "bracket.gcode",
            "expires_at": "2026-11-24T08:00:00Z",
            "artifact": None,
        }
    )

    upload_id: str
    size_bytes: int
    offset: int
    sha256: str
    name: str
    expires_at: datetime | None
    artifact: Artifact | None
