"""Trainings and searches on a real Ray: two at once, workers that die, and Ctrl-C."""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import planted_trials
import pytest
from jobs_of_workers import dies, dies_once, waits
from planted_trials import BEST, BUDGET, PLANTED, Deadly, Disturbed, Planted
from small_networks import bundle_of, tiny_student

pytest.importorskip("optuna", reason='not installed: pip install "nstc[search]"')

from nstc.compress.restyling.catalogue import CatalogueStyle, build_zoo
from nstc.compress.searching.outcomes import SearchResult
from nstc.compress.searching.search_students import Search
from nstc.compress.searching.study import Study
from nstc.core import Progress, Silent
from nstc.core.errors import Interrupted, MemoryLimitError, OptionError
from nstc.core.photos import PhotoSet
from nstc.core.recipe import RestyleRecipe
from nstc.runtime import ray_cluster
from nstc.runtime.ray_jobs import OnRay, opened_jobs

pytestmark = [pytest.mark.ray, pytest.mark.filterwarnings("default")]

HERE = OnRay(address="local", workers=2, threads=1)


@pytest.fixture(scope="module", autouse=True)
def _one_ray() -> Iterator[None]:
    """A Ray of two processors, which all tests here find started: it takes a while."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(planted_trials.__file__).parent))  # of the workers
        patch.setenv("RAY_worker_niceness", "0")  # a loaded machine would leave workers nothing
        with ray_cluster.connected_ray("local"):
            yield


class Told(Progress):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


class TestJobs:
    def test_a_worker_that_dies_is_followed_by_another_once(self, tmp_path: Path) -> None:
        told = Told()
        with opened_jobs(HERE, tmp_path, told, "jobs", 3) as jobs:
            jobs.begin("once", dies_once(tmp_path / "mark"))
            jobs.begin("always", dies)
            jobs.begin("never", lambda driver: driver.ask(2, 3), lambda a, b: a * b)
            ended = {end.name: end for end in (jobs.next(), jobs.next(), jobs.next())}
        assert ended["once"].result() == "done"
        assert ended["never"].result() == 6
        with pytest.raises(MemoryLimitError, match="always: 2 workers died over it"):
            ended["always"].result()
        assert "once: again" in told.notes
        assert sum("its worker died and another" in note for note in told.notes) == 2
        assert [path.name for path in tmp_path.iterdir()] == ["mark"]

    def test_what_earlier_runs_did_counts_as_done(self, tmp_path: Path) -> None:
        class Bar(Progress):
            def begin(self, title: str, steps: int, done: int) -> None:
                shown.append((title, steps, done))

            def advance(self, step: int, losses: Mapping[str, float]) -> None:
                shown.append(step)

        shown: list[object] = []
        with opened_jobs(OnRay(address="local"), tmp_path, Bar(), "jobs", 5, 4) as jobs:
            jobs.begin("last", lambda driver: driver.threads)
            with ray_cluster.connected_ray("local") as ray:  # which is started
                processors = sum(ray_cluster.machine_processors(ray))
            assert jobs.next().result() == processors
        assert shown == [("jobs", 5, 4), 5]

    def test_errors_and_refusals_come_back(self, tmp_path: Path) -> None:
        def refuse() -> None:
            raise OptionError("no.")

        with opened_jobs(HERE, tmp_path, Silent(), "jobs", 2) as jobs:
            jobs.begin("asks", lambda driver: driver.ask(), refuse)
            jobs.begin("bug", lambda driver: 1 / 0)
            ended = {end.name: end for end in (jobs.next(), jobs.next())}
        with pytest.raises(OptionError, match="no"):
            ended["asks"].result()
        with pytest.raises(ZeroDivisionError):
            ended["bug"].result()

    def test_a_folder_by_its_relative_path(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        Path("out").mkdir()
        with opened_jobs(HERE, Path("out"), Silent(), "jobs", 1) as jobs:
            jobs.begin("looks", lambda driver: Path("out").is_dir())
            assert jobs.next().result()

    def test_ctrl_c_ends_what_runs(self, tmp_path: Path) -> None:
        begun, ended = tmp_path / "begun", tmp_path / "ended"
        opened = opened_jobs(HERE, tmp_path, Silent(), "jobs", 1)
        opened.__enter__().begin("waits", waits(begun, ended))
        while not begun.exists():
            time.sleep(0.05)
        with pytest.raises(Interrupted, match="Run the same command again"):
            opened.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
        assert ended.exists()

    def test_more_threads_than_any_machine_has(self, tmp_path: Path) -> None:
        asked = OnRay(address="local", threads=1000)
        with pytest.raises(OptionError, match="threads is 1000: no machine of the cluster has"):
            opened_jobs(asked, tmp_path, Silent(), "jobs", 1).__enter__()


def searched(folder: Path, work: Planted, trials: int, told: Progress) -> SearchResult:
    folder.mkdir(exist_ok=True)
    study = Study(folder, PLANTED, 0, {})
    with opened_jobs(HERE, folder, told, "trials", trials) as jobs:
        Search(study, work, PLANTED, BUDGET, folder, told, jobs).carry_out(trials, None)
    return SearchResult(budget=BUDGET, outcomes=study.outcomes)


def test_a_search_finds_the_best_although_a_worker_dies_and_goes_on(tmp_path: Path) -> None:
    told = Told()
    first = searched(tmp_path, Deadly(), 4, told)
    assert any("its worker died and another" in note for note in told.notes)
    result = searched(tmp_path, Disturbed(), 8, told)
    assert result.outcomes[: len(first.outcomes)] == first.outcomes
    trained = [own for own in result.outcomes if own.state != "hopeless"]
    assert len(trained) == 8
    assert result.best is not None
    assert result.best.chosen == BEST
    assert result.keeps_budget  # although it seemed to take too long beside another


def test_a_catalogue_on_two_workers_is_that_of_one_process(
    painting: Path, photos: PhotoSet, tmp_path: Path
) -> None:
    start = bundle_of(tiny_student(), tmp_path / "start")
    recipe = RestyleRecipe(steps=2, size=64)
    styles = [
        CatalogueStyle(
            name=name, painting=painting, credit=name, init=str(start.path), recipe=recipe
        )
        for name in ("one", "two")
    ]
    bad = CatalogueStyle(
        name="bad", painting=painting, credit=None, init=str(tmp_path / "none"), recipe=recipe
    )
    here = build_zoo(styles[:1], tmp_path / "here", photos=photos)
    there = build_zoo([styles[0], bad, styles[1]], tmp_path / "there", photos=photos, ray=HERE)
    assert [own.status for own in here] == ["made"]
    assert [own.status for own in there] == ["made", "failed", "made"]
    for file in ("weights.safetensors", "model.int8.onnx", "model.onnx"):
        one = (tmp_path / "here/one" / file).read_bytes()
        assert one == (tmp_path / "there/one" / file).read_bytes()
        assert one == (tmp_path / "there/two" / file).read_bytes()
    again = build_zoo(styles, tmp_path / "there", photos=photos, ray=HERE)
    assert [own.status for own in again] == ["kept", "kept"]
