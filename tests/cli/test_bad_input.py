"""Flags and recipes that users get wrong: one clear line, and nothing half written."""

import math
import os
from typing import Any, get_type_hints

import numpy as np
import pytest

from nstc.cli.app import verb_command, verb_function

pytestmark = pytest.mark.usefixtures("somewhere_else")

HUGE = 10**30

OF_FOREIGN_TEACHERS: dict[str, list[Any]] = {
    **{f"--{name}-range": [0, 2, -255, HUGE] for name in ("input", "value", "output")},
    "--size-multiple": [0, -1, 1025, HUGE],
}
ON_RAY: dict[str, list[Any]] = {"--workers": [0, -1, HUGE], "--threads": [0, -1, HUGE]}
OF_RESTYLING: dict[str, list[Any]] = {
    **{
        f"--{name}-weight": [-1, math.nan, math.inf]
        for name in ("style", "checkerboard", "flicker")
    },
    "--steps": [0, -1],
    "--size": [0, -8, 56, 100, 1032, HUGE],
    "--batch": [0, -1, 65, HUGE],
    "--style-strength": [-0.1, 2.1, math.nan, math.inf],
    "--seed": [-1, 2**63, HUGE],
}
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
        "--style-strength": [-0.1, 2.1, math.nan, math.inf],
        "--ema": [-0.1, 1, math.nan, math.inf],
        "--style-size": [0, -1, 127, 2049, HUGE],
        "--seed": [-1, 2**63, HUGE],
    },
    "distill": {
        **{
            f"--{term}-weight": [-1, math.nan, math.inf]
            for term in ("pixel", "style", "content", "checkerboard", "flicker")
        },
        "--inner": [0, -8, 7, 1032, HUGE],
        **{
            f"--{term}-goal": [0, -1, math.nan, math.inf]
            for term in ("style", "content", "flicker")
        },
        "--style-strength": [-0.1, 2.1, math.nan, math.inf],
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
        **OF_FOREIGN_TEACHERS,
        "--seed": [-1, 2**63, HUGE],
    },
    "restyle": {**OF_RESTYLING, "--preview-every": [0, -1]},
    "search": {
        "--trials": [0, -1, 10_001, HUGE],
        "--steps": [0, -1],
        **ON_RAY,
        **OF_FOREIGN_TEACHERS,
        "--seed": [-1, 2**63, HUGE],
    },
    "zoo build": {**OF_RESTYLING, **ON_RAY},
    "share": {
        "--steps": [0, -1],
        "--size": [0, -8, 56, 100, 1032, HUGE],
        "--crops": [0, -1, 101, HUGE],
        "--batch": [0, -1, 65, HUGE],
        "--pixel-weight": [-1, math.nan, math.inf],
        "--float-share": [-0.1, 1, math.nan, math.inf],
        "--style-strength": [-0.1, 2.1, math.nan, math.inf],
        **OF_FOREIGN_TEACHERS,
        "--seed": [-1, 2**63, HUGE],
    },
    "pack train-any": {
        "--steps": [0, -1],
        "--size": [0, -8, 56, 100, 1032, HUGE],
        "--batch": [0, -1, 65, HUGE],
        "--style-strength": [-0.1, 2.1, math.nan, math.inf],
        "--preview-every": [0, -1],
        "--seed": [-1, 2**63, HUGE],
    },
    "prune": {
        "--ratio": [0, -1, 1, 2, math.nan, math.inf],
        "--speedup": [0, -1, 1, math.nan, math.inf],
        "--iterations": [0, -1, 101, HUGE],
        "--steps": [-1],
        **OF_FOREIGN_TEACHERS,
        "--seed": [-1, 2**63, HUGE],
    },
    "quantize": {
        "--calibration-photos": [0, -1],
        "--calibration-size": [0, -1, 31, 2049, HUGE],
        "--percentile": [0, -1, 89, 101, HUGE],
        "--size": [0, -1, 15, 4097, HUGE],
        "--bits": [0, -1, 2, 32, HUGE],
        "--quality-budget": [0, -1, 9, 61, HUGE],
        **OF_FOREIGN_TEACHERS,
    },
    "bench": {
        "--size": [0, -1, 15, 4097, HUGE],
        "--threads": [0, -1, 257, HUGE],
        "--memory-cap": [0, -1],
        "--rounds": [0, -1, 2, 10_001, HUGE],
        "--optimized-photos": [0, -1],
        "--optimize-steps": [0, -1, 100_001, HUGE],
        **OF_FOREIGN_TEACHERS,
        "--seed": [-1, 2**63, HUGE],
    },
    "compress": {
        **OF_FOREIGN_TEACHERS,
        "--seed": [-1, 2**63, HUGE],
    },
    "optimize": {
        **{f"--{term}-weight": [-1, math.nan, math.inf] for term in ("style", "content", "tv")},
        "--size": [0, -1, 31, 4097, HUGE],
        "--steps": [0, -1, 100_001, HUGE],
        "--scales": [0, -1, 7, HUGE],
        "--learning-rate": [0, -1, math.nan, math.inf],
        "--style-strength": [-0.1, 2.1, math.nan, math.inf],
        "--style-size": [0, -1, 31, 4097, HUGE],
        "--preview-every": [0, -1],
        "--max-download-mb": [0, -1, HUGE],
        "--timeout": [0, -1, math.nan, math.inf],
        "--seed": [-1, 2**63, HUGE],
    },
    "stylize": {
        "--threads": [0, -1, 257, HUGE],
        "--workers": [0, -1, HUGE],
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
    "serve": {
        "--port": [-1, 65_536, HUGE],
        "--threads": [0, -1, 257, HUGE],
        "--timeout": [0, -1, 3601, "nan", "inf"],
    },
}
"""Values of every numeric flag that must be refused before any work begins."""

