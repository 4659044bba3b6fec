"""Bundles and teachers that can't be used: one clear line, and nothing half written."""

import json
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from nstc.core.zoo import zoo_names

pytestmark = pytest.mark.usefixtures("somewhere_else")


def listing(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


class TestBundles:
    @pytest.fixture
    def spoil(self, bundle):
        """Does what is named to a bundle."""

        def flip(name: str) -> None:
            content = bytearray((bundle.path / name).read_bytes())
            content[len(content) // 2] ^= 1
            (bundle.path / name).write_bytes(content)

        def newer() -> None:
            manifest = json.loads((bundle.path / "manifest.json").read_text())
            (bundle.path / "manifest.json").write_text(json.dumps(manifest | {"schema_version": 9}))

        damages = {
            "flipped byte": lambda: [flip(n) for n in ("model.int8.onnx", "weights.safetensors")],
            "missing file": (bundle.path / "model.int8.onnx").unlink,
            "half a manifest": lambda: (bundle.path / "manifest.json").write_text('{"name":'),
            "newer schema": newer,
            "no manifest": (bundle.path / "manifest.json").unlink,
            "nothing": lambda: shutil.rmtree(bundle.path),
        }
        return lambda damage: damages[damage]()

    @pytest.mark.parametrize(
        ("damage", "code", "told"),
        [
            ("flipped byte", 21, "is damaged"),
            ("missing file", 21, "is missing"),
            ("half a manifest", 21, "manifest.json is damaged"),
            ("newer schema", 22, "upgrade nstc"),
            ("no manifest", 20, "holds no manifest.json"),
            ("nothing", 20, "does not exist"),
        ],
    )
    @pytest.mark.parametrize("verb", ["verify", "stylize", "export", "prune"])
    def test_a_damaged_one(
        self, nstc, bundle, spoil, save_picture, pixels, tmp_path, verb, damage, code, told
    ) -> None:
        save_picture(pixels, "a.png")
        spoil(damage)
        before = listing(tmp_path)
        arguments = {
            "verify": [bundle.path],
            "stylize": ["a.png", "-m", bundle.path, "-o", "out.png"],
            "export": [bundle.path],
            "prune": [bundle.path, "-o", "out"],
        }
        done = nstc(verb, *arguments[verb])
        assert done.code == code, done.err
        assert told in done.error
        assert listing(tmp_path) == before

    @pytest.mark.parametrize("name", ["zoo:nothing", "zoo:starry-night/aunt", "zoo:", "zoo:/"])
    def test_an_unknown_zoo_name(self, nstc, name) -> None:
        done = nstc("verify", name)
        assert done.code == 20
        assert f"no {name} in the zoo; there is {', '.join(zoo_names())}." in done.error

    def test_an_artifact_that_was_not_made(self, nstc, make_bundle, save_picture, pixels, tmp_path):
        save_picture(pixels, "a.png")
        bundle = make_bundle(tmp_path / "float", artifacts=["float"])
        done = nstc("stylize", "a.png", "-m", bundle.path, "-o", "out.png")
        assert done.code == 23
        assert "Make it with: nstc quantize" in done.error


class Payload:
    """Makes a folder when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("ran",)


class TestTeachers:
    @pytest.fixture(params=["import", "distill", "compress"])
    def give(self, request, nstc, tmp_path):
        """Gives a teacher to a verb; nothing but it may be there afterwards."""

        def run(path: str, but: tuple[str, ...] = ()):
            done = nstc(request.param, path, "-o", "out")
            assert not (tmp_path / "out").is_dir() or not any((tmp_path / "out").iterdir())
            return done

        return run

    def test_a_checkpoint_of_another_architecture(self, give) -> None:
        torch.save(torch.nn.Linear(2, 3).state_dict(), "linear.pth")
        done = give("linear.pth")
        assert done.code == 30
        assert "linear.pth is of another architecture" in done.error
        assert "conv1.conv2d.weight is missing" in done.error
        assert "64 differences" in done.error

    @pytest.mark.parametrize("bare", [True, False])
    def test_a_pickle_that_would_run_code(self, give, tmp_path, bare) -> None:
        if bare:
            (tmp_path / "trojan.pth").write_bytes(pickle.dumps(Payload()))
        else:
            torch.save({"conv1.conv2d.weight": Payload()}, "trojan.pth")
        done = give("trojan.pth")
        assert done.code == 31
        assert "would run code" in done.error
        assert not (tmp_path / "ran").exists()

    @pytest.mark.parametrize(
        ("content", "told"),
        [
            (b"", "x.pth is empty: download or copy it again"),
            (b"hello", "x.pth is damaged, or not a file that torch.save wrote. Download"),
            (b"PK\x03\x04", "not a file that torch.save wrote: it begins as one and breaks off"),
        ],
    )
    def test_what_is_no_checkpoint(self, give, tmp_path, content, told) -> None:
        (tmp_path / "x.pth").write_bytes(content)
        done = give("x.pth")
        assert done.code == 30
        assert told in done.error

    @pytest.mark.parametrize("verb", ["distill", "compress", "bench"])
    def test_an_onnx_file_that_is_a_text(self, nstc, bundle, tmp_path, verb) -> None:
        (tmp_path / "net.onnx").write_text("a text\n")
        given = (
            [bundle.path, "--no-quality", "--against", "net.onnx"]
            if verb == "bench"
            else ["net.onnx"]
        )
        output = [] if verb == "bench" else ["-o", "out"]
        done = nstc(verb, *given, *output)
        assert done.code == 32
        assert "net.onnx can't be loaded as ONNX" in done.error
        assert "Export it again" in done.error

    def test_none(self, nstc) -> None:
        done = nstc("distill", "missing.pth", "-o", "out")
        assert done.code == 32
        assert "no teacher at missing.pth" in done.error
