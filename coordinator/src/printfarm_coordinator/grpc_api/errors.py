"""The use cases' errors as the catalogue has them."""

from printfarm_rpc.errors import Code, FarmError, FieldViolation

from ..app.ports import AlreadyExists, DatabaseUnavailable, NotRead, StaleWrite, StorageFull
from ..domain.errors import RuleError, UnsafeFile


def translate(error: Exception) -> FarmError | None:
    """None for what nobody expected."""
    if isinstance(error, UnsafeFile):
        return FarmError(
            Code.UNSAFE_FILE, error.reason[:1000], fields=tuple(FieldViolation("file", text) for text in error.findings)
        )
    if isinstance(error, RuleError):
        fields = (FieldViolation(error.field, error.reason),) if error.field else ()
        return FarmError(Code[error.code], error.reason, fields=fields, **error.facts)
    if isinstance(error, StorageFull):
        return FarmError(Code.STORAGE_FULL)
    if isinstance(error, DatabaseUnavailable):
        return FarmError(Code.UNAVAILABLE, "the database does not answer", retry_after="2")
    if isinstance(error, NotRead):
        return FarmError(Code.UNAVAILABLE, "the file cannot be read at the moment", retry_after="2")
    if isinstance(error, StaleWrite):
        return FarmError(Code.UNAVAILABLE, "too many writers at once; try again", retry_after="1")
    if isinstance(error, AlreadyExists):
        return FarmError(Code.ALREADY_EXISTS)
    return None
