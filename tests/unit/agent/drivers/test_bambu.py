"""Bambu's pure parts: reports that add up, whose print it is, how it ended, and what is sent."""

import contextlib
import hashlib
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from printfarm_agent.driver import BadReply, Ending, ObservedState, Refused
from printfarm_agent.drivers.bambu import commands
from printfarm_agent.drivers.bambu.package import pack
from printfarm_agent.drivers.bambu.report import NO_CONTROL, Cache, Report, Tray, decode, read
from printfarm_agent.drivers.bambu.tracking import Job, fold, found_in, number_of

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=5),
    max_leaves=20,
)
KEYS = st.sampled_from(
    [
        "gcode_state",
        "stg_cur",
        "mc_percent",
        "mc_remaining_time",
        "hms",
        "ams",
        "print_error",
        "subtask_id",
        "fun",
        "home_flag",
    ]
)
WORDS = ["IDLE", "INIT", "PREPARE", "RUNNING", "PAUSE", "FINISH", "FAILED", "SLICING", "OFFLINE", "", "?"]
NAME = "pf-00000000-0000-4000-8000-000000000001.gcode"
STEM = NAME.removesuffix(".gcode")
NUMBER = number_of(NAME)
OURS = Report(state="RUNNING", stage=0, ids=frozenset({str(NUMBER)}), subtask_name=STEM, progress=0.5, layer=3)
ACTIVE = Job(NAME, NUMBER, 0.0, taken=True, active=True, progress=0.5)


# -- reports


@given(st.dictionaries(KEYS, JSON), st.dictionaries(KEYS, JSON))
def test_any_two_reports_add_up_to_something_readable(first: dict[str, object], second: dict[str, object]) -> None:
    cache = Cache()
    cache.take(first)
    cache.take(second)
    report = cache.report()
    _, seen = fold(None, report, 0.0)
    if str(second.get("gcode_state", first.get("gcode_state"))).upper() not in ("IDLE", "FINISH", "FAILED"):
        assert seen.state is not ObservedState.IDLE


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(payload: bytes) -> None:
    with contextlib.suppress(BadReply):
        decode(payload)


def test_broken_utf8_in_a_name_is_no_noise_and_a_long_report_is() -> None:
    assert decode(b'{"print": {"subtask_name": "\xff\xfe"}}')
    with pytest.raises(BadReply, match="longer"):
        decode(b" " * ((1 << 20) + 1))


def test_changes_are_merged_and_lists_replaced_but_for_trays() -> None:
    cache = Cache()
    tray = [
        {"id": "0", "tray_type": "PLA", "tray_color": "FF0000FF"},
        {"id": "1", "tray_type": "PETG", "tray_color": "00FF00FF"},
    ]
    cache.take({"gcode_state": "RUNNING", "hms": [{"attr": 1, "code": 2}], "ams": {"ams": [{"id": "0", "tray": tray}]}})
    cache.take({"mc_percent": 7, "hms": [], "ams": {"ams": [{"id": "0", "tray": [{"id": "1", "tray_type": "ABS"}]}]}})
    report = cache.report()
    assert (report.state, report.progress, report.hms) == ("RUNNING", 0.07, ())
    assert report.trays == (Tray(0, "PLA", "FF0000"), Tray(1, "ABS", "00FF00"))


def test_only_what_is_read_is_kept() -> None:
    cache = Cache()
    for number in range(100):
        row = {"id": "0", "tray": [{"id": "0", "tray_type": "PLA", f"made_up_{number}": "x"}]}
        cache.take({"gcode_state": "IDLE", f"made_up_{number}": {"a": "x"}, "upgrade_state": {f"b_{number}": 1}})
        cache.take({"ams": {"ams": [row], f"made_up_{number}": 1}})
    assert len(repr(cache.told)) < 500
    assert (cache.report().state, cache.report().trays) == ("IDLE", (Tray(0, "PLA", ""),))


def test_control_is_seen_by_its_bit() -> None:
    assert read({"fun": "3EC1AFFF9CFF"}).needs_signature is True
    assert read({"fun": "3EC18FFF9CFF"}).needs_signature is False
    assert read({}).needs_signature is None


def test_faults_have_words_and_phase_notes_are_none() -> None:
    assert "spaghetti" in read({"print_error": 0x03008003}).fault
    assert read({"print_error": 0x03000003}).fault == ""
    assert read({"print_error": 0x0300400C}).fault == "", "a cancel"
    assert "0300_0100_0001_0001" in read({"hms": [{"attr": 0x03000100, "code": 0x00010001}]}).fault
    assert read({"hms": [{"attr": 0x03000100, "code": 0x00030001}]}).fault == "", "common, not fatal"


