"""PrusaLink's pure parts: Digest, names, answers of any shape, and the memory of a print's end."""

import contextlib
import hashlib
import string
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from printfarm_agent.driver import BadReply, Ending, ObservedState
from printfarm_agent.drivers.prusalink import digest, protocol
from printfarm_agent.drivers.prusalink.memory import Memory, fold
from printfarm_agent.drivers.prusalink.protocol import Dialect, Job, Look, Native

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=5),
    max_leaves=20,
)
MEMORIES = st.builds(
    Memory, st.just("ours"), st.none() | st.just(42), st.just(0.0), ending=st.none() | st.sampled_from(Ending)
)
NAME = "pf-00000000-0000-4000-8000-000000000001.gcode"


# -- Digest


def test_the_example_of_rfc_2617() -> None:
    header = (
        'Digest realm="testrealm@host.com", qop="auth,auth-int", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", '
        'opaque="5ccc069c403ebaf9f0171e9517f40e41"'
    )
    challenge = digest.read_challenge(header)
    assert challenge is not None
    made = digest.answer(challenge, "Mufasa", "Circle Of Life", "GET", "/dir/index.html", 1, "0a4f113b")
    assert 'response="6629fae49393a05397450978507c4ef1"' in made
    assert "nc=00000001" in made and "qop=auth" in made and 'opaque="5ccc069c403ebaf9f0171e9517f40e41"' in made


def test_the_old_form_adds_nothing_that_was_not_asked_for() -> None:
    challenge = digest.read_challenge('Digest realm="Printer API", nonce="dcd98b7102dd2f0e", stale="false"')
    assert challenge is not None
    made = digest.answer(challenge, "maker", "p", "GET", "/api/version", 1, "c")

    def md5(text: str) -> str:
        return hashlib.md5(text.encode()).hexdigest()

    expected = md5(f"{md5('maker:Printer API:p')}:dcd98b7102dd2f0e:{md5('GET:/api/version')}")
    assert f'response="{expected}"' in made
    assert "algorithm" not in made and "qop" not in made and "cnonce" not in made


@pytest.mark.parametrize(
    "header",
    ["", "ApiKey", "Basic realm=x", "Digest realm=a", 'Digest nonce="a", algorithm=SHA-256', "Digest" + "a" * 9999],
)
def test_what_is_no_challenge_is_not_answered(header: str) -> None:
    assert digest.read_challenge(header) is None


# -- names


@given(st.uuids())
def test_a_runs_name_fits_and_leads_back(run: object) -> None:
    name = f"pf-{run}.gcode"
    short = protocol.short_name(name)
    assert len(short) <= protocol.LONGEST_NAME
    assert set(short) <= set(string.ascii_lowercase + string.digits + ".")
    assert protocol.long_name(short) == name


@given(st.text(string.ascii_letters + string.digits + "-.", min_size=1, max_size=200))
def test_any_name_fits(name: str) -> None:
    assert len(protocol.short_name(name)) <= protocol.LONGEST_NAME


# -- answers of any shape


@given(JSON)
def test_any_answer_is_read_or_refused(said: object) -> None:
    for read in (
        protocol.look,
        protocol.server,
        protocol.job,
        protocol.storages,
        protocol.file_size,
        protocol.complaint,
    ):
        with contextlib.suppress(BadReply):
            read(said)


@given(JSON, JSON)
def test_a_state_that_nobody_knows_is_never_idle(state: object, rest: object) -> None:
    look = protocol.look({"printer": {"state": state, "temp_nozzle": rest}, "job": rest})
    known = {native.value for native in Native}
    if str(state).upper() not in known:
        _, seen = fold(None, look, 0.0, Dialect.BUDDY)
        assert seen.state is ObservedState.UNKNOWN


def test_numbers_that_cannot_be_are_left_out() -> None:
    printer = {
        "state": "IDLE",
        "temp_nozzle": float("nan"),
        "temp_bed": -273.0,
        "axis_x": 1e9,
        "axis_y": 1,
        "axis_z": 1,
    }
    look = protocol.look({"printer": printer, "job": {"id": 1, "progress": 250, "time_remaining": -5}})
    assert look.heaters == () and look.position_mm is None
    assert look.job == Job(1)


# -- the memory of an end


def job(progress: float = 0.5, left: float = 300.0, *, number: int = 42, name: str | None = NAME) -> Job:
    return Job(number, progress, left, 300.0, name)


def seen_while_printing(progress: float = 0.5, left: float = 300.0) -> Memory:
    memory, seen = fold(None, Look(Native.PRINTING, job(progress, left)), 100.0, Dialect.PI)
    assert memory is not None
    assert (seen.state, seen.file_name, seen.print_number) == (ObservedState.PRINTING, NAME, 42)
    return memory


