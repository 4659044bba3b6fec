"""What `nstc verify` finds, prints, and exits with."""

import json
import shutil

import numpy as np
import pytest

from nstc.core.bundle import open_bundle
from nstc.core.files import sha256_of
from nstc.core.manifest import FileRecord


def findings(nstc, *arguments):
    """What --json says of one bundle: state and detail by file and check."""
    (found,) = json.loads(nstc("verify", *arguments, "--json").out)
    return {(each["file"], each["check"]): each for each in found["findings"]}


def reseal(bundle, name) -> None:
    """Write a manifest that agrees with a file as it is now, as a maker of bundles would."""
    path = bundle.path / name
    record = FileRecord(sha256=sha256_of(path), size_bytes=path.stat().st_size)
    files = {**bundle.manifest.files, name: record}
    content = type(bundle.manifest)(**{**vars(bundle.manifest), "files": files})
    (bundle.path / "manifest.json").write_text(content.to_json(), encoding="utf-8")


def test_a_bundle_without_vectors_is_not_verified_and_says_what_to_do(nstc, bundle) -> None:
    done = nstc("verify", bundle.path)
    assert done.code == 21
    assert done.out.startswith(f"{bundle.path}: 8 ok, 0 failed, 2 not checked\n")
    assert "model.int8.onnx was not checked, there is no check vector of it" in done.error
    assert "nstc verify BUNDLE --record" in done.error


def test_recorded_vectors_are_met_bit_for_bit(nstc, bundle) -> None:
    assert nstc("verify", bundle.path, "--record").code == 0
    found = findings(nstc, bundle.path)
    for file in ("model.int8.onnx", "model.onnx"):
        assert found[file, "picture"]["detail"] == "as its check vector, bit for bit"
    assert found["model.int8.onnx", "contract"]["detail"].startswith("uint8 NHWC")
    assert found["model.onnx", "contract"]["detail"].startswith("float32 NCHW")
    assert open_bundle(bundle.path).identity == bundle.identity


def test_a_damaged_file_is_named_and_the_others_are_still_looked_at(
    nstc, bundle, make_bundle, tmp_path
) -> None:
    whole = make_bundle(tmp_path / "whole")
    nstc("verify", whole.path, "--record")
    (bundle.path / "model.onnx").write_bytes(b"other")
    done = nstc("verify", bundle.path, whole.path)
    assert done.code == 21
    assert f"{bundle.path / 'model.onnx'} is damaged" in done.error
    assert f"{whole.path}: 11 ok, 0 failed" in done.out
    found = findings(nstc, bundle.path)
    assert found["model.onnx", "content"]["state"] == "failed"
    assert found["model.int8.onnx", "contract"]["state"] == "ok"


def test_a_missing_file_and_one_too_many(nstc, bundle) -> None:
    (bundle.path / "style.safetensors").unlink()
    (bundle.path / "notes.txt").write_text("mine")
    done = nstc("verify", bundle.path)
    assert done.code == 21
    assert "style.safetensors is missing" in done.error
    assert "the manifest does not name it" in done.out


def test_a_changed_manifest_is_damage(nstc, bundle) -> None:
    path = bundle.path / "manifest.json"
    path.write_text(path.read_text().replace('"negative"', '"positive"', 1))
    done = nstc("verify", bundle.path)
    assert done.code == 21
    assert "its content was changed" in done.error


def test_a_file_that_paints_otherwise_than_its_vector(nstc, bundle, linear) -> None:
    nstc("verify", bundle.path, "--record")
    recorded = open_bundle(bundle.path)
    checks = bundle.path / "checks.json"
    content = json.loads(checks.read_text())
    linear(bundle.path / "model.onnx", -0.9, 1)
    content["vectors"]["onnx"]["file_sha256"] = sha256_of(bundle.path / "model.onnx")
    checks.write_text(json.dumps(content))
    reseal(recorded, "model.onnx")
    reseal(open_bundle(bundle.path), "checks.json")
    done = nstc("verify", bundle.path)
    assert done.code == 51
    assert "gives another picture here than where it was made" in done.error


def test_a_file_that_is_newer_than_its_vector_was_not_checked_and_fails(
    nstc, bundle, linear
) -> None:
    nstc("verify", bundle.path, "--record")
    linear(bundle.path / "model.onnx", -0.98, 1)
    reseal(open_bundle(bundle.path), "model.onnx")
    done = nstc("verify", bundle.path)
    assert done.code == 21
    assert "model.onnx was not checked, its check vector is of an older file" in done.error
    assert "nstc verify BUNDLE --record, else copy the bundle again" in done.error
    (found,) = json.loads(nstc("verify", bundle.path, "--json").out)
    assert found["ok"] is False
    assert "not checked" in {each["state"] for each in found["findings"]}
    assert nstc("verify", bundle.path, "--record").code == 0


def test_a_file_of_another_network_fails_though_its_vector_is_its_own(nstc, bundle, linear) -> None:
    linear(bundle.path / "model.onnx", 1, 0)
    reseal(bundle, "model.onnx")
    done = nstc("verify", bundle.path, "--record")
    assert done.code == 51
    assert "model.int8.onnx gives another picture than model.onnx at 45x59" in done.error


def test_a_file_of_another_contract_is_found(nstc, bundle, linear) -> None:
    linear(bundle.path / "model.int8.onnx", -1, 1)
    reseal(bundle, "model.int8.onnx")
    done = nstc("verify", bundle.path)
    assert done.code == 21
    assert "does not take uint8 NHWC" in done.error


