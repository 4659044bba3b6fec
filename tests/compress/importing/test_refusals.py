"""Checkpoints that are refused: in one line, without a trace, and running nothing in them."""

import io
import pickle
import re
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.serialization import MAGIC_NUMBER

from nstc.compress.importing import checkpoint_files
from nstc.compress.importing.import_model import import_checkpoint, network_of_checkpoint
from nstc.core.errors import (
    CheckpointError,
    OutputError,
    UnsafeFileError,
)
from nstc.models import tensors

FORMATS = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])


def zip_of_zeros(size: int) -> bytes:
    """As torch.save names its pickle, and compressed."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", bytes(size))
    return stream.getvalue()


@pytest.mark.parametrize("front", [b"", b"\n"])
def test_no_more_of_a_zip_is_unpacked_than_a_pickle_may_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, front: bytes
) -> None:
    monkeypatch.setattr(checkpoint_files, "LARGEST_PICKLE", 1000)
    (tmp_path / "x.pth").write_bytes(front + zip_of_zeros(1000))
    assert [found.whole for found in checkpoint_files.pickles_of(tmp_path / "x.pth")] == [False]
    (tmp_path / "x.pth").write_bytes(front + zip_of_zeros(1001))
    with pytest.raises(checkpoint_files.OverlongPickleError):
        checkpoint_files.pickles_of(tmp_path / "x.pth")


def test_a_pickle_has_as_many_instructions_as_are_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    none = b"\x80\x02N."  # three: its protocol, None, the end
    monkeypatch.setattr(checkpoint_files, "MOST_INSTRUCTIONS", 3)
    found = checkpoint_files.Pickle()
    found.scan(io.BytesIO(none))
    assert (found.protocol, found.whole) == (2, True)
    monkeypatch.setattr(checkpoint_files, "MOST_INSTRUCTIONS", 2)
    with pytest.raises(checkpoint_files.OverlongPickleError):
        checkpoint_files.Pickle().scan(io.BytesIO(none))


def listing(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


class Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


class TestRefusal:
    def refused(self, path: Path, kind: type[CheckpointError] = CheckpointError) -> str:
        before = listing(path.parent)
        with pytest.raises(CheckpointError) as caught:
            import_checkpoint(path, path.parent / "bundle")
        assert type(caught.value) is kind
        message = str(caught.value)
        assert str(path) in message
        assert "\n" not in message
        assert "weights_only" not in message, "torch's advice is to load what must not be loaded"
        assert listing(path.parent) == before
        return message

    def test_first_differing_keys_are_named(self, state: dict[str, Tensor], tmp_path: Path) -> None:
        other = dict(state)
        del other["conv1.conv2d.weight"], other["in1.bias"]
        other["conv9.conv2d.weight"] = torch.zeros(3)
        other["deconv3.conv2d.bias"] = torch.zeros(4)
        torch.save(other, tmp_path / "other.pth")
        message = self.refused(tmp_path / "other.pth")
        assert "conv1.conv2d.weight is missing" in message
        assert "in1.bias is missing" in message
        assert "conv9.conv2d.weight is not expected" in message
        assert "4 differences" in message

    def test_a_differing_shape_is_named(self, state: dict[str, Tensor], tmp_path: Path) -> None:
        torch.save({**state, "deconv3.conv2d.bias": torch.zeros(4)}, tmp_path / "other.pth")
        message = self.refused(tmp_path / "other.pth")
        assert "deconv3.conv2d.bias is (4,) instead of (3,)" in message

    def test_another_network(self, tmp_path: Path) -> None:
        torch.save(nn.Linear(2, 3).state_dict(), tmp_path / "linear.pth")
        assert "another architecture" in self.refused(tmp_path / "linear.pth")

    @pytest.mark.parametrize(
        "content",
        [[torch.zeros(2)], {"a": "text"}, {1: torch.zeros(2)}, torch.zeros(3)],
        ids=["list", "text", "numbered", "tensor"],
    )
    def test_no_state_dict(self, tmp_path: Path, content: Any) -> None:
        torch.save(content, tmp_path / "x.pth")
        assert "not a state dict" in self.refused(tmp_path / "x.pth")

    def test_missing(self, tmp_path: Path) -> None:
        assert "no such file" in self.refused(tmp_path / "missing.pth")
        (tmp_path / "folder").mkdir()
        assert "is a folder" in self.refused(tmp_path / "folder")

    @FORMATS
    @pytest.mark.parametrize("kept", [0, 0.001, 0.3, 0.999])
    def test_truncated(
        self, state: dict[str, Tensor], tmp_path: Path, zipped: bool, kept: float
    ) -> None:
        path = tmp_path / "candy.pth"
        torch.save(state, path, _use_new_zipfile_serialization=zipped)
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * kept)])
        assert ("damaged" if kept else "is empty") in self.refused(path)

    @FORMATS
    def test_whatever_byte_is_damaged_it_is_a_clear_error_or_none(
        self, tmp_path: Path, zipped: bool
    ) -> None:
        small = {"layer": torch.arange(6.0), "other": torch.zeros(2)}
        path = tmp_path / "small.pth"
        torch.save(small, path, _use_new_zipfile_serialization=zipped)
        content = path.read_bytes()
        rng = np.random.default_rng(0)
        for _ in range(100):
            damaged = bytearray(content)
            damaged[int(rng.integers(len(content)))] = int(rng.integers(256))
            path.write_bytes(damaged)
            with pytest.raises(CheckpointError):  # at best it is of another architecture
                network_of_checkpoint(path)

    @pytest.mark.parametrize(
        "content",
        [b"just a text\nof two lines\n", b"\x89PNG\r\n\x1a\n" + bytes(100), b"PK\x03\x04"],
    )
    def test_no_checkpoint(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "x.pth").write_bytes(content)
        assert "damaged, or not a file that torch.save wrote" in self.refused(tmp_path / "x.pth")

    def test_torchscript(self, tmp_path: Path) -> None:
        class Negative(nn.Module):
            def forward(self, x: Tensor) -> Tensor:
                return 1 - x

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch wants to be rid of TorchScript
            torch.jit.script(Negative()).save(str(tmp_path / "x.pth"))
        message = self.refused(tmp_path / "x.pth")
        assert "TorchScript" in message
        assert "distill" in message

    @FORMATS
    def test_a_program_is_refused_unread(
        self, state: dict[str, Tensor], tmp_path: Path, zipped: bool
    ) -> None:
        ran = tmp_path / "ran"
        path = tmp_path / "trojan.pth"
        torch.save({**state, "x": Payload(ran)}, path, _use_new_zipfile_serialization=zipped)
        assert "would run code" in self.refused(path, UnsafeFileError)
        assert not ran.exists()
        torch.load(path, weights_only=False)  # so the payload works
        assert ran.exists()

    @pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
    def test_a_bare_pickle_is_refused_unread(self, tmp_path: Path, protocol: int) -> None:
        ran = tmp_path / "ran"
        path = tmp_path / "trojan.pkl"
        path.write_bytes(pickle.dumps({"x": Payload(ran)}, protocol))
        assert "would run code" in self.refused(path, UnsafeFileError)
        assert not ran.exists()
        pickle.loads(path.read_bytes())  # noqa: S301
        assert ran.exists()

    @FORMATS
    def test_a_whole_network_is_refused_too(self, tmp_path: Path, zipped: bool) -> None:
        path = tmp_path / "x.pth"
        torch.save(nn.Linear(2, 3), path, _use_new_zipfile_serialization=zipped)
        assert "state_dict()" in self.refused(path, UnsafeFileError)

    def test_layers_that_would_be_left_out_are_refused(
        self, state: dict[str, Tensor], tmp_path: Path
    ) -> None:
        torch.save(
            {"net": {**state, "res6.conv1.conv2d.weight": torch.ones(2)}}, tmp_path / "x.pth"
        )
        message = self.refused(tmp_path / "x.pth")
        assert "the part net of" in message
        assert "res6.conv1.conv2d.weight is not expected (1 difference in all)" in message

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (lambda t: t.to_sparse(), "sparse tensor"),
            (lambda t: t.to("meta"), "meta tensor"),
            (lambda t: t.to(torch.complex64), "complex tensor"),
            (lambda t: t.to(torch.int8), r"tensor of torch\.int8"),
            (lambda t: t.numpy(), "NumPy array"),
            (lambda t: torch.zeros(1).expand(10**12), "1000000000000"),
        ],
        ids=["sparse", "meta", "complex", "integers", "array", "giant"],
    )
    def test_tensors_that_hold_no_weights_are_named(
        self, state: dict[str, Tensor], tmp_path: Path, change: Callable[..., Any], words: str
    ) -> None:
        torch.save({**state, "in1.bias": change(state["in1.bias"])}, tmp_path / "x.pth")
        assert re.search(rf"in1\.bias is .*{words}", self.refused(tmp_path / "x.pth"))

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
            (b"\n<!DOCTYPE html>\n<html>", "web page"),
            (b'{"message": "Not Found"}', "JSON"),
            (b"", "empty"),
            (b"\x1f\x8b\x08", "gzip"),
            (bytes(257) + b"ustar" + bytes(250), "tar archive"),
            (b"\x08\x08\x12\x07pytorch", "ONNX"),
            (pickle.dumps({"a": [1, 2]}), "bare pickle"),
            (b"\x93NUMPY", "NumPy"),
        ],
    )
    def test_what_it_is_instead_is_named(self, tmp_path: Path, content: bytes, words: str) -> None:
        (tmp_path / "x.pth").write_bytes(content)
        assert words in self.refused(tmp_path / "x.pth")

    def test_an_archive_of_several_names_them(self, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / "x.pth", "w") as archive:
            archive.writestr("candy.pth", b"")
            archive.writestr("more/mosaic.pth", b"")
        message = self.refused(tmp_path / "x.pth")
        assert "2 checkpoints (candy.pth, more/mosaic.pth)" in message

    def test_what_was_compressed_after_saving(self, tmp_path: Path) -> None:
        torch.save({"a": torch.zeros(10**6)}, tmp_path / "plain")
        with (
            zipfile.ZipFile(tmp_path / "plain") as plain,
            zipfile.ZipFile(tmp_path / "x.pth", "w", zipfile.ZIP_DEFLATED) as packed,
        ):
            for name in plain.namelist():
                packed.writestr(name, plain.read(name))
        assert "compressed" in self.refused(tmp_path / "x.pth")

    def test_a_later_protocol_is_named(self, tmp_path: Path) -> None:
        torch.save({"a": torch.zeros(2)}, tmp_path / "x.pth", pickle_protocol=4)
        assert "pickle protocol 4" in self.refused(tmp_path / "x.pth")

    def test_the_class_that_would_run_code_is_named(self, tmp_path: Path) -> None:
        torch.save({"a": torch.zeros(2), "x": nn.ReLU()}, tmp_path / "x.pth")
        message = self.refused(tmp_path / "x.pth", UnsafeFileError)
        assert "a whole network" in message
        assert "torch.nn.modules.activation.ReLU" in message

    @pytest.mark.parametrize(
        "body",
        [
            b"}" + b")" + b"\x85" * 300_000 + b"Ns.",  # whose hash would end the process
            b"(" + b"N" * 2_000 + b"t.",
        ],
        ids=["nested", "long"],
    )
    def test_a_pickle_that_must_not_be_read(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: bytes
    ) -> None:
        monkeypatch.setattr(checkpoint_files, "MOST_INSTRUCTIONS", 1_000)
        start = [pickle.dumps(value, 2) for value in (MAGIC_NUMBER, 1001, {})]
        (tmp_path / "x.pth").write_bytes(b"".join([*start, b"\x80\x02", body]))
        assert "more beside the values" in self.refused(tmp_path / "x.pth")

    @pytest.mark.parametrize("front", [b"", b"\n", b"\x80\x02"])
    def test_a_zip_that_unpacks_to_far_more_is_not_unpacked(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, front: bytes
    ) -> None:
        monkeypatch.setattr(checkpoint_files, "LARGEST_PICKLE", 1000)
        (tmp_path / "x.pth").write_bytes(front + zip_of_zeros(1001))
        assert "more beside the values" in self.refused(tmp_path / "x.pth")

    def test_a_safetensors_header_that_is_longer_than_any(self, tmp_path: Path) -> None:
        header = b"{" + b" " * tensors.MAX_HEADER_BYTES + b"}"
        (tmp_path / "x.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
        assert "does not begin with the header" in self.refused(tmp_path / "x.safetensors")

    def test_a_foreign_folder_is_not_touched(self, checkpoint: Path, tmp_path: Path) -> None:
        (tmp_path / "thesis").mkdir()
        (tmp_path / "thesis" / "chapter.txt").write_text("mine")
        with pytest.raises(OutputError, match="thesis"):
            import_checkpoint(checkpoint, tmp_path / "thesis")
        assert listing(tmp_path / "thesis") == {"chapter.txt"}

    def test_a_path_under_a_file(self, checkpoint: Path) -> None:
        with pytest.raises(OutputError):
            import_checkpoint(checkpoint, checkpoint / "bundle")
