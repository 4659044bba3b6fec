"""The whole path on a teacher so small that it takes seconds."""

import dataclasses
import json
from pathlib import Path

import pytest

from nstc.compress import pipeline
from nstc.compress.pipeline import PRESETS, compress, preset, split_photos
from nstc.core.bundle import Bundle, open_bundle
from nstc.core.errors import Interrupted, OptionError, OutputError
from nstc.core.images import read_picture
from nstc.core.photos import PhotoSet
from nstc.core.recipe import (
    BenchRecipe,
    DistillRecipe,
    PruneRecipe,
    QuantizeRecipe,
    Recipe,
)

TINY = Recipe(
    distill=DistillRecipe(
        width=16,
        blocks=1,
        pixel_steps=2,
        steps=2,
        size=64,
        perceptual_size=64,
        batch=1,
    ),
    prune=PruneRecipe(ratio=0.5, steps=1),
    quantize=QuantizeRecipe(calibration_photos=1, calibration_size=64),
    bench=BenchRecipe(size=64, rounds=3, threads=1, quality_photos=1),
)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NSTC_CACHE", str(tmp_path / "cache"))


def test_all_stages_are_made_measured_and_shown(
    styled_teacher: Bundle, photos: PhotoSet, tmp_path: Path, recorder: type
) -> None:
    told = recorder()
    output = tmp_path / "out"
    made = compress(
        styled_teacher.path,
        output,
        recipe=TINY,
        photos=[photos.paths[0].parent],
        progress=told,
    )
    assert set(made.bundle.artifacts) == {"onnx", "int8.onnx", "ts"}
    assert [(Path(row.model).name, row.artifact) for row in made.result.rows] == [
        ("distilled", "onnx"),
        ("pruned", "onnx"),
        ("student", "int8.onnx"),
        ("student", "onnx"),
    ]
    assert made.result.rows[0].macs > made.result.rows[1].macs
    assert json.loads((output / "bench.json").read_text())["schema"] == "nstc.bench/1"
    assert read_picture(made.comparison).rgb.shape[1] > 4 * 300
    card = (made.bundle.path / "README.md").read_text()
    assert "### distill" in card
    assert "model.int8.onnx" in card
    notes = "\n".join(told.notes)
    assert "learning from 2 photographs: 0, 1" in notes
    assert "distilled: " in notes
    assert "style_ratio" in notes


def test_a_second_run_takes_over_what_is_there_and_a_changed_one_does_not(
    styled_teacher: Bundle, photos: PhotoSet, tmp_path: Path, recorder: type
) -> None:
    folder = [photos.paths[0].parent]
    compress(styled_teacher.path, tmp_path / "out", recipe=TINY, photos=folder)
    first = {
        name: open_bundle(tmp_path / "out" / name).identity for name in ("distilled", "pruned")
    }

    again = recorder()
    compress(styled_teacher.path, tmp_path / "out", recipe=TINY, photos=folder, progress=again)
    assert [n for n in again.notes if "taken over" in n] == [
        f"{stage}: taken over from an earlier run" for stage in ("distilled", "pruned", "student")
    ]

    changed = dataclasses.replace(TINY, prune=PruneRecipe(ratio=0.5, steps=2))
    told = recorder()
    compress(styled_teacher.path, tmp_path / "out", recipe=changed, photos=folder, progress=told)
    assert [n for n in told.notes if "taken over" in n] == [
        "distilled: taken over from an earlier run"
    ]
    assert open_bundle(tmp_path / "out" / "distilled").identity == first["distilled"]
    assert open_bundle(tmp_path / "out" / "pruned").identity != first["pruned"]


def test_a_run_stopped_in_a_stage_ends_as_if_it_had_not_been(
    styled_teacher: Bundle, photos: PhotoSet, tmp_path: Path, recorder: type
) -> None:
    folder = [photos.paths[0].parent]
    whole = compress(styled_teacher.path, tmp_path / "whole", recipe=TINY, photos=folder)
    with pytest.raises(Interrupted):
        compress(
            styled_teacher.path,
            tmp_path / "stopped",
            recipe=TINY,
            photos=folder,
            progress=recorder(ctrl_c_at=("perceptual", 1)),
        )
    resumed = compress(styled_teacher.path, tmp_path / "stopped", recipe=TINY, photos=folder)
    assert resumed.bundle.identity == whole.bundle.identity


def test_a_folder_of_the_users_own_is_not_written_into(
    styled_teacher: Bundle, tmp_path: Path
) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputError, match="not nstc's"):
        compress(styled_teacher.path, tmp_path, recipe=TINY)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_what_is_learned_from_never_judges(photos: PhotoSet) -> None:
    learned, judged = split_photos([])
    assert set(learned.paths).isdisjoint(judged.paths)
    assert {"chelsea", "coffee"} <= {path.stem for path in judged}
    learned, judged = split_photos([photos.paths[0].parent])
    assert learned.paths == photos.paths
    assert set(learned.paths).isdisjoint(judged.paths)


def test_presets_are_there_by_name_and_no_other() -> None:
    quick, full = (preset(name) for name in PRESETS)
    assert quick.distill.steps < full.distill.steps
    with pytest.raises(OptionError, match="quick and full"):
        preset("fast")
    assert pipeline.PRESETS == ("quick", "full")
