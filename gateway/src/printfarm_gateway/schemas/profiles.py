"""Profiles: how models are sliced."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, Field, StrictBool, StrictInt, StrictStr
from pydantic.config import JsonDict

from .base import Strict, Word, example

ProfileKind = Literal["printer", "material", "quality"]
Settings = Annotated[
    dict[Annotated[StrictStr, Field(max_length=80)], Annotated[StrictStr, Field(max_length=16_384)]],
    Field(max_length=400),
]


class ProfileOrder(Strict):
    """The next version of a profile. ``engine``: prusaslicer, curaengine or orcaslicer; ``settings`` in its own keys and
    spelling; ``version`` as it was read loses against newer changes."""

    model_config = example(
        {
            "kind": "quality",
            "engine": "prusaslicer",
            "settings": {"layer_height": "0.3", "fill_density": "10%", "perimeters": "2"},
            "description": "fast and coarse",
        }
    )

    kind: ProfileKind
    engine: Word = "prusaslicer"
    settings: Settings
    printer_models: Annotated[list[Word], Field(default_factory=list, max_length=64)]
    is_default: StrictBool = False
    description: Annotated[StrictStr, Field(max_length=500)] = ""
    version: Annotated[StrictInt, Field(ge=1, le=1 << 62)] | None = None


_SEEN_EXAMPLE: JsonDict = {
    "name": "draft",
    "version": 2,
    "kind": "quality",
    "engine": "prusaslicer",
    "settings": {"layer_height": "0.3", "fill_density": "10%"},
    "printer_models": [],
    "is_default": False,
    "description": "fast and coarse",
    "created_by": "user/ana",
    "created_at": "2026-11-24T08:00:00Z",
    "retired_at": None,
}


class Profile(BaseModel):
    """One version of a profile. It never changes."""

    model_config = example(_SEEN_EXAMPLE)

    name: str
    version: int
    kind: ProfileKind
    engine: str
    settings: dict[str, str]
    printer_models: list[str]
    is_default: bool
    description: str
    created_by: str
    created_at: datetime | None
    retired_at: datetime | None


class ProfileVersions(BaseModel):
    """The newest versions, oldest first; they count from 1."""

    model_config = example({"versions": [_SEEN_EXAMPLE]})

    versions: list[Profile]
