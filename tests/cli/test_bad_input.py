"""What users get wrong: one clear line, an exit code of its own, and nothing half written."""

import importlib
import json
import math
import os
import pickle
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pytest
import torch
from PIL import Image

from nstc.core.zoo import zoo_names

HUGE = 10**30

REFUSED: dict[str, dict[str, list[Any]]] = {
    "train": {
        "--steps": [0, -1],
        "--size": [0, -1, 63, 1025, HUGE],
        "--batch": [0, -1, 65, HUGE],
        "--learning-rate": [0, -1, math.nan, math.inf],
        "--style-weight": [-1, math.nan, math.inf],
        "--content-weight": [-1, math.nan, math.inf],
        "--tv-weight": [-1, math.nan, math.inf],
        "--balance": [0, -1, 0.001, 1001, math.nan, math.inf],
        "--ema": [-0.1, 1, math.nan, math.inf],
        "--style-size": [0, -1, 127, 2049, HUGE],
        "--seed": [-1, 2**63, HUGE],
    },
    "distill": {
        **{
            f"--{term}-weight": [-1, math.nan, math.inf]
            for term in ("pixel", "style", "content", "checkerboard", "steadiness")
        },
        "--inner": [0, -8, 7, 1032, HUGE],
        **{
            f"--{term}-goal": [0, -1, math.nan, math.inf]
            for term in ("style", "content", "flicker")
        },
        "--float-share": [-0.1, 1, math.nan, math.inf],
        "--scale": [0, -4, 2, 16],
        "--width": [0, -8, 7, 264, HUGE],
        "--blocks": [0, -1, 33, HUGE],
        "--pixel-steps": [-1],
        "--steps": [-1],
        "--size": [0, -8, 56, 100, 1032, HUGE],
        "--perceptual-size": [0, -8, 24, 100, 1032, HUGE],
        "--crops": [0, -1, 101, HUGE],
        "--batch": [0, -1, 65, HUGE],
        "--perceptual-batch": [0, -1, 65, HUGE],
        "--input-range": [0, 2, -255, HUGE],
        "--value-range": [0, 2, -255, HUGE],
        "--output-range": [0, 2, -255, HUGE],
        "--size-multiple": [0, -1, 1025, HUGE],
        "--seed": [-1, 2**63, HUGE],
    },
    "prune": {
        "--ratio": [0, -1, 1, 2, math.nan, math.inf],
        "--speedup": [0, -1, 1, math.nan, math.inf],
        "--iterations": [0, -1, 101, HUGE],
        "--steps": [-1],
        "--input-range": [0, 2, HUGE],
        "--value-range": [0, 2, HUGE],
        "--output-range": [0, 2, HUGE],
        "--size-multiple": [0, -1, 1025, HUGE],
        "--seed": [-1, 2**63, HUGE],
    },
    "quantize": {
        "--calibration-photos": [0, -1],
        "--calibration-size": [0, -1, 31, 2049, HUGE],
        "--percentile": [0, -1, 89, 101, HUGE],
        "--size": [0, -1, 15, 4097, HUGE],
        "--bits": [0, -1, 2, 16, HUGE],
        "--quality-budget": [0, -1, 9, 61, HUGE],
        "--input-range": [0, 2, HUGE],
        "--value-range": [0, 2, HUGE],
        "--output-range": [0, 2, HUGE],
        "--size-multiple": [0, -1, 1025, HUGE],
    },
    "bench": {
        "--size": [0, -1, 15, 4097, HUGE],
        "--threads": [0, -1, 257, HUGE],
        "--memory-cap": [0, -1],
        "--rounds": [0, -1, 2, 10_001, HUGE],
        "--input-range": [0, 2, HUGE],
        "--value-range": [0, 2, HUGE],
        "--output-range": [0, 2, HUGE],
        "--size-multiple": [0, -1, 1025, HUGE],
        "--seed": [-1, 2**63, HUGE],
    },
    "compress": {
        "--input-range": [0, 2, HUGE],
        "--value-range": [0, 2, HUGE],
        "--output-range": [0, 2, HUGE],
        "--size-multiple": [0, -1, 1025, HUGE],
        "--seed": [-1, 2**63, HUGE],
    },
    "stylize": {
        "--threads": [0, -1, 257, HUGE],
        "--size": [0, -1, 15, HUGE],
        "--strength": [-1.1, 3.1, "nan", "inf"],
        "--style-scale": [0, -1, 9, "nan"],
        "--max-pixels": [0, -1, 2**31, HUGE],
        "--max-download-mb": [0, -1, HUGE],
        "--timeout": [0, -1, "nan", "inf"],
        "--frames": [0, -1],
        "--seconds": [0, -1, "nan"],
        "--crf": [-1, 52],
    },
}
"""Values of every numeric flag that must be refused before any work begins."""

