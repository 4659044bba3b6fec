"""Pruning: fewer channels, less work, and a network that its manifest can rebuild."""

import dataclasses
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from small_trainings import losses_of
from torch import nn

from nstc.compress.distillation.teachers import TeacherOptions
from nstc.compress.learning.loop import CHECKPOINT_FILE
from nstc.compress.pruning import prune_model
from nstc.compress.pruning.prune_model import prune, teacher_of
from nstc.core.bundle import Bundle
from nstc.core.errors import BundleError, Interrupted, OptionError, OutputError, TeacherError
from nstc.core.files import sha256_of
from nstc.core.manifest import Origin, Step
from nstc.core.photos import PhotoSet
from nstc.core.recipe import DistillRecipe, PruneRecipe
from nstc.models.architectures import count_macs, count_parameters, load
from nstc.models.student import Student, TwoScaleStudent
from nstc.models.transformer import TransformerNet

FINE_TUNING = DistillRecipe(size=64, perceptual_size=32, batch=1, perceptual_batch=1, balance=False)
HALF = PruneRecipe(ratio=0.5, steps=3)

Prune = Callable[..., Bundle]


def wide_student() -> Student:
    torch.manual_seed(2)
    network = Student(32, [32, 32])
    nn.init.normal_(network.head.weight, std=0.05)
    return network.eval()


