"""The card of a model, of manifests and results written by hand, and its pictures side by side."""

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nstc.benchmarks.quality.metrics import METRICS
from nstc.benchmarks.result import (
    BenchProtocol,
    BenchResult,
    LatencySummary,
    Quality,
    Reference,
    Row,
)
from nstc.benchmarks.timing.statistics import Interval, Tail
from nstc.compress import card as card_module
from nstc.compress.card import FRONTIER_FILE, card, with_card, write_comparison, write_preview
from nstc.core.bundle import CARD_FILE, PREVIEW_FILE, Bundle, open_bundle, revised_bundle
from nstc.core.errors import ArtifactError, CorruptBundleError, OutputError
from nstc.core.images import Pixels, read_picture
from nstc.core.manifest import Origin, PhotoRecord, Step
from nstc.core.photos import PhotoSet, sample_photos
from nstc.runtime.session import open_session

SIZE = 64
MEDIANS = {
    **{"style_ratio": 1.234, "content_ratio": 0.987, "ssim": 0.8125, "psnr_db": 24.56},
    **{"checkerboard_ratio": 0.51, "flicker_ratio": 0.52},
}


def row(model: str, artifact: str = "int8.onnx", photos: int = 4, **medians: float) -> Row:
    found = {metric.name: 0.5 for metric in METRICS} | MEDIANS | medians
    return Row(
        model=model,
        artifact=artifact,
        target="cpu:2",
        size=512,
        latency_ms=LatencySummary.of((4.0, 5.0, 6.0)),
        speedup=Interval(median=81.26, low=79.04, high=84.95),
        params=58_123,
        macs=940_000_000,
        size_bytes=81_499,
        quality=Quality(
            metrics={name: Interval(median=m, low=m, high=m) for name, m in found.items()},
            photos=photos,
            teacher="zoo:starry-night/teacher",
            style_source="painting",
        ),
    )


def result_of(*rows: Row) -> BenchResult:
    return BenchResult(
        machine={"cpu": "some"},
        protocol=BenchProtocol(
            rounds=3,
            size=512,
            photos=PhotoRecord(count=4, sets=("samples",), list_sha256="c" * 64),
            seed=0,
            vgg="d" * 64,
            reference="teacher",
        ),
        references=(
            Reference(
                model="teacher",
                artifact="onnx",
                target="cpu:2",
                latency_ms=LatencySummary.of((400.0, 410.0, 390.0)),
            ),
        ),
        rows=rows,
    )


def untouched(photo: Pixels) -> Pixels:
    """A teacher that gives the photograph back."""
    return photo


@pytest.fixture
def two_photos() -> PhotoSet:
    return sample_photos().take(2)


class TestWithCard:
    def test_the_models_own_rows_are_kept_without_their_samples(
        self, bundle: Bundle, two_photos: PhotoSet
    ) -> None:
        path = str(bundle.path)
        result = result_of(row("another"), row(path), row(path, "onnx"))
        made = with_card(bundle, result, two_photos, untouched)
        first, second = made.manifest.measurements
        assert (first["model"], first["artifact"]) == ("negative", "int8.onnx")
        assert second["artifact"] == "onnx"
        assert first["protocol"] == result.protocol.id
        assert first["latency_ms"] == {"median": 5.0, "iqr": 1.0, "p95": 5.9}
        assert first["speedup"] == {"median": 81.26, "low": 79.04, "high": 84.95}

    def test_card_and_preview_are_files_of_the_bundle_and_the_rest_stays(
        self, bundle: Bundle, two_photos: PhotoSet
    ) -> None:
        made = with_card(bundle, result_of(row(str(bundle.path))), two_photos, untouched)
        assert made.path == bundle.path
        assert made.identity == bundle.identity
        assert set(made.manifest.files) == {*bundle.manifest.files, CARD_FILE, PREVIEW_FILE}
        for name in made.manifest.files:
            made.file(name)  # its hash is the manifest's
        assert (made.path / CARD_FILE).read_text(encoding="utf-8") == card(
            dataclasses.replace(made.manifest, files={}), made.path
        )

    def test_a_second_card_replaces_the_first(self, bundle: Bundle, two_photos: PhotoSet) -> None:
        path = str(bundle.path)
        made = with_card(bundle, result_of(row(path), row(path, "onnx")), two_photos, untouched)
        again = with_card(made, result_of(row(path, style_ratio=1.111)), two_photos, untouched)
        assert len(again.manifest.measurements) == 1
        assert "| 1.111 |" in (again.path / CARD_FILE).read_text()

    def test_a_ratio_to_a_teacher_without_loss_is_infinite(
        self, bundle: Bundle, two_photos: PhotoSet
    ) -> None:
        result = result_of(row(str(bundle.path), style_ratio=math.inf))
        made = with_card(bundle, result, two_photos, untouched)
        assert "| ∞ | 0.987 |" in (made.path / CARD_FILE).read_text(encoding="utf-8")


