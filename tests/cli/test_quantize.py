import json

import pytest

from nstc.compress.converted import ConvertedOperators
from nstc.compress.quantization import QuantizationReport
from nstc.core.recipe import QuantizeRecipe

QUANTIZE = "nstc.compress.quantization.quantize"

IN_THE_RECIPE = [
    ("--mode", "dynamic", "mode", "dynamic"),
    ("--calibration-photos", "5", "calibration_photos", 5),
    ("--calibration-size", "128", "calibration_size", 128),
    ("--percentile", "99.5", "percentile", 99.5),
]

REPORT = QuantizationReport(
    artifact="int8.onnx",
    operators=ConvertedOperators(total=9, converted=8, left=("Resize",)),
    size_bytes=40_000,
    float_size_bytes=120_000,
    latency_ms=5.0,
    float_latency_ms=4.0,
    speedup=0.8,
    psnr_db=float("inf"),
)


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


def test_what_else_is_given_arrives(quantize, photo_folder, tmp_path) -> None:
    call, _ = quantize("--photos", photo_folder, "--name", "n")
    assert (call["model"], call["output"], call["name"]) == ("model", tmp_path / "out", "n")
    assert [path.name for path in call["photos"]] == ["a.png", "b.png"]


def test_flags_override_a_recipe_file(quantize, recipe_file) -> None:
    file = recipe_file("[quantize]\ncalibration_size = 64\ncalibration_photos = 3\n")
    call, _ = quantize("--recipe", file, "--calibration-photos", "4")
    assert call["recipe"] == QuantizeRecipe(calibration_size=64, calibration_photos=4)


def test_the_report_is_read_by_people(quantize) -> None:
    first, *_, last = quantize()[1].splitlines()
    assert "IS SLOWER THAN FLOAT" in first
    assert last == "wrote made"


def test_or_by_programs(quantize) -> None:
    found = json.loads(quantize("--json")[1])
    assert (found["bundle"], found["artifact"]) == ("made", "int8.onnx")
    assert (found["speedup"], found["slower"], found["psnr_db"]) == (0.8, True, 99.0)
    assert found["operators"]["left"] == ["Resize"]


def test_no_flag_is_forgotten_here(flags_of) -> None:
    tested = {row[0] for row in IN_THE_RECIPE}
    assert flags_of("quantize") == tested | {"--output", "--photos", "--recipe", "--name", "--json"}