# -- whose, and how it ended


def test_a_finish_that_was_there_before_is_history() -> None:
    _, seen = fold(None, replace(OURS, state="FINISH"), 0.0)
    assert (seen.state, seen.ending, seen.file_name) == (ObservedState.IDLE, None, None)


def test_our_finish_while_we_were_away() -> None:
    job, seen = fold(ACTIVE, replace(OURS, state="FINISH", progress=1.0), 10.0)
    assert (seen.state, seen.ending, seen.end_of_file, seen.file_name) == (
        ObservedState.IDLE,
        Ending.COMPLETE,
        True,
        NAME,
    )
    assert seen.print_number == NUMBER
    _, again = fold(job, replace(OURS, state="IDLE", ids=frozenset()), 20.0)
    assert again.ending is Ending.COMPLETE, "until the next print"


def test_a_finish_far_before_the_end_is_not_believed() -> None:
    _, seen = fold(ACTIVE, replace(OURS, state="FINISH", progress=0.4), 10.0)
    assert seen.ending is Ending.COMPLETE and not seen.end_of_file


def test_a_cancel_looks_like_a_failure_and_is_told_by_its_code() -> None:
    job, _ = fold(ACTIVE, replace(OURS, print_error=0x0300400C), 1.0)
    # A moment later the code is gone, and the figures are zero.
    _, seen = fold(job, replace(OURS, state="FAILED", progress=0.0, layer=0), 3.0)
    assert (seen.ending, seen.by_farm, seen.progress) == (Ending.CANCELLED, False, 0.5)


def test_a_cancel_code_that_stood_between_two_looks_was_seen() -> None:
    cache = Cache()
    ours = {"gcode_state": "RUNNING", "subtask_id": str(NUMBER), "subtask_name": STEM, "mc_percent": 50, "stg_cur": 0}
    cache.take(ours)
    cache.take({"gcode_state": "FAILED", "print_error": 0x0300400C})
    cache.take({"print_error": 0, "mc_percent": 0})
    _, seen = fold(ACTIVE, cache.report(), 3.0)
    assert (seen.ending, seen.by_farm) == (Ending.CANCELLED, False)
    # The next print is another, and fails for a reason of its own.
    cache.take({"gcode_state": "FAILED", "subtask_id": "7", "subtask_name": "pf-next", "print_error": 0x03008003})
    _, other = fold(replace(ACTIVE, name="pf-next.gcode", number=7), cache.report(), 9.0)
    assert other.ending is Ending.FAILED


def test_a_cancel_of_ours_counts_for_two_minutes() -> None:
    sent = replace(ACTIVE, cancel_sent=100.0)
    _, seen = fold(sent, replace(OURS, state="IDLE", ids=frozenset()), 110.0)
    assert (seen.ending, seen.by_farm) == (Ending.CANCELLED, True)
    _, late = fold(sent, replace(OURS, state="FAILED"), 300.0)
    assert late.ending is Ending.FAILED


def test_a_failure_says_why() -> None:
    _, seen = fold(ACTIVE, replace(OURS, state="FAILED", print_error=0x03008003), 1.0)
    assert (seen.state, seen.ending) == (ObservedState.IDLE, Ending.FAILED) and "spaghetti" in seen.message


def test_another_print_or_none_means_that_ours_is_lost() -> None:
    theirs = Report(state="RUNNING", stage=0, ids=frozenset({"777"}), subtask_name="theirs", layer=1)
    job, seen = fold(ACTIVE, theirs, 1.0)
    assert job is not None and job.ending is Ending.FAILED
    assert (seen.state, seen.file_name, seen.ending) == (ObservedState.PRINTING, "theirs", None)
    _, reset = fold(ACTIVE, Report(state="IDLE"), 1.0)
    assert reset.ending is Ending.FAILED and "lost track" in reset.message


def test_a_start_shows_late_and_in_time_or_is_given_up() -> None:
    begun = Job(NAME, NUMBER, 100.0)
    old = Report(state="FINISH", ids=frozenset({"1"}), subtask_name="older")
    job, seen = fold(begun, old, 150.0)
    assert (seen.state, seen.file_name, seen.ending) == (ObservedState.PREPARING, NAME, None), "FINISH lingers"
    job, seen = fold(job, replace(OURS, state="PREPARE", stage=2, layer=0), 151.0)
    assert seen.state is ObservedState.PREPARING and job is not None and job.active
    _, never = fold(begun, old, 191.0)
    assert (never.state, never.ending) == (ObservedState.IDLE, Ending.FAILED) and "did not take" in never.message


