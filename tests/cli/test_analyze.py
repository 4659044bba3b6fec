import dataclasses
import json
from pathlib import Path

import pytest

from nstc.compress.pruning.analysis import Analysis, Layer
from nstc.compress.pruning.probe import Sensitivity
from nstc.compress.quantization.compare_files import FileComparison, PhotoNoise
from nstc.compress.quantization.layer_noise import LayerNoise

ANALYZE = "nstc.compress.pruning.analysis.analyze"
COMPARE = "nstc.compress.quantization.compare_files.compare"

FLAGS = [
    ("--artifact", "int8", "artifact", "int8"),
    ("--size", "256", "size", 256),
    ("--threads", "2", "threads", 2),
    ("--importance", "activation", "importance", "activation"),
    ("--vgg", "torchvision", "vgg", "torchvision"),
]


def layer(name: str, *, halved: Sensitivity | None, makers: tuple[str, ...]) -> Layer:
    return Layer(
        name=name,
        kind="3x3",
        params=1000,
        macs=2_000_000,
        activation_bytes=81_300,
        ms=3.0,
        share=0.375,
        halved=halved,
        makers=makers,
        rounded=Sensitivity(style=0.001, content=-0.002, distance=0.01),
    )


@pytest.fixture
def found() -> Analysis:
    lost = Sensitivity(style=0.125, content=-0.01, distance=0.5)
    return Analysis(
        model="model",
        artifact="int8.onnx",
        size=512,
        threads=1,
        layers=(
            layer("stem", halved=lost, makers=("stem", "project")),
            layer("head", halved=None, makers=()),
        ),
        other_ms=2.0,
        importance="group-norm",
    )


@pytest.mark.parametrize(("flag", "text", "field", "value"), FLAGS)
def test_each_flag_arrives(nstc, record, found, flag, text, field, value) -> None:
    calls = record(ANALYZE, found)
    assert nstc("analyze", "model", flag, text).code == 0
    assert calls[-1][field] == value


def test_photographs_arrive(nstc, record, found, photo_folder) -> None:
    calls = record(ANALYZE, found)
    nstc("analyze", "model", "--photos", photo_folder)
    assert [path.name for path in calls[-1]["photos"]] == ["a.png", "b.png"]


def test_the_table_has_a_row_a_layer_and_one_for_the_rest(nstc, record, found) -> None:
    record(ANALYZE, found)
    lines = nstc("analyze", "model").out.splitlines()
    rows = {line.split()[0]: line for line in lines if line.strip()}
    for told in ("1.00k", "2.00M", "81.3 KB", "3.00", "37.5", "+12.5 / -1.0*", "+0.1 / -0.2"):
        assert told in rows["stem"]
    assert "*" not in rows["head"]
    assert "2.00" in rows["all"]
    assert "25.0" in rows["all"]


def test_json_is_the_analysis_and_nothing_else(nstc, record, found) -> None:
    record(ANALYZE, found)
    assert json.loads(nstc("analyze", "model", "--json").out) == found.to_dict()


def test_it_is_drawn(nstc, record, found, tmp_path: Path) -> None:
    record(ANALYZE, found)
    assert nstc("analyze", "model", "-o", tmp_path / "plot.svg").code == 0
    assert "stem" in (tmp_path / "plot.svg").read_text()


def test_a_place_that_can_not_be_written_is_refused_before_the_work(
    nstc, record, found, tmp_path: Path
) -> None:
    calls = record(ANALYZE, found)
    (tmp_path / "file").write_text("mine")
    assert nstc("analyze", "model", "-o", tmp_path / "file" / "plot.svg").code == 40
    assert calls == []


def test_no_flag_is_forgotten_here(flags_of) -> None:
    others = {"--output", "--photos", "--json", "--compare", "--seed"}
    assert flags_of("analyze") == {row[0] for row in FLAGS} | others


def noise(name: str, own_db: float, outside: float | None = 0.0123) -> LayerNoise:
    return LayerNoise(
        layer=name, snr_db=17.25, own_db=own_db, largest=0.5, peak=12.25, outside=outside
    )


@pytest.fixture
def compared() -> FileComparison:
    photo = PhotoNoise(name="a.png", psnr_db=28.05, largest=93, mean=4.25, row=40, column=104)
    return FileComparison(
        model="model",
        candidate="model.int8.onnx",
        reference="model.onnx",
        size=256,
        seed=3,
        layers=(noise("stem", 40.0), noise("blocks.0.expand.0", 9.5), noise("head", 30.0, None)),
        photos=(photo,),
        unmatched=("input of stem, stored otherwise",),
        pictures=(),
        maps={},
    )


def test_a_comparison_gets_its_files_size_and_seed(nstc, record, compared, photo_folder) -> None:
    calls = record(COMPARE, compared)
    flags = ("--compare", "int8", "float", "--size", "256", "--seed", "3", "--photos", photo_folder)
    assert nstc("analyze", "model", *flags).code == 0
    assert (calls[-1]["size"], calls[-1]["seed"]) == (256, 3)
    assert [path.name for path in calls[-1]["photos"]] == ["a.png", "b.png"]


def test_a_comparison_has_a_row_a_layer_and_names_the_worst_first(nstc, record, compared) -> None:
    record(COMPARE, compared)
    out = nstc("analyze", "model", "--compare", "int8", "float").out
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line.strip()}
    assert rows["stem"] == ["17.2", "40.0", "0.50", "12.2", "1.23"]
    assert rows["head"][-1] == "–"
    words = " ".join(out.split())
    assert "added by blocks.0.expand.0 (9.5 dB), head (30.0 dB), stem (40.0 dB)." in words
    assert "a.png, 28.1 dB, 93 of 255 levels at most" in words
    assert "row 40, column 104" in words
    assert "Not compared: input of stem, stored otherwise." in words


def test_names_of_layers_break_no_lines_and_are_short(nstc, record, compared) -> None:
    hostile = "stem\r\nMost noise is added by nothing.\n" + 200 * "x"
    record(COMPARE, dataclasses.replace(compared, layers=(noise(hostile, 9.5),)))
    out = nstc("analyze", "model", "--compare", "int8", "float").out
    lines = out.splitlines()
    assert not any(line.startswith("Most noise is added by nothing.") for line in lines)
    assert any(r"stem\r\nMost noise" in line for line in lines)
    assert out.count("x" * 30) == 2
    assert "x" * 60 not in out


def test_a_comparison_as_json_is_that_and_nothing_else(nstc, record, compared) -> None:
    record(COMPARE, compared)
    found = json.loads(nstc("analyze", "model", "--compare", "int8", "float", "--json").out)
    assert found == compared.to_dict()
    assert found["worst_first"] == ["blocks.0.expand.0", "head", "stem"]


def test_a_heat_map_that_can_not_be_written_is_refused_before_the_work(
    nstc, record, compared, tmp_path: Path
) -> None:
    calls = record(COMPARE, compared)
    (tmp_path / "file").write_text("mine")
    files = ("--compare", "int8", "float")
    assert nstc("analyze", "model", *files, "-o", tmp_path / "file" / "heat.png").code == 40
    assert nstc("analyze", "model", *files, "-o", tmp_path / "heat.svg").code == 3
    assert calls == []
