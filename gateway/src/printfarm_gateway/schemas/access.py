"""Keys, people, and their tokens."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, Field, StrictBool, StrictStr
from pydantic.config import JsonDict

from .base import EXAMPLE_ID, Moment, Slug, Strict, Word, example

Role = Literal["viewer", "operator", "admin"]
_KEY: JsonDict = {
    "key_id": EXAMPLE_ID,
    "name": "shop",
    "role": "operator",
    "prefix": "pf_d5d4ed64",
    "created_at": "2026-11-23T08:00:00Z",
    "expires_at": "2027-12-01T00:00:00Z",
    "last_used_at": None,
    "revoked": False,
}


class KeyOrder(Strict):
    """A key for a service."""

    model_config = example({"name": "shop", "role": "operator", "expires_at": "2027-12-01T00:00:00Z"})

    name: Word
    role: Role = "viewer"
    expires_at: Moment | None = None


class UserOrder(Strict):
    """A person."""

    model_config = example({"name": "ana", "password": "correct horse battery staple", "role": "operator"})

    name: Slug
    password: Annotated[StrictStr, Field(min_length=12, max_length=256)]
    role: Role = "viewer"


class UserChange(Strict):
    """What is given is changed; all tokens of the user are void then."""

    model_config = example({"disabled": True})

    password: Annotated[StrictStr, Field(min_length=12, max_length=256)] | None = None
    role: Role | None = None
    disabled: StrictBool | None = None


class Login(Strict):
    """Name and password."""

    model_config = example({"name": "ana", "password": "correct horse battery staple"})

    name: Annotated[StrictStr, Field(min_length=1, max_length=64)]
    password: Annotated[StrictStr, Field(min_length=1, max_length=256)]


class Refresh(Strict):
    """A refresh token."""

    model_config = example({"refresh_token": "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9..."})

    refresh_token: Annotated[StrictStr, Field(min_length=1, max_length=4_096)]


class ApiKey(BaseModel):
    """A key without its secret."""

    model_config = example(_KEY)

    key_id: str
    name: str
    role: Role
    prefix: str
    created_at: datetime | None
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked: bool


class NewApiKey(ApiKey):
    """With its secret, which is never shown again."""

    model_config = example({**_KEY, "secret": "pf_d5d4ed64_..."})

    secret: str


class User(BaseModel):
    """A person."""

    model_config = example({"name": "ana", "role": "operator", "disabled": False, "created_at": "2026-11-23T08:00:00Z"})

    name: str
    role: Role
    disabled: bool
    created_at: datetime | None


class TokenPair(BaseModel):
    """For people. The access token goes into ``Authorization: Bearer``."""

    model_config = example(
        {"access_token": "eyJhbGciOi...", "refresh_token": "eyJhbGciOi...", "token_type": "Bearer", "expires_in": 900}
    )

    access_token: str
    refresh_token: str
    token_type: Literal["Bearer"]
    expires_in: int


class Me(BaseModel):
    """Who the key or token stands for."""

    model_config = example({"name": "key/shop", "role": "operator"})

    name: str
    role: Role
