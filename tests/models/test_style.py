import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from nstc.core.errors import CorruptBundleError, OptionError
from nstc.models.losses import STYLE_LAYERS, gram_matrix
from nstc.models.style import (
    STYLE_SIZES,
    StyleStatistics,
    load_style,
    mean_grams,
    statistics_of_outputs,
    statistics_of_painting,
)
from nstc.models.tensors import images_to_tensor, save_tensors


@pytest.fixture
def painting():
    """Wide, and coarse enough to look different at each size."""
    rng = np.random.default_rng(1)
    return np.kron(rng.integers(0, 256, (12, 24, 3), dtype=np.uint8), np.ones((8, 8, 1), np.uint8))


@pytest.fixture
def statistics():
    grams = {}
    for size in (256, 512):
        features = {name: torch.rand(1, 6, 8, 8) * size for name in STYLE_LAYERS}
        grams[size] = {name: gram_matrix(f)[0] for name, f in features.items()}
    return StyleStatistics(grams)


def test_a_packed_style_is_unpacked_to_half_precision(statistics):
    unpacked = StyleStatistics.unpacked(statistics.packed())

    assert list(unpacked.grams) == [256, 512]
    for size, layers in statistics.grams.items():
        for name, gram in layers.items():
            found = unpacked.grams[size][name]
            assert found.dtype == torch.float32
            assert torch.equal(found, found.T)
            torch.testing.assert_close(found, gram, rtol=2**-11, atol=1e-7 * gram.max().item())


def test_a_packed_style_holds_one_triangle_of_halves(statistics):
    packed = statistics.packed()

    assert packed["256.relu1_2"].shape == (21,)  # 6 · 7 / 2
    assert packed["256.relu1_2"].dtype == torch.float16
    assert packed["256.relu1_2"].max() == 1


@pytest.mark.parametrize("scale", [1e-7, 1e7])
def test_values_beyond_half_precision_survive_packing(scale):
    gram = torch.tensor([[3.0, -1.0], [-1.0, 2.0]]) * scale

    unpacked = StyleStatistics.unpacked(StyleStatistics({256: {"relu1_2": gram}}).packed())

    torch.testing.assert_close(unpacked.at(256)["relu1_2"], gram, rtol=1e-3, atol=0)


def test_a_style_read_from_its_file_is_the_one_written(tmp_path):
    widths = zip(STYLE_LAYERS, (64, 128, 256, 512), strict=True)  # as VGG's layers are
    features = {name: torch.rand(1, width, 8, 8) for name, width in widths}
    grams = {name: gram_matrix(feature)[0] for name, feature in features.items()}
    statistics = StyleStatistics({256: grams, 512: {n: 512 * g for n, g in grams.items()}})
    save_tensors(statistics.packed(), tmp_path / "style.safetensors")

    read = load_style(tmp_path / "style.safetensors")

    torch.testing.assert_close(
        read.at(512)["relu4_3"], statistics.at(512)["relu4_3"], rtol=1e-3, atol=1e-3
    )


@pytest.mark.parametrize(
    ("tensors", "reason"),
    [
        ({"other": torch.zeros(3)}, "expected a Gram matrix of each of relu1_2"),
        ({"256.relu1_2": torch.zeros(3)}, r"256\.relu1_2\.scale"),
        ({"256.relu1_2": torch.zeros(4), "256.relu1_2.scale": torch.ones(1)}, "shape"),
        ({"big.relu1_2": torch.zeros(3), "big.relu1_2.scale": torch.ones(1)}, "big"),
        ({"256.relu1_2": torch.zeros(3), "256.relu1_2.scale": torch.ones(1)}, "relu4_3"),
        ({"0.relu1_2": torch.zeros(3)}, "0 is not a size"),
        ({"256.relu1_2": torch.zeros(2080), "256.relu1_2.scale": torch.ones(5000)}, "scale is of"),
    ],
    ids=["no style", "no scale", "no triangle", "no size", "a layer is missing", "0", "scales"],
)
def test_a_file_without_a_whole_style_is_damaged(tensors, reason, tmp_path):
    save_file(tensors, tmp_path / "style.safetensors")

    with pytest.raises(CorruptBundleError, match=rf"(?s)holds no style statistics.*{reason}"):
        load_style(tmp_path / "style.safetensors")


def test_a_file_of_something_else_is_damaged(tmp_path):
    (tmp_path / "style.safetensors").write_bytes(b"Gogh")

    with pytest.raises(CorruptBundleError, match="can't be read"):
        load_style(tmp_path / "style.safetensors")


@pytest.mark.parametrize(
    ("asked", "given"), [(64, 256), (256, 256), (300, 256), (370, 512), (700, 512), (4096, 1024)]
)
def test_at_gives_the_size_nearest_in_ratio(asked, given):
    statistics = StyleStatistics({size: {"relu1_2": torch.tensor(size)} for size in STYLE_SIZES})

    assert statistics.at(asked)["relu1_2"] == given


def test_the_mean_gram_of_two_pictures_by_hand(vgg):
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
    wide = rng.integers(0, 256, (16, 40, 3), dtype=np.uint8)

    mean = mean_grams([small, wide], vgg)

    each = [
        gram_matrix(vgg(images_to_tensor([p]), ["relu2_2"])["relu2_2"])[0] for p in (small, wide)
    ]
    assert list(mean) == list(STYLE_LAYERS)
    torch.testing.assert_close(mean["relu2_2"], (each[0] + each[1]) / 2)


def test_mean_grams_can_be_trained_against(vgg):
    gram = mean_grams([np.zeros((16, 16, 3), np.uint8)], vgg)["relu1_2"]
    weight = torch.ones(1, requires_grad=True)

    (gram * weight).sum().backward()  # a tensor of inference mode would refuse

    torch.testing.assert_close(weight.grad, gram.sum().reshape(1))


def test_a_painting_is_scaled_by_its_long_side(vgg, painting):
    statistics = statistics_of_painting(painting, vgg, sizes=(96, 192))

    # at 192 it is the painting itself, 96 x 192
    torch.testing.assert_close(
        statistics.grams[192]["relu1_2"], mean_grams([painting], vgg)["relu1_2"]
    )
    assert list(statistics.grams) == [96, 192]
    assert not torch.allclose(
        statistics.grams[96]["relu2_2"], statistics.grams[192]["relu2_2"], rtol=0.01
    )


def test_a_ribbon_is_no_painting(vgg):
    ribbon = np.zeros((4, 200, 3), np.uint8)

    with pytest.raises(OptionError, match="too narrow"):
        statistics_of_painting(ribbon, vgg)


def test_the_style_of_outputs_is_their_mean_at_each_size(vgg):
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (16, 16, 3), dtype=np.uint8) for _ in range(3)]

    style = statistics_of_outputs({256: iter(pictures[:2]), 512: iter(pictures[2:])}, vgg)

    assert torch.equal(style.grams[256]["relu3_3"], mean_grams(pictures[:2], vgg)["relu3_3"])
    assert torch.equal(style.grams[512]["relu3_3"], mean_grams(pictures[2:], vgg)["relu3_3"])
