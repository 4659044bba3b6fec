"""The faults do what they say: else the proof would prove something else."""

import json
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from gate_proof import ledger
from gate_proof.faults import PICTURE_FAULTS, Changed, scaled, swapped, with_checkerboard
from gate_proof.gates import SLOW, TimingGate
from gate_proof.graph_faults import GRAPH_FAULTS, make_copy, make_spoilt
from gate_proof.heavier import make_heavier
from gate_proof.ledger import Case, Kept, Trial
from gate_proof.plan import FULL, INSTRUCTIONS, SHORT, chosen_plan, photos_of_run
from gate_proof.remembering import Remembering
from gate_proof.slowness import Slower, busy_core
from gate_reports import passed, verdicts

from nstc.benchmarks.timing.machine import usable_cores
from nstc.core.bundle import open_bundle
from nstc.core.images import read_picture
from nstc.core.photos import sample_photos
from nstc.runtime.session import open_session


def rgb_of(path: Path) -> np.ndarray:
    return read_picture(path).rgb


TRIAL = Trial(verdict="PASS", named={}, right=True, rounds_needed=None, time=None)
TINY = replace(SHORT, size=32, rounds=3, max_rounds=6, openings=1, baseline_rounds=6)
RIGHT = [("0", True), ("0", True), ("1", False), ("1", True), ("2", True)]  # by check


class Negative:
    """A session that gives the negative."""

    path = Path("model.int8.onnx")

    def prepare(self, rgb):
        return rgb

    def infer(self, feed):
        return 255 - feed

    def finish(self, raw):
        return raw


def test_pictures_are_changed_by_hand_worked_values():
    rgb = np.array([[[10, 20, 200]]], np.uint8)
    assert swapped(rgb).tolist() == [[[200, 20, 10]]]
    assert scaled(rgb, 1.5).tolist() == [[[15, 30, 255]]]
    grey = np.full((2, 2, 3), 100, np.uint8)
    assert with_checkerboard(grey, 3, 1)[..., 0].tolist() == [[97, 103], [103, 97]]


def test_a_changed_session_is_changed_on_the_side_it_says():
    rgb = np.array([[[10, 20, 200]]], np.uint8)
    before = Changed(Negative(), before=lambda p: p * 0)
    after = Changed(Negative(), after=lambda p: p * 0)
    assert before.run(rgb).tolist() == [[[255, 255, 255]]]
    assert after.run(rgb).tolist() == [[[0, 0, 0]]]
    assert before.path == Negative.path


@pytest.mark.parametrize("fault", PICTURE_FAULTS, ids=lambda fault: fault.name)
def test_every_fault_changes_the_picture_in_every_run(fault, pixels):
    spoilt = [fault.wrap(Negative(), run).run(pixels) for run in range(6)]
    assert all((picture != 255 - pixels).any() for picture in spoilt)


def test_a_remembering_session_draws_each_picture_once(pixels):
    drawn = []
    session = SimpleNamespace(path=Path("a.onnx"), run=lambda rgb: drawn.append(rgb) or 255 - rgb)
    first = Remembering(session).run(pixels)
    first[:] = 0  # by a fault
    assert (Remembering(session).run(pixels) == 255 - pixels).all()
    assert (Remembering(session).run(pixels[:16]) == 255 - pixels[:16]).all()
    assert len(drawn) == 2


def test_a_slower_session_computes_for_a_share_of_its_own_time():
    def infer(feed):
        until = time.thread_time() + 0.02
        while time.thread_time() < until:
            pass
        return feed

    inner = SimpleNamespace(infer=infer)
    inner.reopened = lambda: inner
    for slower in (Slower(inner, 0.5), Slower(inner, 0.5).reopened()):
        slower.infer(0)
        start = time.thread_time()
        assert slower.infer(7) == 7
        assert time.thread_time() - start >= 0.03


def test_a_heavier_bundle_has_a_tenth_more_bytes_and_gives_the_same_picture(
    bundle, tmp_path, pixels
):
    path = make_heavier(bundle.path, tmp_path / "heavier", share=0.1, seed=1)
    heavier = open_bundle(path)
    before, after = (own.file("model.int8.onnx").stat().st_size for own in (bundle, heavier))
    assert 1.1 * before <= after <= 1.35 * before  # the name of the ballast counts in so small one
    pictures = [open_session(own, artifact="int8").run(pixels) for own in (bundle, heavier)]
    assert (pictures[0] == pictures[1]).all()
    assert make_heavier(bundle.path, tmp_path / "again", share=0.1, seed=2) != path


