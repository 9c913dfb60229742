"""Every parser, shortly: the whole corpus, and changed files of it. ``make fuzz`` goes on for as long as is wanted."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.mutate import changed, corpus
from tests.fuzz.targets import TARGETS, run


@pytest.mark.parametrize("target", TARGETS)
def test_the_corpus(target: str) -> None:
    files = corpus(target)
    assert files
    for data in files:
        run(target, data)


@pytest.mark.parametrize("target", TARGETS)
def test_changed_files(target: str) -> None:
    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.one_of(changed(corpus(target)), st.binary(max_size=400)))
    def anything(data: bytes) -> None:
        run(target, data)

    anything()
