"""The example of a ``.env`` names every variable that a server reads, and no other."""

import re
from pathlib import Path

import pytest
from pydantic import AliasChoices
from pydantic_settings import BaseSettings

from printfarm_coordinator.settings import CoordinatorSettings
from printfarm_gateway.settings import GatewaySettings
from printfarm_slicer.settings import SlicerSettings
from printfarm_standalone.settings import StandaloneSettings

_SETTINGS = (CoordinatorSettings, GatewaySettings, SlicerSettings, StandaloneSettings)
# Named by an agent's TOML, whose option it is.
_OF_THE_AGENT = {"SIMPLYPRINT_API_KEY"}


def shown() -> list[str]:
    text = (Path(__file__).parents[2] / ".env.example").read_text()
    return re.findall(r"^#([A-Z][A-Z_]+)=", text, re.M)


def read(settings: type[BaseSettings]) -> set[str]:
    found: set[str] = set()
    for field in settings.model_fields.values():
        assert isinstance(field.validation_alias, AliasChoices)
        found |= {str(choice) for choice in field.validation_alias.choices}
    return found


@pytest.mark.parametrize("settings", _SETTINGS)
def test_every_variable_is_shown(settings: type[BaseSettings]) -> None:
    assert read(settings) - set(shown()) == set()


def test_nothing_else_is_shown_and_nothing_twice() -> None:
    names = shown()
    assert set(names) == set().union(*map(read, _SETTINGS)) | _OF_THE_AGENT
    assert len(names) == len(set(names))
