"""Pruning: fewer channels, less work, and a network that its manifest can rebuild."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from nstc.compress.checkpoint import CHECKPOINT_FILE
from nstc.compress.pruning import prune, rebuilt, teacher_of
from nstc.core.bundle import Bundle
from nstc.core.errors import BundleError, Interrupted, OptionError, OutputError, TeacherError
from nstc.core.manifest import Origin
from nstc.core.photos import PhotoSet
from nstc.core.recipe import DistillRecipe, PruneRecipe
from nstc.models.architectures import load
from nstc.models.complexity import count_macs, count_parameters
from nstc.models.student import Student
from nstc.models.transformer import TransformerNet

FINE_TUNING = DistillRecipe(size=64, perceptual_size=32, batch=1, perceptual_batch=1)
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


class TestSlimDown:
    @pytest.mark.parametrize("make", [wide_student, lambda: TransformerNet((16, 32, 32), (32,))])
    @pytest.mark.parametrize("round_to", [4, 8])
    def test_widths_left_are_multiples(self, make: Callable[[], nn.Module], round_to: int) -> None:
        network: Any = make()
        before = count_macs(network)
        slim_down(network, PruneRecipe(ratio=0.4, round_to=round_to))
        widths = [w for value in network.arguments().values() for w in np.atleast_1d(value)]
        assert [w for w in widths if not isinstance(w, str) and w % round_to] == []
        assert count_macs(network) < before

    def test_half_of_the_channels_go(self) -> None:
        network = wide_student()
        slim_down(network, PruneRecipe(ratio=0.5))
        assert network.arguments() == {"width": 16, "inner": [16, 16], "block": "separable"}

    def test_without_ratio_and_speedup_a_quarter_goes(self) -> None:
        network = wide_student()
        slim_down(network, PruneRecipe())
        assert network.arguments() == {"width": 24, "inner": [24, 24], "block": "separable"}

    def test_channels_of_least_weight_go_first(self) -> None:
        network = TransformerNet((16, 16, 16), (16,), (16, 16))
        with torch.no_grad():
            for name in ("conv1", "conv2"):
                for parameter in network.res1.get_submodule(name).parameters():
                    parameter.fill_(1.0)
            network.res1.conv1.conv2d.weight[::2] = 1e-3
        slim_down(network, HALF)
        assert network.res1.conv1.conv2d.weight.shape[0] == 8
        assert (network.res1.conv1.conv2d.weight == 1).all()

    @pytest.mark.parametrize("ratio", [0.8, 0.9, 0.99])
    def test_a_layer_keeps_as_many_channels_as_widths_are_rounded_to(self, ratio: float) -> None:
        network = TransformerNet((16, 24, 40), (32,), (16, 8))
        slim_down(network, PruneRecipe(ratio=ratio, round_to=8))
        assert network.arguments() == {"down": [8, 8, 8], "inner": [8], "up": [8, 8]}

    @pytest.mark.parametrize("speedup", [1.3, 2.5, 8])
    def test_the_speedup_asked_for_is_reached(self, speedup: float) -> None:
        network = wide_student()
        before = count_macs(network)
        slim_down(network, PruneRecipe(speedup=speedup, round_to=4))
        assert count_macs(network) <= before / speedup
        assert count_macs(network) > before / speedup / 2  # and not far overshot

    def test_a_speedup_that_cannot_be_reached_is_refused_and_nothing_removed(self) -> None:
        network = wide_student()
        with pytest.raises(OptionError, match=r"speed-up of 1000\.0 can't be reached"):
            slim_down(network, PruneRecipe(speedup=1000.0))
        assert network.arguments()["width"] == 32

    def test_a_ratio_that_removes_nothing_is_refused(self) -> None:
        with pytest.raises(OptionError, match=r"nothing is removed at ratio 0\.50.*--round-to"):
            slim_down(wide_student(), PruneRecipe(ratio=0.5, round_to=32))

    def test_the_picture_keeps_its_size_and_colours(self) -> None:
        network = wide_student()
        slim_down(network, HALF)
        assert painted(network, torch.rand(1, 3, 32, 48)).shape == (1, 3, 32, 48)

    def test_rebuilt_computes_the_same(self) -> None:
        network = wide_student()
        slim_down(network, HALF)
        pictures = torch.rand(1, 3, 32, 32)
        assert torch.equal(painted(rebuilt(network), pictures), painted(network, pictures))


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
    prune_small: Prune, small: Bundle, tmp_path: Path
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


def test_what_was_removed_is_told(prune_small: Prune, tmp_path: Path, recorder: type) -> None:
    told = recorder()
    prune_small(tmp_path / "smaller", recipe=PruneRecipe(ratio=0.5, steps=0), progress=told)
    assert any(note.startswith("pruned: ") and "parameters" in note for note in told.notes)
    assert told.begun == []  # nothing is learned in no steps


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

    def test_that_is_gone_names_the_flag(
        self, prune_small: Prune, tmp_path: Path, make_styled_bundle: Callable[..., Bundle]
    ) -> None:
        gone = Origin(name="starry", sha256="0" * 64, path=str(tmp_path / "gone"))
        bundle = make_styled_bundle(wide_student(), tmp_path / "small", teacher=gone)
        with pytest.raises(TeacherError, match=r"starry, is not at .*gone.*--teacher"):
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
