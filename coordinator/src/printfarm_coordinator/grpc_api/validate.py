"""What is wrong with any request whatever it asks for: checked once, before it is looked at."""

from typing import TypeVar

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from printfarm_rpc.errors import invalid

M = TypeVar("M", bound=Message)
_TEXT_OR_MESSAGE = (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_MESSAGE)


def check_text(request: M, path: str = "") -> M:
    """The request itself. Raises FarmError INVALID_ARGUMENT, with the field's path, for text that has a NUL character.

    No name, id or reason has one, and PostgreSQL stores none.
    """
    for field, value in request.ListFields():
        place = f"{path}{field.name}"
        if isinstance(value, str | Message):
            _check(value, place)
        elif field.type in _TEXT_OR_MESSAGE:
            for number, each in enumerate(value):
                _check(each, f"{place}[{number}]")
    return request


def _check(value: str | Message, place: str) -> None:
    if isinstance(value, Message):
        check_text(value, f"{place}.")
    elif "\0" in value:
        raise invalid(place, "must not have NUL characters")
