"""The channel to the coordinator: a new certificate without a restart, and calls that end with an error that says why."""

import asyncio
from contextlib import aclosing

import pytest

from printfarm.control.v1 import event_service_pb2, farm_service_pb2
from printfarm_gateway.control_client import ControlClient, Principal
from printfarm_rpc.errors import Code, FarmError
from printfarm_rpc.identity import Identity, PeerRole
from tests.support.gateway import TestedGateway

pytestmark = pytest.mark.asyncio(loop_scope="module")
VIEWER = Principal("key/viewer", "viewer")


async def stats(control: ControlClient) -> int:
    found = await control.call(control.farm.GetStats, farm_service_pb2.GetStatsRequest(), VIEWER)
    return int(found.parts_owed)


async def test_a_new_certificate_is_used_without_a_restart(gateway: TestedGateway) -> None:
    folder = gateway.plane.folder / "rotated"
    gateway.plane.authority.issue(folder, Identity(PeerRole.GATEWAY, "one"))
    control = ControlClient(gateway.settings.model_copy(update={"credentials_dir": folder}))
    assert await stats(control) >= 0
    assert not control.reload()
    watching = control.stream(control.events.Watch, event_service_pb2.WatchRequest(after_position=-1), VIEWER)
    async with aclosing(watching):
        await anext(watching)
        gateway.plane.authority.issue(folder, Identity(PeerRole.GATEWAY, "two"))
        assert control.reload(old_seconds=0.0)
        # A stream on the old channel ends with an error that says to come again; it is no cancellation of the one who reads.
        with pytest.raises(FarmError) as ended:
            await anext(watching)
        assert ended.value.code is Code.UNAVAILABLE
    assert await stats(control) >= 0
    await control.close()


async def test_what_cannot_be_used_is_not_used(gateway: TestedGateway) -> None:
    folder = gateway.plane.folder / "broken"
    gateway.plane.authority.issue(folder, Identity(PeerRole.GATEWAY, "one"))
    control = ControlClient(gateway.settings.model_copy(update={"credentials_dir": folder}))
    chain = (folder / "certificate.pem").read_bytes()
    for bad in (b"", b"not a certificate", chain[: len(chain) // 2]):
        (folder / "certificate.pem").write_bytes(bad)
        assert not control.reload()
        assert await stats(control) >= 0
    (folder / "certificate.pem").unlink()
    assert not control.reload()
    assert await stats(control) >= 0
    await control.close()


async def test_a_cancellation_of_our_own_stays_one(gateway: TestedGateway) -> None:
    control = ControlClient(gateway.settings)
    watching = control.stream(control.events.Watch, event_service_pb2.WatchRequest(after_position=-1), VIEWER)
    await anext(watching)
    reading = asyncio.ensure_future(anext(watching))
    await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    await watching.aclose()
    await control.close()
