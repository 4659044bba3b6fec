"""Files that came instead of a network."""

import pytest

from nstc.core.unusable_models import wrong_file


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is empty: download or copy it again"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "run `git lfs pull`"),
        (b"\xef\xbb\xbf\n<!DOCTYPE html><title>404</title>", "is a web page, not a network"),
        (b'{"error": "not found"}', "is JSON text, not a network"),
    ],
)
def test_is_named_with_what_to_do(tmp_path, content, told) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(content)
    assert told in (wrong_file(path, "a network") or "")


def test_a_folder_is_named_and_a_network_is_not(tmp_path) -> None:
    assert "is a folder" in (wrong_file(tmp_path, "a network") or "")
    (tmp_path / "net.onnx").write_bytes(b"\x08\x07\x12\x07pytorch")
    assert wrong_file(tmp_path / "net.onnx", "a network") is None
