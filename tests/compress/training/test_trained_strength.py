"""`nstc train --style-strength`: the content loss is brought to the level of each crop."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from nstc.compress.learning import balance as balances
from nstc.compress.learning.logs import LOSSES_FILE
from nstc.compress.training.train_model import train
from nstc.core.bundle import Bundle
from nstc.core.errors import Interrupted
from nstc.core.photos import PhotoSet
from nstc.core.recipe import TrainRecipe, override
from nstc.models.transformer import TransformerNet

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


def test_the_content_loss_comes_to_its_level_from_either_side(
    train_tiny: Train, tmp_path: Path
) -> None:
    down = [line["content/level"] for line in train_tiny("usual", style_strength=1.4, steps=36)]
    given = {"style_strength": 2.0, "steps": 16, "init": tmp_path / "usual"}
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


def test_a_run_that_was_stopped_ends_as_one_that_was_not(train_tiny: Train, recorder: type) -> None:
    whole = train_tiny("whole", steps=12)
    with pytest.raises(Interrupted):
        train_tiny("stopped", steps=12, progress=recorder(ctrl_c_at=("train", 7)))
    assert train_tiny("stopped", steps=12, resume=True) == whole
    assert whole[-1]["balance"] != whole[6]["balance"]  # it was measured again
