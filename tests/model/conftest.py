"""Every simulation counts how often an agent's event takes effect."""

import logging
from collections.abc import Iterator

import pytest
import structlog

from printfarm_coordinator.app import report


@pytest.fixture(autouse=True)
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The observer's eye inside the transaction; and no log lines from a million steps."""
    plain = report._apply

    async def apply(farm, tx, agent, event):  # type: ignore[no-untyped-def]
        await plain(farm, tx, agent, event)
        tx.applied.append(event.sequence)

    monkeypatch.setattr(report, "_apply", apply)
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.configure(**before)
