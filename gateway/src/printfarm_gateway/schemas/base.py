"""What all shapes are made of, and what every answer may be: a page, or a problem."""

import re
from typing import Annotated, Any, Generic, TypeVar

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, StrictStr

T = TypeVar("T")
EXAMPLE_ID = "01932f6e-7b1c-7c3a-9d2f-5e8a4b6c7d10"
EXAMPLE_SHA256 = "b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9"


# A number as text would be taken for seconds since 1970.
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:", re.A)


def _text_only(value: Any) -> Any:
    if isinstance(value, str) and len(value) <= 40 and _TIME.match(value) and "1970" <= value[:4] < "2200":
        return value
    raise ValueError("must be an RFC 3339 time between 1970 and 2200, such as 2026-12-01T08:00:00Z")


def real_number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("must be a number")
    return value


Moment = Annotated[AwareDatetime, BeforeValidator(_text_only)]
Millimetres = Annotated[float, BeforeValidator(real_number), Field(ge=0, le=10_000)]
Side = Annotated[float, BeforeValidator(real_number), Field(gt=0, le=10_000)]
Nozzle = Annotated[float, BeforeValidator(real_number), Field(ge=0.05, le=5)]
Word = Annotated[StrictStr, Field(min_length=1, max_length=100)]
Tag = Annotated[StrictStr, Field(min_length=1, max_length=64)]
Reason = Annotated[StrictStr, Field(max_length=500)]
Slug = Annotated[StrictStr, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
ProfileName = Annotated[StrictStr, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
SHA256 = Annotated[StrictStr, Field(pattern=r"^[0-9a-f]{64}$", examples=[EXAMPLE_SHA256])]


def example(*bodies: Any) -> ConfigDict:
    """Settings of a shape with examples of it."""
    return ConfigDict(json_schema_extra={"examples": list(bodies)})


class Strict(BaseModel):
    """A request: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid")


class Because(Strict):
    """Why, for the record."""

    model_config = example({"reason": "the nozzle looks blocked"})

    reason: Reason = ""


# What an empty body stands for.
NO_REASON = Because()


class FieldError(BaseModel):
    """Which field is wrong, and what would be right."""

    field: str
    fix: str


class ProblemDocument(BaseModel):
    """RFC 9457."""

    model_config = example(
        {
            "type": "/problems/invalid-argument",
            "title": "A field is not valid",
            "status": 422,
            "detail": "quantity: Input should be greater than or equal to 1",
            "instance": "/api/v1/jobs/receive",
            "code": "INVALID_ARGUMENT",
            "request_id": "6f1c0f0e9a2b4b7f8d1e2a3b4c5d6e7f",
            "errors": [{"field": "quantity", "fix": "Input should be greater than or equal to 1"}],
        }
    )

    type: str = Field(examples=["/problems/invalid-argument"])
    title: str
    status: int
    detail: str
    instance: str
    code: str = Field(examples=["INVALID_ARGUMENT"])
    request_id: str
    errors: list[FieldError] | None = None


class Page(BaseModel, Generic[T]):
    """``next`` is the cursor of the next page; null on the last."""

    items: list[T]
    next: str | None
