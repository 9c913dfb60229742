"""Tells two hosts that run under one identity from one host that was restarted.

Each start of an agent makes a new boot id, and what restarts an agent ends the one before: an id that was
superseded does not come back. Once it may, as a Hello that was under way when its process died; two that take turns live.
"""

from collections import Counter
from dataclasses import dataclass, field

# Of each of the two: more than messages that were held up can explain.
RETURNS = 3
_MOST = 16


@dataclass(slots=True)
class _Seen:
    current: str = ""
    superseded: list[str] = field(default_factory=list)
    returns: Counter[str] = field(default_factory=Counter)


class Boots:
    """Of this process's time: who takes turns goes on doing so after a restart."""

    def __init__(self) -> None:
        self._agents: dict[str, _Seen] = {}

    def note(self, agent_id: str, boot_id: str) -> bool:
        """A Hello was accepted. True if it shows that two hosts use the identity; then its story begins anew."""
        seen = self._agents.setdefault(agent_id, _Seen())
        if boot_id == seen.current:
            return False
        if boot_id in seen.superseded:
            seen.superseded.remove(boot_id)
            seen.returns[boot_id] += 1
        if seen.current:
            seen.superseded.append(seen.current)
        while len(seen.superseded) > _MOST:
            seen.returns.pop(seen.superseded.pop(0), None)
        seen.current = boot_id
        if sum(count >= RETURNS for count in seen.returns.values()) < 2:
            return False
        del self._agents[agent_id]
        return True
