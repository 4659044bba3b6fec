"""The style of a teacher that came without a painting."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from nstc.compress.distillation import teachers
from nstc.compress.distillation.teachers import Teacher, style_of_teacher
from nstc.core.errors import CorruptBundleError
from nstc.core.graph_form import GraphForm
from nstc.core.images import Pixels
from nstc.core.manifest import Origin, Style
from nstc.core.photos import sample_photos
from nstc.models.style import STYLE_SIZES, mean_grams
from nstc.models.vgg import VggFeatures

pytestmark = pytest.mark.usefixtures("_two_photographs")


@pytest.fixture
def _two_photographs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teachers, "_PHOTOS", 2)
    monkeypatch.setattr(teachers, "STYLE_SIZES", (64, 96))


def negative(rgb: Pixels) -> Pixels:
    return 255 - rgb


def foreign(
    stylize: Callable[[Pixels], Pixels] = negative, form: GraphForm | None = None
) -> Teacher:
    origin = Origin(name="net", sha256="ab" * 32, form=form or GraphForm(layout="NCHW"))
    return Teacher(origin=origin, stylize=stylize)


def style(teacher: Teacher, told: object, painting: Path | None = None):
    return style_of_teacher(teacher, painting, credit=None, vgg="shipped", progress=told)


def test_it_is_the_mean_gram_of_its_own_pictures(vgg: VggFeatures, recorder: type) -> None:
    source = style(foreign(), recorder())
    pictures = [negative(square) for square in sample_photos().take(2).squares(64)]

    assert source.record == Style(name="net", source="outputs")
    assert set(source.statistics.grams) == {64, 96}
    for name, gram in mean_grams(pictures, vgg).items():
        kept = source.statistics.grams[64][name]
        torch.testing.assert_close(kept, gram, rtol=2e-3, atol=2e-3 * float(gram.abs().max()))


def test_it_is_worked_out_once_for_a_network_fed_in_one_way(recorder: type) -> None:
    asked: list[tuple[int, ...]] = []

    def counting(rgb: Pixels) -> Pixels:
        asked.append(rgb.shape)
        return negative(rgb)

    told = recorder()
    first = style(foreign(counting), told)
    again = style(foreign(counting), recorder())
    assert len(asked) == 4
    assert told.begun == [("style of the teacher's pictures", 4, 0)]
    assert torch.equal(first.statistics.grams[96]["relu1_2"], again.statistics.grams[96]["relu1_2"])
    style(foreign(counting, form=GraphForm(layout="NHWC")), recorder())
    assert len(asked) == 8


def test_a_damaged_file_in_the_cache_is_named(
    recorder: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NSTC_CACHE", str(tmp_path))
    style(foreign(), recorder())
    (file,) = (tmp_path / "teacher-styles").iterdir()
    file.write_bytes(b"half a file")
    with pytest.raises(CorruptBundleError, match=file.name):
        style(foreign(), recorder())


def test_a_painting_goes_before(painting: Path, recorder: type) -> None:
    def never(rgb: Pixels) -> Pixels:
        pytest.fail(f"was asked for {np.shape(rgb)}")

    assert style(foreign(never), recorder(), painting).record.source == "painting"
    assert tuple(style(foreign(never), recorder(), painting).statistics.grams) == STYLE_SIZES