NUMERIC = {int, float, int | None, float | None}

CALLS = {
    "train": ["--style", "missing.png", "-o", "out"],
    "distill": ["missing", "-o", "out"],
    "prune": ["missing", "-o", "out"],
    "quantize": ["missing", "-o", "out"],
    "bench": ["missing", "--no-quality", "--against", "missing"],
    "compress": ["missing", "-o", "out"],
    "stylize": ["missing.png", "-o", "out.png"],
}


@pytest.fixture(autouse=True)
def _somewhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative paths land in the test's own folder."""
    monkeypatch.chdir(tmp_path)


def listing(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


class TestNumbers:
    @pytest.mark.parametrize(("verb", "flag"), [(v, f) for v in REFUSED for f in REFUSED[v]])
    def test_out_of_range(self, nstc, verb, flag, tmp_path) -> None:
        for value in REFUSED[verb][flag]:
            done = nstc(verb, *CALLS[verb], f"{flag}={value}")
            assert done.code == 3, (value, done.err)
            assert f"{flag.removeprefix('--')} is " in done.error
            assert "expected" in done.error
        assert listing(tmp_path) == set()

    @pytest.mark.parametrize(("verb", "flag"), [(v, f) for v in REFUSED for f in REFUSED[v]])
    def test_no_number(self, nstc, verb, flag) -> None:
        done = nstc(verb, *CALLS[verb], f"{flag}=many")
        assert done.code == 2
        assert f"{flag} is many: expected a " in done.error

    @pytest.mark.parametrize("verb", REFUSED)
    def test_no_numeric_flag_is_forgotten_here(self, verb) -> None:
        function = getattr(importlib.import_module(f"nstc.cli.{verb}"), verb)
        hints = get_type_hints(function)
        numeric = {
            name for name, hint in hints.items() if hint in NUMERIC and not name.startswith("_")
        }
        assert {f"--{name.replace('_', '-')}" for name in numeric} == set(REFUSED[verb])

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            (["prune", "m", "-o", "o", "--ratio", "0.5", "--speedup", "2"], "choose one"),
            (["prune", "m", "-o", "o", "--target-macs", "1G", "--speedup", "2"], "choose one"),
            (["prune", "m", "-o", "o", "--target-macs", "many"], "such as 400M or 10G"),
            (["prune", "m", "-o", "o", "--target-latency", "8"], "such as 8ms@cpu:1"),
            (["prune", "m", "-o", "o", "--target-latency", "8ms@abacus"], "no target 'abacus'"),
            (["prune", "m", "-o", "o", "--importance", "luck"], "one of magnitude, group-norm"),
            (["prune", "m", "-o", "o", "--distribution", "even"], "one of uniform, global"),
            (["prune", "m", "-o", "o", "--drop-blocks", "some"], "from 0 to 31, or auto"),
            (["prune", "m", "-o", "o", "--drop-blocks", "-1"], "from 0 to 31, or auto"),
            (["prune", "m", "-o", "o", "--round-to", "0"], "from 1 to 64, or auto"),
            (["prune", "m", "-o", "o", "--round-to", "65"], "from 1 to 64, or auto"),
            (["prune", "m", "-o", "o", "--round-to", "many"], "from 1 to 64, or auto"),
            (["prune", "m", "-o", "o", "--iterations", "3", "--steps", "2"], "fewer iterations"),
            (["analyze", "m", "-o", "plot.gif"], "use .svg or .png"),
            (["analyze", "m", "--size", "100"], "a multiple of 8 from 64"),
            (["analyze", "m", "--threads", "0"], "threads is 0: expected from 1"),
            (["analyze", "m", "--importance", "luck"], "one of magnitude, group-norm"),
            (["distill", "m", "-o", "o", "--steps", "0", "--pixel-steps", "0"], "both 0"),
            (["distill", "m", "-o", "o", "--perceptual-size", "264"], "at most size, 256"),
            (["distill", "m", "-o", "o", "--student", "big"], "separable, plain"),
            (["distill", "m", "-o", "o", "--layout", "CHW"], "NCHW or NHWC"),
            (
                ["distill", "m", "-o", "o", "--value-range", "2"],
                "value-range is 2: expected one of",
            ),
            (["distill", "m", "-o", "o", "--channels", "gbr"], "channels is gbr: expected rgb or"),
            (["distill", "m", "-o", "o", "--mean", "0.5"], "mean is 0.5: expected imagenet, or"),
            (["prune", "m", "-o", "o", "--std", "a,b,c"], "std is a,b,c: expected imagenet, or"),
            (["bench", "m", "--against", "m", "--std", "1,0,1"], "std is 1,0,1: expected imagenet"),
            (["compress", "m", "-o", "o", "--output-mean", "nan,0,0"], "output-mean is"),
            (["quantize", "m", "-o", "o", "--mode", "int4"], "static, dynamic"),
            (["compress", "m", "-o", "o", "--preset", "fast"], "quick, full, restyle"),
            (["export", "m", "--format", "coreml"], "onnx, torchscript"),
            (["export", "m", "--format", ""], "format is empty"),
            (["export", "m", "--static", "0x0"], "from 1 to"),
            (["export", "m", "--static", "99999999x8"], "from 1 to"),
            (["export", "m", "--static", "512"], "such as 512x512"),
            (["stylize", "a.png", "-o", "b.psd"], "use one of .png"),
        ],
    )
    def test_other_settings_that_can_not_be(self, nstc, bundle, arguments, told) -> None:
        model = ["-m", bundle.path] if arguments[0] == "stylize" else []
        done = nstc(*arguments, *model)
        assert done.code == 3
        assert told in done.error

    def test_more_threads_than_cores(self, nstc, bundle) -> None:
        more = (os.cpu_count() or 1) + 1
        done = nstc(
            "bench",
            bundle.path,
            "--against",
            bundle.path,
            "--no-quality",
            "--size",
            64,
            "--threads",
            min(256, more),
        )
        assert done.code == 3
        assert "or fewer" in done.error