@pytest.mark.parametrize("fault", GRAPH_FAULTS, ids=lambda fault: fault.name)
def test_a_spoilt_graph_is_another_in_each_run_and_gives_much_the_same_picture(
    fault, tmp_path, pixels
):
    whole = make_copy("zoo:starry-night", tmp_path / "whole", "unchanged")
    spoilt = [make_spoilt("zoo:starry-night", tmp_path / str(run), fault, run) for run in range(2)]
    bundles = [open_bundle(path) for path in (whole, *spoilt)]
    assert bundles[1].manifest.name == fault.model
    assert len({own.file("model.int8.onnx").read_bytes() for own in bundles}) == 3
    before, *after = (open_session(own, artifact="int8").run(pixels) for own in bundles)
    for picture in after:
        assert np.abs(picture.astype(np.int16) - before).mean() < 1


def test_checks_that_were_made_are_not_made_again_on_the_same_commit(tmp_path, monkeypatch):
    taken = {"commit": "a" * 40, "modified": False}
    monkeypatch.setattr(ledger, "taken_now", lambda: taken)
    path, found = tmp_path / "times.jsonl", {"slower": TRIAL}
    first = Kept(path, {"name": "full"}, 2)
    made = first.trials("0", lambda: found)[0]
    assert made == {"slower": replace(TRIAL, check="0")}
    with path.open("a") as file:
        file.write('{"check": "1", "seconds": 3, "trials": {}')  # it was killed meanwhile
    resumed = Kept(path, {"name": "full"}, 2)
    assert (first.resumed, resumed.resumed) == (False, True)
    assert resumed.trials("0", dict)[0] == made
    assert resumed.trials("1", dict)[0] == {}
    assert len(path.read_text().splitlines()) == 3
    assert Kept(path, {"name": "short"}, 2).trials("0", dict)[0] == {}
    taken["modified"] = True
    assert Kept(path, {"name": "short"}, 2).trials("0", lambda: found)[0] == made


def test_a_check_is_right_if_all_of_its_verdicts_are(tmp_path):
    trials = [replace(TRIAL, check=check, right=right) for check, right in RIGHT]
    ledger.write([Case("unchanged", 3, trials)], tmp_path / "quiet.json", plan={})
    [case] = json.loads((tmp_path / "quiet.json").read_text())["cases"]
    assert (len(case["trials"]), case["right"]) == (5, 4)
    assert (case["checks"], case["checks_right"]) == (3, 2)


def test_copies_are_not_compared_with_a_baseline_that_nobody_took(tmp_path):
    gate = TimingGate(TINY, tmp_path, tmp_path / "time-baseline.json")
    with pytest.raises(pytest.fail.Exception, match=r"time-baseline.json is not there: the part"):
        gate.unchanged()


@pytest.mark.slow  # makes the student's float file
def test_the_baseline_of_one_process_holds_for_the_copies_of_another(tmp_path):
    baseline = tmp_path / "kept" / "time-baseline.json"
    TimingGate(TINY, tmp_path / "one", baseline).take_baseline()
    gate = TimingGate(TINY, tmp_path / "other", baseline)
    unchanged, slower = gate.unchanged(), gate.slower(9.0)
    assert [*unchanged, *slower] == [*TINY.timed_copies, SLOW]
    assert verdicts(slower[SLOW])["speedup"] == "REGRESSED"
    for report in (*unchanged.values(), *slower.values()):
        assert passed(report) >= {"params", "macs", "bytes"}


@pytest.mark.skipif(len(usable_cores()) < 2, reason="a load needs a second core")
def test_a_load_keeps_its_core_busy():
    def busy_ticks() -> int:
        name = f"cpu{usable_cores()[-1]}"
        lines = Path("/proc/stat").read_text().splitlines()
        return next(
            int(words[1]) + int(words[2]) for words in map(str.split, lines) if words[0] == name
        )

    before = busy_ticks()
    with busy_core(usable_cores()[-1]):
        time.sleep(0.3)
    assert busy_ticks() - before >= 10  # of 30, beside what else runs


def test_runs_judge_different_photographs_and_the_same_again(monkeypatch):
    chosen = [photos_of_run(run, sample_photos(), 2) for run in range(20)]
    assert len({photos.list_sha256() for photos in chosen}) > 15
    swaps = [[(swapped(rgb) != rgb).any() for rgb in map(rgb_of, own.paths)] for own in chosen]
    assert all(any(changed) for changed in swaps)
    assert chosen[3] == photos_of_run(3, sample_photos(), 2)
    monkeypatch.setenv("NSTC_GATE_PROOF", "short")
    assert chosen_plan() is SHORT
    monkeypatch.setenv("NSTC_GATE_PROOF", "instructions")
    assert chosen_plan() is INSTRUCTIONS
    monkeypatch.delenv("NSTC_GATE_PROOF")
    assert chosen_plan() is FULL
