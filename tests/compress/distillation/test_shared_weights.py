"""Students that share weights: what each learns, what is written of it, and its integers."""

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, numpy_helper
from torch import Tensor, nn

from nstc.compress.distillation.shared_weights import (
    InTurn,
    SharedQuantized,
    SharedWeights,
    refuse_unshareable,
    rounded,
)
from nstc.compress.graphs.deployed import deployed_graph, edges_of
from nstc.compress.graphs.stored_weights import weight_scale
from nstc.compress.learning.balance import RatioBalance
from nstc.compress.quantization.aware_training import calibrated_activations
from nstc.compress.quantization.fake_quantization import FakeQuantizedStudent
from nstc.compress.quantization.integer_body import quantized_body
from nstc.core import Silent
from nstc.core.bundle import Bundle
from nstc.core.errors import OptionError
from nstc.core.photos import PhotoSet
from nstc.core.recipe import QuantizeRecipe
from nstc.models.architectures import describe
from nstc.models.student import Student, StudentNetwork, fold, student_named

SHAPES = ("tiny", "fast")


def start_of(shape: str) -> StudentNetwork:
    torch.manual_seed(7)
    student = student_named(shape, width=16, blocks=2)
    nn.init.normal_(student.to_pixels.weight, std=0.05)
    return student.eval()


def set_apart(shared: SharedWeights) -> None:
    """Give every style factors from 1/8 to 8, and biases."""
    torch.manual_seed(8)
    with torch.no_grad():
        for name, values in shared.named_parameters():
            if name.endswith("logarithms"):
                values.uniform_(-math.log(8), math.log(8))
            elif name.endswith("bias"):
                values.add_(0.3 * torch.randn_like(values))


def integers(student: StudentNetwork, photos: PhotoSet) -> dict[str, np.ndarray]:
    """The int8 tensors of its integer file, by name."""
    _, contract = describe(student)
    recipe = QuantizeRecipe(calibration_size=64)
    body = quantized_body(student, contract, photos, recipe, Silent()).graph
    return constants(deployed_graph(body, edges_of(student, contract)), TensorProto.INT8)


def constants(model: onnx.ModelProto, kind: int) -> dict[str, np.ndarray]:
    stored = model.graph.initializer
    return {each.name: numpy_helper.to_array(each) for each in stored if each.data_type == kind}


@pytest.fixture(params=SHAPES)
def start(request: pytest.FixtureRequest) -> StudentNetwork:
    return start_of(request.param)


class TestStudents:
    def test_begin_as_the_start_with_its_weights_rounded(self, start: StudentNetwork) -> None:
        pictures = torch.rand(1, 3, 32, 48)
        with torch.no_grad():
            for student in SharedWeights(start, 2).students:
                off = (student.eval()(pictures) - start(pictures)).abs().max()
                assert 0 < off < 0.05

    def test_a_style_learns_the_weights_and_nothing_of_another(self, start: StudentNetwork) -> None:
        shared = SharedWeights(start, 2)
        shared.students[0](torch.rand(1, 3, 32, 32)).square().sum().backward()
        learned = {name for name, own in shared.named_parameters() if own.grad is not None}
        assert learned == {n for n, _ in shared.named_parameters() if not n.startswith("own.1.")}
        for name, own in shared.named_parameters():
            if name.startswith("own.0.") and name.endswith("logarithms"):
                assert own.grad is not None
                assert own.grad.any(), name

    def test_a_checkpoint_holds_what_is_shared_once_and_brings_all_back(
        self, start: StudentNetwork
    ) -> None:
        shared, other = SharedWeights(start, 2), SharedWeights(start, 2)
        set_apart(shared)
        state = shared.state_dict()
        assert set(state) == {name for name, _ in shared.named_parameters()}
        other.load_state_dict(state)
        pictures = torch.rand(1, 3, 32, 32)
        with torch.no_grad():
            for one, same in zip(shared.students, other.students, strict=True):
                assert torch.equal(one(pictures), same(pictures))

    def test_folded_they_paint_the_same_and_are_ordinary(self, start: StudentNetwork) -> None:
        shared = SharedWeights(start, 2)
        set_apart(shared)
        pictures = torch.rand(1, 3, 32, 48)
        painted = []
        for student in shared.students:
            folded = fold(student)
            assert set(folded.state_dict()) == set(start.state_dict())
            with torch.no_grad():
                painted.append(folded.eval()(pictures))
                assert torch.allclose(painted[-1], student.eval()(pictures), atol=1e-5)
        assert not torch.allclose(*painted, atol=0.01)


class TestFakeQuantized:
    @pytest.fixture
    def quantized(self, start: StudentNetwork, photos: PhotoSet) -> SharedQuantized:
        shared = SharedWeights(start, 2)
        set_apart(shared)
        recipe = QuantizeRecipe(calibration_size=64)
        folded = (fold(student).eval() for student in shared.students)
        found = [calibrated_activations(each, photos, Silent(), recipe) for each in folded]
        return SharedQuantized(shared, found)

    def test_it_gives_what_the_folded_student_gives_as_shared_weights_move(
        self, quantized: SharedQuantized
    ) -> None:
        pictures = torch.rand(1, 3, 64, 64)
        shared, student = quantized.shared, quantized.students[1]
        with torch.no_grad():
            before = student(pictures)
            for weight in shared.weights:
                weight.mul_(1 + 0.1 * torch.rand_like(weight))
            after = student(pictures)
            folded = fold(shared.students[1]).eval()
            alone = FakeQuantizedStudent(folded, student.activations, student.ranges())
            assert torch.equal(after, alone(pictures))
            assert not torch.equal(after, before)
            assert (student.scale, student.period) == (folded.scale, folded.period)

    def test_what_is_shared_learns_through_it_and_its_copies_do_not(
        self, quantized: SharedQuantized
    ) -> None:
        quantized.students[0](torch.rand(1, 3, 64, 64)).square().sum().backward()
        grads = {n: p.grad for n, p in quantized.named_parameters() if p.requires_grad}
        learned = {name for name, grad in grads.items() if grad is not None}
        of_other = ("shared.own.1.", "parts.1.")
        assert learned == {name for name in grads if not name.startswith(of_other)}
        assert "parts.0.log_factors" in learned
        assert not any(".student." in name for name in grads)


