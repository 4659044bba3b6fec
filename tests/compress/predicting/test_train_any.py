"""`nstc.train_any`: what it learns, writes and refuses."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from any_paintings import two_scale_student
from small_networks import Recorder, bundle_of, tiny_teacher
from small_trainings import checkpoints_of

from nstc.compress.graphs.deployed import deployed_graph, edges_of
from nstc.compress.graphs.float_graphs import body_graph
from nstc.compress.predicting.painting_squares import PaintingSquares, painting_as_read
from nstc.compress.predicting.styled_trunk import PaintingNetwork
from nstc.compress.predicting.write_any import predictor_graph
from nstc.compress.quantization import aware_training
from nstc.compress.quantization.integer_body import integer_form_of
from nstc.compress.quantization.quantize_model import quantize
from nstc.core.bundle import CARD_FILE, TILES_ARTIFACT, Bundle, open_bundle
from nstc.core.errors import Interrupted, OptionError
from nstc.core.images import Picture, write_picture
from nstc.core.photos import PhotoSet, photos_in
from nstc.core.recipe import QuantizeRecipe
from nstc.models.architectures import describe, learned_ranges
from nstc.models.tensors import images_to_tensor
from nstc.runtime.packs.any_painting import (
    INT8,
    PREDICTOR_FILE,
    constants_of,
    is_for_any,
    open_for_any,
)
from nstc.runtime.packs.stored_graph import read_graph
from nstc.runtime.verification import verify

Train = Callable[..., Bundle]


def network_of() -> PaintingNetwork:
    """A predictor that tells paintings apart, in front of a trunk."""
    torch.manual_seed(2)
    network = PaintingNetwork(two_scale_student())
    torch.nn.init.normal_(network.predictor.to_numbers.weight, std=0.3)
    return network.eval()


class TestTrunk:
    def test_each_picture_of_a_batch_is_in_the_style_of_its_painting(self) -> None:
        network, pictures = network_of(), torch.rand(2, 3, 64, 64)
        paintings = torch.rand(2, 3, 96, 80) ** torch.tensor([0.3, 3.0])[:, None, None, None]
        network.read(paintings)
        with torch.no_grad():
            together = network(pictures)
            for number in range(2):
                alone = network.in_style_of(paintings[number : number + 1])
                expected = alone(pictures[number : number + 1])
                torch.testing.assert_close(
                    together[number : number + 1], expected, atol=1e-4, rtol=1e-4
                )
        assert (together[0] - together[1]).abs().mean() > 0.01

    def test_pictures_that_are_no_paintings_own_are_refused(self) -> None:
        network = network_of()
        network.read(torch.rand(2, 3, 64, 64))
        with pytest.raises(ValueError, match="2 paintings were read for 4 pictures"):
            network(torch.rand(4, 3, 64, 64))

    def test_a_step_moves_the_trunk_and_the_predictor(self) -> None:
        network = network_of()
        network.read(torch.rand(2, 3, 64, 64))
        network(torch.rand(2, 3, 64, 64)).square().mean().backward()
        assert all(
            own.grad is not None and own.grad.abs().sum() > 0
            for name, own in network.named_parameters()
            if "bias" not in name
        )


class TestSquares:
    def test_they_repeat_by_their_seed_and_differ_otherwise(self, paintings: PhotoSet) -> None:
        squares = PaintingSquares(paintings, 64)
        one, same, other = (squares.draw(6, np.random.default_rng(seed)) for seed in (1, 1, 2))
        assert all(each.shape == (64, 64, 3) and each.dtype == np.uint8 for each in one)
        np.testing.assert_array_equal(one, same)
        assert np.any(np.array(one) != np.array(other))


class TestBundle:
    def test_it_is_whole_and_runs_in_the_first_paintings_style(
        self, for_any: Bundle, paintings: PhotoSet
    ) -> None:
        assert verify(for_any.path).errors == ()
        assert {"onnx", INT8, TILES_ARTIFACT} == set(for_any.artifacts)
        assert is_for_any(for_any)
        assert for_any.manifest.style is not None
        assert for_any.manifest.style.name == paintings.paths[0].stem
        assert for_any.manifest.history[0].verb == "train-any"
        predicted = open_for_any(for_any).files(painting_as_read(paintings.paths[0]))
        whole = for_any.artifact("onnx").read_bytes()
        before, after = (constants_of(read_graph(c)) for c in (whole, predicted["onnx"]))
        assert before == after
        one, two = read_graph(whole), read_graph(predicted["onnx"])
        for own in before:  # the predictor's weights are stored in int8
            np.testing.assert_allclose(two.value(own.bias), one.value(own.bias), atol=2e-3)

    def test_the_card_says_what_it_takes_and_how_ranges_were_found(self, for_any: Bundle) -> None:
        text = (for_any.path / CARD_FILE).read_text(encoding="utf-8")
        assert "- any painting: `predictor.onnx` predicts a style" in text
        assert "quantization-aware" not in text

    def test_graphs_that_are_made_again_are_no_predictors(
        self, for_any: Bundle, photos: PhotoSet, tmp_path: Path
    ) -> None:
        said = Recorder()
        recipe = QuantizeRecipe(recalibrate=True, calibration_photos=1, calibration_size=96)
        made, _ = quantize(
            for_any, tmp_path / "again", photos=photos, recipe=recipe, again=True, progress=said
        )
        assert not is_for_any(made)
        assert verify(made.path).errors == ()
        assert any("predictor.onnx is left out" in note for note in said.notes)

    def test_previews_show_every_painting(self, for_any: Bundle) -> None:
        folder = Path(f"{for_any.path}.training") / "previews"
        assert sorted(path.name for path in folder.iterdir()) == [
            "step-000002.jpg",
            "step-000003.jpg",
        ]

    def test_it_goes_on_as_if_it_had_not_been_stopped(
        self, for_any: Bundle, train_tiny: Train, tmp_path: Path
    ) -> None:
        stop = Recorder(ctrl_c_at=("perceptual", 2))
        with pytest.raises(Interrupted):
            train_tiny(tmp_path / "stopped", progress=stop)
        resumed = train_tiny(tmp_path / "stopped", resume=True)
        for name in ("weights.safetensors", PREDICTOR_FILE):
            assert resumed.manifest.files[name].sha256 == for_any.manifest.files[name].sha256, name
        assert checkpoints_of(tmp_path / "stopped") == []


def test_integers_are_those_of_a_student_of_the_painting(for_any: Bundle, tmp_path: Path) -> None:
    """The file that a device makes is the one that quantizing a student of the painting makes."""
    network = network_of()
    gallery = torch.rand(2, 3, 96, 80) ** torch.tensor([0.4, 2.5])[:, None, None, None]
    ranges = learned_ranges(for_any)
    assert ranges is not None
    files = []
    for painting in gallery[:, None]:
        student = network.in_style_of(painting)
        _, contract = describe(student)
        body = body_graph(student)
        form = integer_form_of(student, contract, per_channel=True)
        restored = aware_training.restored_qat_student(student, ranges, body)
        integer = aware_training.quantize_with_learned_ranges(
            body, form, restored.activations, ranges
        )
        whole = deployed_graph(integer, edges_of(student, contract))
        files.append(read_graph(whole.SerializeToString()))
    first, second = files
    onnx.save(predictor_graph(network, gallery[:1]), tmp_path / "predictor.onnx")
    with torch.no_grad():
        (start, own), (_, biases) = (network.predict(each) for each in gallery[:, None])
        factors = network.predict(gallery[1:])[0] / start
    del own
    made: dict[str, Any] = {}
    begin = 0
    for layer in constants_of(first):
        size = len(first.constants[layer.bias].values)
        part = slice(begin, begin + size)
        made |= layer.of_style(
            first, factors[0, part].double().numpy(), biases[0, part].double().numpy()
        )
        begin += size
    differing = {
        name
        for name, constant in second.constants.items()
        if constant.values is not None
        and not np.array_equal(constant.values, first.constants[name].values)
    }
    assert differing <= set(made)
    for name, values in made.items():
        expected = second.value(name)
        assert expected is not None
        if values.dtype == np.int32:  # a step's last bit may move a bias by one
            assert np.abs(values - expected).max() <= 1
        else:
            np.testing.assert_allclose(values, expected, rtol=1e-5)


class TestRefusals:
    def test_one_painting_is_too_few(self, train_tiny: Train, paintings: PhotoSet, tmp_path: Path):
        with pytest.raises(OptionError, match=r"1 painting was given: .* two at least"):
            train_tiny(tmp_path / "out", paintings=paintings.take(1))

    def test_a_picture_of_one_colour_is_no_painting(self, train_tiny: Train, tmp_path: Path):
        for name, level in (("grey", 90), ("white", 255)):
            picture = Picture(rgb=np.full((80, 80, 3), level, np.uint8))
            write_picture(tmp_path / "walls" / f"{name}.png", picture)
        with pytest.raises(OptionError, match=r"grey\.png is one colour"):
            train_tiny(tmp_path / "out", paintings=photos_in([tmp_path / "walls"]))
        assert not (tmp_path / "out").exists()

    def test_a_teacher_is_no_trunk(self, train_tiny: Train, tmp_path: Path) -> None:
        teacher = bundle_of(tiny_teacher(), tmp_path / "teacher")
        with pytest.raises(OptionError, match="not a student"):
            train_tiny(tmp_path / "out", init=open_bundle(teacher.path))

    def test_a_time_without_a_step_is_refused(self, train_tiny: Train, tmp_path: Path) -> None:
        with pytest.raises(OptionError, match="too short for a step"):
            train_tiny(tmp_path / "out", time="0.001s")


def test_pictures_are_read_at_the_size_that_styles_are_predicted_at(paintings: PhotoSet) -> None:
    assert max(painting_as_read(paintings.paths[0]).shape) == 512
    assert images_to_tensor([painting_as_read(paintings.paths[0])]).shape == (1, 3, 384, 512)