class TestPhotographs:
    @pytest.fixture
    def stylize(self, nstc, bundle):
        return lambda *photos, o="out": nstc("stylize", *photos, "-o", o, "-m", bundle.path)

    @pytest.mark.parametrize(
        ("name", "content", "told"),
        [
            ("missing.jpg", None, "no such file"),
            ("empty.jpg", b"", "is empty"),
            ("text.png", b"hello", "not a picture"),
            ("program.jpg", b"\x7fELF" + bytes(100), "not a picture"),
        ],
    )
    def test_what_is_none(self, stylize, tmp_path, name, content, told) -> None:
        if content is not None:
            (tmp_path / name).write_bytes(content)
        done = stylize(name)
        assert done.code == 10
        assert name in done.error
        assert told in done.error
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize("name", ["cut.jpg", "cut.png"])
    def test_truncated(self, stylize, save_picture, pixels, tmp_path, name) -> None:
        path = save_picture(pixels, name)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        done = stylize(name)
        assert done.code == 10
        assert "truncated" in done.error
        assert not (tmp_path / "out").exists()

    def test_a_folder_without_pictures(self, stylize, photo_folder) -> None:
        (photo_folder / "empty").mkdir()
        done = stylize(photo_folder / "empty")
        assert done.code == 10
        assert "no pictures in" in done.error

    def test_one_bad_of_several(self, stylize, save_picture, pixels, tmp_path) -> None:
        save_picture(pixels, "a.png")
        save_picture(pixels, "c.png")
        (tmp_path / "b.png").write_bytes(b"")
        done = stylize("a.png", "b.png", "c.png")
        assert done.code == 12
        assert "1 of 3 pictures could not be stylised" in done.error
        assert "b.png is empty" in done.err
        assert listing(tmp_path / "out") == {"a.png", "c.png"}
        assert len(done.out.splitlines()) == 2

    @pytest.mark.parametrize("output", ["a.png", ".", "../{}/a.png"])
    def test_a_photograph_is_not_written_over(
        self, stylize, save_picture, pixels, tmp_path, output
    ) -> None:
        before = save_picture(pixels, "a.png").read_bytes()
        done = stylize("a.png", o=output.format(tmp_path.name))
        assert done.code == 3
        assert "choose another --output" in done.error
        assert (tmp_path / "a.png").read_bytes() == before

    @pytest.mark.parametrize("files", [{}, {"notes.txt": "hello"}])
    @pytest.mark.parametrize("verb", ["train", "distill", "prune", "quantize", "bench"])
    def test_a_folder_without_any(self, nstc, save_picture, pixels, bundle, tmp_path, verb, files):
        save_picture(pixels, "missing.png")
        (tmp_path / "none").mkdir()
        for name, text in files.items():
            (tmp_path / "none" / name).write_text(text)
        places = {"missing": bundle.path}
        done = nstc(verb, *(places.get(a, a) for a in CALLS[verb]), "--photos", "none")
        assert done.code == 11
        assert "no photographs in none" in done.error
        assert not (tmp_path / "out").exists()

    def test_no_folder(self, nstc) -> None:
        done = nstc("quantize", "missing", "-o", "out", "--photos", "nowhere")
        assert done.code == 11
        assert "--photos takes a folder" in done.error


