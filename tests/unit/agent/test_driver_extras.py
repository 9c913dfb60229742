"""A driver whose libraries are not installed says what to install."""

import sys

import pytest

from printfarm_agent.bootstrap import driver_named
from printfarm_agent.driver import PrinterConfig
from printfarm_agent.settings import PrinterSettings, WrongSettings


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    for name in [name for name in sys.modules if name.startswith("printfarm_agent.drivers.")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(WrongSettings, match=r'needs aiohttp: pip install "printfarm-agent\[prusalink\]"'):
        driver_named(PrinterSettings(PrinterConfig("p", {}), "prusalink"))
