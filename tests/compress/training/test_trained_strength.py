"""`nstc train --style-strength`: the content loss is brought to the level of each crop."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nstc.compress.learning import balance as balances
from nstc.compress.learning.logs import LOSSES_FILE
from nstc.compress.learning.loop import Processes
from nstc.compress.training.train_model import PaintingObjective, train
from nstc.core.bundle import Bundle
from nstc.core.errors import Interrupted, OptionError
from nstc.core.photos import PhotoSet
from nstc.core.recipe import TrainRecipe, override
from nstc.models.losses import LOSSES, STYLE_LAYERS, FeatureLoss, layer_targets
from nstc.models.transformer import TransformerNet
from nstc.models.vgg import VggFeatures

TINY = TrainRecipe(
    steps=3, size=64, batch=2, style_size=256, style_strength=1.0, tv_weight=0, learning_rate=0.02
)

Train = Callable[..., list[dict[str, float]]]


@pytest.fixture(autouse=True)
def measured_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sample photographs' energies at the size of the crops."""
    monkeypatch.setattr(balances, "_TYPICAL_SIZE", 64)


@pytest.fixture(scope="module")
def start(
    make_styled_bundle: Callable[..., Bundle], tmp_path_factory: pytest.TempPathFactory
) -> Bundle:
    torch.manual_seed(3)
    network = TransformerNet((8, 8, 8), (), (8, 8))
    network.prepare_for_training()
    return make_styled_bundle(network, tmp_path_factory.mktemp("start") / "start")


@pytest.fixture
def train_tiny(start: Bundle, painting: Path, photos: PhotoSet, tmp_path: Path) -> Train:
    """Trains the tiny network by other settings; gives its log."""

    def run(name: str, progress: Any = None, resume: bool = False, **settings: Any) -> Any:
        init = settings.pop("init", start.path)
        arguments = {"init": init, "progress": progress, "resume": resume}
        recipe = override(TINY, **settings)
        train(painting, photos, tmp_path / name, recipe=recipe, **arguments)
        log = tmp_path / f"{name}.training" / LOSSES_FILE
        return [json.loads(line) for line in log.read_text().splitlines()]

    return run


@pytest.mark.slow
def test_the_content_loss_comes_to_its_level_from_either_side(
    train_tiny: Train, tmp_path: Path
) -> None:
    down = [line["content/level"] for line in train_tiny("usual", style_strength=0.9, steps=36)]
    given = {"style_strength": 1.3, "steps": 20, "learning_rate": 0.05, "init": tmp_path / "usual"}
    up = [line["content/level"] for line in train_tiny("strong", **given)]
    assert down[0] > 1.5
    assert 0.8 < sum(down[-4:]) / 4 < 1.25
    assert up[0] < 0.85
    assert 1.1 * up[0] < sum(up[-4:]) / 4 < 1.1


def test_levels_are_of_each_strength_and_the_content_weight_is_not_used(train_tiny: Train) -> None:
    one = train_tiny("one", steps=1)[0]
    half = train_tiny("half", steps=1, style_strength=0.5, content_weight=7.0)[0]
    assert half["content/level"] == pytest.approx(2 * one["content/level"], rel=1e-3)
    assert half["style"] == pytest.approx(one["style"])
    assert half["balance"] == pytest.approx(one["balance"])


def test_the_style_weight_is_of_both(train_tiny: Train) -> None:
    one, doubled = (train_tiny(f"{w}", steps=1, style_weight=w)[0] for w in (2.0, 4.0))
    for name, factor in {"style": 2, "content": 2, "balance": 1, "content/level": 1}.items():
        assert doubled[name] == pytest.approx(factor * one[name], rel=1e-3)


@pytest.mark.slow
def test_a_run_that_was_stopped_ends_as_one_that_was_not(train_tiny: Train, recorder: type) -> None:
    whole = train_tiny("whole", steps=12)
    with pytest.raises(Interrupted):
        train_tiny("stopped", steps=12, progress=recorder(ctrl_c_at=("train", 7)))
    assert train_tiny("stopped", steps=12, resume=True) == whole
    assert whole[-1]["balance"] != whole[6]["balance"]  # it was measured again


class Unchanged(nn.Module):
    """The photographs, with a gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.added = nn.Parameter(torch.zeros(1, 3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        return images + self.added


class TestStatistics:
    """`--strength-by statistics`: the style's targets are mixed with those of each crop."""

    MIXED = ("moments", "histogram", "sliced-wasserstein")

    def terms(self, vgg: VggFeatures, photos: PhotoSet, strength: float) -> dict[str, float]:
        """The losses of crops as they are."""
        painting = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            features = vgg(painting, STYLE_LAYERS)
        targets = {
            name: layer_targets(loss, features)
            for name in ("gram", *self.MIXED)
            if isinstance(loss := LOSSES[name], FeatureLoss)
        }
        grams = {layer: gram[0] for layer, gram in targets.pop("gram").items()}
        recipe = override(
            TINY,
            style_strength=strength,
            strength_by="statistics",
            style_weight=1.0,
            terms=",".join(f"{name}=1" for name in self.MIXED),
        )
        objective = PaintingObjective(Unchanged(), photos, vgg, grams, recipe, Processes(), targets)
        return {name: float(term.detach()) for name, term in objective(0).items()}

    def test_at_none_a_crop_has_the_style_already(self, vgg: VggFeatures, photos: PhotoSet) -> None:
        none, whole = (self.terms(vgg, photos, strength) for strength in (0.0, 1.0))
        for name in ("style", *self.MIXED):
            assert none[name] == pytest.approx(0, abs=1e-3)
            assert whole[name] > 0.1

    @pytest.mark.parametrize("name", ["style", *MIXED])
    def test_more_of_the_painting_is_farther_from_the_crop(
        self, vgg: VggFeatures, photos: PhotoSet, name: str
    ) -> None:
        found = [self.terms(vgg, photos, strength)[name] for strength in (0.2, 0.5, 1.0)]
        assert found == sorted(found)
        assert found[0] < 0.5 * found[1]

    def test_at_one_it_is_the_painting_as_by_loss(self, train_tiny: Train) -> None:
        by = [train_tiny(how, strength_by=how, terms="moments=1") for how in ("loss", "statistics")]
        assert by[0] == by[1]

    def test_the_level_is_that_of_strength_one(self, train_tiny: Train) -> None:
        half = train_tiny("half", strength_by="statistics", style_strength=0.5, steps=1)[0]
        whole = train_tiny("whole", steps=1)[0]
        assert half["content/level"] == whole["content/level"]
        assert half["style"] != whole["style"]

    @pytest.mark.slow
    def test_a_run_that_was_stopped_ends_as_one_that_was_not(
        self, train_tiny: Train, recorder: type
    ) -> None:
        given = {"strength_by": "statistics", "style_strength": 0.5, "steps": 4}
        whole = train_tiny("whole", **given)
        with pytest.raises(Interrupted):
            train_tiny("stopped", progress=recorder(ctrl_c_at=("train", 2)), **given)
        with pytest.raises(OptionError, match="other settings"):
            train_tiny("stopped", resume=True, **{**given, "strength_by": "loss"})
        assert train_tiny("stopped", resume=True, **given) == whole

    def test_what_can_not_be_mixed_is_refused_before_the_work(
        self, train_tiny: Train, tmp_path: Path
    ) -> None:
        with pytest.raises(OptionError, match="which patches does not have: take another loss"):
            train_tiny("none", strength_by="statistics", style_strength=0.5, terms="patches=1")
        assert not list(tmp_path.glob("none*"))
