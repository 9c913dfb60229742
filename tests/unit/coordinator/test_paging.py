"""Page tokens: only those that were given out are taken (bad input 23)."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from printfarm_coordinator.grpc_api.paging import LARGEST_SIZE, page_size, place, token
from printfarm_rpc.errors import Code, FarmError


def refusal(kind: str, text: str) -> FarmError:
    with pytest.raises(FarmError) as caught:
        place(kind, text)
    return caught.value


def test_a_token_leads_back_to_its_place() -> None:
    assert place("jobs", token("jobs", 17, "ä-id")) == [17, "ä-id"]
    assert place("jobs", "") is None


def test_a_token_of_another_list_is_refused() -> None:
    error = refusal("runs", token("jobs", 17, "x"))
    assert (error.code, error.fields[0].field) == (Code.INVALID_ARGUMENT, "page_token")


def test_a_forged_place_under_an_honest_mac_is_refused() -> None:
    raw = base64.urlsafe_b64decode(token("jobs", 17, "x") + "==")
    forged = raw[:12] + json.dumps(["jobs", 0, "x"], separators=(",", ":")).encode()
    refusal("jobs", base64.urlsafe_b64encode(forged).decode())


@given(st.integers(0, 200), st.integers(1, 255))
def test_one_changed_byte_is_noticed(position: int, change: int) -> None:
    raw = bytearray(base64.urlsafe_b64decode(token("jobs", 17, "some-id") + "=="))
    raw[position % len(raw)] ^= change
    refusal("jobs", base64.urlsafe_b64encode(bytes(raw)).decode())


@given(st.text(min_size=1, max_size=100))
def test_garbage_is_an_invalid_argument_never_a_crash(text: str) -> None:
    assert refusal("jobs", text).code is Code.INVALID_ARGUMENT


def test_page_sizes() -> None:
    assert [page_size(0), page_size(1), page_size(10**9)] == [50, 1, LARGEST_SIZE]
    with pytest.raises(FarmError):
        page_size(-1)
