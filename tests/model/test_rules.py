"""The same world, driven by Hypothesis: it chooses what happens, and shrinks what breaks."""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.model.world import PRINTERS, World

_PRINTER = st.sampled_from(PRINTERS)
_COMMITS = st.sampled_from(
    [
        f"{edge}_commit.{name}"
        for edge in ("before", "after")
        for name in ("submit", "offer", "report", "authorise", "hello", "cancel_run", "cancel_job", "expire", "verdict")
    ]
)


class Protocol(RuleBasedStateMachine):
    """Rules are what may happen next; the invariant is the observer."""

    world: World

    @initialize(seed=st.integers(0, 1 << 16))
    def begin(self, seed: int) -> None:
        self.world = World(seed)
        self.world.connect()

    @rule()
    def order(self) -> None:
        self.world.order()

    @rule()
    def cancel(self) -> None:
        self.world.cancel()

    @rule()
    def coordinate(self) -> None:
        self.world.coordinate()

    @rule()
    def stream(self) -> None:
        if self.world.hub is None:
            self.world.connect()
        else:
            self.world.exchange()

    @rule()
    def cut(self) -> None:
        self.world.cut()

    @rule(where=_COMMITS)
    def coordinator_will_die(self, where: str) -> None:
        self.world.store.crash_at = where

    @rule()
    def coordinator_dies(self) -> None:
        self.world.boot_coordinator()

    @rule()
    def coordinator_sleeps_and_wakes(self) -> None:
        self.world.two_coordinators()

    @rule()
    def agent_dies(self) -> None:
        self.world.boot_agent()

    @precondition(lambda self: bool(self.world.operations))
    @rule(data=st.data())
    def operation_ends(self, data: st.DataObject) -> None:
        self.world.perform(data.draw(st.integers(0, len(self.world.operations) - 1)))

    @precondition(lambda self: bool(self.world.questions))
    @rule(data=st.data(), lost=st.booleans())
    def question_arrives(self, data: st.DataObject, lost: bool) -> None:
        index = data.draw(st.integers(0, len(self.world.questions) - 1))
        if lost:
            self.world.questions.pop(index)
        else:
            self.world.ask(index)

    @precondition(lambda self: bool(self.world.answers))
    @rule(data=st.data())
    def answer_arrives(self, data: st.DataObject) -> None:
        self.world.answer(data.draw(st.integers(0, len(self.world.answers) - 1)))

    @rule(name=_PRINTER)
    def look(self, name: str) -> None:
        self.world.observe(name)

    @rule(name=_PRINTER)
    def person(self, name: str) -> None:
        self.world.tidy(name)

    @rule(seconds=st.sampled_from([0.1, 1.0, 5.0, 20.0, 60.0]), wall=st.floats(-3600, 3600))
    def time_passes(self, seconds: float, wall: float) -> None:
        self.world.wall += wall
        self.world.now += seconds
        self.world.pass_time()

    @invariant()
    def guarantees_hold(self) -> None:
        if hasattr(self, "world"):
            self.world.judge()


TestProtocol = Protocol.TestCase
TestProtocol.settings = settings(
    max_examples=300,
    stateful_step_count=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
