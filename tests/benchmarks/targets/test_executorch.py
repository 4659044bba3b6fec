"""ExecuTorch as a target: which files, on what, and what its rows count."""

import numpy as np
import pytest
import torch

from nstc.benchmarks.subjects import find_subject
from nstc.benchmarks.targets import cpu, parse_target
from nstc.benchmarks.targets.cpu import ExecutorchTarget
from nstc.compress.export.mobile_formats import executorch_program
from nstc.core import Silent
from nstc.core.errors import ArtifactError, OptionError
from nstc.core.manifest import Contract
from nstc.core.recipe import BenchRecipe
from nstc.runtime.foreign.probing import probe_contract
from nstc.runtime.programs import ExecutorchSession
from nstc.runtime.session import cached_artifact

CONTRACT = Contract(size_multiple=4, minimum_size=4, receptive_field=3, locality="exact")


class Half(torch.nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images * torch.tensor([0.5])


@pytest.fixture
def target(monkeypatch) -> ExecutorchTarget:
    monkeypatch.setattr(cpu, "usable_cores", lambda: (0, 1))
    return cpu.EXECUTORCH.make(None)


def test_it_is_one_thread_on_one_core(target, make_bundle):
    assert target == ExecutorchTarget(name="executorch", cores=(0,))
    assert (target.name, target.reference_artifact(64)) == ("executorch", "pte")
    assert target.artifacts(find_subject(make_bundle("m", {}).path), 64) == ("pte", "int8.pte")
    with pytest.raises(OptionError, match=r"'executorch:2': executorch is one thread"):
        cpu.EXECUTORCH.make("2")


def test_without_executorch_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(OptionError, match=r'can\'t run here: .*pip install "nstc\[executorch\]"'):
        parse_target("executorch")


def test_other_files_are_refused(target, make_bundle, foreign_file):
    subject = find_subject(make_bundle("model", {"int8.onnx": 1.0}).path)
    with pytest.raises(OptionError, match=r"runs pte and int8\.pte, not int8: .*--artifact pte"):
        target.open(subject, "int8", probe_contract)
    with pytest.raises(OptionError, match=r"foreign\.onnx is an ONNX file: distill it"):
        target.open(find_subject(foreign_file), "pte", probe_contract)
    with pytest.raises(ArtifactError, match=r"no artifact int8\.pte; .*exporting"):
        target.open(subject, "int8.pte", probe_contract)


@pytest.mark.executorch
def test_rows_count_delegates_and_no_figure_is_called_a_phones(target, make_bundle):
    bundle = make_bundle("model", {})
    path = cached_artifact(bundle, "pte")
    path.parent.mkdir(parents=True)
    path.write_bytes(executorch_program(Half().eval(), CONTRACT))
    session = target.open(find_subject(bundle.path), "pte", probe_contract)
    assert isinstance(session, ExecutorchSession)
    picture = np.full((16, 24, 3), 100, np.uint8)
    reading = target.measure([session, session], picture, BenchRecipe(rounds=3), Silent())
    assert len(reading.timings.reference_ms) == len(reading.timings.candidates_ms[0]) == 3
    (row,) = reading.rows
    assert row.counts == {"delegates": 1, "operators_outside": 0}
    assert reading.place["threads"] == 1
    assert reading.place["device"] == "this machine, not a phone"
    assert reading.place["provider"] == "XNNPACK"
    assert str(reading.place["runtime"]).startswith("executorch 1.")
    assert (session.run(picture) == 50).all()
