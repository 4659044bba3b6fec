"""The side-by-side picture, of networks whose pictures are known."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nstc.compress import side_by_side
from nstc.compress.distillation.teachers import Teacher
from nstc.compress.side_by_side import write_comparison
from nstc.core.bundle import Bundle, open_bundle, revised_bundle
from nstc.core.errors import ArtifactError, OutputError
from nstc.core.images import read_picture
from nstc.core.manifest import Origin
from nstc.core.photos import PhotoSet

SIZE = 64


@pytest.fixture(autouse=True)
def _small_sheets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(side_by_side, "SHEET_SIZE", SIZE)


@pytest.fixture
def teacher() -> Teacher:
    """Halves the brightness."""
    return Teacher(origin=Origin(name="dark", sha256="0" * 64), stylize=lambda rgb: rgb // 2)


@pytest.fixture
def student(
    make_bundle: Callable[..., Bundle], linear: Callable[..., Path], tmp_path: Path
) -> Bundle:
    """Its int8 file paints the negative, its float file the photograph itself."""
    bundle = make_bundle(tmp_path / "student", artifacts=("int8",))
    with revised_bundle(bundle, bundle.path, bundle.manifest) as draft:
        linear(draft / "model.onnx", 1, 0)
    return open_bundle(bundle.path)


def test_each_photograph_has_a_row_of_four_pictures(
    teacher: Teacher, student: Bundle, photos: PhotoSet, tmp_path: Path
) -> None:
    write_comparison(tmp_path / "sheet.png", teacher, student, photos)
    sheet = read_picture(tmp_path / "sheet.png").rgb.astype(int)
    squares = [square.astype(int) for square in photos.squares(SIZE)]
    height, width = sheet.shape[:2]
    gap = (width - 4 * SIZE) // 3
    label = height - 2 * SIZE - gap
    for row, square in enumerate(squares):
        top = label + row * (SIZE + gap)
        expected = [square, square // 2, square, 255 - square]
        for column, picture in enumerate(expected):
            left = column * (SIZE + gap)
            found = sheet[top : top + SIZE, left : left + SIZE]
            assert np.abs(found - picture).max() <= 1, (row, column)


def test_each_column_is_labelled(
    teacher: Teacher, student: Bundle, photos: PhotoSet, tmp_path: Path
) -> None:
    write_comparison(tmp_path / "sheet.png", teacher, student, photos)
    sheet = read_picture(tmp_path / "sheet.png").rgb
    labels = sheet[: sheet.shape[0] - 2 * SIZE - 4]
    for column in range(4):
        assert labels[:, column * (SIZE + 4) : column * (SIZE + 4) + SIZE].min() < 128


@pytest.mark.parametrize("missing", ["int8", "float"])
def test_a_student_without_one_of_its_files_is_told_how_to_make_it(
    teacher: Teacher,
    make_bundle: Callable[..., Bundle],
    photos: PhotoSet,
    tmp_path: Path,
    missing: str,
) -> None:
    there = {"int8": "float", "float": "int8"}[missing]
    student = make_bundle(tmp_path / "student", artifacts=(there,))
    with pytest.raises(ArtifactError, match="Make it with: nstc"):
        write_comparison(tmp_path / "sheet.png", teacher, student, photos)


def test_a_place_that_cannot_be_written_is_an_output_error(
    teacher: Teacher, student: Bundle, photos: PhotoSet, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        write_comparison(tmp_path / "file" / "sheet.png", teacher, student, photos)