class TestPreview:
    def test_shows_photographs_above_their_stylised_pictures(
        self, bundle: Bundle, two_photos: PhotoSet, tmp_path: Path
    ) -> None:
        write_preview(tmp_path, [open_session(bundle).run], two_photos)
        sheet = read_picture(tmp_path / PREVIEW_FILE).rgb.astype(int)
        size = 192
        above, below = sheet[:size, :size], sheet[-size:, :size]
        square = next(two_photos.squares(size)).astype(int)
        # The model paints negatives; JPEG changes single pixels a little.
        assert np.abs(above - square).mean() < 8
        assert np.abs(below - (255 - square)).mean() < 8

    def test_shows_the_teachers_pictures_between(
        self, bundle: Bundle, two_photos: PhotoSet, tmp_path: Path
    ) -> None:
        write_preview(tmp_path, [untouched, open_session(bundle).run], two_photos)
        sheet = read_picture(tmp_path / PREVIEW_FILE).rgb.astype(int)
        size = 192
        middle = sheet[size + 4 : 2 * size + 4, :size]
        square = next(two_photos.squares(size)).astype(int)
        assert sheet.shape[0] == 3 * size + 8
        assert np.abs(middle - square).mean() < 8

    def test_shows_six_photographs_at_most(self, bundle: Bundle, tmp_path: Path) -> None:
        write_preview(tmp_path, [open_session(bundle).run], sample_photos())
        width = read_picture(tmp_path / PREVIEW_FILE).rgb.shape[1]
        assert 6 * 192 <= width < 7 * 192


