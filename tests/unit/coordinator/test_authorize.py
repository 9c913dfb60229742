"""Who may call what: no method of any service is missing from the tables."""

import importlib
import pkgutil

import grpc_health.v1.health_pb2 as health_pb2
import pytest
from google.protobuf.descriptor import ServiceDescriptor
from grpc_reflection.v1alpha import reflection_pb2

import printfarm.agent.v1
import printfarm.control.v1
import printfarm.slicer.v1
from printfarm_coordinator.app.ports import Role
from printfarm_coordinator.grpc_api.authorize import AGENT_TABLE, CONTROL_TABLE, ENROLLMENT_TABLE, LEAST_ROLE
from printfarm_coordinator.grpc_api.control import SERVICES
from printfarm_rpc.identity import PeerRole

HEALTH = health_pb2.DESCRIPTOR.services_by_name["Health"]
REFLECTION = reflection_pb2.DESCRIPTOR.services_by_name["ServerReflection"]


def services(package: object) -> list[ServiceDescriptor]:
    """Every service of every module of the package: one that is added later is found, too."""
    found: list[ServiceDescriptor] = []
    path, name = package.__path__, package.__name__  # type: ignore[attr-defined]
    for module in pkgutil.iter_modules(path):
        if module.name.endswith("_pb2"):
            descriptor = importlib.import_module(f"{name}.{module.name}").DESCRIPTOR
            found.extend(descriptor.services_by_name.values())
    return found


def methods(*described: ServiceDescriptor) -> set[str]:
    return {f"/{service.full_name}/{method.name}" for service in described for method in service.methods}


def test_the_control_table_names_every_method_and_no_other() -> None:
    control = services(printfarm.control.v1)
    assert len(control) >= 8
    slicer = services(printfarm.slicer.v1)
    assert len(slicer) == 1
    assert set(CONTROL_TABLE) == methods(*control, *slicer, HEALTH, REFLECTION)
    assert set(LEAST_ROLE) == methods(*control)
    assert set(SERVICES) == {service.full_name for service in [*control, *slicer]}


def test_slicers_reach_their_own_service_and_nothing_else() -> None:
    theirs = {method for method, roles in CONTROL_TABLE.items() if roles and PeerRole.SLICER in roles}
    assert theirs == methods(*services(printfarm.slicer.v1))
    assert all(CONTROL_TABLE[method] == {PeerRole.SLICER} for method in theirs)


def test_the_agent_tables_name_every_method_and_no_other() -> None:
    found = {service.name: service for service in services(printfarm.agent.v1)}
    assert set(found) == {"AgentService", "EnrollmentService"}
    assert set(AGENT_TABLE) == methods(found["AgentService"], HEALTH)
    assert set(ENROLLMENT_TABLE) == methods(found["EnrollmentService"])


def test_only_enrolment_is_open() -> None:
    assert ENROLLMENT_TABLE == {"/printfarm.agent.v1.EnrollmentService/Enroll": None}
    assert None not in AGENT_TABLE.values()
    assert None not in CONTROL_TABLE.values()


def test_no_agent_reaches_the_control_services() -> None:
    assert all(roles and PeerRole.AGENT not in roles for roles in CONTROL_TABLE.values())


def test_only_gateways_meet_secrets() -> None:
    asked_before_a_principal_is_known = {method for method, least in LEAST_ROLE.items() if least is None}
    gateway_alone = {method for method, roles in CONTROL_TABLE.items() if roles == {PeerRole.GATEWAY}}
    assert gateway_alone == {
        f"/printfarm.control.v1.AccessService/{name}"
        for name in ("AuthenticateKey", "AuthenticatePassword", "CheckUser")
    }
    assert asked_before_a_principal_is_known == gateway_alone | {"/printfarm.control.v1.FarmService/GetHealth"}


@pytest.mark.parametrize("method", sorted(LEAST_ROLE))
def test_what_changes_anything_is_not_for_viewers(method: str) -> None:
    # Logging out is of oneself only.
    reads = ("Get", "List", "Watch", "Explain", "Read", "Authenticate", "Check", "LogOut")
    name = method.rsplit("/", 1)[1]
    if not name.startswith(reads):
        assert LEAST_ROLE[method] in (Role.OPERATOR, Role.ADMIN)


@pytest.mark.parametrize("service", ["AccessService", "AgentAdminService"])
def test_keys_people_and_identities_are_for_administrators(service: str) -> None:
    for method, least in LEAST_ROLE.items():
        name = method.rsplit("/", 1)[1]
        if f".{service}/" in method and name.startswith(("Create", "Revoke", "Update")):
            assert least is Role.ADMIN
