"""An error on its way through metadata: whole if it is short, cut if it is not."""

import base64
from urllib.parse import quote

import pytest

from printfarm_rpc.errors import Code, FarmError, FieldViolation, _from_status, to_status
from printfarm_rpc.limits import METADATA_BYTES


def test_a_short_error_arrives_as_it_was() -> None:
    fields = tuple(FieldViolation("file", f"line {number}: M997 is not allowed") for number in range(10))
    sent = FarmError(Code.UNSAFE_FILE, "the safety check refuses it", fields=fields, retry_after="2")
    came = _from_status(to_status(sent))
    assert (came.code, came.detail, came.fields, came.facts) == (sent.code, sent.detail, sent.fields, sent.facts)


@pytest.mark.parametrize("letter", ["A", "\u00e4", "\u20ac", "\U0001f5a8"])
def test_a_long_one_is_cut_and_fits(letter: str) -> None:
    fields = tuple(FieldViolation(f"file{letter * 20}", f"line {number}: {letter * 20_000}") for number in range(50))
    status = to_status(FarmError(Code.UNSAFE_FILE, letter * 20_000, fields=fields, current_offset="1" * 20))
    travels = len(quote(status.message)) + len(base64.b64encode(status.SerializeToString()))
    assert travels < METADATA_BYTES - 200
    came = _from_status(status)
    assert came.code is Code.UNSAFE_FILE
    assert came.detail.startswith(letter * 200) and came.detail.endswith(" ...")
    assert 5 <= len(came.fields) <= 10
    assert came.fields[0].description.startswith(f"line 0: {letter * 60}")
