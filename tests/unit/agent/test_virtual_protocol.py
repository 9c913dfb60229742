"""The virtual printer's answers in every wrong shape: nothing raises but BadReply, and nothing becomes idle."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from printfarm_agent.driver import BadReply, ObservedState
from printfarm_agent.drivers.virtual import protocol

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_FIELDS = st.sampled_from(
    [
        "file",
        "ending",
        "end_of_file",
        "progress",
        "layer",
        "elapsed",
        "heaters",
        "position",
        "boot_count",
        "message",
        "by",
    ]
)


@given(reply=st.dictionaries(_FIELDS, _JSON), state=_JSON)
def test_an_answer_of_the_wrong_shape_is_never_idle(reply: dict[str, object], state: object) -> None:
    seen = protocol.observation(reply | {"state": state})
    assert seen.state in set(ObservedState)
    assert seen.state is not ObservedState.IDLE or state == "idle"
    assert seen.progress is None or 0.0 <= seen.progress <= 1.0


@pytest.mark.parametrize("line", [b"\x00\xff\n", b"[]\n", b'{"id": 2, "ok": true}\n', b'{"id": 1}\n', b"[" * 60_000])
def test_noise_is_a_bad_reply(line: bytes) -> None:
    with pytest.raises(BadReply):
        protocol.decode(line, 1)
