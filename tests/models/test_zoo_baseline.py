"""The baseline that `make gate` compares the zoo with; `make zoo-baseline` makes it anew."""

import pytest

from nstc.benchmarks.gate.baseline import load_baseline
from nstc.benchmarks.gate.scope import COUNTED
from nstc.benchmarks.quality.metrics import METRICS
from nstc.benchmarks.result import BenchProtocol
from nstc.benchmarks.subjects import find_subject
from nstc.core.photos import sample_photos
from nstc.core.zoo import zoo_folder, zoo_names, zoo_students
from nstc.models.vgg import vgg_identity


@pytest.fixture(scope="module")
def baseline():
    return load_baseline(zoo_folder() / "baseline.json")


@pytest.mark.parametrize("name", zoo_students())
def test_every_student_that_ships_is_in_it_as_it_ships(baseline, name):
    [known] = [model for model in baseline.models if model.place == name]
    subject = find_subject(name)
    assert known.sha256 == subject.identity, "make zoo-baseline REASON=..."
    rows = baseline.rows_of(known)
    assert {row.artifact for row in rows} == set(subject.artifacts(baseline.protocol.size))
    assert [bool(own.instructions) for own in rows if own.target == COUNTED] == [True]
    for row in rows:
        assert row.facts["bytes"] == (subject.path / f"model.{row.artifact}").stat().st_size
        assert row.quality is not None
        assert row.quality.style_source == "painting"
        assert row.quality.metrics.keys() == {metric.name for metric in METRICS}
        assert row.quality.tails.keys() == {m.name for m in METRICS if m.tail is not None}


def test_it_names_no_one_that_does_not_ship(baseline):
    assert {model.place for model in baseline.models} <= set(zoo_names())


def test_it_was_made_in_the_way_that_this_nstc_measures(baseline):
    reference = find_subject(baseline.locate(baseline.reference))
    protocol = BenchProtocol(
        rounds=3,
        size=baseline.protocol.size,
        photos=sample_photos().record(),
        seed=0,
        vgg=vgg_identity("shipped"),
        reference=reference.identity,
    )
    assert baseline.protocol.id == protocol.id, "make zoo-baseline REASON=..."