class TestCard:
    def measured(self, bundle: Bundle, two_photos: PhotoSet, photos: int = 4) -> str:
        made = with_card(
            bundle, result_of(row(str(bundle.path), photos=photos)), two_photos, untouched
        )
        return (made.path / CARD_FILE).read_text(encoding="utf-8")

    def test_says_what_the_model_is(self, bundle: Bundle) -> None:
        text = card(bundle.manifest)
        assert text.startswith("# negative\n\n- stage: quantized\n")
        assert "- architecture: student (blocks 1, inner [8], width 8)" in text
        assert "- style: negative, Nobody, 2020 (statistics of painting)" in text
        assert f"- teacher: teacher, sha256 {'0' * 16}\n" in text
        assert "receptive field: 35 pixels across; locality: exact" in text
        assert f"![preview]({PREVIEW_FILE})" in text
        assert text.endswith("generated from `manifest.json` and the graphs beside it.\n")

    def test_says_what_it_was_made_of_and_how(self, bundle: Bundle) -> None:
        photos = PhotoRecord(count=7, sets=("holiday", "work"), list_sha256="ab" * 32)
        step = Step(verb="prune", recipe={"ratio": 0.25, "steps": 9}, photos=photos)
        manifest = dataclasses.replace(
            bundle.manifest,
            parent=Origin(name="small", sha256="1" * 64, zoo="zoo:starry-night"),
            history=(*bundle.manifest.history, step),
        )
        text = card(manifest)
        assert "- parent bundle: zoo:starry-night\n" in text
        assert "### distill\n\nRecipe: steps 1.\n\nResults: loss 0.5.\n" in text
        assert (
            "### prune\n\nOn 7 photographs of holiday, work (list sha256 abababababababab).\n\n"
            "Recipe: ratio 0.25, steps 9.\n"
        ) in text

    def test_shows_no_shape_that_a_step_was_given_in_vain(self, bundle: Bundle) -> None:
        shape = {"student": "separable", "width": 64, "blocks": 6, "scale": None}
        steps = (
            Step(verb="distill", recipe={**shape, "init": None, "steps": 1}),
            Step(verb="distill", recipe={**shape, "init": "1" * 64, "steps": 2}),
            Step(verb="prune", recipe={**shape, "init": None, "steps": 3}),
        )
        text = card(dataclasses.replace(bundle.manifest, history=steps))
        fresh, started, pruned = text.partition("## How it was made")[2].split("### ")[1:]
        assert "width 64, blocks 6" in fresh
        assert f"Recipe: init {'1' * 64}, steps 2." in started
        assert "Recipe: init None, steps 3." in pruned

    @pytest.mark.parametrize(
        ("known", "line"), [({"path": "/home/me/small"}, "- parent bundle: small\n"), ({}, "")]
    )
    def test_names_no_start_that_a_reader_can_not_find(
        self, bundle: Bundle, known: dict[str, str], line: str
    ) -> None:
        parent = Origin(name="small", sha256="1" * 64, **known)
        text = card(dataclasses.replace(bundle.manifest, parent=parent))
        assert text.count("parent bundle") == text.count("- parent bundle: small\n") == bool(line)

    def test_folds_away_all_but_the_last_three_steps(self, bundle: Bundle) -> None:
        steps = tuple(Step(verb=f"v{number}", recipe={"n": number}) for number in range(5))
        of_three, of_five = (
            card(dataclasses.replace(bundle.manifest, history=few)) for few in (steps[2:], steps)
        )
        assert "<details>" not in of_three
        at = [of_five.index(f"### v{number}\n") for number in (2, 3, 4)]
        folded = of_five.index("<details><summary>Before that: 2 steps</summary>\n\n### v0\n")
        assert sorted(at) == at < [folded]
        assert folded < of_five.index("### v1\n") < of_five.index("</details>")

    def test_says_which_int8_files_are_the_same_everywhere(self) -> None:
        shipped = open_bundle("zoo:starry-night")
        text = card(shipped.manifest, folder=shipped.path)
        for file in ("model.int8.onnx", "model.int8.tiles.onnx"):
            line = next(line for line in text.splitlines() if line.startswith(f"- {file}: "))
            assert "float nodes remain in front" in line
            assert "within 1/255 on all but 0.1 % of values" in line

    def test_of_a_model_that_was_not_measured_has_no_table(self, bundle: Bundle) -> None:
        assert "## Measured" not in card(bundle.manifest)

    def test_of_a_model_without_style_names_none(self, bundle: Bundle) -> None:
        assert "- style" not in card(dataclasses.replace(bundle.manifest, style=None))

    def test_has_the_measured_numbers(self, bundle: Bundle, two_photos: PhotoSet) -> None:
        text = self.measured(bundle, two_photos)
        assert (
            "| file | KB | times faster (95 %) | style ratio | content ratio | local style | SSIM "
            "| grid ratio | flicker ratio |" in text
        )
        assert (
            "| model.int8.onnx | 81 | 81.3 (79.0 to 85.0) | 1.234 | 0.987 | 0.500 | 0.812 "
            "| 0.510 | 0.520 |" in text
        )
        assert "By `nstc bench` at 512x512 on cpu:2, protocol " in text
        assert "58,123 parameters, 0.94 GMACs." in text

    def test_has_the_worst_photographs_where_they_were_measured(
        self, bundle: Bundle, two_photos: PhotoSet
    ) -> None:
        tails = {"style_ratio": Tail(p90=1.3, worst=1.75, worst_photo="sk|y_<img src=x>.jpg")}
        one, path = row(str(bundle.path)), str(bundle.path)
        judged = dataclasses.replace(one, quality=dataclasses.replace(one.quality, tails=tails))
        result = result_of(judged, row(path, "onnx"))
        text = card(with_card(bundle, result, two_photos, untouched).manifest)
        assert "| file | style ratio p90 | style ratio worst |" in text
        assert "| model.int8.onnx | 1.300 | 1.750 (sk\\|y\\_\\<img src=x\\>.jpg) |" in text
        assert "| model.onnx | – | – |" in text
        old = card(with_card(bundle, result_of(one), two_photos, untouched).manifest)
        assert "90th percentile" not in old

    def test_has_no_column_of_a_metric_that_is_newer_than_the_measurements(
        self, bundle: Bundle, two_photos: PhotoSet
    ) -> None:
        made = with_card(bundle, result_of(row(str(bundle.path))), two_photos, untouched)
        assert "| local style |" in card(made.manifest)
        [measured] = made.manifest.measurements
        quality = {k: v for k, v in measured["quality"].items() if k != "local_style_distance"}
        older = ({**measured, "quality": quality},)
        assert "local style" not in card(dataclasses.replace(made.manifest, measurements=older))

    def test_has_a_table_for_each_list_of_photographs(
        self, bundle: Bundle, two_photos: PhotoSet
    ) -> None:
        judged_by = {"count": 96, "sets": ["unseen"], "list_sha256": "ef" * 32}
        made = with_card(bundle, result_of(row(str(bundle.path))), two_photos, untouched)
        other = {**made.manifest.measurements[0], "judged_by": judged_by}
        other["quality"] = {**other["quality"], "style_ratio": 1.5, "photos": 96}
        rows = (*made.manifest.measurements, other)
        text = card(dataclasses.replace(made.manifest, measurements=rows))
        assert f"On 4 photographs of samples (list sha256 {'c' * 16})" in text
        assert f"On 96 photographs of unseen (list sha256 {'ef' * 8})" in text
        assert text.index("| 1.234 |") < text.index("of unseen") < text.index("| 1.500 |")

    def test_a_metric_that_was_not_taken_has_no_number(
        self, bundle: Bundle, two_photos: PhotoSet
    ) -> None:
        made = with_card(bundle, result_of(row(str(bundle.path))), two_photos, untouched)
        measured = made.manifest.measurements[0]
        quality = {k: v for k, v in measured["quality"].items() if k != "flicker_ratio"}
        both = (measured, {**measured, "quality": quality})
        text = card(dataclasses.replace(made.manifest, measurements=both))
        assert "| 0.510 | 0.520 |\n" in text
        assert "| 0.510 | – |\n" in text

    def test_an_older_manifest_has_other_names_of_metrics(self) -> None:
        shipped = open_bundle("zoo:starry-night").manifest
        assert "edge_preservation" in shipped.measurements[0]["quality"]
        assert "| SSIM | grid ratio | flicker ratio |" in card(shipped)

    @pytest.mark.parametrize(
        "change", [{"speedup": None}, {"quality": {}}, {"macs": "many"}, {"judged_by": [1]}]
    )
    def test_of_measurements_in_another_form_is_refused(self, bundle: Bundle, change: Any) -> None:
        row = {**open_bundle("zoo:udnie").manifest.measurements[0], **change}
        with pytest.raises(CorruptBundleError, match=rf"\[0\]\.{next(iter(change))}"):
            card(dataclasses.replace(bundle.manifest, measurements=(row,)))

    def test_marks_intervals_over_few_photographs(
        self, bundle: Bundle, two_photos: PhotoSet
    ) -> None:
        assert ": few, the intervals are wide." in self.measured(bundle, two_photos)
        assert "few" not in self.measured(bundle, two_photos, 20)

    def test_shows_its_place_beside_others_where_it_was_drawn(
        self, bundle: Bundle, tmp_path: Path
    ) -> None:
        assert FRONTIER_FILE not in card(bundle.manifest, tmp_path)
        (tmp_path / FRONTIER_FILE).touch()
        assert f"]({FRONTIER_FILE})" in card(bundle.manifest, tmp_path)


