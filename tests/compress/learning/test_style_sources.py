"""The style of a painting."""

from pathlib import Path

import numpy as np
import pytest
import torch

from nstc.core.errors import ImageError, OptionError
from nstc.core.images import Picture, Pixels, read_picture, write_picture
from nstc.core.manifest import Style
from nstc.models.losses import STYLE_LAYERS, gram_matrix
from nstc.models.style import STYLE_SIZES, StyleStatistics, painting_style
from nstc.models.tensors import images_to_tensor
from nstc.models.vgg import VggFeatures


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
    write_picture(path, Picture(rgb=np.zeros((2, 200, 3), np.uint8)))
    with pytest.raises(OptionError, match="too narrow"):
        painting_style(path, credit=None, vgg="shipped")


def test_unknown_vgg_weights_are_refused(painting: Path) -> None:
    with pytest.raises(OptionError, match="no VGG weights at vgg19"):
        painting_style(painting, credit=None, vgg="vgg19")