class TestPhotographsOfAllKinds:
    """What cameras and editors write is painted: the bundle gives the negative of a picture."""

    def painted(self, nstc, bundle, name: str) -> Image.Image:
        done = nstc("stylize", name, "-o", "out", "-m", bundle.path)
        assert done.code == 0, done.err
        with Image.open(Path("out") / name) as image:
            image.load()
            assert done.out.startswith(f"{Path('out') / name}  {image.width}x{image.height}  ")
            return image

    def test_alpha_is_kept(self, nstc, bundle, pixels) -> None:
        image = Image.fromarray(pixels)
        image.putalpha(77)
        image.save("a.png")
        result = np.asarray(self.painted(nstc, bundle, "a.png"))
        np.testing.assert_array_equal(result[:, :, :3], 255 - pixels)
        assert set(np.unique(result[:, :, 3])) == {77}

    @pytest.mark.parametrize("mode", ["P", "CMYK", "L", "1", "I;16"])
    def test_modes(self, nstc, bundle, pixels, mode) -> None:
        if mode == "I;16":
            photo = Image.fromarray(pixels[:, :, 0].astype(np.uint16) * 257)
        else:
            photo = Image.fromarray(pixels).convert(mode)
        photo.save("a.tif")
        seen = photo.convert("RGB") if mode != "I;16" else Image.fromarray(pixels[:, :, 0])
        given = np.asarray(seen.convert("RGB"))
        np.testing.assert_array_equal(np.asarray(self.painted(nstc, bundle, "a.tif")), 255 - given)

    def test_a_rotation_is_applied(self, nstc, bundle, pixels) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6  # to be turned by a quarter, clockwise
        Image.fromarray(pixels).save("a.png", exif=exif)
        result = self.painted(nstc, bundle, "a.png")
        np.testing.assert_array_equal(np.asarray(result), 255 - np.rot90(pixels, -1))

    @pytest.mark.parametrize("shape", [(1, 1), (40, 5000), (5000, 1)])
    def test_extreme_sizes(self, nstc, bundle, shape) -> None:
        Image.fromarray(np.full((*shape, 3), 55, np.uint8)).save("a.png")
        result = np.asarray(self.painted(nstc, bundle, "a.png"))
        assert result.shape == (*shape, 3)
        assert set(np.unique(result)) == {200}

    @pytest.mark.parametrize("name", ["my photo.png", "straße 日本 é.png", "-.png", "a.b.png"])
    def test_names(self, nstc, bundle, pixels, name) -> None:
        Image.fromarray(pixels).save(name)
        name = f"./{name}" if name.startswith("-") else name
        assert self.painted(nstc, bundle, name).size == (53, 37)


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
            (b"", "x.pth is empty, damaged on its way: download or copy it again"),
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


class TestRecipes:
    @pytest.mark.parametrize("verb", ["train", "distill", "prune", "quantize", "bench", "compress"])
    def test_all_unknown_keys_are_told_by_every_verb(self, nstc, recipe_file, verb) -> None:
        file = recipe_file("[prune]\nratios = 0.5\n[distil]\nsteps = 1\n")
        done = nstc(verb, *CALLS[verb], "--recipe", file)
        assert done.code == 4
        assert "unknown key prune.ratios, the nearest is prune.ratio" in done.error
        assert "unknown key distil, the nearest is distill" in done.error

    @pytest.mark.parametrize(
        ("content", "code", "told"),
        [
            (b"[distill\n", 4, "not valid TOML"),
            (b"\xff\xfe", 4, "r.toml: it is not text in UTF-8"),
            (b"[distill]\nsteps = 'many'\n", 4, "distill.steps is 'many', expected a whole number"),
            (b"[distill]\nsteps = true\n", 4, "expected a whole number"),
            (b"[distill]\nsteps = -1\n", 3, "[distill] steps is -1"),
            (b"[train]\nlearning_rate = nan\n", 3, "[train] learning-rate is nan"),
        ],
    )
    def test_what_can_not_be_used(self, nstc, tmp_path, content, code, told) -> None:
        (tmp_path / "r.toml").write_bytes(content)
        done = nstc("distill", "missing", "-o", "out", "--recipe", "r.toml")
        assert done.code == code
        assert told in done.error

    @pytest.mark.parametrize("place", ["missing.toml", "."])
    def test_none(self, nstc, place) -> None:
        done = nstc("distill", "missing", "-o", "out", "--recipe", place)
        assert done.code == 4
        assert "Give a TOML file" in done.error


