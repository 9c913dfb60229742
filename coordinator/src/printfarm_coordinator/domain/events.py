"""Facts for the event log, and rows for the audit log, as the rules state them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

Scalar = None | bool | int | float | str


@dataclass(frozen=True, slots=True)
class DomainEvent:
    """A fact, committed together with the state that it tells of.

    ``type`` is ``<subject kind>.<what happened>``, such as ``run.started``.
    """

    type: str
    subject_id: str
    actor: str
    data: Mapping[str, Scalar] = field(default_factory=dict)

    @property
    def subject_kind(self) -> str:
        """``job``, ``run``, ``printer``, ``agent`` or ``file``."""
        return self.type.split(".", 1)[0]


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Who moved, heated or decided what, and why. Committed before anything is sent (I21)."""

    action: str
    subject_kind: str
    subject_id: str
    actor: str
    reason: str
    epoch: int
