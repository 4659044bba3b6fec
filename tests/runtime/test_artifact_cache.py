from pathlib import Path

import pytest

from nstc.core.bundle import open_bundle, revised_bundle
from nstc.core.errors import ArtifactError, CorruptBundleError
from nstc.runtime.session import cached_artifact, find_artifact


def test_the_cache_can_be_moved(bundle, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("NSTC_CACHE", str(tmp_path / "elsewhere"))
    expected = tmp_path / "elsewhere" / "artifacts" / bundle.identity / "model.onnx"
    assert cached_artifact(bundle, "float") == expected


def test_a_file_of_the_bundle_comes_before_a_cached_one(bundle) -> None:
    _put(cached_artifact(bundle, "int8"))
    assert find_artifact(bundle, "int8") == bundle.path / "model.int8.onnx"


def test_a_cached_file_is_found(make_bundle, tmp_path) -> None:
    bundle = make_bundle(tmp_path / "b", artifacts=["int8"])
    with pytest.raises(ArtifactError, match=r"/b holds no artifact float; .*exporting"):
        find_artifact(bundle, "float")
    cached = _put(cached_artifact(bundle, "float"))
    assert find_artifact(bundle, "float") == cached


def test_a_damaged_file_is_never_replaced_by_a_cached_one(bundle) -> None:
    _put(cached_artifact(bundle, "float"))
    (bundle.path / "model.onnx").write_bytes(b"changed")
    with pytest.raises(CorruptBundleError, match=r"model\.onnx is damaged"):
        find_artifact(bundle, "float")


def test_bundles_of_other_weights_share_no_cache(make_bundle, tmp_path) -> None:
    one, other = make_bundle(tmp_path / "one"), make_bundle(tmp_path / "other", seed=1)
    assert cached_artifact(one, "float") != cached_artifact(other, "float")


def test_exporting_a_file_keeps_the_cache(bundle) -> None:
    before = cached_artifact(bundle, "float")
    with revised_bundle(bundle, bundle.path, bundle.manifest) as draft:
        (draft / "model.ts").write_bytes(b"more")
    assert cached_artifact(open_bundle(bundle.path), "float") == before


def _put(path: Path) -> Path:
    path.parent.mkdir(parents=True)
    path.write_bytes(b"graph")
    return path
