"""Stored files, and uploads."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, Field, StrictInt, StrictStr

from .base import EXAMPLE_SHA256, SHA256, Strict, example


class UploadOrder(Strict):
    """A resumable upload: how many bytes, with which digest, and what to call it."""

    model_config = example({"size_bytes": 7340032, "sha256": EXAMPLE_SHA256, "name": "bracket.gcode"})

    size_bytes: Annotated[StrictInt, Field(ge=1, le=1 << 40)]
    sha256: SHA256
    name: Annotated[StrictStr, Field(max_length=4_096)] = ""


class Artifact(BaseModel):
    """A stored file."""

    sha256: str
    size_bytes: int
    kind: str
    name: str
    created_at: datetime | None


class Upload(BaseModel):
    """A resumable upload. ``artifact`` once it is finished."""

    upload_id: str
    size_bytes: int
    offset: int
    sha256: str
    name: str
    expires_at: datetime | None
    artifact: Artifact | None
