import dataclasses
import json

import pytest

from nstc.compress.quantization.summary import ConvertedOperators, QuantizationReport
from nstc.core.recipe import QuantizeRecipe

QUANTIZE = "nstc.compress.quantization.quantize_model.quantize"

IN_THE_RECIPE = [
    ("--mode", "dynamic", "mode", "dynamic"),
    ("--calibration-photos", "5", "calibration_photos", 5),
    ("--size", "96", "size", 96),
    ("--calibration-size", "128", "calibration_size", 128),
    ("--calibrator", "mse", "calibrator", "mse"),
    ("--percentile", "99.5", "percentile", 99.5),
    ("--rounding", "adaptive", "rounding", "adaptive"),
    ("--quality-budget", "40", "quality_budget", 40.0),
]

SWITCHES = [
    ("--per-tensor", "per_channel", False),
    ("--per-channel", "per_channel", True),
    ("--recalibrate", "recalibrate", True),
]

REPORT = QuantizationReport(
    mode="static",
    artifact="int8.onnx",
    operators=ConvertedOperators(total=9, converted=8, left=("Resize",)),
    size_bytes=40_000,
    float_size_bytes=120_000,
    latency_ms=4.0,
    float_latency_ms=5.0,
    speedup=1.25,
    psnr_db=float("inf"),
)


SLOWER = dataclasses.replace(REPORT, latency_ms=5.0, float_latency_ms=4.0, speedup=0.8)


@pytest.fixture
def quantize(nstc, record, made, tmp_path):
    """What `nstc quantize` asks of the library, and what it prints."""
    calls = record(QUANTIZE, (made, REPORT))

    def run(*arguments):
        done = nstc("quantize", "model", "-o", tmp_path / "out", *arguments)
        assert done.code == 0, done.err
        return calls[-1], done.out

    return run


@pytest.mark.parametrize(("flag", "text", "field", "value"), IN_THE_RECIPE)
def test_each_setting_arrives_in_the_recipe(quantize, flag, text, field, value) -> None:
    assert quantize(flag, text)[0]["recipe"] == QuantizeRecipe(**{field: value})


@pytest.mark.parametrize(("flag", "field", "value"), SWITCHES)
def test_each_switch_arrives_in_the_recipe(quantize, recipe_file, flag, field, value) -> None:
    other = recipe_file(f"[quantize]\n{field} = {str(not value).lower()}\n")
    assert quantize(flag, "--recipe", other)[0]["recipe"] == QuantizeRecipe(**{field: value})


def test_bits_are_of_stored_weights(quantize) -> None:
    recipe = quantize("--mode", "weights", "--bits", "4")[0]["recipe"]
    assert recipe == QuantizeRecipe(mode="weights", bits=4)


def test_what_else_is_given_arrives(quantize, photo_folder, tmp_path) -> None:
    call, _ = quantize("--photos", photo_folder, "--name", "n", "--again")
    assert call["again"]
    assert (call["model"], call["output"], call["name"]) == ("model", tmp_path / "out", "n")
    assert [path.name for path in call["photos"]] == ["a.png", "b.png"]


def test_flags_override_a_recipe_file(quantize, recipe_file) -> None:
    file = recipe_file("[quantize]\ncalibration_size = 64\ncalibration_photos = 3\n")
    call, _ = quantize("--recipe", file, "--calibration-photos", "4")
    assert call["recipe"] == QuantizeRecipe(calibration_size=64, calibration_photos=4)


def test_the_report_is_read_by_people(quantize) -> None:
    first, *_, last = quantize()[1].splitlines()
    assert first == "model.int8.onnx: 8 of 9 operators converted, left in float: Resize"
    assert last == "wrote made"


def test_or_by_programs(quantize) -> None:
    found = json.loads(quantize("--json")[1])
    assert (found["bundle"], found["artifact"]) == ("made", "int8.onnx")
    assert (found["speedup"], found["slower"], found["psnr_db"]) == (1.25, False, 99.0)
    assert found["operators"]["left"] == ["Resize"]


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_a_file_that_is_slower_is_written_told_and_an_error(nstc, record, made, form) -> None:
    record(QUANTIZE, (made, SLOWER))
    done = nstc("quantize", "model", "-o", "out", *form)
    assert done.code == 56
    assert "model.int8.onnx is slower than float, 1.2 times" in done.error
    assert "--allow-slower" in done.error
    assert "made" in done.out
    assert json.loads(done.out)["slower"] if form else "IS SLOWER THAN FLOAT" in done.out


def test_unless_it_is_allowed(nstc, record, made) -> None:
    record(QUANTIZE, (made, SLOWER))
    done = nstc("quantize", "model", "-o", "out", "--allow-slower")
    assert done.code == 0
    assert done.out.startswith("WARNING: model.int8.onnx IS SLOWER THAN FLOAT")


def test_an_onnx_file_of_others_is_quantized_to_another(nstc, record, tmp_path) -> None:
    report = dataclasses.replace(REPORT, artifact="out.onnx", is_foreign=True)
    calls = record("nstc.compress.quantization.foreign_models.quantize_file", report)
    given = ("--layout", "NHWC", "--value-range", "255", "--size-multiple", "4", "--json")
    done = nstc("quantize", "net.onnx", "-o", tmp_path / "out.onnx", *given)
    assert done.code == 0, done.err
    assert json.loads(done.out)["file"] == str(tmp_path / "out.onnx")
    (call,) = calls
    assert (str(call["model"]), call["output"]) == ("net.onnx", tmp_path / "out.onnx")
    assert call["told"] == {"layout": "NHWC", "input_range": 255, "size_multiple": 4}


def test_the_name_of_a_file_stays_as_it_is_given(nstc, record, tmp_path) -> None:
    report = dataclasses.replace(SLOWER, artifact="My-Network.ONNX", is_foreign=True)
    calls = record("nstc.compress.quantization.foreign_models.quantize_file", report)
    done = nstc("quantize", "NET.ONNX", "-o", tmp_path / "My-Network.ONNX")
    assert (done.code, str(calls[0]["model"])) == (56, "NET.ONNX")
    assert "My-Network.ONNX is slower than float" in done.error


def test_a_bundle_is_not_told_what_it_takes(nstc, record, made) -> None:
    record(QUANTIZE, (made, REPORT))
    done = nstc("quantize", "model", "-o", "out", "--layout", "NCHW")
    assert done.code == 3
    assert "--layout" in done.error


def test_no_flag_is_forgotten_here(flags_of) -> None:
    tested = {row[0] for row in IN_THE_RECIPE}
    switches = {"--per-channel", "--recalibrate"}
    others = {
        "--bits",
        "--output",
        "--photos",
        "--recipe",
        "--name",
        "--json",
        "--allow-slower",
        "--again",
        "--layout",
        "--input-range",
        "--value-range",
        "--output-range",
        "--mean",
        "--std",
        "--output-mean",
        "--output-std",
        "--channels",
        "--size-multiple",
        "--input",
    }
    assert flags_of("quantize") == tested | switches | others
