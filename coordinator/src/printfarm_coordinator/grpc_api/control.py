"""All services of the control listener."""

import grpc

from printfarm.control.v1 import (
    access_service_pb2_grpc,
    agent_admin_service_pb2_grpc,
    artifact_service_pb2_grpc,
    event_service_pb2_grpc,
    farm_service_pb2_grpc,
    job_service_pb2_grpc,
    printer_service_pb2_grpc,
    profile_service_pb2_grpc,
    rate_service_pb2_grpc,
    run_service_pb2_grpc,
    safety_service_pb2_grpc,
)
from printfarm.slicer.v1 import slicing_service_pb2_grpc

from ..app.enroll import Signer
from ..app.farm import Farm
from .access_service import AccessServicer
from .agent_admin_service import AgentAdminServicer
from .artifact_service import ArtifactServicer
from .event_service import EventServicer
from .farm_service import FarmServicer
from .job_service import JobServicer
from .printer_service import PrinterServicer
from .profile_service import ProfileServicer
from .rate_service import RateServicer
from .run_service import RunServicer
from .safety_service import SafetyServicer
from .slicing_service import SlicingServicer

_CONTROL = (
    "JobService",
    "RunService",
    "PrinterService",
    "ArtifactService",
    "EventService",
    "FarmService",
    "AgentAdminService",
    "AccessService",
    "ProfileService",
    "RateService",
    "SafetyService",
)
SERVICES = (*(f"printfarm.control.v1.{name}" for name in _CONTROL), "printfarm.slicer.v1.SlicingService")


def add_control_services(server: grpc.aio.Server, farm: Farm, signer: Signer, *, has_broker: bool) -> None:
    """Registers every service of ``SERVICES`` on a server that has the Guard with ``CONTROL_TABLE`` and ``translate``.

    ``signer`` is the farm's CA; ``has_broker``: the farm's bus is a broker's, and its health is asked for. Health and
    reflection are the caller's to add. Nothing is started: the services live as long as the server."""
    job_service_pb2_grpc.add_JobServiceServicer_to_server(JobServicer(farm), server)
    run_service_pb2_grpc.add_RunServiceServicer_to_server(RunServicer(farm), server)
    printer_service_pb2_grpc.add_PrinterServiceServicer_to_server(PrinterServicer(farm), server)
    artifact_service_pb2_grpc.add_ArtifactServiceServicer_to_server(ArtifactServicer(farm), server)
    event_service_pb2_grpc.add_EventServiceServicer_to_server(EventServicer(farm), server)
    farm_service_pb2_grpc.add_FarmServiceServicer_to_server(FarmServicer(farm, has_broker=has_broker), server)
    agent_admin_service_pb2_grpc.add_AgentAdminServiceServicer_to_server(AgentAdminServicer(farm, signer), server)
    access_service_pb2_grpc.add_AccessServiceServicer_to_server(AccessServicer(farm), server)
    profile_service_pb2_grpc.add_ProfileServiceServicer_to_server(ProfileServicer(farm), server)
    rate_service_pb2_grpc.add_RateServiceServicer_to_server(RateServicer(farm), server)
    safety_service_pb2_grpc.add_SafetyServiceServicer_to_server(SafetyServicer(farm), server)
    slicing_service_pb2_grpc.add_SlicingServiceServicer_to_server(SlicingServicer(farm), server)
