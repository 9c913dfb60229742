"""Profiles: how models are sliced."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from printfarm.control.v1 import profile_service_pb2 as pb
from printfarm_rpc.errors import FarmError

from .. import schemas, views
from ..deps import Control, Cursor, Limit, Who, answer, bad_cursor, page, problems
from ..routes import FarmRoute

router = APIRouter(prefix="/api/v1/profiles", tags=["profiles"], route_class=FarmRoute)
Name = Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$", description="lower case letters, digits, . - _")]
Before = Annotated[int, Query(ge=0, le=2**31 - 1, description="only versions before this one; 0 for the newest")]
_KINDS = {word: number for number, word in views.PROFILE_KINDS.items()}


@router.get("", response_model=schemas.Page[schemas.Profile], responses=problems(), summary="List profiles")
async def list_profiles(control: Control, who: Who, limit: Limit = 50, cursor: Cursor = "") -> Response:
    """The newest version of each that is not retired, by name. Long profiles make shorter pages."""
    request = pb.ListProfilesRequest(page_size=limit, page_token=cursor)
    try:
        found = await control.call(control.profiles.ListProfiles, request, who)
    except FarmError as error:
        if any(field.field == "page_token" for field in error.fields):
            raise bad_cursor(error) from error
        raise
    return page([views.profile(profile) for profile in found.profiles], found.next_page_token)


@router.get("/{name}", response_model=schemas.ProfileVersions, responses=problems(404), summary="Show a profile")
async def show_profile(name: Name, control: Control, who: Who, before: Before = 0) -> Response:
    """Its newest versions, as many as an answer takes, oldest first. Where the first is not 1, its number in `before` brings
    those before it."""
    request = pb.GetProfileRequest(name=name, before_version=before)
    found = await control.call(control.profiles.GetProfile, request, who)
    return answer({"versions": [views.profile(profile) for profile in found.versions]})


@router.put(
    "/{name}", response_model=schemas.Profile, responses=problems(409, 413), summary="Add a profile's next version"
)
async def put_profile(name: Name, order: schemas.ProfileOrder, control: Control, who: Who) -> Response:
    """Or its first. Jobs accepted before keep the version of their time; the same content again makes no version."""
    request = pb.PutProfileRequest(
        name=name,
        kind=_KINDS[order.kind],
        engine=order.engine,
        settings=order.settings,
        printer_models=order.printer_models,
        is_default=order.is_default,
        description=order.description,
        version=order.version or 0,
    )
    return answer(views.profile((await control.call(control.profiles.PutProfile, request, who)).profile))


@router.delete("/{name}", status_code=204, responses=problems(404), summary="Retire a profile")
async def retire_profile(name: Name, control: Control, who: Who) -> Response:
    """Jobs accepted from now on do not use it; those before go on. May be repeated."""
    await control.call(control.profiles.RetireProfile, pb.RetireProfileRequest(name=name), who)
    return Response(None, 204)