def painted(network: nn.Module, pictures: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return network(pictures)


@pytest.fixture(scope="module")
def painter(
    make_styled_bundle: Callable[..., Bundle], tmp_path_factory: pytest.TempPathFactory
) -> Bundle:
    """The student's teacher. Not to be changed."""
    torch.manual_seed(1)
    network = TransformerNet((8, 8, 8), (), (8, 8))
    network.prepare_for_training()
    return make_styled_bundle(network, tmp_path_factory.mktemp("painter") / "painter")


@pytest.fixture(scope="module")
def small(
    painter: Bundle,
    make_styled_bundle: Callable[..., Bundle],
    tmp_path_factory: pytest.TempPathFactory,
) -> Bundle:
    """A student that remembers its teacher. Not to be changed."""
    path = tmp_path_factory.mktemp("small") / "small"
    return make_styled_bundle(wide_student(), path, stage="distilled", teacher=painter.origin())


@pytest.fixture(scope="module")
def prune_small(small: Bundle, photos: PhotoSet) -> Prune:
    def run(output: Path, **given: Any) -> Bundle:
        arguments = {
            "model": small.path,
            "photos": photos,
            "recipe": HALF,
            "distillation": FINE_TUNING,
            **given,
        }
        return prune(output=output, **arguments)

    return run


@pytest.fixture(scope="module")
def pruned(prune_small: Prune, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """An uninterrupted run. Not to be changed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NSTC_CACHE", str(tmp_path_factory.mktemp("pruned-cache")))
        return prune_small(tmp_path_factory.mktemp("pruned") / "smaller")


def test_the_bundle_says_what_was_removed(
    pruned: Bundle, small: Bundle, painter: Bundle, photos: PhotoSet
) -> None:
    manifest = pruned.manifest
    assert manifest.architecture.arguments == {"width": 16, "inner": [16, 16], "block": "separable"}
    assert (manifest.name, manifest.stage) == ("small", "pruned")
    assert manifest.style == small.manifest.style
    assert manifest.parent == small.origin()
    assert manifest.teacher == painter.origin()
    (step,) = manifest.history
    assert step.verb == "prune"
    assert step.photos == photos.record()
    assert step.recipe["prune"]["ratio"] == 0.5
    before, after = load(small), load(pruned)
    assert step.results == {
        "macs_before": count_macs(before),
        "macs": count_macs(after),
        "params_before": count_parameters(before),
        "params": count_parameters(after),
    }


_RUN_ALONE = """
import sys
import numpy, torch
from nstc.models.architectures import load
bundle, pictures, result = sys.argv[1:]
with torch.inference_mode():
    numpy.save(result, load(bundle)(torch.from_numpy(numpy.load(pictures))).numpy())
"""


def test_a_clean_process_rebuilds_it_from_the_manifest(
    prune_small: Prune, small: Bundle, tmp_path: Path, slim_down: Callable[..., None]
) -> None:
    recipe = PruneRecipe(ratio=0.5, steps=0)
    network = load(small)
    slim_down(network, recipe)
    pictures = torch.rand(1, 3, 32, 48)
    np.save(tmp_path / "pictures.npy", pictures.numpy())
    made = prune_small(tmp_path / "smaller", recipe=recipe)
    paths = [made.path, tmp_path / "pictures.npy", tmp_path / "result.npy"]
    subprocess.run([sys.executable, "-c", _RUN_ALONE, *map(str, paths)], check=True)
    expected = painted(network, pictures).numpy()
    np.testing.assert_allclose(np.load(tmp_path / "result.npy"), expected, atol=1e-5)
    assert not np.allclose(painted(load(small), pictures).numpy(), expected, atol=1e-2)


def test_the_same_seed_gives_the_same_network_and_another_does_not(
    pruned: Bundle, prune_small: Prune, tmp_path: Path
) -> None:
    assert prune_small(tmp_path / "again").identity == pruned.identity
    other = PruneRecipe(ratio=0.5, steps=3, seed=1)
    assert prune_small(tmp_path / "other", recipe=other).identity != pruned.identity


def test_an_interrupted_run_that_is_resumed_ends_as_one_that_was_not(
    pruned: Bundle, prune_small: Prune, tmp_path: Path, recorder: type
) -> None:
    output = tmp_path / "smaller"
    with pytest.raises(Interrupted, match="--resume"):
        prune_small(output, progress=recorder(ctrl_c_at=("perceptual", 2)))
    assert not output.exists()
    checkpoint = tmp_path / "smaller.training" / "perceptual" / CHECKPOINT_FILE
    assert checkpoint.exists()
    with pytest.raises(OptionError, match="other settings"):
        prune_small(output, resume=True, recipe=PruneRecipe(ratio=0.45, steps=3))
    told = recorder()
    resumed = prune_small(output, resume=True, progress=told)
    assert told.begun == [("perceptual", 3, 2)]
    assert resumed.identity == pruned.identity
    assert not checkpoint.exists()


def test_layers_of_details_are_narrowed_with_the_others(
    prune_small: Prune,
    painter: Bundle,
    make_styled_bundle: Callable[..., Bundle],
    tmp_path: Path,
    slim_down: Callable[..., None],
) -> None:
    torch.manual_seed(2)
    network = TwoScaleStudent(32, [32], 16, details=[48, 32])
    nn.init.normal_(network.to_pixels.weight, std=0.05)
    whole = make_styled_bundle(
        network, tmp_path / "detailed", stage="distilled", teacher=painter.origin()
    )
    recipe = PruneRecipe(ratio=0.5, steps=0)
    made = prune_small(tmp_path / "smaller", model=whole.path, recipe=recipe)
    told = made.manifest.architecture.arguments
    assert (told["width"], told["inner"], told["skip"]) == (16, [16], 16)
    assert told["details"] == [24, 16]
    slim_down(expected := load(whole), recipe)
    pictures = torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(painted(load(made), pictures), painted(expected, pictures))


def test_what_was_removed_is_told(prune_small: Prune, tmp_path: Path, recorder: type) -> None:
    told = recorder()
    prune_small(tmp_path / "smaller", recipe=PruneRecipe(ratio=0.5, steps=0), progress=told)
    assert any(note.startswith("pruned: ") and "parameters" in note for note in told.notes)
    assert told.begun == []  # nothing is learned in no steps


class TestTurns:
    RECIPE = PruneRecipe(ratio=0.5, steps=4, iterations=2)

    def test_channels_go_in_turns_with_fine_tuning_after_each(
        self, prune_small: Prune, tmp_path: Path, recorder: type
    ) -> None:
        told = recorder()
        made = prune_small(tmp_path / "smaller", recipe=self.RECIPE, progress=told)
        assert made.manifest.architecture.arguments["inner"] == [16, 16]
        learned = [begun for begun in told.begun if begun[0] == "perceptual"]
        assert learned == [("perceptual", 2, 0), ("perceptual", 2, 0)]
        steps = [note for note in told.notes if note.startswith("pruned: ")]
        assert len(steps) == 2
        assert steps[0] != steps[1]  # less and less is left

    def test_a_run_stopped_in_the_second_turn_goes_on_to_the_same_end(
        self, prune_small: Prune, tmp_path: Path, recorder: type
    ) -> None:
        whole = prune_small(tmp_path / "whole", recipe=self.RECIPE)

        class SecondTurn(recorder):
            """Presses Ctrl-C in the second turn's first step."""

            def advance(self, step: int, losses: Any) -> None:
                turns = [begun for begun in self.begun if begun[0] == "perceptual"]
                self._ctrl_c_at = ("perceptual", 1) if len(turns) == 2 else None
                super().advance(step, losses)

        output = tmp_path / "smaller"
        with pytest.raises(Interrupted, match="--resume"):
            prune_small(output, recipe=self.RECIPE, progress=SecondTurn())
        told = recorder()
        resumed = prune_small(output, recipe=self.RECIPE, resume=True, progress=told)
        assert [b for b in told.begun if b[0] == "perceptual"] == [
            ("perceptual", 2, 2),
            ("perceptual", 2, 1),
        ]
        assert resumed.identity == whole.identity
        left = {p.name for p in (tmp_path / "smaller.training").rglob("*") if p.is_file()}
        assert left == {"losses.jsonl"}


def test_blocks_are_dropped_and_the_manifest_says_which(prune_small: Prune, tmp_path: Path) -> None:
    made = prune_small(tmp_path / "shallow", recipe=PruneRecipe(drop_blocks=1, steps=0))
    assert made.manifest.architecture.arguments["inner"] == [32]
    assert made.manifest.architecture.arguments["width"] == 32  # nothing else was asked for
    assert made.manifest.history[-1].results["dropped_blocks"] in ([0], [1])
    assert load(made)(torch.rand(1, 3, 32, 32)).shape == (1, 3, 32, 32)


def test_blocks_and_channels_together(prune_small: Prune, tmp_path: Path) -> None:
    recipe = PruneRecipe(drop_blocks=1, ratio=0.5, steps=0)
    arguments = prune_small(tmp_path / "tiny", recipe=recipe).manifest.architecture.arguments
    assert (arguments["width"], arguments["inner"]) == (16, [16])


@pytest.mark.parametrize(
    ("importance", "distribution"),
    [("magnitude", "global"), ("taylor", "global"), ("activation", "sensitivity")],
)
def test_every_way_to_choose_removes_about_what_was_asked_for(
    prune_small: Prune, tmp_path: Path, importance: str, distribution: str, small: Bundle
) -> None:
    recipe = PruneRecipe(
        speedup=2, round_to=4, importance=importance, distribution=distribution, steps=0
    )
    made = prune_small(tmp_path / "smaller", recipe=recipe)
    whole = count_macs(load(small))
    assert whole / 3 < count_macs(load(made)) <= whole / 2


def test_a_number_of_multiply_accumulates_is_reached(prune_small: Prune, tmp_path: Path) -> None:
    recipe = PruneRecipe(target_macs="300M", round_to=4, steps=0)
    macs = count_macs(load(prune_small(tmp_path / "smaller", recipe=recipe)))
    assert 200e6 < macs <= 300e6


@pytest.mark.slow
def test_a_latency_is_reached_on_the_clock_and_told(prune_small: Prune, tmp_path: Path) -> None:
    """The goal is far from both ends, so that no hiccup of the machine decides."""
    recipe = PruneRecipe(target_latency="1000ms@cpu:1", steps=0)
    with pytest.raises(OptionError, match=r"nothing is removed: the network takes .* ms on cpu:1"):
        prune_small(tmp_path / "smaller", recipe=recipe)
    recipe = PruneRecipe(target_latency="0.001ms@cpu:1", steps=0)
    with pytest.raises(OptionError, match=r"0\.001 ms can't be reached .* nearest reached is"):
        prune_small(tmp_path / "smaller", recipe=recipe)
    assert list(tmp_path.iterdir()) == []


class TestQuantized:
    @pytest.fixture
    def quantized_bundle(
        self, make_styled_bundle: Callable[..., Bundle], painter: Bundle, tmp_path: Path
    ) -> Bundle:
        return make_styled_bundle(
            wide_student(),
            tmp_path / "int8",
            stage="quantized",
            teacher=painter.origin(),
            parent=Origin(name="float", sha256="0" * 64, path="/models/float"),
        )

    def test_is_refused_and_its_parent_named(
        self, prune_small: Prune, tmp_path: Path, quantized_bundle: Bundle
    ) -> None:
        with pytest.raises(OptionError, match=r"is quantized: .* /models/float, or give --from-f"):
            prune_small(tmp_path / "smaller", model=quantized_bundle.path)

    def test_may_be_pruned_from_its_float_weights(
        self, prune_small: Prune, tmp_path: Path, quantized_bundle: Bundle
    ) -> None:
        made = prune_small(
            tmp_path / "smaller",
            model=quantized_bundle.path,
            recipe=PruneRecipe(ratio=0.5, steps=0),
            from_float=True,
        )
        assert made.manifest.stage == "pruned"
        assert made.artifacts == ()


def test_what_was_pruned_may_be_pruned_again(
    pruned: Bundle, prune_small: Prune, tmp_path: Path
) -> None:
    recipe = PruneRecipe(ratio=0.5, steps=0)
    made = prune_small(tmp_path / "again", model=pruned.path, recipe=recipe)
    assert made.manifest.architecture.arguments["inner"] == [8, 8]
    assert [step.verb for step in made.manifest.history] == ["prune", "prune"]


def test_a_ratio_of_nothing_is_refused(prune_small: Prune, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="ratio is 0, which removes nothing"):
        prune_small(tmp_path / "whole", recipe=PruneRecipe(ratio=0))
    assert not (tmp_path / "whole").exists()


def test_an_impossible_speedup_leaves_no_bundle(prune_small: Prune, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="can't be reached"):
        prune_small(tmp_path / "smaller", recipe=PruneRecipe(speedup=1000.0))
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_is_taken_is_refused(prune_small: Prune, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("mine")
    with pytest.raises(OutputError, match="thesis"):
        prune_small(tmp_path / "thesis")


def test_what_is_no_bundle_cannot_be_pruned(prune_small: Prune, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="does not exist"):
        prune_small(tmp_path / "smaller", model=tmp_path / "missing")


class TestTeacher:
    def test_is_the_network_itself_if_it_has_none(
        self, painter: Bundle, prune_small: Prune, tmp_path: Path, make_styled_bundle: Any
    ) -> None:
        assert teacher_of(painter) == painter.path
        torch.manual_seed(1)
        model = make_styled_bundle(TransformerNet((16, 16, 16), (16,), (16, 16)), tmp_path / "big")
        made = prune_small(
            tmp_path / "smaller", model=model.path, recipe=PruneRecipe(ratio=0.5, steps=1)
        )
        assert made.manifest.teacher == model.origin()
        assert made.manifest.architecture.arguments["down"] == [8, 8, 8]

    def test_of_the_zoo_is_known_by_its_name(
        self, tmp_path: Path, make_styled_bundle: Callable[..., Bundle]
    ) -> None:
        origin = Origin(name="starry", sha256="0" * 64, zoo="zoo:starry-night/teacher")
        bundle = make_styled_bundle(wide_student(), tmp_path / "small", teacher=origin)
        assert teacher_of(bundle) == "zoo:starry-night/teacher"

    def test_is_opened_by_the_part_of_a_checkpoint_that_taught_last(
        self,
        prune_small: Prune,
        tmp_path: Path,
        make_styled_bundle: Callable[..., Bundle],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        asked = []

        def opened(_place: Path, options: TeacherOptions | None, **_: Any) -> None:
            asked.append(options and options.key)
            raise TeacherError("that is enough")

        monkeypatch.setattr(prune_model, "open_teacher", opened)
        torch.save({}, tmp_path / "plain.pth")
        origin = Origin(name="plain", sha256="0" * 64, path=str(tmp_path / "plain.pth"))
        by_part, plain = (Step(verb="distill", recipe=own) for own in ({"key": "net"}, {}))
        for history in [(by_part,), (by_part, plain), (plain, by_part)]:
            bundle = make_styled_bundle(
                wide_student(), tmp_path / "small", teacher=origin, history=history
            )
            with pytest.raises(TeacherError, match="that is enough"):
                prune_small(tmp_path / "smaller", model=bundle.path)
        assert asked == ["net", None, "net"]

    def test_that_is_gone_names_the_flag(
        self, prune_small: Prune, tmp_path: Path, make_styled_bundle: Callable[..., Bundle]
    ) -> None:
        gone = Origin(name="starry", sha256="0" * 64, path=str(tmp_path / "gone"))
        bundle = make_styled_bundle(wide_student(), tmp_path / "small", teacher=gone)
        with pytest.raises(TeacherError, match=r"starry, is not at .*gone.*--teacher"):
            prune_small(tmp_path / "smaller", model=bundle.path)

    def test_of_a_hub_with_other_content_is_refused(
        self,
        prune_small: Prune,
        tmp_path: Path,
        make_styled_bundle: Callable[..., Bundle],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        meant = Origin(name="mosaic", sha256="0" * 64, zoo=f"hf:them/mosaic@{'0' * 40}")
        bundle = make_styled_bundle(wide_student(), tmp_path / "small", teacher=meant)
        other = SimpleNamespace(origin=dataclasses.replace(meant, sha256="1" * 64))
        monkeypatch.setattr(prune_model, "open_teacher", lambda *_, **__: other)
        with pytest.raises(TeacherError, match=r"hf:them/mosaic@0+ is no longer mosaic"):
            prune_small(tmp_path / "smaller", model=bundle.path)

    def test_whose_content_changed_is_refused_but_may_be_named(
        self, prune_small: Prune, tmp_path: Path, make_styled_bundle: Callable[..., Bundle]
    ) -> None:
        torch.manual_seed(1)
        first = make_styled_bundle(TransformerNet((8, 8, 8), (), (8, 8)), tmp_path / "painter")
        bundle = make_styled_bundle(wide_student(), tmp_path / "small", teacher=first.origin())
        changed = make_styled_bundle(TransformerNet((8, 8, 8), (), (8, 8)), tmp_path / "painter")
        recipe = PruneRecipe(ratio=0.5, steps=0)
        with pytest.raises(TeacherError, match=r"has changed\..*--teacher"):
            prune_small(tmp_path / "smaller", model=bundle.path, recipe=recipe)
        made = prune_small(
            tmp_path / "smaller", model=bundle.path, recipe=recipe, teacher=changed.path
        )
        assert made.manifest.teacher == changed.origin()


class TestNamedLosses:
    FINE_TUNING = dataclasses.replace(FINE_TUNING, terms="moments=0.5,laplacian=1")

    def test_fine_tuning_has_them(self, prune_small: Prune, painting: Path, tmp_path: Path) -> None:
        made = prune_small(tmp_path / "thin", distillation=self.FINE_TUNING, style=painting)
        lines = losses_of(made.path, "perceptual")
        assert all(line["moments"] > 0 and line["laplacian"] > 0 for line in lines)
        assert made.manifest.history[-1].recipe["style"] == sha256_of(painting)

    def test_the_painting_is_asked_for_before_any_work(
        self, prune_small: Prune, tmp_path: Path
    ) -> None:
        with pytest.raises(OptionError, match=r"names moments, .*: give it by --style"):
            prune_small(tmp_path / "thin", model=tmp_path / "none", distillation=self.FINE_TUNING)