def mounted(folder: Path, options: str) -> Iterator[Path]:
    """A file system in memory of its own, where the system lets one be made."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A place that nobody may write to, not even root."""
    yield from mounted(tmp_path / "read-only", "ro,size=64k")


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system without a byte of room."""
    for folder in mounted(tmp_path / "disk", "size=16k"):
        (folder / "filling").write_bytes(bytes(16 * 1024))
        yield folder


WRITERS = ["train", "distill", "prune", "quantize", "compress", "export", "bench", "stylize"]


class TestOutputs:
    @pytest.fixture
    def write_to(self, nstc, bundle, student_bundle, teacher_bundle, photo_folder):
        """Runs a verb that would write to a place, on inputs that are all in order."""
        photo = photo_folder / "a.png"
        arguments = {
            "train": ["--style", photo, "-o"],
            "distill": [teacher_bundle.path, "-o"],
            "prune": [student_bundle.path, "-o"],
            "quantize": [student_bundle.path, "-o"],
            "compress": [teacher_bundle.path, "-o"],
            "export": [student_bundle.path, "--format", "torchscript", "-o"],
            "bench": [bundle.path, "--against", bundle.path, "--json"],
            "stylize": [photo, "-m", bundle.path, "-o"],
        }
        return lambda verb, place, *more: nstc(verb, *arguments[verb], place, *more)

    @pytest.mark.parametrize("verb", WRITERS)
    def test_under_a_file(self, write_to, tmp_path, verb) -> None:
        (tmp_path / "file").write_text("mine")
        done = write_to(verb, tmp_path / "file" / "out.png")
        assert done.code == 40, done.err
        assert "a file is where a folder is needed" in done.error
        assert (tmp_path / "file").read_text() == "mine"

    @pytest.mark.parametrize("verb", ["train", "distill", "prune", "quantize", "compress"])
    def test_a_folder_of_other_things(self, write_to, tmp_path, verb) -> None:
        (tmp_path / "thesis").mkdir()
        (tmp_path / "thesis" / "chapter.txt").write_text("mine")
        before = listing(tmp_path) | {"student", "teacher", "photos", "negative"}
        done = write_to(verb, tmp_path / "thesis")
        assert done.code == 40, done.err
        assert "Give another" in done.error
        assert {path.split("/")[0] for path in listing(tmp_path)} <= {
            path.split("/")[0] for path in before
        }
        assert listing(tmp_path / "thesis") == {"chapter.txt"}

    def test_a_folder_where_a_file_is_to_be(self, write_to, tmp_path) -> None:
        (tmp_path / "folder").mkdir()
        done = write_to("bench", tmp_path / "folder")
        assert done.code == 40
        assert "it is a folder" in done.error

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
    @pytest.mark.parametrize("verb", ["train", "distill", "prune", "quantize", "stylize"])
    def test_a_device(self, write_to, verb) -> None:
        done = write_to(verb, "/dev/full")
        assert done.code == 40
        assert "it is a file" in done.error

    @pytest.mark.parametrize("verb", WRITERS)
    def test_a_place_that_can_only_be_read(self, write_to, read_only, verb) -> None:
        done = write_to(verb, read_only / "out.png")
        assert done.code == 40, done.err
        assert "Read-only file system" in done.error
        assert not any(read_only.iterdir())

    @pytest.mark.parametrize("verb", ["stylize", "export", "distill"])
    def test_a_full_disk(self, write_to, full_disk, verb) -> None:
        short = ["--width=8", "--blocks=1", "--pixel-steps=2", "--steps=0", "--batch=1"]
        short += ["--size=64", "--perceptual-size=64"]
        done = write_to(verb, full_disk / "out.png", *(short if verb == "distill" else []))
        assert done.code == 40, done.err
        assert "No space left on device" in done.error
        kept = {path.name for path in full_disk.rglob("*") if path.is_file()}
        assert kept <= {"filling", "losses.jsonl"}
