"""The search: what is tried, what is not trained, and how it goes on after a stop."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from planted_trials import BEST, BUDGET, PLANTED, Disturbed, Planted

pytest.importorskip("optuna", reason='not installed: pip install "nstc[search]"')

from nstc.benchmarks.gate.limits import Budget, parse_budget
from nstc.compress.searching import search_students
from nstc.compress.searching.outcomes import SearchResult
from nstc.compress.searching.search_students import FRONT_FILE, RESULT_FILE, Search
from nstc.compress.searching.study import STUDY_FILE, StoppedEarlyError, Study
from nstc.core import Silent
from nstc.core.errors import (
    BudgetError,
    DivergedError,
    Interrupted,
    MemoryLimitError,
    OptionError,
    OutputError,
)
from nstc.core.images import read_picture
from nstc.core.recipe import Space
from nstc.core.recipe.space import space_from
from nstc.runtime.jobs import Answer, Job, JobEnd, Jobs, JobsHere, unasked


def searched(
    folder: Path,
    work: Planted,
    trials: int = 8,
    *,
    space: Space = PLANTED,
    seed: int = 0,
    seconds: float | None = None,
    told: Any = None,
    jobs: Jobs | None = None,
    budget: Budget = BUDGET,
) -> SearchResult:
    folder.mkdir(exist_ok=True)
    study = Study(folder, space, seed, {"seed": seed})
    told = told or Silent()
    run = Search(study, work, space, budget, folder, told, jobs or JobsHere(told))
    run.carry_out(trials, seconds)
    return run.written()


@dataclasses.dataclass(frozen=True)
class Searched:
    """A search of eight trials that came to its end. Not to be changed."""

    folder: Path
    work: Planted
    result: SearchResult
    notes: list[str]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, recorder: type) -> Searched:
    folder, work, told = tmp_path_factory.mktemp("whole"), Planted(), recorder()
    return Searched(folder, work, searched(folder, work, told=told), told.notes)


@pytest.mark.parametrize("seed", range(1, 6))
def test_eight_trials_find_the_best_of_a_planted_space(tmp_path: Path, seed: int) -> None:
    work = Planted()
    result = searched(tmp_path, work, seed=seed)
    assert result.best is not None
    assert result.best.chosen == BEST
    assert result.keeps_budget
    assert result.best in result.front
    assert len(work.begun) == 8


def test_another_seed_tries_something_else(whole: Searched, tmp_path: Path) -> None:
    assert whole.result.best is not None
    assert whole.result.best.chosen == BEST
    other = searched(tmp_path, Planted(), 3, seed=5)
    first = [own.chosen for own in whole.result.outcomes[: len(other.outcomes)]]
    assert [own.chosen for own in other.outcomes] != first


def test_shapes_that_are_too_slow_untrained_are_not_trained(whole: Searched) -> None:
    hopeless = [own for own in whole.result.outcomes if own.state == "hopeless"]
    assert hopeless
    assert all(own.chosen["distill.width"] in (48, 64) for own in hopeless)
    assert not any(own.bundle for own in hopeless)
    trained = [own for own in whole.result.outcomes if own.state != "hopeless"]
    assert all(own.chosen["distill.width"] in (16, 32) for own in trained)
    assert any("latency<=8ms@cpu:1 can't be kept by this shape" in note for note in whole.notes)


def test_worse_trials_are_stopped_early(whole: Searched) -> None:
    states = [own.state for own in whole.result.outcomes]
    assert "stopped" in states
    assert len(whole.work.ended) == states.count("measured") < len(whole.work.begun) == 8


def test_the_same_seed_tries_the_same_also_after_a_stop(whole: Searched, tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        searched(tmp_path, Planted(fails={3: Interrupted("stopped")}))
    work = Planted()
    result = searched(tmp_path, work)
    outcomes = whole.result.outcomes
    assert [own.chosen for own in result.outcomes] == [own.chosen for own in outcomes]
    assert [own.state for own in result.outcomes] == [own.state for own in outcomes]
    trained = [own.number for own in outcomes if own.state != "hopeless"]
    assert [folder.name for folder in work.begun] == [f"{number:03}" for number in trained[2:]]
    again = Planted()
    assert searched(tmp_path, again) == result
    assert again.begun == again.shapes == []


def test_more_trials_go_on(tmp_path: Path) -> None:
    searched(tmp_path, Planted(), 3)
    work = Planted()
    result = searched(tmp_path, work, 5)
    assert len(work.begun) == 2
    assert sum(own.state != "hopeless" for own in result.outcomes) == 5


def test_of_two_trials_alike_that_were_begun_the_earlier_is_resumed(tmp_path: Path) -> None:
    study = Study(tmp_path, PLANTED, 0, {"seed": 0})
    for _ in range(2):
        study.ask_for(BEST)
    work = Planted()
    result = searched(tmp_path, work, 1)
    assert [(own.number, own.chosen) for own in result.outcomes] == [(0, BEST)]
    assert [folder.name for folder in work.begun] == ["000"]


def test_what_fails_by_itself_is_an_outcome(tmp_path: Path) -> None:
    work = Planted(fails={1: DivergedError("the loss became nan")})
    result = searched(tmp_path, work)
    (failed,) = [own for own in result.outcomes if own.state == "failed"]
    assert failed.reason == "the loss became nan"
    assert result.best is not None
    with pytest.raises(OptionError, match=r"no trial came to its end\. The last one: the loss"):
        searched(tmp_path / "all", Planted(fails={1: DivergedError("the loss became nan")}), 1)


def test_a_small_space_is_tried_once_and_no_more(tmp_path: Path, recorder: type) -> None:
    told, work = recorder(), Planted()
    small = space_from({"distill": {"width": [16, 32], "blocks": [2, 3]}}, "small")
    result = searched(tmp_path, work, 20, space=small, told=told)
    assert len(result.outcomes) == len(work.begun) == small.size == 4
    assert told.notes[-1] == "the space holds nothing more that was not tried"


def test_settings_that_contradict_each_other_are_left_out(tmp_path: Path) -> None:
    space = space_from(
        {"distill": {"student": ["fast", "tiny"], "norm": ["none", "instance"]}}, "s"
    )
    result = searched(tmp_path, Planted(), 20, space=space)
    chosen = [
        (own.chosen["distill.student"], own.chosen["distill.norm"]) for own in result.outcomes
    ]
    assert sorted(chosen) == [("fast", "none"), ("tiny", "instance"), ("tiny", "none")]


def test_hopeless_spaces_come_to_an_end(tmp_path: Path, recorder: type, monkeypatch: Any) -> None:
    monkeypatch.setattr(search_students, "_MOST_HOPELESS", 3)
    told, work = recorder(), Planted()
    space = space_from({"distill": {"width": [64, 72, 80, 88, 96]}}, "slow")
    result = searched(tmp_path, work, space=space, told=told)
    assert (len(result.outcomes), work.begun) == (3, [])
    assert "3 shapes one after another break the budget untrained" in told.notes[-1]
    with pytest.raises(BudgetError, match=r"nearest is trial .*, which was not trained: latency@"):
        result.hold(tmp_path)


def test_no_trial_begins_after_its_time(tmp_path: Path) -> None:
    work = Planted()
    result = searched(tmp_path, work, seconds=0.0)
    assert (result.outcomes, work.shapes) == ((), [])
    with pytest.raises(BudgetError, match="no trial was measured"):
        result.hold(tmp_path)


def test_a_budget_that_nothing_keeps_shows_the_nearest(tmp_path: Path) -> None:
    result = searched(tmp_path, Planted(within=False))
    assert result.best is not None
    assert result.best.chosen == BEST
    assert not result.keeps_budget
    with pytest.raises(BudgetError) as caught:
        result.hold(tmp_path)
    place = tmp_path / "trials" / f"{result.best.number:03}" / "student"
    assert f"nearest is trial {result.best.number:03}, {place}: latency@cpu:1 7.111" in str(
        caught.value
    )
    assert "style_ratio 1.2 (style_ratio<=1.15)" in str(caught.value)


def test_the_result_is_written(whole: Searched) -> None:
    content = json.loads((whole.folder / RESULT_FILE).read_text())
    assert content == json.loads(json.dumps(whole.result.to_dict()))
    assert content["schema"] == "nstc.search/1"
    assert content["budget"] == ["latency<=8ms@cpu:1", "style_ratio<=1.15", "bytes<=100000"]
    assert content["best"] in content["front"]
    assert read_picture(whole.folder / FRONT_FILE).rgb.std() > 0


def test_a_folder_of_another_search_is_not_mixed(tmp_path: Path) -> None:
    Study(tmp_path, PLANTED, 0, {"teacher": "a", "space": [1]})
    Study(tmp_path, PLANTED, 0, {"teacher": "a", "space": (1,)})  # as JSON has it
    with pytest.raises(OptionError, match="a search with other settings: teacher differ"):
        Study(tmp_path, PLANTED, 0, {"teacher": "b", "space": [1]})


@pytest.mark.parametrize("damage", [b"{", b"[1]\n", b"\xff\n", b'{"op_code": 99}\n'])
def test_a_damaged_journal_is_one_line(tmp_path: Path, damage: bytes) -> None:
    Study(tmp_path, PLANTED, 0, {})
    path = tmp_path / STUDY_FILE
    path.write_bytes(damage + path.read_bytes())
    with pytest.raises(OutputError, match=r"study\.journal is damaged"):
        Study(tmp_path, PLANTED, 0, {})


def test_a_torn_line_costs_no_more_than_itself(tmp_path: Path) -> None:
    searched(tmp_path, Planted(), 2)
    path = tmp_path / STUDY_FILE
    path.write_bytes(path.read_bytes() + b'{"op_code": 4, "wor')
    result = searched(tmp_path, Planted(), 4)
    assert sum(own.state != "hopeless" for own in result.outcomes) == 4
    assert len(Study(tmp_path, PLANTED, 0, {"seed": 0}).outcomes) == len(result.outcomes)


def test_a_trial_that_is_trained_to_its_end_is_measured(tmp_path: Path) -> None:
    study = Study(tmp_path, PLANTED, 0, {})
    for loss in (1.0, 2.0, 3.0):
        trial = study.ask()
        trial.report(100, loss)  # no StoppedEarlyError
    study.ask().report(25, 1.0)
    worse = study.ask()
    with pytest.raises(StoppedEarlyError):
        worse.report(25, 2.0)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (MemoryLimitError("a layer does not fit into the memory."), "a layer does not fit"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "not enough"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "there is not enough memory"),
    ],
)
def test_a_shape_that_can_not_be_tried_is_a_failed_trial(
    tmp_path: Path, monkeypatch: Any, error: Exception, told: str
) -> None:
    def costs(_work: Planted, _recipe: Any) -> Any:
        raise error

    work = Planted()
    monkeypatch.setattr(Planted, "costs", costs)
    with pytest.raises(OptionError, match=f"The last one: .*{told}"):
        searched(tmp_path, work, 2)
    assert not Study(tmp_path, PLANTED, 0, {"seed": 0}).begun()


def test_an_outcome_that_was_changed_is_refused(tmp_path: Path) -> None:
    searched(tmp_path, Planted(), 1)
    path = tmp_path / STUDY_FILE
    path.write_text(path.read_text().replace('"measured"', '"mended"'))
    with pytest.raises(OutputError, match=r"study\.journal is damaged \(state"):
        searched(tmp_path, Planted(), 1)


class ThreeAtOnce(JobsHere):
    """Does the job first that was given out last."""

    size = 3
    are_elsewhere = True

    def __init__(self) -> None:
        super().__init__(Silent())
        self.running: list[str] = []
        self.most = 0

    def begin(self, name: str, job: Job, answer: Answer = unasked) -> None:
        super().begin(name, job, answer)
        self.running.append(name)
        self.most = max(self.most, len(self.running))

    def next(self) -> JobEnd:
        self._waiting.rotate(1)
        ended = super().next()
        self.running.remove(ended.name)
        return ended


class TestSeveralAtOnce:
    def test_torch_without_memory_is_the_failure_of_a_trial(self, tmp_path: Path) -> None:
        """In the training of the first, and as the next that was trained is timed."""
        no_memory = RuntimeError("DefaultCPUAllocator: can't allocate memory")

        class Large(Planted):
            timed_once = False

            def timed(self, recipe: Any, bundle: Path) -> Any:
                if not self.timed_once:
                    self.timed_once = True
                    raise no_memory
                return super().timed(recipe, bundle)

        result = searched(tmp_path, Large({1: no_memory}), 4, jobs=ThreeAtOnce())
        failed = [own for own in result.outcomes if own.state == "failed"]
        assert len(failed) == 2
        assert all("there is not enough memory" in (own.reason or "") for own in failed)
        assert any(own.state == "measured" for own in result.outcomes)

    @pytest.mark.parametrize("seed", range(3))
    def test_eight_find_the_best_and_none_is_trained_twice(self, tmp_path: Path, seed: int) -> None:
        jobs, work = ThreeAtOnce(), Planted()
        result = searched(tmp_path, work, seed=seed, jobs=jobs)
        assert result.best is not None
        assert result.best.chosen == BEST
        assert jobs.most == 3
        trained = [own.chosen for own in result.outcomes if own.state != "hopeless"]
        assert len(trained) == len(work.begun) == len({tuple(own.items()) for own in trained}) == 8

    def test_nothing_is_timed_while_another_is_trained(self, tmp_path: Path) -> None:
        jobs = ThreeAtOnce()

        class Watched(Disturbed):
            def costs(self, recipe: Any) -> Any:
                assert not jobs.running or self.training
                return super().costs(recipe)

            def trained(self, *given: Any) -> Any:
                self.training = True
                made = super().trained(*given)
                self.training = False
                return made

            training = False

        result = searched(tmp_path, Watched(), 6, jobs=jobs)
        measured = [own for own in result.outcomes if own.state == "measured"]
        assert measured
        for own in measured:  # and not three times as long
            width = own.chosen["distill.width"]
            assert isinstance(width, int)
            assert own.numbers["latency@cpu:1"] == pytest.approx(width / 4.5)

    def test_one_worker_elsewhere_times_nothing_either(self, tmp_path: Path) -> None:
        class OneElsewhere(JobsHere):
            are_elsewhere = True

        result = searched(tmp_path, Disturbed(), 3, jobs=OneElsewhere(Silent()))
        measured = [own for own in result.outcomes if own.state == "measured"]
        assert measured
        for own in measured:
            width = own.chosen["distill.width"]
            assert isinstance(width, int)
            assert own.numbers["latency@cpu:1"] == pytest.approx(width / 4.5)

    def test_without_a_limit_of_time_no_trial_waits_for_another(self, tmp_path: Path) -> None:
        jobs = ThreeAtOnce()
        rooms: list[int] = []
        next_of = jobs.next

        def watched() -> JobEnd:
            rooms.append(len(jobs.running))
            return next_of()

        jobs.next = watched  # type: ignore[method-assign]
        searched(tmp_path, Planted(), 6, jobs=jobs, budget=parse_budget("style_ratio<=1.2"))
        assert rooms == [3, 3, 3, 3, 2, 1]

    def test_what_was_begun_is_resumed_after_a_stop(self, tmp_path: Path) -> None:
        stopped = Planted(fails={1: Interrupted("stopped")})
        with pytest.raises(Interrupted):
            searched(tmp_path, stopped, jobs=ThreeAtOnce())
        result = searched(tmp_path, Planted(), jobs=ThreeAtOnce())
        assert sum(own.state != "hopeless" for own in result.outcomes) == 8
        assert not Study(tmp_path, PLANTED, 0, {"seed": 0}).begun()
