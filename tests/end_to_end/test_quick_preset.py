"""What the two presets of some minutes promise, on networks that ship."""

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from nstc.benchmarks.bench import bench
from nstc.compress.pipeline import compress_model, preset, split_photos
from nstc.core.images import read_picture

pytestmark = pytest.mark.slow

TEACHER = "zoo:starry-night/teacher"


def untouched(path: Path) -> Path:
    """A network that gives back the photograph: as much content as can be, and no style."""
    shape = [1, 3, "height", "width"]
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", "y")]
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])], "untouched", tensors[:1], tensors[1:]
    )
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), path)
    return path


def test_the_quick_preset_leaves_the_photograph_for_the_painting(tmp_path: Path) -> None:
    recipe = preset("quick")
    made = compress_model(TEACHER, tmp_path / "out", recipe=recipe)
    rows = {(Path(row.model).name, row.artifact): row for row in made.result.rows}
    int8, floating = rows["student", "int8.onnx"], rows["student", "onnx"]
    _, judged = split_photos([])
    photograph = bench(
        [untouched(tmp_path / "untouched.onnx")],
        against=TEACHER,
        teacher=TEACHER,
        photos=judged,
        recipe=recipe.bench,
    ).rows[0]

    style = "style_ratio"
    untouched_style = photograph.quality.metrics[style].median
    assert int8.quality.metrics[style].median < 0.85 * untouched_style
    assert int8.quality.metrics[style].median < floating.quality.metrics[style].median + 0.1
    drift, noise = "color_drift", "psnr_db"
    assert int8.quality.metrics[drift].median < 0.75 * photograph.quality.metrics[drift].median
    assert int8.quality.metrics[noise].median > photograph.quality.metrics[noise].median + 3
    assert int8.speedup.low > 20
    assert int8.size_bytes < 250_000
    assert read_picture(made.comparison).rgb.std() > 30


def test_the_demo_takes_a_student_to_another_style(tmp_path: Path) -> None:
    start = "zoo:the-scream"
    recipe = preset("restyle-quick", start)
    made = compress_model(TEACHER, tmp_path / "out", recipe=recipe, init=start)
    rows = {(Path(row.model).name, row.artifact): row for row in made.result.rows}
    int8, floating = rows["student", "int8.onnx"], rows["student", "onnx"]

    assert int8.quality.metrics["style_ratio"].median <= 1.6
    assert int8.quality.metrics["content_ratio"].median < 1.5
    assert int8.quality.metrics["style_ratio"].median < (
        floating.quality.metrics["style_ratio"].median + 0.1
    )
    assert int8.speedup.low > 20
