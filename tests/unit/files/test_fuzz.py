"""Every parser, shortly: the whole corpus, and changed files of it. ``make fuzz`` goes on for as long as is wanted."""

import gc
import tracemalloc

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


@pytest.mark.parametrize("target", TARGETS)
def test_nothing_is_kept_of_what_was_read(target: str) -> None:
    """What one pass over the corpus leaves behind, three more do not add to."""
    files = corpus(target)
    for data in files:
        run(target, data)
    gc.collect()
    tracemalloc.start()
    try:
        for data in files[:40]:
            run(target, data)
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(3):
            for data in files[:40]:
                run(target, data)
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] - before < 100_000
    finally:
        tracemalloc.stop()