def test_vectors_that_are_none_are_an_error(nstc, bundle) -> None:
    nstc("verify", bundle.path, "--record")
    path = bundle.path / "checks.json"
    content = json.loads(path.read_text())
    content["vectors"]["onnx"]["height"] = 10**6
    path.write_text(json.dumps(content))
    reseal(open_bundle(bundle.path), "checks.json")
    done = nstc("verify", bundle.path)
    assert done.code == 21
    assert "checks.json can't be read" in done.error


def test_torchscript_runs_only_when_it_is_trusted(nstc, bundle) -> None:
    shutil.copyfile(bundle.path / "model.onnx", bundle.path / "model.ts")
    reseal(bundle, "model.ts")
    found = findings(nstc, bundle.path)
    assert found["model.ts", "picture"]["state"] == "not checked"
    assert "--trust" in found["model.ts", "picture"]["detail"]
    assert nstc("verify", bundle.path, "--trust").code == 21  # it is no TorchScript


def test_no_bundle(nstc, tmp_path) -> None:
    done = nstc("verify", tmp_path / "none")
    assert done.code == 20
    assert "does not exist" in done.error


def test_the_picture_is_the_same_everywhere() -> None:
    from nstc.runtime.arrays import check_picture

    rgb = check_picture(0, 45, 59)
    assert rgb.shape == (45, 59, 3)
    assert rgb.std() > 50
    np.testing.assert_array_equal(rgb, check_picture(0, 45, 59))
    assert (rgb != check_picture(1, 45, 59)).mean() > 0.9


def test_changed_files_are_of_the_bundle_that_holds_them(
    nstc, bundle, make_bundle, tmp_path, monkeypatch
) -> None:
    other = make_bundle(tmp_path / "other")
    make_bundle(tmp_path / "untouched")
    for own in (bundle, other):
        nstc("verify", own.path, "--record")
    monkeypatch.chdir(tmp_path)
    names = ["negative/model.onnx", "notes.txt", "negative/manifest.json", "other/README.md"]
    done = nstc("verify", "--changed-files", *names)
    assert done.code == 0, done.error
    assert [line for line in done.out.splitlines() if "failed" in line] == [
        "negative: 11 ok, 0 failed, 0 not checked",
        "other: 11 ok, 0 failed, 0 not checked",
    ]
    monkeypatch.chdir(bundle.path)
    (bundle.path / "model.onnx").write_bytes(b"other")
    done = nstc("verify", "--changed-files", "model.onnx")
    assert done.code == 21
    assert "model.onnx is damaged" in done.error


def test_changed_files_of_no_bundle_are_left_out(nstc, tmp_path) -> None:
    page = tmp_path / "page"
    page.mkdir()
    (page / "manifest.json").write_text('{"name": "a web page", "display": "standalone"}')
    (page / "lora.safetensors").write_bytes(b"theirs")
    (page / "model.json").write_text("{}")
    done = nstc("verify", "--changed-files", page / "manifest.json", page, tmp_path / "a.py")
    assert (done.code, done.out) == (0, "no bundle holds one of these files\n")
    assert json.loads(nstc("verify", "--changed-files", tmp_path / "a.py", "--json").out) == []


def test_a_changed_folder_that_is_a_bundle_is_checked(nstc, bundle, monkeypatch) -> None:
    monkeypatch.chdir(bundle.path.parent)
    done = nstc("verify", "--changed-files", "negative", "negative/model.onnx")
    assert done.code == 21
    assert done.out.count("negative: ") == 1
    assert done.error.startswith("nstc: negative/model.")
    monkeypatch.chdir(bundle.path)
    assert nstc("verify", "--changed-files", ".").code == 21


@pytest.mark.parametrize("name", ["hf:owner/name@main", "zoo:udnie", "https:/host/b.zip"])
def test_changed_files_are_of_folders_whatever_these_are_called(
    nstc, make_bundle, tmp_path, monkeypatch, name
) -> None:
    make_bundle(tmp_path / name)
    (tmp_path / name / "model.onnx").write_bytes(b"other")
    monkeypatch.chdir(tmp_path)
    for files in (("--changed-files", f"{name}/model.onnx"), (f"./{name}",)):
        done = nstc("verify", *files)
        assert done.code == 21
        assert f"{name}/model.onnx is damaged" in done.error


@pytest.mark.parametrize("beside", ["weights.safetensors", "model.onnx", None])
def test_changed_files_find_bundles_whose_manifest_is_damaged(nstc, bundle, beside) -> None:
    for path in bundle.path.iterdir():
        if path.name not in ("manifest.json", beside):
            path.unlink()
    manifest = bundle.path / "manifest.json"
    whole = manifest.read_text()
    damaged = [whole[:300], "", "\0" * 900, '{"schema_version": 1}', *(["{}", "[]"] * bool(beside))]
    for text in damaged:
        manifest.write_text(text)
        assert nstc("verify", "--changed-files", manifest).code == 21, text[:30]
    with manifest.open("wb") as stream:
        stream.truncate(80_000_000)
    assert nstc("verify", "--changed-files", manifest).code == 21
    manifest.unlink()
    manifest.symlink_to("nothing")
    assert nstc("verify", "--changed-files", manifest).code == 21
