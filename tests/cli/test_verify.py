import json

from nstc.core.files import sha256_of


def test_bundles_that_are_as_written(nstc, bundle, make_bundle, tmp_path) -> None:
    other = make_bundle(tmp_path / "other", artifacts=["float"])
    done = nstc("verify", bundle.path, other.path)
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == [
        f"{bundle.path}: 4 files are as written",
        f"{other.path}: 3 files are as written",
    ]


def test_the_files_as_json(nstc, bundle) -> None:
    (found,) = json.loads(nstc("verify", bundle.path, "--json").out)
    assert found["model"] == str(bundle.path)
    assert found["identity"] == bundle.identity
    assert found["files"]["model.onnx"] == sha256_of(bundle.path / "model.onnx")
    assert set(found["files"]) == set(bundle.manifest.files)


def test_a_damaged_one_is_named_and_prints_no_json(nstc, bundle, make_bundle, tmp_path) -> None:
    whole = make_bundle(tmp_path / "whole")
    (bundle.path / "model.onnx").write_bytes(b"other")
    done = nstc("verify", whole.path, bundle.path)
    assert done.code == 21
    assert f"{bundle.path / 'model.onnx'} is damaged" in done.error
    assert done.out == f"{whole.path}: 4 files are as written\n"
    assert nstc("verify", whole.path, bundle.path, "--json").out == ""
