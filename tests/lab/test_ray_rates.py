import sys

import pytest
from lab import ray_rates

from nstc.cli.batches import Tally
from nstc.runtime.files.archives import find_archived, plan_archived


@pytest.mark.parametrize(("two", "status"), [(17.0, 0), (16.9, 1)])
def test_two_workers_must_gain_enough(two, status, monkeypatch, capsys):
    monkeypatch.setattr(ray_rates, "rate_of", lambda workers, *_: {1: 10.0, 2: two}[workers])
    monkeypatch.setattr(sys, "argv", ["ray_rates", "--count", "3"])

    assert ray_rates.main() == status
    assert capsys.readouterr().out.splitlines() == [
        "1 worker: 10 pictures/s",
        f"2 workers: {two:.3g} pictures/s, {two / 10:.2f} times",
    ]


@pytest.mark.parametrize("rate", [0.0123, 18.5, 12345.6])
def test_the_rate_is_found_in_what_the_command_tells(rate, capsys):
    Tally(None, keep=False).tell_counts(f"{rate:.3g} pictures/s")

    (found,) = ray_rates._RATE.findall(capsys.readouterr().err)
    assert float(found) == pytest.approx(rate, rel=0.01)


def test_the_samples_again_and_again_have_results_of_their_own(tmp_path):
    listed = ray_rates.many_photos(tmp_path / "list.jsonl", 100)

    jobs = plan_archived(find_archived([str(listed)], "out"), "out")
    assert len({job.output for job in jobs}) == 100
    assert all(job.source.path.is_file() for job in jobs)
