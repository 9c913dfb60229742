"""What is read is what any other reader would read; all else is refused with a reason."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from printfarm_gateway.problems import Problem
from printfarm_gateway.strict import DEEPEST, MOST_MEMBERS, loads

text = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=20)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=20,
)


@given(values)
def test_good_json_is_read_as_it_is(value: Any) -> None:
    assert loads(json.dumps(value).encode()) == value
    assert loads(json.dumps(value, ensure_ascii=False, indent=1).encode()) == value


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    refused = None
    try:
        loads(body)
    except Problem as problem:
        refused = problem
    assert refused is None or (refused.status_code == 422 and refused.fields)


@given(st.text(alphabet='[]{}",:\\01eE+-. \n', max_size=60))
def test_what_is_nearly_json_is_read_as_the_library_reads_it_or_refused(body: str) -> None:
    try:
        found = loads(body.encode())
    except Problem:
        return
    assert found == json.loads(body)


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_depth(opening: str) -> None:
    closing = {"[": "]", '{"a":': "}"}[opening]
    fits = opening * DEEPEST + ("0" if opening != "[" else "") + closing * DEEPEST
    assert loads(fits.encode())
    with pytest.raises(Problem, match="nested"):
        loads((opening + fits + closing).encode())
    assert loads(b'"' + b"[" * 1_000 + b'"') == "[" * 1_000
    assert loads(b'"\\"' + b"[" * 1_000 + b'"') == '"' + "[" * 1_000


def test_members_are_counted_and_lists_are_looked_into() -> None:
    fits = json.dumps({f"k{number}": 1 for number in range(MOST_MEMBERS)})
    assert len(loads(fits.encode())) == MOST_MEMBERS
    with pytest.raises(Problem, match="members"):
        loads((fits[:-1] + ', "one": 1}').encode())
    for hidden in (b'{"tags": ["\\ud800"]}', b'{"tags": [["\\u0000"]]}', b'["\\udfff"]', b'"\\udfff"'):
        with pytest.raises(Problem, match="must"):
            loads(hidden)
