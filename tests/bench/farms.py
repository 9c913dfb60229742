"""Farms whose limits do not get in the way."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.farm import RealFarm, until

from .processes import yardstick

_FREE = {
    "PRINTFARM_REQUESTS_PER_MINUTE": "100000000",
    "PRINTFARM_LOG_LEVEL": "WARNING",
    # The farm's own times, where the tests' are short.
    "PRINTFARM_HEARTBEAT_SECONDS": "10",
    "PRINTFARM_LEASE_SECONDS": "45",
    "PRINTFARM_START_TTL_SECONDS": "30",
}


@contextmanager
def prepared_farm(**options: Any) -> Iterator[RealFarm]:
    """Its CA, database and agent a1 are there; nothing runs yet."""
    with tempfile.TemporaryDirectory() as folder:
        farm = RealFarm(Path(folder), environment=_FREE | options.pop("environment", {}), **options)
        farm.prepare()
        try:
            yield farm
        finally:
            farm.stop()


@contextmanager
def whole_farm(**options: Any) -> Iterator[RealFarm]:
    """All of its programs run, and its printers are seen."""
    with prepared_farm(**options) as farm:
        yield farm.start()


@contextmanager
def serving_farm(*, with_gateway: bool = True, **options: Any) -> Iterator[RealFarm]:
    """Coordinator and, if wanted, gateway: for agents that the benchmark plays itself."""
    with prepared_farm(printer_count=0, **options) as farm:
        farm.coordinator.start()
        if with_gateway:
            farm.gateway.start()
        key = farm.data / "admin-api-key"
        until(key.exists, why="the coordinator's first start")
        farm.key = key.read_text().strip()
        if with_gateway:
            until(lambda: farm.try_get("/api/v1/printers") is not None, why="the gateway answers")
        yield farm


def pid_of(program: Any) -> int:
    """Of a program that runs."""
    assert program.process is not None
    return int(program.process.pid)


@contextmanager
def bare_grpc(farm: RealFarm) -> Iterator[tuple[int, int]]:
    """The yardstick with the coordinator's own key and certificate: its port and its pid."""
    with yardstick("bare_grpc", str(farm.data / "coordinator")) as found:
        yield found
