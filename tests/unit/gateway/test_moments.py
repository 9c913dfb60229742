"""Times in requests: a text that is one, with its offset."""

from datetime import UTC, datetime

import pytest
from pydantic import TypeAdapter, ValidationError

from printfarm_gateway.schemas.base import Moment

MOMENT: TypeAdapter[datetime] = TypeAdapter(Moment)
RIGHT = datetime(2026, 12, 1, 8, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "2026-12-01T08:00:00Z",
        "2026-12-01t08:00:00z",
        "2026-12-01 08:00:00.000+00:00",
        "2026-12-01T10:00:00+02:00",
        "2026-12-01T08:00Z",
    ],
)
def test_a_time_is_read(text: str) -> None:
    assert MOMENT.validate_python(text) == RIGHT


@pytest.mark.parametrize(
    "given",
    [
        "2026",
        "1999999999",
        "1970.5",
        "2026e3",
        "2026-12-01",
        "2026-12-01T08:00:00",
        "20261201T080000Z",
        "2026-13-01T08:00:00Z",
        "٢٠٢٦-12-01T08:00:00Z",
        "1969-12-31T23:59:59Z",
        "2200-01-01T00:00:00Z",
        "",
        2026,
        None,
        True,
    ],
)
def test_what_is_none_says_what_would_be(given: object) -> None:
    with pytest.raises(ValidationError) as found:
        MOMENT.validate_python(given)
    told = found.value.errors()[0]["msg"]
    assert "RFC 3339" in told or "timezone" in told or "month" in told
