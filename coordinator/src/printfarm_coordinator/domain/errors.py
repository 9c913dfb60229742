"""What the rules refuse, each with the code that the edge translates.

The codes are spelled as in the error catalogue of ``printfarm_rpc.errors``; a test shows that each one is in it.
"""


class RuleError(Exception):
    """The rules refuse. Nothing was changed. ``facts`` may be shown to the caller."""

    def __init__(self, code: str, reason: str, *, field: str | None = None, **facts: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason
        self.field = field
        self.facts = facts


class IllegalState(RuleError):
    """The thing is not in a state in which this can be done."""

    def __init__(self, reason: str, **facts: str) -> None:
        super().__init__("ILLEGAL_STATE", reason, **facts)


class UnsafeFile(RuleError):
    """A print file asks what no printer may be asked. ``findings``: the first of them, each with its line."""

    def __init__(self, reason: str, findings: tuple[str, ...]) -> None:
        super().__init__("UNSAFE_FILE", reason, field="file")
        self.findings = findings


class Invalid(RuleError):
    """A value that can never be right. ``field`` names it; ``reason`` says what would be."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__("INVALID_ARGUMENT", reason, field=field)
