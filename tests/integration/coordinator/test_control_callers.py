"""Who may speak to the control listener, and for whom (bad input 66)."""

from datetime import timedelta
from pathlib import Path

import grpc
import pytest

from printfarm.control.v1 import access_service_pb2, agent_admin_service_pb2, farm_service_pb2, job_service_pb2
from printfarm_coordinator.adapters.ca.authority import Authority
from printfarm_rpc.channel import open_channel
from printfarm_rpc.errors import Code
from printfarm_rpc.identity import Identity, PeerRole
from printfarm_rpc.limits import CONTROL_CHANNEL
from printfarm_rpc.tls import CredentialFiles, roots_only_credentials
from tests.support.certificates import SERVER, odd_certificate
from tests.support.control_plane import Client, ControlPlane

LIST = job_service_pb2.ListJobsRequest()
GATEWAY_URI = "spiffe://farm/gateway/gw"


async def never_connects(client: Client) -> None:
    """The handshake fails: no method is reached, and the caller learns no more than that."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.jobs.ListJobs(LIST, timeout=10)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_no_certificate_no_handshake(plane: ControlPlane) -> None:
    channel = open_channel(
        plane.address, roots_only_credentials(plane.authority.roots_pem), CONTROL_CHANNEL, "coordinator"
    )
    plane.channels.append(channel)
    await never_connects(Client(channel))


async def test_another_ca_no_handshake(plane: ControlPlane, tmp_path: Path) -> None:
    stranger = Authority.create(tmp_path / "stranger")
    theirs = stranger.issue(tmp_path / "theirs", Identity(PeerRole.OPERATOR, "olga"))
    ours = plane.authority.issue(tmp_path / "ours", Identity(PeerRole.OPERATOR, "olga"))
    await never_connects(plane.connect(CredentialFiles(theirs.key, theirs.chain, ours.roots)))


@pytest.mark.parametrize(
    "odd",
    [
        {"ends": timedelta(minutes=-1)},
        {"begins": timedelta(hours=1), "ends": timedelta(hours=2)},
        {"usages": SERVER},
    ],
    ids=["expired", "not yet valid", "for servers alone"],
)
async def test_a_certificate_that_is_not_good_now_no_handshake(
    plane: ControlPlane, tmp_path: Path, odd: dict[str, timedelta]
) -> None:
    files = odd_certificate(plane.folder / "ca", tmp_path / "odd", [GATEWAY_URI], **odd)  # type: ignore[arg-type]
    await never_connects(plane.connect(files))


@pytest.mark.parametrize(
    "uris",
    [
        [],
        ["spiffe://elsewhere/gateway/gw"],
        ["spiffe://farm/root/gw"],
        [GATEWAY_URI, "spiffe://farm/operator/olga"],
        ["spiffe://farm/gateway/../operator/olga"],
    ],
)
async def test_a_certificate_that_names_nobody_of_this_farm(
    plane: ControlPlane, tmp_path: Path, uris: list[str]
) -> None:
    client = plane.connect(odd_certificate(plane.folder / "ca", tmp_path / "odd", uris))
    error = await client.acting_for("key/x", "admin").refused(client.jobs.ListJobs, LIST)
    assert error.code is Code.UNAUTHENTICATED


@pytest.mark.parametrize("role", [PeerRole.AGENT, PeerRole.COORDINATOR])
async def test_agents_and_coordinators_are_turned_away(plane: ControlPlane, role: PeerRole) -> None:
    client = plane.client(role, "host").acting_for("key/x", "admin")
    assert (await client.refused(client.jobs.ListJobs, LIST)).code is Code.PERMISSION_DENIED


async def test_an_operator_is_an_administrator_whatever_its_metadata_says(plane: ControlPlane) -> None:
    client = plane.operator.acting_for("key/somebody-else", "viewer")
    made = await client(
        client.access.CreateApiKey,
        access_service_pb2.CreateApiKeyRequest(name="k", role=access_service_pb2.ROLE_VIEWER),
    )
    audit = await client(client.farm.ListAuditEntries, farm_service_pb2.ListAuditEntriesRequest())
    assert made.secret
    assert [entry.actor for entry in audit.entries] == ["operator/olga"]


@pytest.mark.parametrize(
    "metadata",
    [
        (),
        (("x-printfarm-actor", "key/a"),),
        (("x-printfarm-role", "admin"),),
        (("x-printfarm-actor", ""), ("x-printfarm-role", "admin")),
        (("x-printfarm-actor", "key/a"), ("x-printfarm-role", "root")),
        (("x-printfarm-actor", "a" * 129), ("x-printfarm-role", "admin")),
    ],
)
async def test_a_gateway_must_say_for_whom(plane: ControlPlane, metadata: tuple[tuple[str, str], ...]) -> None:
    client = Client(plane.gateway.channel, metadata)
    assert (await client.refused(client.jobs.ListJobs, LIST)).code is Code.UNAUTHENTICATED


async def test_a_role_reaches_as_far_as_its_table_says(plane: ControlPlane) -> None:
    gateway = plane.gateway
    viewer, operator, admin = (gateway.acting_for("key/k", role) for role in ("viewer", "operator", "admin"))
    hold = job_service_pb2.HoldJobRequest(job_id="none")
    token = agent_admin_service_pb2.CreateEnrollmentTokenRequest(agent_id="host")
    await viewer(viewer.jobs.ListJobs, LIST)
    assert (await viewer.refused(viewer.jobs.HoldJob, hold)).code is Code.PERMISSION_DENIED
    assert (await operator.refused(operator.jobs.HoldJob, hold)).code is Code.NOT_FOUND
    assert (await operator.refused(operator.agents.CreateEnrollmentToken, token)).code is Code.PERMISSION_DENIED
    assert (await admin(admin.agents.CreateEnrollmentToken, token)).token


async def test_only_a_gateway_may_ask_whose_secret_it_is(plane: ControlPlane) -> None:
    operator = plane.operator
    request = access_service_pb2.AuthenticateKeyRequest(secret="pf_x")
    assert (await operator.refused(operator.access.AuthenticateKey, request)).code is Code.PERMISSION_DENIED
    gateway = plane.gateway
    assert (await gateway.refused(gateway.access.AuthenticateKey, request)).code is Code.UNAUTHENTICATED


async def test_health_is_told_to_a_gateway_that_speaks_for_nobody(plane: ControlPlane) -> None:
    gateway = plane.gateway
    answer = await gateway(gateway.farm.GetHealth, farm_service_pb2.GetHealthRequest())
    status = {component.component: component.status for component in answer.components}
    assert status["database"] == "ok"
    assert status["message_broker"] == "not_configured"
    assert {"agents", "printers", "storage"} <= set(status)
