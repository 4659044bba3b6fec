"""The loss terms and objectives, on pairs whose losses can be worked out by hand."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nstc.compress.distillation.compared_losses import TeacherLosses
from nstc.compress.distillation.loss_terms import (
    SURROUNDINGS,
    TERMS,
    PerceptualObjective,
    PixelObjective,
    StepView,
    checkerboard,
    draw_batch,
    focused,
    refuse_unusable_terms,
    weighted_terms,
)
from nstc.compress.distillation.teacher_outputs import TeacherOutputs
from nstc.compress.learning.balance import RatioBalance
from nstc.compress.learning.named_losses import Targets
from nstc.core.errors import ExtensionError, OptionError
from nstc.core.images import Pixels
from nstc.core.photos import PhotoSet
from nstc.core.recipe import DistillRecipe
from nstc.models.losses import STYLE_LAYERS, gram_distance, gram_matrix, total_variation
from nstc.models.losses.content import perceptual_distance, unit_features
from nstc.models.losses.moments import channel_moments, moments_distance
from nstc.models.student import Student, StudentNetwork, TwoScaleStudent, channel_statistics
from nstc.models.style import StyleStatistics
from nstc.models.tensors import images_to_tensor
from nstc.models.vgg import VggFeatures

RECIPE = DistillRecipe(size=64, perceptual_size=64, batch=2, perceptual_batch=1)
CPU = torch.device("cpu")

CODE = """
from nstc.compress.distillation.loss_terms import LossTerm
HAZE = LossTerm(lambda view: view.outputs.mean())
"""


class Scaled(nn.Module):
    """The photograph times a factor plus an offset, both learned."""

    def __init__(self, factor: float, offset: float = 0.0) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))
        self.offset = nn.Parameter(torch.tensor(offset))

    def forward(self, images: Tensor) -> Tensor:
        return self.factor * images + self.offset


class Framed(Scaled):
    """Which paints a frame where its input ends, as zeros tell a student that it does."""

    thickness = 4

    def forward(self, images: Tensor) -> Tensor:
        inside = slice(self.thickness, -self.thickness)
        frame = torch.full_like(images, 0.25)
        frame[:, :, inside, inside] = 0
        return super().forward(images) + frame


def same(rgb: Pixels) -> Pixels:
    return rgb


def negative(rgb: Pixels) -> Pixels:
    return 255 - rgb


@pytest.fixture
def photo(photos: PhotoSet) -> PhotoSet:
    """A single photograph, so that every batch is known."""
    return PhotoSet(photos.paths[:1], photos.names)


Perceptual = Callable[..., PerceptualObjective]


@pytest.fixture
def perceptual(
    vgg: VggFeatures,
    style_statistics: StyleStatistics,
    photo: PhotoSet,
    crops_by: Callable[..., TeacherOutputs],
) -> Perceptual:
    """The second stage's objective on a teacher's picture of one photograph."""

    def make(
        network: nn.Module,
        *,
        teacher: Callable[[Pixels], Pixels] = negative,
        grams: Mapping[str, Tensor] | None = None,
        balance: RatioBalance | None = None,
        targets: Targets | None = None,
        **settings: Any,
    ) -> PerceptualObjective:
        recipe = dataclasses.replace(RECIPE, **settings)
        own = TeacherLosses(vgg, grams or style_statistics.at(512), targets)
        pairs = crops_by(teacher, photo, recipe.size)
        return PerceptualObjective(network, pairs, recipe, own, balance=balance)

    return make


def numbers(terms: Mapping[str, Tensor]) -> dict[str, float]:
    return {name: float(term.detach()) for name, term in terms.items()}


def test_nstcs_own_have_the_recipes_weights_and_none_is_left_without() -> None:
    recipe = DistillRecipe(style_weight=3.5, content_weight=0.0)
    weights = {name: weight for name, (_, weight) in weighted_terms(recipe).items()}
    assert set(TERMS) - set(weights) == {"content"}
    assert weights["style"] == 3.5
    assert weights["flicker"] == recipe.steadiness_weight


def test_one_of_another_package_takes_part_where_the_recipe_names_it(install_extension) -> None:
    install_extension("nstc-haze", {"nstc.losses": {"haze": "HAZE"}}, CODE)
    assert "haze" not in weighted_terms(DistillRecipe())
    term, weight = weighted_terms(DistillRecipe(terms=" haze = 0.5 "))["haze"]
    assert weight == 0.5
    assert term.weight is None


@pytest.mark.parametrize("name", ["range", "fog"])
def test_what_is_none_of_them_is_refused_with_those_there_are(install_extension, name) -> None:
    recipe = DistillRecipe(terms=f"{name}=1")
    with pytest.raises(OptionError, match=f"terms names {name}: expected .* tv, laplacian[.]$"):
        weighted_terms(recipe)
    install_extension("nstc-haze", {"nstc.losses": {"haze": "HAZE"}}, CODE)
    with pytest.raises(OptionError, match=f"terms names {name}: expected .* laplacian, haze[.]$"):
        weighted_terms(recipe)


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        *((name, f"{name}-weight") for name in ("style", "content", "pixel")),
        *[("gram", "style-weight"), ("grid", "checkerboard-weight")],
        ("flicker", "flicker-weight"),
    ],
)
def test_what_has_a_weight_of_its_own_is_refused_with_that(name: str, setting: str) -> None:
    with pytest.raises(OptionError, match=f"{name}, which has a weight of its own: give {setting}"):
        weighted_terms(DistillRecipe(terms=f"{name}=1"))


def test_a_package_can_not_take_the_name_of_a_loss(install_extension) -> None:
    install_extension("nstc-haze", {"nstc.losses": {"laplacian": "HAZE"}}, CODE)
    with pytest.raises(ExtensionError, match=r"laplacian .*has the name of one that nstc has"):
        weighted_terms(DistillRecipe(terms="haze=1"))


def test_a_painting_is_asked_for_where_a_term_compares_with_it() -> None:
    recipe = DistillRecipe(terms="moments=1,laplacian=1,patches=2")
    with pytest.raises(
        OptionError, match=r"moments, patches, to compare with .*give it by --style"
    ):
        refuse_unusable_terms(recipe, None)
    refuse_unusable_terms(recipe, Path("painting.png"))
    refuse_unusable_terms(DistillRecipe(terms="perceptual=1,laplacian=1,tv=1"), None)


class TestBatches:
    @pytest.fixture
    def pairs(self, crops_by: Callable[..., TeacherOutputs], photos: PhotoSet) -> TeacherOutputs:
        return crops_by(negative, photos, 64)

    def test_a_batch_is_pairs_of_one_size(self, pairs: TeacherOutputs) -> None:
        batch = draw_batch(pairs, 5, np.random.default_rng(0), CPU)
        assert batch.photographs.shape == batch.targets.shape == (5, 3, 64, 64)
        torch.testing.assert_close(batch.targets, 1 - batch.photographs)

    def test_a_pair_has_one_name_in_every_step(self, pairs: TeacherOutputs) -> None:
        drawn = [draw_batch(pairs, 1, np.random.default_rng(step), CPU) for step in range(40)]
        seen = {batch.names[0]: batch.photographs for batch in drawn}
        assert len(seen) == len(pairs)
        for batch in drawn:
            assert torch.equal(batch.photographs, seen[batch.names[0]])


class TestPixels:
    def test_is_the_mean_distance_to_the_teachers_picture(
        self, photo: PhotoSet, crops_by: Callable[..., TeacherOutputs]
    ) -> None:
        pairs = crops_by(negative, photo)
        x = images_to_tensor([pairs[0][0]])
        terms = PixelObjective(Scaled(1.0), pairs, RECIPE, CPU)(0)
        assert numbers(terms) == pytest.approx({"pixel": float((2 * x - 1).abs().mean())})

    def test_is_nothing_for_a_perfect_student(
        self, photos: PhotoSet, crops_by: Callable[..., TeacherOutputs]
    ) -> None:
        terms = PixelObjective(Scaled(-1.0, 1.0), crops_by(negative, photos), RECIPE, CPU)(3)
        assert numbers(terms) == pytest.approx({"pixel": 0}, abs=1e-6)

    def test_a_step_draws_the_same_batch_whenever_it_is_made(
        self, photos: PhotoSet, crops_by: Callable[..., TeacherOutputs]
    ) -> None:
        recipe = dataclasses.replace(RECIPE, batch=1)
        pairs = crops_by(negative, photos)
        first, again = (PixelObjective(Scaled(0.5), pairs, recipe, CPU) for _ in range(2))
        values = [numbers(first(step))["pixel"] for step in range(8)]
        assert [numbers(again(step))["pixel"] for step in reversed(range(8))] == values[::-1]
        assert len(set(values)) == 2  # both photographs come up


class TestPerceptual:
    def test_has_six_terms_and_a_perfect_student_only_the_teachers_own_aims(
        self, perceptual: Perceptual
    ) -> None:
        terms = numbers(perceptual(Scaled(-1.0, 1.0))(0))
        own = {"style", "content", "range", "grid", "flicker"}
        assert set(terms) == {"pixel"} | own
        for name in ("pixel", "range"):
            assert terms[name] == pytest.approx(0, abs=1e-4), name
        assert terms["style"] > 0.1
        assert terms["content"] > 0.1

    def test_the_teachers_own_aims_are_relative_to_its_own_losses(
        self, perceptual: Perceptual
    ) -> None:
        objective = perceptual(Scaled(-1.0, 1.0))
        terms = numbers(objective(0))
        assert terms["style"] == pytest.approx(RECIPE.style_weight, rel=0.02)
        assert terms["content"] == pytest.approx(RECIPE.content_weight, rel=0.02)

    def test_focus_makes_crops_count_by_their_ratios(self) -> None:
        ratios = torch.tensor([2.0, 0.5], requires_grad=True)
        for power, expected in ((0.0, [0.5, 0.5]), (1.0, [1.0, 0.25]), (2.0, [2.0, 0.125])):
            (gradient,) = torch.autograd.grad(focused(ratios, power), ratios)
            assert gradient.tolist() == pytest.approx(expected)

    def test_focus_is_of_style_and_content(self, perceptual: Perceptual) -> None:
        network = Scaled(0.5)
        plain, other = (numbers(perceptual(network, focus=power)(0)) for power in (0.0, 1.0))
        for name, weight in (
            ("style", RECIPE.style_weight),
            ("content", RECIPE.content_weight),
        ):
            ratio = plain[name] / weight
            assert other[name] == pytest.approx(weight * ratio**2 / 2, rel=1e-3)
        same_terms = plain.keys() - {"style", "content"}
        assert {name: other[name] for name in same_terms} == pytest.approx(
            {name: plain[name] for name in same_terms}
        )

    def test_a_balance_that_measures_moves_the_weights(self, perceptual: Perceptual) -> None:
        network = Scaled(0.5)
        plain = numbers(perceptual(network)(0))
        ratios = {"style": 2.0, "content": 0.5, "flicker": 1.0}
        balance = RatioBalance(dict.fromkeys(ratios, 1.0), lambda _turn: ratios)
        moved = numbers(perceptual(network, balance=balance)(0))
        factors = balance.factors()
        assert factors["style"] != pytest.approx(1, abs=1e-3)
        scaled = {name: plain[name] * factor for name, factor in factors.items()}
        assert moved == pytest.approx({**plain, **scaled})

    def test_a_balance_of_others_leaves_what_it_does_not_know(self, perceptual: Perceptual) -> None:
        ratios = {"style": 2.0, "flicker": 1.0}
        balance = RatioBalance(dict.fromkeys(ratios, 1.0), lambda _turn: ratios)
        terms = numbers(perceptual(Scaled(0.5), balance=balance, content_weight=0.0)(0))
        assert "content" not in terms
        assert terms["style"] > 0

    def test_content_is_measured_from_the_photograph_not_from_the_teacher(
        self, perceptual: Perceptual
    ) -> None:
        terms = numbers(perceptual(Scaled(1.0))(0))
        assert terms["content"] == pytest.approx(0, abs=1e-5)
        assert terms["pixel"] > 0.1

    def test_a_picture_out_of_range_costs_ten_times_its_square(
        self, perceptual: Perceptual
    ) -> None:
        objective = perceptual(Scaled(0.0, 1.5), teacher=same)
        target = images_to_tensor([objective.pairs[0][1]])
        terms = numbers(objective(0))
        assert terms["range"] == pytest.approx(10 * 0.5**2)
        assert terms["pixel"] == pytest.approx(
            RECIPE.pixel_weight * float((1.5 - target).mean()), rel=1e-5
        )
        assert numbers(perceptual(Scaled(0.0, -0.2), teacher=same)(0))["range"] == pytest.approx(
            0.4
        )

    def test_style_is_the_gram_distance_to_the_painting_over_all_layers(
        self, vgg: VggFeatures, perceptual: Perceptual
    ) -> None:
        pairs = perceptual(Scaled(1.0), teacher=same).pairs
        seen = vgg(images_to_tensor([pairs[0][0]]), STYLE_LAYERS)
        own = {name: gram_matrix(feature) for name, feature in seen.items()}
        doubled = {name: 2 * gram[0] for name, gram in own.items()}
        terms = numbers(perceptual(Scaled(1.0), teacher=same, grams=doubled)(0))
        # |G - 2G|² / |2G|² is a quarter in each of the four layers.
        assert terms["style"] == pytest.approx(RECIPE.style_weight, rel=0.02)
        assert float(gram_distance(own["relu1_2"], 2 * own["relu1_2"])) == pytest.approx(0.25)

    @pytest.mark.parametrize(
        ("term", "setting"),
        [
            *((term, f"{term}_weight") for term in ("pixel", "style", "content")),
            ("flicker", "steadiness_weight"),
        ],
    )
    def test_each_weight_scales_its_own_term(
        self, perceptual: Perceptual, term: str, setting: str
    ) -> None:
        network = Scaled(0.5)
        before = numbers(perceptual(network)(0))
        weight: dict[str, Any] = {setting: 3 * getattr(RECIPE, setting)}
        after = numbers(perceptual(network, **weight)(0))
        assert before[term] > 0
        assert after == pytest.approx({**before, term: 3 * before[term]}, rel=1e-5)

    def test_vgg_is_spared_the_pictures_that_no_weight_asks_about(
        self, vgg: VggFeatures, perceptual: Perceptual
    ) -> None:
        looked: list[int] = []
        handle = vgg.register_forward_hook(lambda *_: looked.append(1))
        try:
            for names, looks in [
                ((), 2),
                (("style",), 2),
                (("content", "style"), 1),
            ]:
                weights: dict[str, Any] = {f"{name}_weight": 0.0 for name in names}
                objective = perceptual(Scaled(0.5), **weights)
                objective(0)  # asks for the teacher's own
                looked.clear()
                terms = numbers(objective(0))
                assert len(looked) == looks
                assert all(terms.get(name, 0) == 0 for name in names)
        finally:
            handle.remove()

    @pytest.mark.parametrize(
        ("network", "period"),
        [
            (Student(8, [8]), 4),
            (Student(8, [8], scale=8), 8),
            (TwoScaleStudent(8, [8], 8), 8),
            (Scaled(0.5), 4),
        ],
    )
    def test_a_checkerboard_has_the_period_of_the_student(
        self,
        network: nn.Module,
        period: int,
        perceptual: Perceptual,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        seen: list[int] = []

        def note(view: StepView) -> Tensor:
            seen.append(view.period)
            return checkerboard(view)

        monkeypatch.setitem(TERMS, "grid", dataclasses.replace(TERMS["grid"], compute=note))
        perceptual(network)(0)
        assert seen == [period]

    def test_vgg_is_given_a_part_drawn_by_the_steps_number(self, perceptual: Perceptual) -> None:
        network = Scaled(0.5)
        steps = (0, 1, 3)  # step 2 happens to draw the part of step 0
        values = [numbers(perceptual(network, perceptual_size=32)(step)) for step in steps]
        assert numbers(perceptual(network, perceptual_size=32)(1)) == values[1]
        assert len({value["pixel"] for value in values}) == 3
        assert numbers(perceptual(network, perceptual_size=32, seed=1)(1)) != values[1]

    def test_the_student_learns_and_vgg_does_not(
        self, vgg: VggFeatures, perceptual: Perceptual
    ) -> None:
        network = Scaled(0.5)
        terms = perceptual(network)(0)
        torch.stack(list(terms.values())).sum().backward()
        assert network.factor.grad is not None
        assert network.factor.grad != 0
        assert all(weight.grad is None for weight in vgg.parameters())

    def test_vgg_is_given_the_picture_of_a_crop_that_continues(
        self, perceptual: Perceptual
    ) -> None:
        framed = numbers(perceptual(Framed(1.0), teacher=same)(0))
        plain = numbers(perceptual(Scaled(1.0), teacher=same)(0))
        shown = ("pixel", "style", "content", "grid", "range")
        assert {n: framed[n] for n in shown} == pytest.approx({n: plain[n] for n in shown})

    def test_the_crop_by_itself_is_held_to_that(self, perceptual: Perceptual) -> None:
        objective = perceptual(Framed(1.0), teacher=same)
        teachers = objective.pairs.mean_flicker
        framed = numbers(objective(0))["flicker"] * teachers
        plain = numbers(perceptual(Scaled(1.0), teacher=same)(0))["flicker"] * teachers
        frame = 1 - (64 - 2 * Framed.thickness) ** 2 / 64**2
        assert framed - plain == pytest.approx(RECIPE.steadiness_weight * 0.25 * frame, rel=0.2)

    def test_crops_end_where_nothing_holds_what_is_painted_there(
        self, perceptual: Perceptual
    ) -> None:
        framed = numbers(perceptual(Framed(1.0), teacher=same, steadiness_weight=0.0)(0))
        assert framed["pixel"] > 0.01

    def test_a_student_normalises_by_the_crop_and_not_by_its_surroundings(
        self, perceptual: Perceptual
    ) -> None:
        student, given = Student(8, [8]), []
        student.register_forward_pre_hook(lambda _m, inputs: given.append(inputs))
        perceptual(student, teacher=same, size=128, perceptual_size=None)(0)
        (around, statistics), _changed = given
        margin = SURROUNDINGS
        assert around.shape[-1] == 128 + 2 * margin
        crop = around[:, :, margin:-margin, margin:-margin]
        torch.testing.assert_close(statistics, channel_statistics(crop))
        assert not torch.allclose(statistics, channel_statistics(around), atol=1e-4)
        assert torch.equal(around[:, :, margin - 1], around[:, :, margin + 1])

    @pytest.mark.parametrize(
        ("student", "step", "side"),
        [
            (Student(8, [8]), 1, 128),
            (TwoScaleStudent(8, [8], 8), 0, 128),
            (TwoScaleStudent(8, [8], 8), 1, 120),
        ],
    )
    def test_a_long_period_is_moved_by_whole_pixels_in_every_other_step(
        self, student: StudentNetwork, step: int, side: int, perceptual: Perceptual
    ) -> None:
        given: list[tuple[Tensor, ...]] = []
        student.register_forward_pre_hook(
            lambda _m, args, kwargs: given.append((*args, *kwargs.values())), with_kwargs=True
        )
        perceptual(student, teacher=same, size=128, perceptual_size=None)(step)
        (_around, whole), (moved, *statistics) = given
        assert moved.shape[-1] == side
        if side < 128:  # a part is normalised as the whole is
            assert torch.equal(*statistics, whole)

    def test_what_does_not_weigh_is_not_run(self, perceptual: Perceptual) -> None:
        runs: list[int] = []
        network = Scaled(0.5)
        network.register_forward_hook(lambda *_: runs.append(1))
        assert "flicker" not in perceptual(network, steadiness_weight=0.0)(0)
        assert len(runs) == 1

    def test_named_losses_compare_with_the_photograph_and_the_painting(
        self, vgg: VggFeatures, perceptual: Perceptual
    ) -> None:
        with torch.no_grad():
            painting = vgg(torch.rand(1, 3, 48, 40), STYLE_LAYERS)
        targets = {"moments": {name: channel_moments(f) for name, f in painting.items()}}
        objective = perceptual(
            Scaled(0.5), targets=targets, terms="moments=2,perceptual=3,tv=0.5,laplacian=7"
        )
        x = images_to_tensor([objective.pairs[0][0]])
        terms = numbers(objective(0))
        seen, photograph = (vgg(pictures, STYLE_LAYERS) for pictures in (0.5 * x, x))
        expected = {
            "moments": 2 * sum(moments_distance(seen[n], targets["moments"][n]) for n in seen),
            "perceptual": 3
            * sum(perceptual_distance(seen[n], unit_features(photograph[n])) for n in seen),
            "tv": 0.5 * total_variation(0.5 * x),
            "laplacian": torch.tensor(7 * 2 * 0.5**2),  # half the contrast, in two pools
        }
        for name, value in expected.items():
            assert terms[name] == pytest.approx(float(value), rel=0.02), name

    def test_a_grid_is_weighed(self, perceptual: Perceptual) -> None:
        class Gridded(Scaled):
            def forward(self, x: Tensor) -> Tensor:
                grid = torch.zeros_like(x)
                grid[:, :, ::4, ::4] = 0.2
                return super().forward(x) + grid

        plain = numbers(perceptual(Scaled(1.0), teacher=same)(0))["grid"]
        gridded = numbers(perceptual(Gridded(1.0), teacher=same)(0))["grid"]
        assert plain == pytest.approx(RECIPE.checkerboard_weight)  # relative to the teacher
        assert gridded > 10 * plain
        doubled = perceptual(
            Gridded(1.0), teacher=same, checkerboard_weight=2 * RECIPE.checkerboard_weight
        )
        again = numbers(doubled(0))["grid"]
        assert again == pytest.approx(2 * gridded)
