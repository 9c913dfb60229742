"""Text with NUL is refused wherever it stands, with the field's path."""

import pytest

from printfarm.control.v1 import job_service_pb2 as pb
from printfarm_coordinator.grpc_api.validate import check_text
from printfarm_rpc.errors import FarmError


def order() -> pb.CreateJobRequest:
    request = pb.CreateJobRequest(name="n", artifact_sha256="a" * 64, quantity=1, request_digest=b"\0" * 32)
    request.requirements.tags.extend(["one", "two"])
    request.requirements.material = "PLA"
    request.due_time.FromSeconds(1)
    return request


def test_bytes_may_have_what_text_may_not() -> None:
    request = order()
    assert check_text(request) is request


@pytest.mark.parametrize("path", ["name", "requirements.material", "requirements.tags[1]"])
def test_the_path_says_where(path: str) -> None:
    request = order()
    if path == "name":
        request.name = "a\0b"
    elif path == "requirements.material":
        request.requirements.material = "\0"
    else:
        request.requirements.tags[1] = "x\0"
    with pytest.raises(FarmError) as caught:
        check_text(request)
    assert caught.value.fields[0].field == path
