"""Bad inputs 31-33: a name is text to show, whatever it holds."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from printfarm_coordinator.app.artifacts import display_name


@pytest.mark.parametrize(
    ("given_name", "shown"),
    [
        ("cube.gcode", "cube.gcode"),
        ("", "unnamed"),
        (" \t\r\n\0 ", "unnamed"),
        ("a\0b\r\nc.gcode", "abc.gcode"),
        ("\u202egcode.exe", "gcode.exe"),
        ("\u2066x\u2069\u200b\ufeff", "x"),
        ("line\u2028break\u2029", "linebreak"),
        ("<img onerror=1>.gcode", "<img onerror=1>.gcode"),
        ("../../etc/passwd", "../../etc/passwd"),
        ("Würfel 立方体 🧊.gcode", "Würfel 立方体 🧊.gcode"),
    ],
)
def test_shown_as(given_name: str, shown: str) -> None:
    assert display_name(given_name) == shown


@given(st.text(max_size=600))
def test_any_name_becomes_one_line_of_at_most_255(text: str) -> None:
    shown = display_name(text)
    assert 0 < len(shown) <= 255
    assert not {unicodedata.category(c) for c in shown} & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    shown.encode("utf-8")
