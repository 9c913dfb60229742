"""ProfileService: thin, over the use cases."""

from printfarm.control.v1 import profile_service_pb2 as pb
from printfarm.control.v1 import profile_service_pb2_grpc as rpc
from printfarm_rpc.errors import invalid
from printfarm_rpc.serving import Context

from ..app import profiles as cases
from ..app.farm import Farm
from . import convert
from .authorize import caller_of
from .paging import as_many_as_fit, page_size, place, token

_SERVICE = "/printfarm.control.v1.ProfileService/"


class ProfileServicer(rpc.ProfileServiceServicer):
    """Registered on the control listener, behind the Guard."""

    def __init__(self, farm: Farm) -> None:
        self._farm = farm

    async def PutProfile(self, request: pb.PutProfileRequest, context: Context) -> pb.PutProfileResponse:
        caller = caller_of(_SERVICE + "PutProfile", context, request)
        order = cases.ProfileOrder(
            request.name,
            convert.from_number(convert.PROFILE_KINDS, request.kind, "kind"),
            request.engine,
            dict(request.settings),
            tuple(request.printer_models),
            request.is_default,
            request.description,
            request.version,
        )
        made = await cases.put_profile(self._farm, caller, order)
        return pb.PutProfileResponse(profile=convert.profile(made))

    async def GetProfile(self, request: pb.GetProfileRequest, context: Context) -> pb.GetProfileResponse:
        caller_of(_SERVICE + "GetProfile", context, request)
        if request.before_version < 0:
            raise invalid("before_version", "must be that of a version, or 0 for the newest")
        found = await cases.profile_versions(self._farm, request.name)
        older = [p for p in reversed(found) if not request.before_version or p.version < request.before_version]
        made = list(map(convert.profile, older))
        return pb.GetProfileResponse(versions=made[: as_many_as_fit(made)][::-1])

    async def ListProfiles(self, request: pb.ListProfilesRequest, context: Context) -> pb.ListProfilesResponse:
        caller_of(_SERVICE + "ListProfiles", context, request)
        size = page_size(request.page_size)
        after = place("profiles", request.page_token)
        found = [p for p in await cases.newest_profiles(self._farm) if not after or p.name > str(after[0])]
        made = list(map(convert.profile, found[:size]))
        page = made[: as_many_as_fit(made)]
        following = token("profiles", page[-1].name) if len(page) < len(found) else ""
        return pb.ListProfilesResponse(profiles=page, next_page_token=following)

    async def RetireProfile(self, request: pb.RetireProfileRequest, context: Context) -> pb.RetireProfileResponse:
        caller = caller_of(_SERVICE + "RetireProfile", context, request)
        await cases.retire_profile(self._farm, caller, request.name, request.reason[:500])
        return pb.RetireProfileResponse()