@pytest.mark.parametrize(("native", "ending"), [(Native.FINISHED, Ending.COMPLETE), (Native.STOPPED, Ending.CANCELLED)])
def test_an_end_that_is_seen_belongs_to_what_was_seen_before(native: Native, ending: Ending) -> None:
    memory, seen = fold(seen_while_printing(0.99, 3.0), Look(native), 101.0, Dialect.PI)
    assert (seen.state, seen.ending, seen.file_name) == (ObservedState.IDLE, ending, NAME)
    # Eleven seconds later the printer has forgotten it; this has not.
    _, later = fold(memory, Look(Native.IDLE), 120.0, Dialect.PI)
    assert (later.ending, later.file_name, later.print_number) == (ending, NAME, 42)


@pytest.mark.parametrize(
    ("dialect", "later", "end_of_file"),
    [
        (Dialect.BUDDY, 1.0, False),
        # The Pi says it after the file's last line alone, whatever its figures; but of the last print, not of ours.
        (Dialect.PI, 1.0, True),
        (Dialect.PI, 12.0, False),
    ],
)
def test_a_finish_in_the_middle(dialect: Dialect, later: float, end_of_file: bool) -> None:
    _, seen = fold(seen_while_printing(0.4, 3000.0), Look(Native.FINISHED), 100.0 + later, dialect)
    assert (seen.ending, seen.end_of_file) == (Ending.COMPLETE, end_of_file)


def test_a_finish_of_which_nothing_was_seen_is_not_verified() -> None:
    _, seen = fold(Memory(NAME, 42, 100.0), Look(Native.FINISHED), 101.0, Dialect.PI)
    assert (seen.ending, seen.end_of_file) == (Ending.COMPLETE, False)


def test_time_goes_on_between_two_words_of_the_printer() -> None:
    at_work = replace(job(), printing_seconds=60.0)
    memory, _ = fold(None, Look(Native.PRINTING, at_work), 100.0, Dialect.PI)
    memory, seen = fold(memory, Look(Native.PRINTING, at_work), 104.0, Dialect.PI)
    assert seen.elapsed_seconds == 64.0, "the Pi counts at each hundredth command"
    memory, seen = fold(memory, Look(Native.PAUSED, at_work), 105.0, Dialect.PI)
    memory, seen = fold(memory, Look(Native.PAUSED, at_work), 900.0, Dialect.PI)
    assert seen.elapsed_seconds == 65.0, "not in a pause"
    memory, seen = fold(memory, Look(Native.PRINTING, replace(at_work, printing_seconds=66.0)), 902.0, Dialect.PI)
    assert seen.elapsed_seconds == 66.0, "its own word counts"
    _, seen = fold(memory, Look(Native.PRINTING, replace(at_work, printing_seconds=None)), 903.0, Dialect.PI)
    assert seen.elapsed_seconds == 67.0


def unseen_end(memory: Memory, now: float) -> tuple[ObservedState, Ending | None]:
    memory_after, first = fold(memory, Look(Native.IDLE), now, Dialect.PI)
    assert first.ending is None, "one look may fall into a moment of change"
    _, second = fold(memory_after, Look(Native.IDLE), now + 1.0, Dialect.PI)
    return second.state, second.ending


def test_an_end_that_nobody_saw() -> None:
    assert unseen_end(seen_while_printing(0.4, 3000.0), 130.0) == (ObservedState.IDLE, Ending.FAILED)
    assert unseen_end(seen_while_printing(0.99, 3000.0), 130.0) == (ObservedState.IDLE, Ending.COMPLETE)
    assert unseen_end(seen_while_printing(0.9, 20.0), 130.0) == (ObservedState.IDLE, Ending.COMPLETE)
    cancelled = replace(seen_while_printing(), cancel_asked=True)
    assert unseen_end(cancelled, 130.0) == (ObservedState.IDLE, Ending.CANCELLED)


@pytest.mark.parametrize("before", [Memory(NAME, None, 100.0), Memory(NAME, 42, 100.0), None])
def test_the_last_prints_figures_are_no_word_about_this_one(before: Memory | None) -> None:
    stale = Job(42, 1.0, 0.0, None, NAME)
    memory, seen = fold(before, Look(Native.PRINTING, stale), 101.0, Dialect.PI)
    assert (seen.state, seen.progress, seen.remaining_seconds) == (ObservedState.PREPARING, None, None)
    assert memory is not None
    assert unseen_end(memory, 102.0) == (ObservedState.IDLE, Ending.FAILED)
    memory, seen = fold(memory, Look(Native.PRINTING, replace(stale, progress=0.03)), 102.0, Dialect.PI)
    assert (seen.state, seen.progress, seen.remaining_seconds) == (ObservedState.PRINTING, 0.03, None)
    assert memory is not None
    assert unseen_end(memory, 103.0) == (ObservedState.IDLE, Ending.FAILED), (
        "the rest of the time is still the last print's"
    )
    # Since its first own word the same figures are its own.
    memory, seen = fold(memory, Look(Native.PRINTING, stale), 104.0, Dialect.PI)
    assert seen.progress == 1.0 and memory is not None
    assert unseen_end(memory, 105.0) == (ObservedState.IDLE, Ending.COMPLETE)


