"""What `nstc doctor` tells of a machine and of a bundle."""

import json
import subprocess
import sys

import numpy as np
import onnxruntime
import pytest
from onnx import helper

from nstc.benchmarks import doctor
from nstc.benchmarks.doctor import int8_speed
from nstc.core import extras
from nstc.core.bundle import revised_bundle


def test_the_machine_in_words(nstc) -> None:
    done = nstc("doctor")
    assert (done.code, done.err) == (0, "")
    for word in ("processor", "threads", "int8", "provider", "extra"):
        assert word in done.out
    assert "pip install onnxruntime-gpu" in done.out or "CUDA       yes" in done.out


def test_every_provider_has_a_reason_or_runs(nstc) -> None:
    content = json.loads(nstc("doctor", "--json").out)
    by_name = {own["provider"]: own for own in content["providers"]}
    assert len(by_name) == len(onnxruntime.get_all_providers())
    assert by_name["CPU"] == {"provider": "CPU", "available": True, "reason": None}
    assert all(own["available"] or own["reason"] for own in by_name.values())
    assert "delegates" not in content


def test_it_loads_no_training_library() -> None:
    program = (
        "import sys; sys.argv=['nstc','doctor']\n"
        "from nstc.cli.app import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "print([m for m in ('torch','onnx','skimage') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


@pytest.mark.parametrize(
    ("instructions", "words"),
    [
        (["avx2", "avx512bw", "avx512_vnni"], "VNNI: four"),
        (["avx2"], "no VNNI"),
        (["asimd", "asimddp"], "dot products: four"),
        ([], "not known"),
    ],
)
def test_how_fast_int8_is(instructions, words) -> None:
    assert int8_speed(instructions).startswith(words)


def test_a_missing_extra_has_its_pip_line(monkeypatch) -> None:
    def version(name):
        if name == "torch":
            raise extras.metadata.PackageNotFoundError
        return "1.2" if name == "onnx" else "999"

    monkeypatch.setattr(extras.metadata, "version", version)
    found = {own.name: own for own in extras.extras()}
    assert found["report"].pip_line is None
    assert found["compress"].pip_line == 'pip install "nstc[compress]"'
    assert [each.partition(">")[0] for each in found["compress"].missing] == ["torch", "onnx"]
    assert "torch>=2.9" in found["executorch"].missing  # it asks for the other extra
    assert "dev" not in found


@pytest.mark.parametrize(
    ("version", "missing"),
    [
        ("17.9", ("av<19,>=18",)),
        ("18", ()),
        ("18.0.1", ()),
        ("18.1rc2", ()),  # of the reader's own choice
        ("19.0", ("av<19,>=18",)),
        ("20.0.1+cu13", ("av<19,>=18",)),
        ("18-of-their-own", ()),  # no version that could be compared
    ],
)
def test_an_extra_is_missing_outside_its_range_of_versions(monkeypatch, version, missing) -> None:
    monkeypatch.setattr(extras.metadata, "version", lambda _name: version)
    found = {own.name: own for own in extras.extras()}
    assert found["video"].missing == missing


def reports_of(nstc, model):
    content = json.loads(nstc("doctor", "--model", model, "--json").out)
    return {(each["file"], each["delegate"]): each for each in content["delegates"]}


def test_what_delegates_make_of_the_shipped_student(nstc) -> None:
    found = reports_of(nstc, "zoo:starry-night")
    int8 = {each["operator"]: each for each in found["model.int8.onnx", "XNNPACK"]["refusals"]}
    assert int8["Conv"]["reason"] == "uint8 with int8 weights"
    assert "Conv" not in str(found["model.onnx", "XNNPACK"]["refusals"])
    assert "uint8 inside" in str(found["model.int8.onnx", "TensorRT"]["refusals"])
    assert found["model.onnx", "TensorRT"]["refusals"] == []
    for delegate in ("CoreML NeuralNetwork", "CoreML MLProgram"):
        refused = {each["operator"] for each in found["model.int8.onnx", delegate]["refusals"]}
        assert {"QuantizeLinear", "DequantizeLinear"} <= refused
    for each in found.values():
        assert each["taken"] + sum(own["count"] for own in each["refusals"]) == each["nodes"]
        assert each["source"]


@pytest.mark.parametrize(
    ("zero_point", "refused"), [(0, []), (3, ["DequantizeLinear", "QuantizeLinear"])]
)
def test_tensorrt_takes_int8_whose_zero_is_zero(
    nstc, bundle, write_graph, tmp_path, zero_point, refused
) -> None:
    with revised_bundle(bundle, tmp_path / "rounded", bundle.manifest) as draft:
        write_graph(
            draft / "model.int8.onnx",
            [
                helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["bytes"]),
                helper.make_node("DequantizeLinear", ["bytes", "scale", "zero"], ["y"]),
            ],
            constants={"scale": np.float32(0.01), "zero": np.int8(zero_point)},
        )
    found = reports_of(nstc, tmp_path / "rounded")["model.int8.onnx", "TensorRT"]
    assert [each["operator"] for each in found["refusals"]] == refused
    assert {each["reason"] for each in found["refusals"]} <= {"a zero point other than 0"}


def test_a_bundle_without_onnx_files_says_how_to_make_one(nstc, make_bundle, tmp_path) -> None:
    bare = make_bundle(tmp_path / "bare", artifacts=[])
    done = nstc("doctor", "--model", bare.path)
    assert done.code == 23
    assert "nstc export" in done.error


def test_without_the_checker_nothing_is_made_up(nstc, bundle, monkeypatch) -> None:
    monkeypatch.setattr(doctor, "has_phone_checker", lambda: False)
    found = reports_of(nstc, bundle.path)
    assert found["model.onnx", "NNAPI"]["taken"] is None
    assert found["model.onnx", "NNAPI"]["source"].startswith("not known")


def test_without_onnx_it_says_what_to_install(nstc, bundle, monkeypatch) -> None:
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda _: None)
    done = nstc("doctor", "--model", bundle.path)
    assert done.code == 5
    assert 'pip install "nstc[compress]"' in done.error
