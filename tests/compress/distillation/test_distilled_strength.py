"""`nstc distill --style-strength`: the content loss is brought to the photograph's level."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from small_trainings import losses_of
from torch import Tensor, nn

from nstc.compress.distillation.compared_losses import TeacherLosses
from nstc.compress.distillation.loss_terms import PerceptualObjective
from nstc.compress.distillation.teacher_outputs import TeacherOutputs
from nstc.compress.learning import balance as balances
from nstc.compress.learning.balance import ContentBalance, content_levels
from nstc.compress.quantization import aware_training
from nstc.core.bundle import Bundle
from nstc.core.errors import Interrupted
from nstc.core.photos import PhotoSet
from nstc.core.recipe import DistillRecipe, QuantizeRecipe
from nstc.models.losses import (
    CONTENT_LAYERS,
    LOSSES,
    STYLE_LAYERS,
    FeatureLoss,
    gram_matrix,
    layer_targets,
)
from nstc.models.style import StyleStatistics
from nstc.models.tensors import images_to_tensor
from nstc.models.vgg import VggFeatures

Distill = Callable[..., Bundle]


@pytest.fixture(autouse=True)
def measured_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sample photographs' energies at the size of the crops."""
    monkeypatch.setattr(balances, "_TYPICAL_SIZE", 64)