class TestIntegers:
    @pytest.mark.parametrize("silent", [False, True])
    def test_are_equal_in_the_files_of_all_styles(
        self, start: StudentNetwork, photos: PhotoSet, silent: bool
    ) -> None:
        if silent:  # the first filter of every layer has no weights
            for layer in start.modules():
                if isinstance(layer, nn.Conv2d):
                    layer.weight.data[0] = 0
        shared = SharedWeights(start, 2)
        set_apart(shared)
        for own in shared.own[0] if silent else ():  # beside a bias that one style alone has
            if own.bias is not None:
                own.bias.data[0] = 5
        one, other = (integers(fold(student).eval(), photos) for student in shared.students)
        layers = sum(isinstance(module, nn.Conv2d) for module in start.modules())
        assert sum(values.ndim == 4 for values in one.values()) == layers
        assert one.keys() == other.keys()
        for name in one:
            assert one[name].tobytes() == other[name].tobytes(), name

    def test_of_weights_between_two_steps_do_not_depend_on_a_factor(self) -> None:
        halves = torch.arange(-63.5, 64, 1) / 64
        weight = torch.cat([torch.ones(1), halves]).reshape(1, -1, 1, 1).repeat(200, 1, 1, 1)
        factors = torch.exp(torch.linspace(-2, 2, 200)).reshape(-1, 1, 1, 1)

        def levels(weights: Tensor) -> Tensor:
            return (weights / weight_scale(weights)).round()

        assert len(levels(factors * weight).unique(dim=0)) > 1, "else there is nothing to see"
        assert len(levels(factors * rounded(weight)).unique(dim=0)) == 1

    def test_a_filter_of_next_to_nothing_is_kept_apart_from_its_bias(self) -> None:
        weight = torch.ones(3, 2, 3, 3)
        weight[1], weight[2] = 0, 1e-6
        made = rounded(weight.requires_grad_())
        assert made[1:].abs().amax(dim=(1, 2, 3)).tolist() == pytest.approx([1 / 256] * 2)
        assert made[1:].count_nonzero() == 2
        made.sum().backward()
        assert torch.equal(weight.grad, torch.ones_like(weight)), "so that it can come back"
        assert torch.equal(rounded(torch.zeros(2, 1, 3, 3)).count_nonzero(), torch.tensor(2))

    def test_their_hash_is_of_the_shared_weights_alone(self, start: StudentNetwork) -> None:
        shared = SharedWeights(start, 2)
        before = shared.sha256()
        set_apart(shared)
        assert shared.sha256() == before
        shared.weights[0].data[0] *= -1
        assert shared.sha256() != before


def test_instance_normalisation_is_refused(tmp_path: Path, student_bundle: Bundle) -> None:
    with pytest.raises(OptionError, match=r"student has stem\.1\.weight, which is not of a conv"):
        refuse_unshareable(Student(16, [16], norm="instance"), student_bundle)
    refuse_unshareable(Student(16, [16]), student_bundle)


class TestTurns:
    @staticmethod
    def turns(asked: list[tuple[str, int]]) -> InTurn:
        def objective(style: str):
            def terms(step: int) -> Mapping[str, Tensor]:
                asked.append((style, step))
                balances[style].measure(step)
                return {"style": torch.tensor(1.0)}

            return terms

        balances = {
            style: RatioBalance({"style": 1.0, "content": 1.0}, lambda _, own=own: own)
            for style, own in (
                ("sea", {"style": 2.0, "content": 1.0}),
                ("sky", {"style": 1.0, "content": 3.0}),
            )
        }
        return InTurn([objective("sea"), objective("sky")], [*balances.values()])

    def test_each_style_counts_its_own_steps(self) -> None:
        asked: list[tuple[str, int]] = []
        turns = self.turns(asked)
        for step in range(4):
            turns(step)
        assert asked == [("sea", 0), ("sky", 0), ("sea", 1), ("sky", 1)]

    def test_each_style_has_a_balance_of_its_own_which_a_checkpoint_keeps(self) -> None:
        turns, other = self.turns([]), self.turns([])
        turns(0)
        sea = turns.figures()
        turns(1)
        sky = turns.figures()
        assert (sea["style x"] > 1, sky["style x"] > 1) == (True, False)
        other.load_state_dict(turns.state_dict())
        assert other.figures() == sea
        other(1)
        assert other.figures()["content ratio"] == 3

    def test_without_balances_there_are_no_figures(self) -> None:
        turns = InTurn([lambda _: {}], [None])
        turns(0)
        assert (turns.figures(), turns.state_dict()) == ({}, {})
        turns.load_state_dict({})
