"""The benchmark and the gate as Python gives them: what they miss is made."""

import nstc
from nstc.benchmarks.gate.baseline import from_result, save_baseline
from nstc.benchmarks.gate.verdicts import Verdict
from nstc.core import Progress
from nstc.core.recipe import BenchRecipe
from nstc.runtime.session import cached_artifact

RECIPE = BenchRecipe(size=32, rounds=3, targets=("cpu:1",), quality_photos=2)


class Told(Progress):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


def test_a_network_of_weights_alone_is_measured_and_checked(
    student_bundle, photos, tmp_path, monkeypatch
) -> None:
    model, told = student_bundle.path, Told()
    result = nstc.bench(
        [model], against=model, photos=photos, recipe=RECIPE, quality=False, progress=told
    )
    made = [f"making model.onnx of {model}, once: it is kept in the cache"]
    assert told.notes[:1] == made
    assert [row.artifact for row in result.rows] == ["onnx"]
    assert not (model / "model.onnx").exists(), "it was made in the cache"

    save_baseline(from_result(result, tmp_path), tmp_path / "baseline.json")
    monkeypatch.setenv("NSTC_CACHE", str(tmp_path / "other-cache"))
    again = Told()
    report = nstc.check(
        [], tmp_path / "baseline.json", photos=photos, facts_and_quality_only=True, progress=again
    )
    assert again.notes[:1] == made
    assert report.verdict is Verdict.PASS
    assert cached_artifact(student_bundle, "onnx").is_file()


def test_help_is_that_of_the_verbs() -> None:
    assert "Time models and a reference in turns" in nstc.bench.__doc__
    assert "rows of a baseline" in nstc.check.__doc__