NUMERIC = {int, float, int | None, float | None}

CALLS = {
    "train": ["--style", "missing.png", "-o", "out"],
    "distill": ["missing", "-o", "out"],
    "restyle": ["missing.png", "-o", "out"],
    "search": ["missing", "-o", "out", "--budget", "bytes<=1KB"],
    "zoo build": ["missing.toml", "-o", "out"],
    "share": ["missing", "missing", "-o", "out", "--init", "missing"],
    "pack train-any": ["-o", "out", "--paintings", "."],
    "prune": ["missing", "-o", "out"],
    "quantize": ["missing", "-o", "out"],
    "bench": ["missing", "--no-quality", "--against", "missing"],
    "compress": ["missing", "-o", "out"],
    "optimize": ["missing.png", "missing.png", "-o", "out.png"],
    "stylize": ["missing.png", "-o", "out.png"],
    "serve": [],
}
LEARNERS = ("train", "distill", "restyle", "share")
OF_VIDEOS = {"--frames", "--seconds", "--crf"}


class TestNumbers:
    @pytest.mark.parametrize(("verb", "flag"), [(v, f) for v in REFUSED for f in REFUSED[v]])
    def test_out_of_range(self, nstc, verb, flag, tmp_path, tmp_path_factory) -> None:
        call = CALLS[verb]
        if flag in OF_VIDEOS:
            av = pytest.importorskip("av")
            clip = tmp_path_factory.mktemp("clip") / "clip.mp4"
            with av.open(str(clip), "w") as container:
                stream = container.add_stream("libx264", rate=10)
                stream.width = stream.height = 32
                grey = np.full((32, 32, 3), 128, np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
                container.mux(stream.encode(None))
            call = [str(clip), "-o", str(tmp_path / "out.mp4")]
        for value in REFUSED[verb][flag]:
            done = nstc(*verb.split(), *call, f"{flag}={value}")
            assert done.code == 3, (value, done.err)
            assert f"{flag.removeprefix('--')} is " in done.error
            assert "expected" in done.error
        assert not any(tmp_path.iterdir())

    @pytest.mark.parametrize(("verb", "flag"), [(v, f) for v in REFUSED for f in REFUSED[v]])
    def test_no_number(self, nstc, verb, flag) -> None:
        done = nstc(*verb.split(), *CALLS[verb], f"{flag}=many")
        assert done.code == 2
        assert f"{flag} is many: expected a " in done.error

    @pytest.mark.parametrize("verb", REFUSED)
    def test_no_numeric_flag_is_forgotten_here(self, verb) -> None:
        hints = get_type_hints(verb_function(verb))
        numeric = {
            name for name, hint in hints.items() if hint in NUMERIC and not name.startswith("_")
        }
        flags = {max(own.opts, key=len) for own in verb_command(verb).params if own.name in numeric}
        assert flags == set(REFUSED[verb])

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
            (["analyze", "m", "--compare", "int8", "float", "--size", "2048"], "64 to 1024 with"),
            (["analyze", "m", "--compare", "int8", "float", "--threads", "2"], "no meaning with"),
            (["analyze", "m", "--compare", "int8", "float", "-o", "h.svg"], "use .png"),
            (["analyze", "m", "--seed", "1"], "--seed belongs to --compare: leave it out"),
            (["quantize", "m", "-o", "o", "--bits", "16", "--mode", "fp16"], "mode static"),
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
            (["distill", "m", "-o", "o", "--input", "style"], "expected a name and a value"),
            (["bench", "m", "--against", "m", "--input", "=7"], "expected a name and a value"),
            (
                ["prune", "m", "-o", "o", "--input", "style=7", "--input", "style=8"],
                "input style is given twice",
            ),
            (["quantize", "m", "-o", "o", "--mode", "int4"], "static, dynamic"),
            (["compress", "m", "-o", "o", "--preset", "fast"], "restyle-quick, restyle"),
            (["export", "m", "--format", "tensorrt"], "onnx, torchscript"),
            (["export", "m", "--format", ""], "format is empty"),
            (["export", "m", "--static", "0x0"], "from 1 to"),
            (["export", "m", "--static", "99999999x8"], "from 1 to"),
            (["export", "m", "--static", "512"], "such as 512x512"),
            (["export", "m", "--format", "portable"], "give --size HEIGHTxWIDTH"),
            (["export", "m", "--format", "coreml"], "give --size HEIGHTxWIDTH"),
            (["export", "m", "--format", "portable", "--size", "8"], "size is 8: expected HEIGHT"),
            *(
                (
                    ["stylize", "a.png", "-o", "b.png", "-m", "zoo:udnie", "--artifact", name],
                    f"artifact is {name}: expected int8",
                )
                for name in ("coreml", "litert", "portable")
            ),
            (["stylize", "a.png", "-o", "b.psd"], "use one of .png"),
            (["serve", "--max-upload", "much"], "max-upload is much: expected a size"),
            (["serve", "--max-upload", "1GB"], "expected from 1KiB to 256MiB"),
        ],
    )
    def test_other_settings_that_can_not_be(self, nstc, bundle, arguments, told) -> None:
        model = ["-m", bundle.path] if arguments[0] == "stylize" and "-m" not in arguments else []
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


class TestPhotographSets:
    @pytest.mark.parametrize("files", [{}, {"notes.txt": "hello"}])
    @pytest.mark.parametrize("verb", [*LEARNERS, "prune", "quantize", "bench"])
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


class TestRecipes:
    @pytest.mark.parametrize("verb", [*LEARNERS, "prune", "quantize", "bench", "compress"])
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
