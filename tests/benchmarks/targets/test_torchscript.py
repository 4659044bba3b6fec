"""TorchScript as a target: which files, which threads, and what it refuses."""

import warnings

import numpy as np
import pytest
import torch

from nstc.benchmarks.subjects import Subject, find_subject
from nstc.benchmarks.targets import base, parse_target
from nstc.benchmarks.targets.cpu import TorchScriptTarget
from nstc.core import Silent
from nstc.core.bundle import artifact_file, open_bundle
from nstc.core.errors import ArtifactError, OptionError
from nstc.core.recipe import BenchRecipe
from nstc.runtime.foreign.probing import probe_contract
from nstc.runtime.session import cached_artifact


@pytest.fixture
def two_cores(monkeypatch):
    monkeypatch.setattr(base, "usable_cores", lambda: (3, 5))


@pytest.fixture
def subject(make_bundle) -> Subject:
    """A bundle for which a TorchScript file that halves brightness was made."""
    bundle = make_bundle("model", {})
    path = cached_artifact(bundle, "ts")
    path.parent.mkdir(parents=True)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r".*torch\.jit.* is deprecated")
        torch.jit.save(torch.jit.trace(lambda x: x / 2, torch.rand(1, 3, 8, 8)), str(path))
    assert path.name == artifact_file("ts")
    return find_subject(open_bundle(bundle.path).path)


@pytest.mark.usefixtures("two_cores")
def test_it_is_all_cores_or_as_many_as_are_asked_for():
    two = TorchScriptTarget(name="torchscript:2", cores=(3, 5))
    assert parse_target("torchscript") == parse_target("torchscript:2") == two
    one = TorchScriptTarget(name="torchscript:1", cores=(3,))
    assert parse_target("torchscript:1") == one


@pytest.mark.usefixtures("two_cores")
@pytest.mark.parametrize("text", ["torchscript:", "torchscript:0", "torchscript:two"])
def test_nonsense_is_refused_with_an_example(text):
    with pytest.raises(OptionError, match=r"as in torchscript:2"):
        parse_target(text)


@pytest.mark.usefixtures("two_cores")
def test_more_threads_than_cores_name_the_limit():
    with pytest.raises(OptionError, match=r"needs 3 cores.*may use 2: give --target torchscript:2"):
        parse_target("torchscript:3")


def test_without_torch_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(OptionError, match=r'can\'t run here: .*pip install "nstc\[compress\]"'):
        parse_target("torchscript")


def test_files_are_timed_on_the_targets_threads_and_no_longer(subject, monkeypatch):
    target = parse_target("torchscript:1")
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert target.artifacts(subject, 64) == (target.reference_artifact(64),) == ("ts",)
        session = target.open(subject, "ts", probe_contract)
        seen = []
        infer = session.infer
        monkeypatch.setattr(
            session, "infer", lambda feed: seen.append(torch.get_num_threads()) or infer(feed)
        )
        picture = np.full((16, 24, 3), 100, np.uint8)
        reading = target.measure([session, session], picture, BenchRecipe(rounds=3), Silent())
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert set(seen) == {1}
    assert len(reading.timings.reference_ms) == len(reading.timings.candidates_ms[0]) == 3
    assert reading.place == {
        "runtime": f"torch {torch.__version__.partition('+')[0]}",
        "threads": 1,
    }
    assert (session.run(picture) == 50).all()


def test_other_files_are_refused(subject, foreign_file, make_bundle):
    target = parse_target("torchscript:1")
    with pytest.raises(OptionError, match=r"torchscript:1 runs ts, not int8: .*--artifact ts"):
        target.open(subject, "int8", probe_contract)
    with pytest.raises(OptionError, match=r"foreign\.onnx is an ONNX file"):
        target.open(find_subject(foreign_file), "ts", probe_contract)
    with pytest.raises(ArtifactError, match=r"no artifact ts; .*exporting"):
        target.open(find_subject(make_bundle("bare", {}, width=16).path), "ts", probe_contract)