class TestRuns:
    def test_the_balance_of_the_goals_is_off(
        self, distill_tiny: Distill, tmp_path: Path, recorder: type
    ) -> None:
        told = recorder()
        made = distill_tiny(
            tmp_path / "small", balance=True, style_strength=1.0, steps=1, progress=told
        )
        assert "teacher flicker" not in [title for title, *_ in told.begun]
        (line,) = losses_of(made.path, "perceptual")
        terms = {"pixel", "style", "content", "grid", "range", "flicker"}
        assert set(line) == {"step", *terms, "balance", "content/level"}
        assert made.manifest.history[-1].recipe["style_strength"] == 1.0

    def test_one_that_was_stopped_ends_as_one_that_was_not(
        self, distill_tiny: Distill, tmp_path: Path, recorder: type
    ) -> None:
        given: dict[str, Any] = {"style_strength": 1.0, "steps": 8, "pixel_steps": 1}
        whole = distill_tiny(tmp_path / "whole", **given)
        told = recorder(ctrl_c_at=("perceptual", 7))
        with pytest.raises(Interrupted):
            distill_tiny(tmp_path / "small", progress=told, **given)
        resumed = distill_tiny(tmp_path / "small", resume=True, **given)
        assert resumed.identity == whole.identity
        assert losses_of(resumed.path, "perceptual") == losses_of(whole.path, "perceptual")

    def test_quantization_aware_steps_hold_it_too(
        self, distill_tiny: Distill, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        few = QuantizeRecipe(calibration_photos=1, calibration_size=96)
        monkeypatch.setattr(aware_training, "CALIBRATION", few)
        given = {"steps": 2, "quantize_aware": True, "float_share": 0.5, "pixel_steps": 1}
        made = distill_tiny(tmp_path / "small", style_strength=1.0, **given)
        for stage in ("perceptual", "rounding"):
            (line,) = losses_of(made.path, stage)
            assert line["content/level"] > 0
            assert line["balance"] != 1


class Changed(nn.Module):
    """The photograph and what is added to each of its pixels."""

    def __init__(self, noise: float = 0.0) -> None:
        super().__init__()
        rng = torch.Generator().manual_seed(0)
        self.added = nn.Parameter(noise * torch.randn(1, 3, 64, 64, generator=rng))

    def forward(self, images: Tensor) -> Tensor:
        return images + self.added


class TestObjective:
    @pytest.fixture
    def objective(
        self,
        vgg: VggFeatures,
        photos: PhotoSet,
        crops_by: Callable[..., TeacherOutputs],
    ) -> Callable[..., PerceptualObjective]:
        """Of one photograph, on style and content alone, with a teacher of negatives."""
        painting = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            features = vgg(painting, STYLE_LAYERS)
        own = TeacherLosses(vgg, {name: gram_matrix(f)[0] for name, f in features.items()})
        pairs = crops_by(lambda rgb: 255 - rgb, PhotoSet(photos.paths[:1], photos.names), 64)
        weights = {f"{name}_weight": 0.0 for name in ("pixel", "checkerboard", "steadiness")}

        def make(network: nn.Module, balanced: bool = True, **settings: Any) -> PerceptualObjective:
            given: dict[str, Any] = {"size": 64, **weights, "style_strength": 0.5, **settings}
            balance = ContentBalance() if balanced else None
            return PerceptualObjective(network, pairs, DistillRecipe(**given), own, balance)

        return make

    @pytest.mark.slow
    @pytest.mark.parametrize(("strength", "noise"), [(0.7, 0.0), (0.8, 0.3)])
    def test_the_content_loss_comes_to_its_level_from_either_side(
        self, objective: Callable[..., PerceptualObjective], strength: float, noise: float
    ) -> None:
        network = Changed(noise)
        minimised = objective(network, style_strength=strength)
        optimiser = torch.optim.Adam(network.parameters(), lr=0.02)
        found = []
        for step in range(50):
            optimiser.zero_grad()
            torch.stack(list(minimised(step).values())).sum().backward()
            optimiser.step()
            found.append(minimised.balance.figures()["content/level"])
        assert found[0] > 1.5 if noise else found[0] < 0.1
        assert sum(found[-5:]) / 5 == pytest.approx(1, abs=0.15)

    def test_other_terms_and_the_weights_meanings_stay(
        self, objective: Callable[..., PerceptualObjective]
    ) -> None:
        def terms(**settings: Any) -> Mapping[str, float]:
            found = objective(Changed(0.1), pixel_weight=1.0, **settings)(0)
            return {name: float(term.detach()) for name, term in found.items()}

        held, plain = terms(), terms(balanced=False, style_strength=None)
        rest = ("pixel", "style", "range")
        assert {name: held[name] for name in rest} == pytest.approx({n: plain[n] for n in rest})
        assert held["content"] != pytest.approx(plain["content"], rel=0.1)
        assert terms(content_weight=9.0) == pytest.approx(held)
        doubled = terms(style_weight=2 * DistillRecipe().style_weight)
        both = {name: 2 * held[name] for name in ("style", "content")}
        assert {name: doubled[name] for name in both} == pytest.approx(both, rel=1e-4)

    def test_the_term_is_of_the_content_loss_and_the_level_of_the_photograph(
        self, objective: Callable[..., PerceptualObjective], vgg: VggFeatures
    ) -> None:
        made = objective(Changed(0.05), style_strength=2.0)
        term = float(made(0)["content"].detach())
        photograph, picture = (images_to_tensor([pixels]) for pixels in made.pairs[0])
        with torch.no_grad():
            of_photograph = vgg(photograph, CONTENT_LAYERS)
            outputs = vgg(made.network(photograph), STYLE_LAYERS)
            content = float(made.own.content(outputs, of_photograph))
            style = float(made.own.style(vgg(picture, STYLE_LAYERS)))
        ratio = made.balance.figures()["balance"]
        given_way = max(1.0, min(2.0, (ratio / 0.2) ** 0.7))
        level = given_way * float(content_levels(of_photograph, made.own.typical, 2.0))
        assert made.balance.figures()["content/level"] == pytest.approx(content / level, rel=0.02)
        expected = ratio * level / 7 * (content / level) ** 7 / style
        assert term == pytest.approx(made.recipe.style_weight * expected, rel=0.1)

    @pytest.mark.parametrize("name", ["style", "moments"])
    def test_by_statistics_the_styles_targets_are_mixed(
        self, objective: Callable[..., PerceptualObjective], vgg: VggFeatures, name: str
    ) -> None:
        def terms(strength: float, by: str = "statistics") -> tuple[float, float]:
            made = objective(Changed(), style_strength=strength, strength_by=by, terms="moments=1")
            moments = LOSSES["moments"]
            assert isinstance(moments, FeatureLoss)
            with torch.no_grad():
                painting = vgg(torch.full((1, 3, 64, 64), 0.5), STYLE_LAYERS)
            made.own.painted = {**made.own.painted, "moments": layer_targets(moments, painting)}
            term = float(made(0)[name].detach())
            return term, made.balance.figures()["content/level"]

        none, half, whole = (terms(strength) for strength in (0.0, 0.5, 1.0))
        assert none[0] == pytest.approx(0, abs=1e-3)
        assert none[0] < 0.5 * half[0] < whole[0]
        assert whole == terms(1.0, "loss")
        assert half[1] == pytest.approx(whole[1])  # the level of content is that of strength 1

    def test_without_a_balance_content_is_over_the_teachers(
        self, objective: Callable[..., PerceptualObjective]
    ) -> None:
        probed, plain = (
            objective(Changed(0.1), balanced=False, style_strength=strength)(0)["content"]
            for strength in (0.5, None)
        )
        assert float(probed.detach()) == float(plain.detach())  # as pruning measures channels


def test_typical_energies_are_measured_once(
    vgg: VggFeatures, style_statistics: StyleStatistics, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[int] = []
    monkeypatch.setattr(
        "nstc.compress.distillation.compared_losses.typical_energies",
        lambda _vgg, layers: measured.append(1) or dict.fromkeys(layers, 1.0),
    )
    own = TeacherLosses(vgg, style_statistics.at(512))
    assert own.typical == own.typical == dict.fromkeys(CONTENT_LAYERS, 1.0)
    assert measured == [1]