def test_a_finish_before_the_prints_first_own_word_is_verified_all_the_same() -> None:
    memory, _ = fold(Memory(NAME, None, 100.0), Look(Native.PRINTING, Job(42, 1.0, 0.0, None, NAME)), 101.0, Dialect.PI)
    _, seen = fold(memory, Look(Native.FINISHED), 102.0, Dialect.PI)
    assert (seen.ending, seen.end_of_file) == (Ending.COMPLETE, True)


def test_buddy_forgets_the_last_prints_figures() -> None:
    _, seen = fold(Memory(NAME, None, 100.0), Look(Native.PRINTING, job(0.9, 20.0)), 101.0, Dialect.BUDDY)
    assert (seen.progress, seen.remaining_seconds) == (0.9, 20.0)


def test_aborting_and_parking_are_no_end() -> None:
    for native in (Native.PRINTING, Native.PAUSED, Native.BUSY):
        memory, seen = fold(seen_while_printing(), Look(native), 101.0, Dialect.BUDDY)
        assert (seen.state, seen.ending, seen.file_name) == (ObservedState.FINISHING, None, NAME)
        assert memory is not None and memory.ending is None


def test_another_number_is_another_print() -> None:
    other = job(0.1, 900.0, number=43, name="theirs.gcode")
    _, seen = fold(seen_while_printing(), Look(Native.PRINTING, other), 101.0, Dialect.BUDDY)
    assert (seen.file_name, seen.print_number, seen.ending) == ("theirs.gcode", 43, None)


def test_a_number_that_comes_again_after_its_end_is_another_print() -> None:
    ended, _ = fold(seen_while_printing(), Look(Native.STOPPED), 101.0, Dialect.BUDDY)
    again = job(0.2, 900.0, name="theirs.gcode")
    memory, seen = fold(ended, Look(Native.PRINTING, again), 102.0, Dialect.BUDDY)
    assert seen.file_name == "theirs.gcode" and memory is not None and memory.ending is None


def test_attention_waits_for_a_person() -> None:
    _, with_job = fold(None, Look(Native.ATTENTION, job()), 0.0, Dialect.BUDDY)
    assert with_job.state is ObservedState.PAUSED and "person" in with_job.message
    _, without = fold(None, Look(Native.ATTENTION), 0.0, Dialect.BUDDY)
    assert without.state is ObservedState.PREPARING and without.file_name is None


def test_an_error_needs_a_person_on_buddy_alone() -> None:
    _, buddy = fold(seen_while_printing(), Look(Native.ERROR), 101.0, Dialect.BUDDY)
    assert (buddy.state, buddy.halted, buddy.ending) == (ObservedState.ERROR, True, Ending.FAILED)
    memory, pi = fold(seen_while_printing(), Look(Native.ERROR), 101.0, Dialect.PI)
    assert (pi.state, pi.halted, pi.ending) == (ObservedState.ERROR, False, None)
    # The link is back, and the print goes on.
    _, back = fold(memory, Look(Native.PRINTING, job(0.6, 200.0)), 110.0, Dialect.PI)
    assert (back.state, back.file_name, back.ending) == (ObservedState.PRINTING, NAME, None)


def test_a_start_that_was_taken_shows_only_later() -> None:
    begun = Memory(NAME, None, 100.0)
    memory, seen = fold(begun, Look(Native.IDLE), 101.0, Dialect.BUDDY)
    assert (seen.state, seen.file_name) == (ObservedState.PREPARING, NAME)
    memory, seen = fold(memory, Look(Native.ATTENTION), 102.0, Dialect.BUDDY)
    assert (seen.state, seen.file_name) == (ObservedState.PREPARING, NAME), "a question on the screen before the print"
    assert memory is not None
    _, never = fold(memory, Look(Native.IDLE), 300.0, Dialect.BUDDY)
    _, never = fold(replace(memory, gone_looks=1), Look(Native.IDLE), 300.0, Dialect.BUDDY)
    assert never.ending is Ending.FAILED and "did not print" in never.message


@given(
    st.sampled_from(Native),
    st.booleans(),
    st.none()
    | st.builds(
        Memory, st.just(NAME), st.none() | st.just(42), st.just(0.0), ending=st.none() | st.sampled_from(Ending)
    ),
    st.sampled_from(Dialect),
)
def test_every_pair_has_an_answer_and_idle_is_only_what_says_so(
    native: Native, has_job: bool, memory: Memory | None, dialect: Dialect
) -> None:
    _, seen = fold(memory, Look(native, job() if has_job else None), 1000.0, dialect)
    if seen.state is ObservedState.IDLE:
        assert native in protocol.STARTABLE
    if seen.ending is not None:
        assert seen.state in (ObservedState.IDLE, ObservedState.ERROR)
