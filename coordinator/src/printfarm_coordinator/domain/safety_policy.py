"""Which findings of a print file people may overrule, and what follows from their word. See docs/decisions/0013."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache

from printfarm_files.safety import RULES, Dialect, Inspection, Question

from .file_asks import FileAsks, coarse

PEOPLE_NEEDED = 2


class Answer(StrEnum):
    """``ALLOW``: told, and printed. ``REFUSE``: nobody may print it. Else two people of at least that role must allow it."""

    ALLOW = "allow"
    OPERATOR = "operator"
    ADMIN = "admin"
    REFUSE = "refuse"


DEFAULT_ANSWERS = {
    "needs_person": Answer.ALLOW,
    "left_hot": Answer.ALLOW,
    "never_heated": Answer.ALLOW,
    "prints_nothing": Answer.ALLOW,
    "unlisted": Answer.OPERATOR,
    "markup": Answer.OPERATOR,
    "other_firmware": Answer.OPERATOR,
}
_RANKS = {"viewer": 0, "operator": 1, "admin": 2}


@dataclass(frozen=True, slots=True)
class Policy:
    """``answers`` by rule; ``allowed`` commands are known to the farm's printers: nobody is asked for them."""

    answers: tuple[tuple[str, Answer], ...] = tuple(sorted(DEFAULT_ANSWERS.items()))
    allowed: tuple[str, ...] = ()

    @property
    def version(self) -> str:
        """Of the rules and of this policy: what was judged by another is judged again."""
        return _version(self.answers, self.allowed)

    def answer(self, question: Question) -> Answer:
        """What is to be done about it."""
        if question.rule == "unlisted" and question.command in self.allowed:
            return Answer.ALLOW
        return dict(self.answers).get(question.rule, Answer.OPERATOR)

    def asked(self, found: Inspection) -> Iterator[tuple[Question, Answer]]:
        """What people must allow, and by whom."""
        for question in found.questions:
            answer = self.answer(question)
            if answer in (Answer.OPERATOR, Answer.ADMIN):
                yield question, answer


@cache
def _version(answers: tuple[tuple[str, Answer], ...], allowed: tuple[str, ...]) -> str:
    """Every job that comes in is asked for it."""
    said = repr((sorted(answers), sorted(allowed)))
    return f"{RULES}.{hashlib.sha256(said.encode()).hexdigest()[:12]}"


def policy_of(text: str, allowed: Sequence[str] = ()) -> Policy:
    """Of ``rule=answer`` pairs, split by commas; what is left out is as by default. Raises ValueError naming what is wrong."""
    answers = dict(DEFAULT_ANSWERS)
    for pair in filter(None, (part.strip() for part in text.split(","))):
        rule, _, answer = (word.strip() for word in pair.partition("="))
        if rule not in DEFAULT_ANSWERS:
            raise ValueError(f"{rule!r} is no rule that can be overruled; use {', '.join(sorted(DEFAULT_ANSWERS))}")
        if answer not in set(Answer):
            raise ValueError(f"{rule}={answer}: must be one of {', '.join(Answer)}")
        answers[rule] = Answer(answer)
    return Policy(tuple(sorted(answers.items())), tuple(sorted({name.upper() for name in allowed})))


@dataclass(frozen=True, slots=True)
class Override:
    """One person's word for one job and one file, as it was found by one set of rules. Times in microseconds.

    ``covers``: ``rule:command`` of each finding that was shown."""

    override_id: str
    job_id: str
    sha256: str
    rules: int
    actor: str
    role: str
    reason: str
    covers: tuple[str, ...]
    created_at: int
    revoked_at: int | None = None
    revoked_by: str = ""


def may_allow(role: str, answer: Answer) -> bool:
    """Whether the word of somebody of that role counts for it."""
    return _RANKS.get(role, 0) >= _RANKS[answer.value]


def key_of(question: Question) -> str:
    """Names a finding within its file."""
    return f"{question.rule}:{question.command}"


def people_for(question: Question, answer: Answer, overrides: Iterable[Override], found: Inspection) -> set[str]:
    """Who allows it: each person once, of a role that the policy asks for, under the rules that found it."""
    return {
        override.actor
        for override in overrides
        if override.revoked_at is None
        and override.rules == found.rules
        and key_of(question) in override.covers
        and may_allow(override.role, answer)
    }


def refusal(found: Inspection, policy: Policy) -> str:
    """Why no printer at all may print the file, with the lines' numbers; empty if one might."""
    if found.is_refused:
        return f"the safety check refuses it: {found.reason}"
    if len(judged(found, policy).refused_by) < len(Dialect):
        return ""
    never = [q for q in found.questions if policy.answer(q) is Answer.REFUSE]
    told = "; ".join(f"line {q.line}: {q.text}" if q.line else q.text for q in never[:3])
    return f"this farm's policy refuses it: {told or found.reason}"


def judged(found: Inspection, policy: Policy, overrides: Sequence[Override] = ()) -> FileAsks:
    """What the file asks, and of which kinds of firmware it is kept away."""
    refused, waits = set(found.refused_by), set()
    for question in found.questions:
        answer = policy.answer(question)
        if answer is Answer.REFUSE:
            refused |= set(question.dialects)
        elif answer is not Answer.ALLOW and len(people_for(question, answer, overrides, found)) < PEOPLE_NEEDED:
            waits |= set(question.dialects)
    celsius = (found.hotend_celsius or 0.0, found.bed_celsius or 0.0, found.chamber_celsius or 0.0)
    low, high = coarse(found.low, found.high) if found.low and found.high else (None, None)
    return FileAsks(
        rules=policy.version,
        printer_model=found.printer_model,
        nozzle_diameter_mm=found.nozzle_mm,
        material=found.material,
        celsius=celsius,
        low_mm=low,
        high_mm=high,
        refused_by=tuple(sorted(refused)),
        waits_for=tuple(sorted(waits)),
    )