def test_another_print_in_place_of_one_that_was_accepted_is_not_ours() -> None:
    theirs = Report(state="RUNNING", stage=0, subtask_name="vase", layer=1)
    begun = Job(NAME, NUMBER, 100.0)
    job, seen = fold(begun, theirs, 110.0)
    assert seen.ending is None, "old ids may stand for a moment"
    again, seen = fold(job, replace(OURS, state="PREPARE"), 115.0)
    assert seen.ending is None and again is not None and again.active
    lost, seen = fold(job, theirs, 141.0)
    assert lost is not None and lost.ending is Ending.FAILED and "lost track" in lost.message
    assert (seen.state, seen.file_name) == (ObservedState.PRINTING, "vase")
    paused, _ = fold(job, Report(state="IDLE"), 120.0)
    assert fold(paused, theirs, 141.0)[1].ending is None, "counted anew"


@pytest.mark.parametrize("told", [{"gcode_state": "RUNNING", "mc_percent": 51}, {"gcode_state": "FINISH"}])
def test_half_a_report_after_a_reconnect_ends_no_print(told: dict[str, object]) -> None:
    cache = Cache()
    cache.take(told)
    for job in (ACTIVE, Job(NAME, NUMBER, -1e6)):
        after, seen = fold(job, cache.report(), 10.0)
        assert (after, seen.ending, seen.file_name) == (job, None, NAME)
    cache.take({"gcode_state": "IDLE", "subtask_id": "0", "subtask_name": "", "gcode_file": ""})
    _, reset = fold(ACTIVE, cache.report(), 11.0)
    assert reset.ending is Ending.FAILED, "told, and empty"


def test_a_start_of_an_earlier_process_that_shows_late_is_not_lost() -> None:
    recovered = Job(NAME, NUMBER, 100.0, taken=True)
    old = Report(state="FINISH", ids=frozenset({"1"}), subtask_name="older")
    job, seen = fold(recovered, old, 150.0)
    assert (seen.state, seen.file_name, seen.ending) == (ObservedState.PREPARING, NAME, None)
    _, lost = fold(job, old, 281.0)
    assert lost.ending is Ending.FAILED and "lost track" in lost.message
    _, seen = fold(job, OURS, 151.0)
    assert seen.state is ObservedState.PRINTING
    _, seen = fold(job, replace(OURS, state="FINISH", progress=1.0), 151.0)
    assert seen.ending is Ending.COMPLETE


def test_a_refusal_that_only_hms_tells() -> None:
    hms = Report(state="IDLE", ids=frozenset({str(NUMBER)}), hms=(("0500_0500_0001_0007", 1),))
    _, seen = fold(Job(NAME, NUMBER, 100.0), hms, 101.0)
    assert seen.ending is Ending.FAILED and seen.message == NO_CONTROL
    left_over = Job(NAME, NUMBER, 100.0, old_refusals=hms.refusals)
    _, waits = fold(left_over, hms, 101.0)
    assert waits.ending is None, "left from an earlier try"


def test_what_running_hides() -> None:
    for stage, layer, state in (
        (2, 0, ObservedState.PREPARING),
        (0, 0, ObservedState.PRINTING),
        (99, 0, ObservedState.PREPARING),
        (99, 5, ObservedState.PRINTING),
        (255, 0, ObservedState.PRINTING),
        (4, 9, ObservedState.PRINTING),
    ):
        assert fold(ACTIVE, replace(OURS, stage=stage, layer=layer), 1.0)[1].state is state, (stage, layer)


def test_a_pause_that_running_hides_shows_after_ten_seconds() -> None:
    job, seen = fold(ACTIVE, replace(OURS, stage=6), 1.0)
    assert seen.state is ObservedState.PRINTING
    _, seen = fold(job, replace(OURS, stage=6), 12.0)
    assert seen.state is ObservedState.PAUSED and "filament" in seen.message


def test_a_print_of_the_farm_is_known_without_a_handle() -> None:
    job = found_in(OURS, None, 1.0)
    assert job is not None and (job.name, job.number) == (NAME, NUMBER)
    ended = replace(OURS, state="FINISH", progress=1.0)
    _, seen = fold(found_in(ended, None, 1.0), ended, 1.0)
    assert (seen.file_name, seen.ending, seen.print_number) == (NAME, Ending.COMPLETE, NUMBER)
    assert found_in(replace(ended, subtask_name="theirs"), None, 1.0) is None
    assert found_in(replace(ended, ids=frozenset()), None, 1.0) is None, "no ids: nobody's"


