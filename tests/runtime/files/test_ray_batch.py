"""What goes to workers and comes back, without Ray; tests/end_to_end starts it."""

import json
import os
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

from nstc.core.bundle import open_bundle
from nstc.core.errors import AccessError, ArtifactError, ClusterError, OptionError, OutputError
from nstc.runtime.files import ray_batch
from nstc.runtime.files.archives import find_archived, plan_archived
from nstc.runtime.files.batch import USUAL, PictureOutcome
from nstc.runtime.files.ray_batch import (
    Painter,
    RayWork,
    Workers,
    deaths_over,
    noted,
    stylize_on_ray,
    work_with,
)
from nstc.runtime.foreign.trial import TrialLimits
from nstc.runtime.stylizer import Opening


class Ray:
    """What a worker asks of Ray: the one thread it has, and what others put there."""

    @staticmethod
    def get(held: RayWork) -> RayWork:
        return held

    @classmethod
    def get_runtime_context(cls) -> type["Ray"]:
        return cls

    @staticmethod
    def get_assigned_resources() -> dict[str, float]:
        return {"CPU": 0.9}


@pytest.fixture
def work(bundle):
    """With a model whose folder other machines lack."""
    opening = Opening(model=bundle, options={"threads": 64}, limits=TrialLimits())
    made = work_with(opening, USUAL)
    bundle.path.rename(bundle.path.with_name("moved"))
    return made


@pytest.fixture
def painter(work, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", Ray)
    return Painter(work)


@pytest.fixture
def rows(tmp_path, monkeypatch):
    """Rows as they go to workers, of a folder `in` and its results in `out`."""
    monkeypatch.chdir(tmp_path)

    def packed():
        jobs = plan_archived(find_archived(["in"], "out"), "out")
        return [{"number": n, "job": ray_batch._packed(job)} for n, job in enumerate(jobs)]

    return packed


def outcome_in(row) -> PictureOutcome:
    return PictureOutcome.from_dict(json.loads(row["outcome"]))


def test_a_worker_makes_pictures_in_any_working_folder(
    painter, rows, save_picture, pixels, tmp_path, monkeypatch
) -> None:
    save_picture(pixels, os.fsdecode(b"in/sub/caf\xe9.png"))
    (row,) = rows()
    monkeypatch.chdir("/")
    told = painter(row)
    assert (told["number"], told["ends"], outcome_in(told).status) == (0, False, "done")
    assert (tmp_path / os.fsdecode(b"out/sub/caf\xe9.png")).is_file()
    assert outcome_in(painter(row)).status == "skipped"


def test_it_has_the_threads_that_ray_granted(painter, rows, save_picture, pixels) -> None:
    save_picture(pixels, "in/a.png")
    painter(rows()[0])
    stylizer, _ = painter._opened
    assert stylizer._options["threads"] == 1


def test_a_bad_picture_is_a_row_and_a_bad_model_ends_the_batch(
    work, rows, monkeypatch, tmp_path
) -> None:
    monkeypatch.setitem(sys.modules, "ray", Ray)
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.png").write_bytes(b"no picture")
    told = Painter(work)(rows()[0])
    assert not told["ends"]
    assert str(outcome_in(told).error).startswith("in/a.png is not a picture")
    lacking = Opening(
        model=open_bundle(tmp_path / "moved"), options={"artifact": "ts"}, limits=TrialLimits()
    )
    told = Painter(work_with(lacking, USUAL))(rows()[0])
    assert told["ends"]
    assert isinstance(outcome_in(told).error, ArtifactError)


def test_a_picture_over_which_workers_die_is_left_out(
    painter, rows, save_picture, pixels, monkeypatch, tmp_path
) -> None:
    save_picture(pixels, "in/a.png")
    (row,) = rows()
    for _ in range(2):
        if not (child := os.fork()):
            with noted(ray_batch.files.cache_folder("begun") / f"{painter._work.run}-0"):
                os._exit(1)
        os.waitpid(child, 0)
    told = painter(row)
    assert not told["ends"]
    assert "in/a.png is left out: 2 workers died" in str(outcome_in(told).error)
    assert not (tmp_path / "out").exists()


def test_no_note_is_left_of_what_only_failed(tmp_path) -> None:
    begun = tmp_path / "begun" / "1"

    def fail() -> None:
        with noted(begun):
            assert deaths_over(begun) == 1
            raise RuntimeError("bad")

    with pytest.raises(RuntimeError, match="bad"):
        fail()
    assert deaths_over(begun) == 0
    assert not begun.exists()


@pytest.mark.parametrize("end", [KeyboardInterrupt(), ClusterError("gone."), OutputError("full.")])
def test_what_was_refused_is_told_when_a_run_ends_otherwise(end, work, monkeypatch) -> None:
    addresses = ["s3://closed/a.png", "s3://closed/b.png"]
    jobs = plan_archived(find_archived(addresses, "out"), "out")

    def rows_until_the_end(*_arguments):
        for number, job in enumerate(jobs):
            refusal = ray_batch._failed(job, AccessError("denied."))
            told = json.dumps(refusal.to_dict())
            yield {"number": number, "outcome": told, "ends": False}
        raise end

    cluster = ray_batch.ray_cluster
    monkeypatch.setattr(cluster, "connected_ray", lambda _address: nullcontext(Ray))
    monkeypatch.setattr(cluster, "reported_as_cluster_error", lambda _ray: nullcontext())
    monkeypatch.setattr(cluster, "machine_processors", lambda _ray: [1])
    monkeypatch.setattr(ray_batch, "_rows", rows_until_the_end)
    outcomes: list[PictureOutcome] = []
    with pytest.raises(type(end)):
        stylize_on_ray(jobs, work, "local", Workers(count=1), outcomes.append)
    assert [outcome.source for outcome in outcomes] == addresses


def test_workers_have_models_of_the_zoo_themselves() -> None:
    opening = Opening(model=open_bundle("zoo:starry-night/fast"), options={}, limits=TrialLimits())
    made = work_with(opening, USUAL)
    assert (made.opening.model, made.bundle_files) == ("zoo:starry-night/fast", {})
    assert made.options.skip_existing


@pytest.mark.parametrize("given", [{"count": 0}, {"count": -1}, {"threads": 0}, {"count": 10**9}])
def test_workers_out_of_range(given) -> None:
    with pytest.raises(OptionError, match="expected 1 to 100000"):
        Workers(**given)


def test_a_packed_job_has_no_pixels(rows, save_picture, pixels) -> None:
    path = save_picture(pixels, "in/a.png")
    (row,) = rows()
    assert len(row["job"]) < 4 * len(str(Path(path))) + 100
