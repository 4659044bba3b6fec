"""Quantizing ONNX files that others made: what goes in and comes out stays as it was."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

from nstc.compress.quantization.foreign_models import quantize_file
from nstc.core.errors import OptionError, PhotosError, TeacherError
from nstc.core.graph_form import read_inputs
from nstc.core.photos import PhotoSet
from nstc.core.recipe import QuantizeRecipe
from nstc.runtime.foreign.networks import ForeignSession
from nstc.runtime.foreign.probing import probe_contract

NO_PHOTOS = PhotoSet((), ())


def recipe_of(**fields: Any) -> QuantizeRecipe:
    small = {"calibration_photos": 2, "calibration_size": 96, "size": 96}
    return QuantizeRecipe(**{**small, **fields})


@pytest.fixture
def foreign(write_graph: Callable[..., Path], tmp_path: Path) -> Path:
    """Blurs a picture of 0 to 255 a little, through an operator that nstc does not know."""
    rng = np.random.default_rng(0)
    wide = np.zeros((8, 3, 3, 3), np.float32)
    wide[np.arange(8), np.arange(8) % 3, 1, 1] = 1
    wide += rng.normal(0, 0.01, wide.shape).astype(np.float32)
    back = np.zeros((3, 8, 3, 3), np.float32)
    for channel in range(8):
        back[channel % 3, channel, 1, 1] = 1 / (3 if channel % 3 < 2 else 2)
    return write_graph(
        tmp_path / "foreign.onnx",
        [
            helper.make_node("Conv", ["x", "wide", "bias"], ["a"], pads=[1] * 4),
            helper.make_node("Relu", ["a"], ["b"]),
            helper.make_node("Celu", ["b"], ["c"]),
            helper.make_node("Conv", ["c", "back"], ["y"], pads=[1] * 4),
        ],
        constants={"wide": wide, "back": back, "bias": np.ones(8, np.float32)},
    )


def run(path: Path, picture: np.ndarray) -> np.ndarray:
    result: np.ndarray = onnxruntime.InferenceSession(str(path)).run(None, {"x": picture})[0]
    return result


@pytest.mark.parametrize(
    ("recipe", "least_db"),
    [
        (recipe_of(), 30),
        (recipe_of(per_channel=False, calibrator="mse"), 30),
        (recipe_of(mode="dynamic"), 30),
        (recipe_of(mode="weights"), 40),
        (recipe_of(mode="weights", bits=4, rounding="adaptive"), 25),
        (recipe_of(mode="fp16"), 50),
    ],
    ids=lambda value: getattr(value, "mode", ""),
)
def test_every_mode_keeps_what_goes_in_and_comes_out(
    foreign: Path,
    photos: PhotoSet,
    tmp_path: Path,
    recipe: QuantizeRecipe,
    least_db: float,
) -> None:
    made = tmp_path / "made.onnx"
    report = quantize_file(foreign, made, photos=photos, recipe=recipe)
    assert report.psnr_db > least_db
    assert report.foreign_operators == ("Celu",)
    assert "unknown to nstc: Celu" in report.describe()
    assert report.describe().splitlines()[-2 if report.remarks else -1].count("Celu") == 1
    before, after = (onnx.load(path).graph for path in (foreign, made))
    assert (after.input[0].name, after.output[0].name) == ("x", "y")
    assert after.input[0].type == before.input[0].type
    assert [n.op_type for n in after.node].count("Celu") == 1
    picture = np.random.default_rng(1).uniform(0, 255, (1, 3, 40, 24)).astype(np.float32)
    assert np.abs(run(made, picture) - run(foreign, picture)).mean() < 12


def test_layers_stay_float_for_a_quality_on_the_graphs_own_scale(
    foreign: Path, photos: PhotoSet, tmp_path: Path
) -> None:
    plain = quantize_file(foreign, tmp_path / "a.onnx", photos=photos, recipe=recipe_of())
    asked = recipe_of(quality_budget=round(plain.psnr_db) + 5.0)
    report = quantize_file(foreign, tmp_path / "b.onnx", photos=photos, recipe=asked)
    assert 1 <= len(report.islands) <= 2
    assert report.islands[-1].psnr_db >= round(plain.psnr_db) + 5
    assert len(report.operators.left) == len(report.islands)


@pytest.mark.parametrize("mode", ["static", "weights"])
def test_the_file_that_was_made_is_opened_once(
    foreign: Path, photos: PhotoSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    opened, session = [], onnxruntime.InferenceSession

    def opening(graph: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(graph, str):  # and not what is calibrated, in memory
            opened.append(Path(graph).name)
        return session(graph, *args, **kwargs)

    monkeypatch.setattr(onnxruntime, "InferenceSession", opening)
    quantize_file(foreign, tmp_path / "made.onnx", photos=photos, recipe=recipe_of(mode=mode))
    assert opened.count("made.onnx") == 1


def test_what_is_quantized_already_is_refused(
    foreign: Path, photos: PhotoSet, tmp_path: Path
) -> None:
    quantize_file(foreign, tmp_path / "once.onnx", photos=photos, recipe=recipe_of())
    with pytest.raises(OptionError, match="quantized already, it has QuantizeLinear"):
        quantize_file(tmp_path / "once.onnx", tmp_path / "twice.onnx", photos=photos)
    assert not (tmp_path / "twice.onnx").exists()


def test_weights_beside_the_float_graph_count_as_its_size(
    foreign: Path, weights_beside: Callable[[Path], Path], tmp_path: Path
) -> None:
    weights_beside(foreign)
    data = foreign.with_name(f"{foreign.name}.data")
    made = tmp_path / "made.onnx"
    report = quantize_file(foreign, made, photos=NO_PHOTOS, recipe=recipe_of(mode="fp16"))
    assert report.float_size_bytes == foreign.stat().st_size + data.stat().st_size
    assert {path.name for path in tmp_path.iterdir()} == {foreign.name, data.name, made.name}


@pytest.mark.parametrize("name", ["bundle", "foreign.onnx"])
def test_the_output_is_another_onnx_file(
    foreign: Path, photos: PhotoSet, tmp_path: Path, name: str
) -> None:
    before = foreign.read_bytes()
    with pytest.raises(OptionError, match=r"-o NAME\.onnx"):
        quantize_file(foreign, tmp_path / name, photos=photos)
    assert foreign.read_bytes() == before


def test_how_it_is_fed_is_kept_in_the_file(foreign: Path, photos: PhotoSet, tmp_path: Path) -> None:
    made = tmp_path / "made.onnx"
    quantize_file(
        foreign, made, photos=photos, recipe=recipe_of(mode="fp16"), channels="bgr",
        input_range=255, mean=(1.0, 2.0, 3.0), output_mean=(0.0, 0.0, 0.0),
    )  # fmt: skip
    again = probe_contract(made)
    assert (again.channels, again.mean, again.certainty) == ("bgr", (1, 2, 3), "")
    assert probe_contract(made, channels="rgb", input_range=255).mean == (0, 0, 0)


@pytest.mark.parametrize("mode", ["static", "fp16"])
def test_inputs_besides_the_picture_stay_inputs(
    write_graph: Callable[..., Path], photos: PhotoSet, tmp_path: Path, mode: str
) -> None:
    path, made = tmp_path / "styles.onnx", tmp_path / "made.onnx"
    weight = np.zeros((3, 3, 3, 3), np.float32)
    weight[range(3), range(3), 1, 1] = 1
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1] * 4),
        helper.make_node("Gather", ["gains", "style"], ["gain"]),
        helper.make_node("Mul", ["c", "gain"], ["y"]),
    ]
    index = helper.make_tensor_value_info("style", onnx.TensorProto.INT64, [1])
    gains = np.array([0.5, 0.9], np.float32)
    write_graph(path, nodes, constants={"w": weight, "gains": gains}, more_inputs=[index])
    told = {"input_range": 1, "inputs": read_inputs(["style=0"])}
    report = quantize_file(path, made, photos=photos, recipe=recipe_of(mode=mode), **told)
    assert report.psnr_db > 30
    grey = np.full((96, 96, 3), 200, np.uint8)
    kept = ForeignSession(made, probe_contract(made))
    other = ForeignSession(made, probe_contract(made, inputs=read_inputs(["style=1"])))
    assert abs(int(kept.run(grey)[50, 50, 0]) - 100) <= 2
    assert abs(int(other.run(grey)[50, 50, 0]) - 180) <= 2


def test_photographs_are_needed_to_calibrate(foreign: Path, tmp_path: Path) -> None:
    with pytest.raises(PhotosError, match="--photos"):
        quantize_file(foreign, tmp_path / "made.onnx", photos=NO_PHOTOS)


def test_rubbish_is_refused(tmp_path: Path, photos: PhotoSet) -> None:
    (tmp_path / "rubbish.onnx").write_bytes(b"no graph")
    with pytest.raises(TeacherError, match="can't be loaded as ONNX"):
        quantize_file(tmp_path / "rubbish.onnx", tmp_path / "made.onnx", photos=photos)


def conv(source: str, weight: str, made: str) -> onnx.NodeProto:
    return helper.make_node("Conv", [source, weight], [made], pads=[1] * 4)


def weights(dtype: type = np.float32) -> dict[str, Any]:
    """Of two convolutions that widen a picture and bring it back, nearly as it was."""
    rng = np.random.default_rng(0)
    wide, back = np.zeros((8, 3, 3, 3)), np.zeros((3, 8, 3, 3))
    for channel in range(8):
        wide[channel, channel % 3, 1, 1] = 1
        back[channel % 3, channel, 1, 1] = 1 / (3 if channel % 3 < 2 else 2)
    wide += rng.normal(0, 0.01, wide.shape)
    return {"wide": wide.astype(dtype), "back": back.astype(dtype)}


RELU = helper.make_node("Relu", ["a"], ["b"])
PLAIN = [conv("x", "wide", "a"), RELU, conv("b", "back", "y")]
MODES = [
    recipe_of(),
    recipe_of(mode="dynamic"),
    recipe_of(mode="weights", rounding="adaptive"),
    recipe_of(mode="fp16"),
]


def float16(write_graph: Callable[..., Path], path: Path) -> Path:
    half = onnx.TensorProto.FLOAT16
    return write_graph(path, PLAIN, constants=weights(np.float16), dtype=half)


def float16_behind_casts(write_graph: Callable[..., Path], path: Path) -> Path:
    kept = {f"{name}16": value for name, value in weights(np.float16).items()}
    casts = [
        helper.make_node("Cast", [f"{name}16"], [name], to=onnx.TensorProto.FLOAT)
        for name in ("wide", "back")
    ]
    return write_graph(path, [*casts, *PLAIN], constants=kept)


def bytes_in_and_out(write_graph: Callable[..., Path], path: Path) -> Path:
    nodes = [
        helper.make_node("Cast", ["x"], ["f"], to=onnx.TensorProto.FLOAT),
        conv("f", "wide", "a"),
        RELU,
        conv("b", "back", "c"),
        helper.make_node("Clip", ["c", "low", "high"], ["d"]),
        helper.make_node("Cast", ["d"], ["y"], to=onnx.TensorProto.UINT8),
    ]
    ends = {"low": np.float32(0), "high": np.float32(255)}
    byte = onnx.TensorProto.UINT8
    return write_graph(path, nodes, constants=weights() | ends, dtype=byte)


def listed_initializers(write_graph: Callable[..., Path], path: Path) -> Path:
    model = onnx.load(write_graph(path, PLAIN, constants=weights()))
    for tensor in model.graph.initializer:
        value = helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        model.graph.input.append(value)
    model.ir_version = 3
    model.opset_import[0].version = 9
    onnx.save(model, path)
    return path


def weights_beside(write_graph: Callable[..., Path], path: Path) -> Path:
    model = onnx.load(write_graph(path, PLAIN, constants=weights()))
    onnx.save(model, path, save_as_external_data=True, location="w.data", size_threshold=0)
    return path


def constants_by_nodes(write_graph: Callable[..., Path], path: Path) -> Path:
    made = [
        helper.make_node("Constant", [], [name], value=onnx.numpy_helper.from_array(value))
        for name, value in weights().items()
    ]
    return write_graph(path, [*made, *PLAIN])


def a_loop(write_graph: Callable[..., Path], path: Path) -> Path:
    """Whose body reads a weight from outside."""
    flag, number = onnx.TensorProto.BOOL, onnx.TensorProto.INT64
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), conv("v", "same", "w")],
        "body",
        [
            helper.make_tensor_value_info("i", number, ()),
            helper.make_tensor_value_info("go", flag, ()),
            helper.make_tensor_value_info("v", onnx.TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("on", flag, ()),
            helper.make_tensor_value_info("w", onnx.TensorProto.FLOAT, None),
        ],
    )
    same = np.zeros((3, 3, 3, 3), np.float32)
    same[[0, 1, 2], [0, 1, 2], 1, 1] = 1
    more = {"same": same, "true": np.array(True), "turns": np.int64(2)}
    loop = helper.make_node("Loop", ["turns", "true", "z"], ["y"], body=body)
    nodes = [conv("x", "wide", "a"), RELU, conv("b", "back", "z"), loop]
    return write_graph(path, nodes, constants=weights() | more)


@pytest.mark.parametrize(
    "spelling",
    [
        float16,
        float16_behind_casts,
        bytes_in_and_out,
        listed_initializers,
        weights_beside,
        constants_by_nodes,
        a_loop,
    ],
)
def test_graphs_as_others_spell_them(
    write_graph: Callable[..., Path],
    photos: PhotoSet,
    tmp_path: Path,
    spelling: Callable[..., Path],
) -> None:
    path = spelling(write_graph, tmp_path / "their.onnx")
    before = onnx.load(path).graph
    for recipe in MODES:
        made = tmp_path / f"{recipe.mode}.onnx"
        report = quantize_file(path, made, photos=photos, recipe=recipe)
        after = onnx.load(made).graph
        assert report.psnr_db > 30, recipe.mode
        assert report.operators.converted == 2, recipe.mode
        assert [value.name for value in after.input] == ["x"]
        assert (after.input[0].type, after.output[0].type) == (
            before.input[0].type,
            before.output[0].type,
        )


def test_what_a_loop_computes_is_not_counted_as_stored(
    write_graph: Callable[..., Path], photos: PhotoSet, tmp_path: Path
) -> None:
    path = a_loop(write_graph, tmp_path / "loop.onnx")
    recipe = recipe_of(mode="weights")
    report = quantize_file(path, tmp_path / "made.onnx", photos=photos, recipe=recipe)
    assert (report.operators.converted, report.operators.total) == (2, 3)


def test_what_is_beside_the_graph_is_part_of_its_size(
    write_graph: Callable[..., Path], photos: PhotoSet, tmp_path: Path
) -> None:
    path = weights_beside(write_graph, tmp_path / "beside.onnx")
    recipe = recipe_of(mode="weights")
    report = quantize_file(path, tmp_path / "made.onnx", photos=photos, recipe=recipe)
    assert report.float_size_bytes > sum(array.nbytes for array in weights().values())
    assert report.without_gain is None


def test_a_graph_of_one_size_is_measured_at_that(
    write_graph: Callable[..., Path], photos: PhotoSet, tmp_path: Path
) -> None:
    fixed = write_graph(tmp_path / "F.ONNX", PLAIN, constants=weights(), shape=(1, 3, 96, 64))
    free = write_graph(tmp_path / "free.onnx", PLAIN, constants=weights())
    recipe = recipe_of(mode="weights", size=80)
    for path, size in ((fixed, "at 96x64 on"), (free, "at 80x80 on")):
        report = quantize_file(path, tmp_path / "Made.ONNX", photos=photos, recipe=recipe)
        assert size in report.describe()


def test_no_convolution_gives_nothing(
    write_graph: Callable[..., Path], photos: PhotoSet, tmp_path: Path
) -> None:
    nodes = [helper.make_node("Mul", ["x", "k"], ["y"])]
    path = write_graph(tmp_path / "gain.onnx", nodes, constants={"k": np.float32(1)})
    for recipe in MODES:
        report = quantize_file(path, tmp_path / "made.onnx", photos=photos, recipe=recipe)
        assert report.without_gain is not None


def test_weights_that_are_computed_are_refused_in_one_line(
    write_graph: Callable[..., Path], photos: PhotoSet, tmp_path: Path
) -> None:
    nodes = [helper.make_node("Neg", ["wide"], ["n"]), helper.make_node("Neg", ["n"], ["m"])]
    nodes += [conv("x", "m", "a"), RELU, conv("b", "back", "y")]
    path = write_graph(tmp_path / "computed.onnx", nodes, constants=weights())
    with pytest.raises(OptionError, match=r"can't be quantized by --mode static: .*another mode"):
        quantize_file(path, tmp_path / "made.onnx", photos=photos, recipe=recipe_of())
    assert not (tmp_path / "made.onnx").exists()
