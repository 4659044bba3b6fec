"""A painting as a style: what is kept of it, and its colours."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from nstc.core.errors import CorruptBundleError, ImageError, OptionError
from nstc.core.images import Picture, Pixels, read_picture, write_picture
from nstc.core.images.paintings import read_painting
from nstc.core.manifest import Style
from nstc.models import style
from nstc.models.losses import STYLE_LAYERS, gram_distance, gram_matrix
from nstc.models.style import (
    STYLE_SIZES,
    StyleStatistics,
    color_statistics,
    load_style,
    mean_grams,
    painting_style,
    recolored,
    statistics_of_outputs,
    statistics_of_painting,
)
from nstc.models.tensors import images_to_tensor, save_tensors
from nstc.models.vgg import VggFeatures


@pytest.fixture
def canvas():
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


def test_a_style_keeps_its_identity_through_its_file(statistics):
    kept = StyleStatistics.unpacked(statistics.packed())
    assert kept.identity == statistics.identity
    kept.grams[256]["relu1_2"][0, 0] *= 1.01
    assert StyleStatistics(kept.grams).identity != statistics.identity


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
        (
            {"256.relu1_2": torch.zeros(4), "256.relu1_2.scale": torch.ones(1)},
            "is 4, expected",
        ),
        ({"big.relu1_2": torch.zeros(3), "big.relu1_2.scale": torch.ones(1)}, "big"),
        ({"256.relu1_2": torch.zeros(3), "256.relu1_2.scale": torch.ones(1)}, "relu4_3"),
        ({"0.relu1_2": torch.zeros(3)}, "0 is not a size"),
        (
            {"256.relu1_2": torch.zeros(2080), "256.relu1_2.scale": torch.ones(5000)},
            "is 5000",
        ),
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


def test_a_painting_is_scaled_by_its_long_side(vgg, canvas):
    statistics = statistics_of_painting(canvas, vgg, sizes=(96, 192))

    # at 192 it is the canvas itself, 96 x 192
    torch.testing.assert_close(
        statistics.grams[192]["relu1_2"], mean_grams([canvas], vgg)["relu1_2"]
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


def grams_of(picture: Pixels, vgg: VggFeatures) -> dict[str, torch.Tensor]:
    features = vgg(images_to_tensor([picture]), STYLE_LAYERS)
    return {name: gram_matrix(feature)[0] for name, feature in features.items()}


def assert_close(statistics: StyleStatistics, size: int, expected: dict[str, torch.Tensor]) -> None:
    assert set(statistics.grams[size]) == set(STYLE_LAYERS)
    for name, gram in expected.items():
        torch.testing.assert_close(statistics.grams[size][name], gram)


def test_a_paintings_style_is_its_grams_at_each_size(painting: Path, vgg: VggFeatures) -> None:
    source = painting_style(painting, credit="Nobody, 2020", vgg="shipped")
    assert source.record == Style(name="stripes", source="painting", credit="Nobody, 2020")
    assert tuple(source.statistics.grams) == STYLE_SIZES
    # The painting's long side is 256, so that at this size it is looked at as it is.
    assert_close(source.statistics, 256, grams_of(read_picture(painting).rgb, vgg))
    coarse, fine = (source.statistics.grams[size]["relu2_2"] for size in (256, 1024))
    assert not torch.allclose(coarse, fine, rtol=0.01)


def test_a_painting_that_is_no_picture_is_an_image_error(tmp_path: Path) -> None:
    path = tmp_path / "starry.jpg"
    path.write_text("a night")
    with pytest.raises(ImageError, match=r"starry\.jpg"):
        painting_style(path, credit=None, vgg="shipped")


def test_a_painting_too_narrow_for_a_style_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "thread.png"
    thread = np.random.default_rng(0).integers(0, 256, (2, 200, 3)).astype(np.uint8)
    write_picture(path, Picture(rgb=thread))
    with pytest.raises(OptionError, match="too narrow"):
        painting_style(path, credit=None, vgg="shipped")


@pytest.mark.parametrize(("mode", "name"), [("RGBA", "a.png"), ("CMYK", "a.jpg")])
def test_transparent_and_printers_pictures_are_paintings(
    painting: Path, tmp_path: Path, mode: str, name: str
) -> None:
    Image.fromarray(read_picture(painting).rgb).convert(mode).save(tmp_path / name, quality=95)
    expected = painting_style(painting, credit=None, vgg="shipped").statistics.at(256)
    found = painting_style(tmp_path / name, credit=None, vgg="shipped").statistics.at(256)
    for layer, gram in found.items():
        assert float(gram_distance(gram[None], expected[layer][None])) < 0.05


def test_what_is_transparent_is_no_part_of_a_painting(painting: Path, tmp_path: Path) -> None:
    """Margins are cut off, whatever colours stand under them, and a hole has the mean colour."""
    seen = read_picture(painting).rgb
    rng, (height, width) = np.random.default_rng(0), seen.shape[:2]
    rgb = rng.integers(0, 256, (height + 60, width + 80, 3)).astype(np.uint8)
    alpha = np.zeros(rgb.shape[:2], np.uint8)
    rgb[20 : 20 + height, 50 : 50 + width] = seen
    alpha[20 : 20 + height, 50 : 50 + width] = 255
    write_picture(tmp_path / "cut.png", Picture(rgb=rgb, alpha=alpha))
    np.testing.assert_array_equal(read_painting(tmp_path / "cut.png"), seen)
    alpha[30, 60] = 100
    write_picture(tmp_path / "hole.png", Picture(rgb=rgb, alpha=alpha))
    holed = read_painting(tmp_path / "hole.png")
    np.testing.assert_allclose(holed[10, 10], seen.reshape(-1, 3).mean(axis=0), atol=1)
    holed[10, 10] = seen[10, 10]
    np.testing.assert_array_equal(holed, seen)


def test_nothing_is_no_painting(tmp_path: Path, canvas: np.ndarray) -> None:
    path = tmp_path / "glass.png"
    write_picture(path, Picture(rgb=canvas, alpha=np.zeros(canvas.shape[:2], np.uint8)))
    with pytest.raises(OptionError, match=r"glass\.png is transparent throughout"):
        painting_style(path, credit=None, vgg="shipped")


def test_a_wall_is_no_painting(tmp_path: Path) -> None:
    path = tmp_path / "wall.png"
    grain = np.random.default_rng(0).normal(120, 1, (80, 100, 3))  # of a camera
    write_picture(path, Picture(rgb=grain.round().astype(np.uint8)))
    with pytest.raises(OptionError, match=r"wall\.png is one colour throughout"):
        painting_style(path, credit=None, vgg="shipped")


def test_a_large_painting_is_looked_at_in_little_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(style, "statistics_of_painting", lambda *_: StyleStatistics({}))
    path = tmp_path / "large.png"
    rows = np.linspace(0, 255, 3000, dtype=np.uint8)[:, None, None]
    write_picture(path, Picture(rgb=np.broadcast_to(rows, (3000, 4000, 3)).copy()))
    tracemalloc.start()
    try:
        painting_style(path, credit=None, vgg="shipped")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3 * 3000 * 4000 * 3  # bytes of the picture


def test_a_thumbnail_is_no_painting(tmp_path: Path, canvas: np.ndarray) -> None:
    path = tmp_path / "thumb.png"
    write_picture(path, Picture(rgb=canvas[:40, :63]))
    with pytest.raises(OptionError, match=r"thumb\.png is 63x40 pixels: .* 64 at least"):
        painting_style(path, credit=None, vgg="shipped")


def test_unknown_vgg_weights_are_refused(painting: Path) -> None:
    with pytest.raises(OptionError, match="no VGG weights at vgg19"):
        painting_style(painting, credit=None, vgg="vgg19")


@pytest.fixture
def sunset() -> np.ndarray:
    """Reds from dark to light that are nowhere near the ends of the scale."""
    rng = np.random.default_rng(1)
    colors = np.array([150, 90, 60]) + rng.normal(0, 1, (60, 80, 1)) * [24, 12, 8]
    colors += rng.normal(0, 4, (60, 80, 3))
    return np.clip(colors, 0, 255).round().astype(np.uint8)


@pytest.fixture
def sea() -> np.ndarray:
    rng = np.random.default_rng(2)
    depth = rng.normal(0, 1, (50, 70, 1))
    own = rng.normal(0, 4, (50, 70, 3))
    colors = np.array([80, 120, 150]) + depth * [5, 12, 18] + own
    return np.clip(colors, 0, 255).round().astype(np.uint8)


def test_mean_and_covariance_by_hand() -> None:
    image = np.array([[[0, 10, 20], [4, 10, 40]]], dtype=np.uint8)
    found = color_statistics([image])
    np.testing.assert_allclose(found.mean, [2, 10, 30])
    np.testing.assert_allclose(found.covariance, [[4, 0, 20], [0, 0, 0], [20, 0, 100]])


def test_a_small_picture_counts_as_much_as_a_large_one() -> None:
    dark, light = np.zeros((2, 2, 3), np.uint8), np.full((90, 90, 3), 100, np.uint8)
    found = color_statistics([dark, light])
    np.testing.assert_allclose(found.mean, [50, 50, 50])
    np.testing.assert_allclose(found.covariance, np.full((3, 3), 2500))


def test_the_painting_takes_the_photographs_colours(sunset: np.ndarray, sea: np.ndarray) -> None:
    wanted = color_statistics([sea])
    found = color_statistics([recolored(sunset, wanted)])
    np.testing.assert_allclose(found.mean, wanted.mean, atol=0.2)
    np.testing.assert_allclose(found.covariance, wanted.covariance, atol=4)


def test_what_was_lighter_stays_lighter(sunset: np.ndarray, sea: np.ndarray) -> None:
    changed = recolored(sunset, color_statistics([sea]))
    before, after = sunset.mean(axis=2), changed.mean(axis=2)
    light = before > np.median(before)
    assert after[light].mean() > after[~light].mean() + 10  # were all kept in order it would be 19


def test_its_own_colours_change_nothing(sunset: np.ndarray) -> None:
    same = recolored(sunset, color_statistics([sunset]))
    assert np.abs(same.astype(int) - sunset).max() <= 1


def test_a_drawing_without_colours_gets_none_that_vary(sea: np.ndarray) -> None:
    grey = np.repeat(np.arange(60, 200, dtype=np.uint8)[:, None, None], 3, axis=2)
    changed = recolored(np.repeat(grey, 20, axis=1), color_statistics([sea]))
    spread = np.linalg.eigvalsh(color_statistics([changed]).covariance)
    assert spread[2] > 100
    assert spread[1] < 1  # all on one line
    assert changed.min() > 0


def test_one_flat_colour_becomes_another(sea: np.ndarray) -> None:
    wanted = color_statistics([sea])
    changed = recolored(np.full((8, 8, 3), 7, np.uint8), wanted)
    assert (changed == np.rint(wanted.mean)).all()
