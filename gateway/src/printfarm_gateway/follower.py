"""Follows the farm's events for the metrics, and asks for its figures when somebody scrapes."""

import asyncio
import time
from collections.abc import Callable

import structlog
from google.protobuf.timestamp_pb2 import Timestamp

from printfarm.control.v1 import event_service_pb2, farm_service_pb2
from printfarm_rpc.errors import Code, FarmError

from .control_client import ControlClient, Principal
from .metrics import Metrics

_LOG = structlog.get_logger(__name__)
_ITSELF = Principal("gateway", "viewer")
_AGAIN_SECONDS = 2.0
_HOUR_SECONDS = 3_600
_SCRAPE_SECONDS = 3.0
# The position means nothing to this coordinator (any more): its database was restored, or the gateway was away for too long.
_BEGIN_ANEW = {Code.POSITION_EXPIRED, Code.INVALID_ARGUMENT}


class Follower:
    """One per gateway."""

    def __init__(self, control: ControlClient, changed: Callable[[], None]) -> None:
        self._control = control
        self._changed = changed

    async def follow_for_ever(self, metrics: Metrics) -> None:
        """Counts each event from now on, until cancelled."""
        position = -1
        while True:
            try:
                request = event_service_pb2.WatchRequest(after_position=position)
                async for answer in self._control.stream(self._control.events.Watch, request, _ITSELF):
                    position = answer.position
                    if answer.HasField("event"):
                        self._changed()
                        metrics.observe_event(answer.event.type, answer.event.data)
            except FarmError as error:
                if error.code in _BEGIN_ANEW:
                    position = -1
                _LOG.info("events are not followed at the moment", why=error.detail)
            await asyncio.sleep(_AGAIN_SECONDS)

    async def refresh(self, metrics: Metrics) -> None:
        """The gauges. Raises FarmError."""
        now = int(time.time())
        start, end = Timestamp(seconds=now - _HOUR_SECONDS), Timestamp(seconds=now)
        usage = farm_service_pb2.GetUtilizationRequest(start_time=start, end_time=end)
        farm = self._control.farm
        stats, found = await asyncio.gather(
            self._control.call(farm.GetStats, farm_service_pb2.GetStatsRequest(), _ITSELF, _SCRAPE_SECONDS),
            self._control.call(farm.GetUtilization, usage, _ITSELF, _SCRAPE_SECONDS),
        )
        metrics.show(stats, found)