@pytest.fixture(autouse=True)
def _small_sheets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(card_module, "SHEET_SIZE", SIZE)


def dark(rgb: Pixels) -> Pixels:
    return rgb // 2


@pytest.fixture
def negative(
    make_bundle: Callable[..., Bundle], linear: Callable[..., Path], tmp_path: Path
) -> Bundle:
    """Its int8 file paints the negative, its float file the photograph itself."""
    bundle = make_bundle(tmp_path / "student", artifacts=("int8",))
    with revised_bundle(bundle, bundle.path, bundle.manifest) as draft:
        linear(draft / "model.onnx", 1, 0)
    return open_bundle(bundle.path)


def test_each_photograph_has_a_row_of_four_pictures(
    negative: Bundle, photos: PhotoSet, tmp_path: Path
) -> None:
    write_comparison(tmp_path / "sheet.png", dark, negative, photos)
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


def test_each_column_is_labelled(negative: Bundle, photos: PhotoSet, tmp_path: Path) -> None:
    write_comparison(tmp_path / "sheet.png", dark, negative, photos)
    sheet = read_picture(tmp_path / "sheet.png").rgb
    labels = sheet[: sheet.shape[0] - 2 * SIZE - 4]
    for column in range(4):
        assert labels[:, column * (SIZE + 4) : column * (SIZE + 4) + SIZE].min() < 128


@pytest.mark.parametrize("missing", ["int8", "float"])
def test_a_student_without_one_of_its_files_is_told_how_to_make_it(
    make_bundle: Callable[..., Bundle],
    photos: PhotoSet,
    tmp_path: Path,
    missing: str,
) -> None:
    there = {"int8": "float", "float": "int8"}[missing]
    negative = make_bundle(tmp_path / "student", artifacts=(there,))
    with pytest.raises(ArtifactError, match=r"Make it by (quantizing|exporting)"):
        write_comparison(tmp_path / "sheet.png", dark, negative, photos)


def test_a_place_that_cannot_be_written_is_an_output_error(
    negative: Bundle, photos: PhotoSet, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        write_comparison(tmp_path / "file" / "sheet.png", dark, negative, photos)