@given(
    st.sampled_from(["IDLE", "INIT", "PREPARE", "RUNNING", "PAUSE", "FINISH", "FAILED", "SLICING", "OFFLINE", "", "?"]),
    st.booleans(),
)
def test_every_word_has_an_answer(word: str, mine: bool) -> None:
    for job in (None, ACTIVE, Job(NAME, NUMBER, 0.0)):
        _, seen = fold(job, replace(OURS, state=word) if mine else Report(state=word, subtask_name="x"), 1.0)
        if seen.state is ObservedState.IDLE:
            assert word in ("IDLE", "FINISH", "FAILED")


# -- what is sent


def test_gcode_is_wrapped_and_the_same_each_time(tmp_path: Path) -> None:
    source = tmp_path / "a.gcode"
    source.write_bytes(b"G28\nG1 X1\n" * 1000)
    first, second = pack(source, tmp_path / "1.3mf"), pack(source, tmp_path / "2.3mf")
    assert first.md5 == second.md5 == hashlib.md5((tmp_path / "1.3mf").read_bytes()).hexdigest()
    with zipfile.ZipFile(tmp_path / "1.3mf") as made:
        assert made.read(first.plate) == source.read_bytes()
        assert made.read(f"{first.plate}.md5").decode().lower() == hashlib.md5(source.read_bytes()).hexdigest()


def sliced(path: Path, entries: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as made:
        for name, content in entries.items():
            made.writestr(name, content)
    return path


def test_a_sliced_3mf_goes_as_it_is(tmp_path: Path) -> None:
    info = b'<config><plate><filament id="2" type="PLA" color="#FF0000"/></plate></config>'
    source = sliced(tmp_path / "a", {"Metadata/plate_3.gcode": b"G28", "Metadata/slice_info.config": info})
    package = pack(source, tmp_path / "unused")
    assert (package.path, package.plate, package.filament_count) == (source, "Metadata/plate_3.gcode", 2)
    report = Report(trays=(Tray(0, "PETG", "FF0000"), Tray(3, "PLA", "FF0000")))
    assert commands.mapping(package, report, commands.UNUSED) == [-1, 3]
    with pytest.raises(Refused, match="no tray"):
        commands.mapping(package, Report(trays=(Tray(0, "PLA", "00FF00"),)), commands.UNUSED)
    assert commands.mapping(package, report, 5) == [-1, 5], "a person said which"


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"3D/3dmodel.model": b"<model/>"}, "slice it first"),
        ({"Metadata/plate_1.gcode": b"a", "Metadata/plate_2.gcode": b"b"}, "2 plates"),
        ({"Metadata/plate_1.gcode": b"a", "Metadata/plate_1.gcode.md5": b"0" * 32}, "another MD5"),
        ({"Metadata/plate_1.gcode": b"a", "Metadata/slice_info.config": b"<!DOCTYPE a><a/>"}, "entities"),
        ({"Metadata/plate_1.gcode": b"a", "Metadata/slice_info.config": b"<a"}, "no XML"),
    ],
)
def test_a_3mf_that_cannot_be_printed_is_refused(tmp_path: Path, entries: dict[str, bytes], words: str) -> None:
    with pytest.raises(Refused, match=words):
        pack(sliced(tmp_path / "a", entries), tmp_path / "b")


def test_a_damaged_zip_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(Refused, match="damaged"):
        pack(tmp_path / "a", tmp_path / "b")


def test_the_start_says_what_the_printers_want(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"G28\n")
    package = pack(tmp_path / "a", tmp_path / "b")
    body = json.loads(commands.project_file(NAME, NUMBER, package, 9, commands.URL_FORMS[0], [commands.UNUSED]))[
        "print"
    ]
    assert body["url"] == f"ftp:///{STEM}.gcode.3mf" and body["param"] == "Metadata/plate_1.gcode"
    assert body["use_ams"] is False and body["ams_mapping"] == [-1]
    assert body["subtask_id"] == body["task_id"] == body["project_id"] == str(NUMBER) != "0"
    assert body["md5"].lower() == package.md5 and body["sequence_id"] == "9"


@given(st.text(max_size=40))
def test_ids_fit_and_are_never_zero(name: str) -> None:
    assert 1 <= number_of(name) < 1 << 31
    assert number_of(name) != number_of(name, 1)


@pytest.mark.parametrize("name", ["a b.gcode", "a/b.gcode", "ä.gcode", "a:b.gcode", "x" * 120 + ".gcode", "a\nb.gcode"])
def test_names_that_a_card_cannot_hold_are_refused(name: str) -> None:
    with pytest.raises(Refused, match="name"):
        commands.stored_name(name)
