"""Files of others at the prompt: what they may take, and that programs need somebody's word."""

import shutil

import hostile_graphs
import numpy as np
import pytest
from whole_copies import whole_copy

from nstc.core.bundle import open_bundle
from nstc.runtime.check_vectors import read_check_vectors
from nstc.runtime.foreign.trial import current_limits

VERBS = {
    "quantize": (
        "nstc.compress.quantization.foreign_models.quantize_file",
        ["n.onnx", "-o", "q.onnx"],
    ),
    "distill": ("nstc.compress.distillation.distill_model.distill", ["n.onnx", "-o", "out"]),
    "share": (
        "nstc.compress.distillation.share_weights.share",
        ["n.onnx", "n.onnx", "-o", "out", "--init", "student"],
    ),
    "prune": ("nstc.compress.pruning.prune_model.prune", ["student", "-o", "out"]),
    "compress": ("nstc.compress.pipeline.compress_model", ["n.onnx", "-o", "out"]),
    "bench": (
        "nstc.compress.optimization.optimized_photos.bench",
        ["n.onnx", "--against", "n.onnx"],
    ),
    "check": ("nstc.compress.export.export_model.check", ["--baseline", "b.json"]),
    "baseline": (
        "nstc.benchmarks.gate.update.update_baseline",
        ["update", "b.json", "--reason", "r"],
    ),
    "verify": ("nstc.runtime.verification.verify", ["bundle"]),
    "analyze": ("nstc.compress.pruning.analysis.analyze", ["bundle"]),
    "export": ("nstc.compress.export.export_model.export", ["bundle"]),
    "report": ("nstc.benchmarks.report.page.write_report", ["r.json", "-o", "r.html"]),
}


class _Enough(Exception):  # noqa: N818
    """Ends a run once the library was asked."""


@pytest.fixture(autouse=True)
def _somewhere_else(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("verb", VERBS)
def test_limits_hold_for_the_whole_verb_and_no_longer(nstc, monkeypatch, verb) -> None:
    target, arguments = VERBS[verb]
    seen = []

    def asked(*_arguments, **_options):
        seen.append(current_limits())
        raise _Enough

    monkeypatch.setattr(target, asked)
    with pytest.raises(_Enough):
        nstc(verb, *arguments, "--max-ram", "1.5GB", "--timeout", "7")
    assert (seen[0].max_ram_bytes, seen[0].timeout_s) == (1_500_000_000, 7)
    assert current_limits().timeout_s == 120


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("flag", [("--max-ram", "much"), ("--timeout", "0"), ("--timeout", "nan")])
def test_limits_that_are_none_are_refused(nstc, verb, flag) -> None:
    done = nstc(verb, *VERBS[verb][1], *flag)
    assert done.code == 3
    assert f"{flag[0].removeprefix('--')} is" in done.error


@pytest.mark.parametrize(
    "command",
    [
        ["distill", "n.onnx", "-o", "out"],
        ["quantize", "n.onnx", "-o", "q.onnx", "--mode", "weights"],
        ["bench", "n.onnx", "--against", "n.onnx", "--no-quality"],
        ["compress", "n.onnx", "-o", "out", "--preset", "quick"],
    ],
)
def test_a_graph_without_end_is_one_line_that_names_the_flag(nstc, tmp_path, command) -> None:
    hostile_graphs.written(hostile_graphs.loop_without_end(), tmp_path / "n.onnx")
    done = nstc(*command, "--timeout", "1.5")
    assert done.code == 36
    assert "did not end within 1.5 s" in done.error
    assert "--timeout" in done.error


@pytest.fixture
def hostile_bundle(make_bundle, tmp_path):
    """A bundle whose float graph wants 20 GB."""
    bundle = make_bundle(tmp_path / "bundle")
    hostile_graphs.written(hostile_graphs.constant_of_shape(), bundle.path / "model.onnx")
    return resealed(bundle, "model.onnx")


def resealed(bundle, *names):
    """The bundle, opened again, with files that are sealed as they are now."""
    import dataclasses

    from nstc.core.files import sha256_of
    from nstc.core.manifest import FileRecord

    files = dict(bundle.manifest.files)
    for name in names:
        path = bundle.path / name
        files[name] = FileRecord(sha256=sha256_of(path), size_bytes=path.stat().st_size)
    manifest = dataclasses.replace(bundle.manifest, files=files)
    (bundle.path / "manifest.json").write_text(manifest.to_json(), encoding="utf-8")
    return open_bundle(bundle.path)


def test_a_bundles_graph_is_a_strangers(nstc, hostile_bundle, save_picture, pixels) -> None:
    photo = save_picture(pixels)
    done = nstc("stylize", photo, "-m", hostile_bundle.path, "-o", "o.png", "--precision", "float")
    assert done.code == 36
    assert "needs more than 4 GB" in done.error or "--max-ram" in done.error
    done = nstc("verify", hostile_bundle.path)
    assert done.code == 36


def test_a_bundle_keeps_no_weights_in_other_files(
    nstc, bundle, weights_beside, save_picture, pixels
) -> None:
    weights_beside(bundle.path / "model.onnx")
    resealed(bundle, "model.onnx")
    photo = save_picture(pixels)
    done = nstc("stylize", photo, "-m", bundle.path, "-o", "o.png", "--precision", "float")
    assert done.code == 21
    assert "keeps weights in other files" in done.error


@pytest.fixture
def program(bundle, tmp_path):
    """A bundle with a TorchScript file that paints the negative."""
    import warnings

    import torch

    class Negative(torch.nn.Module):
        def forward(self, images):
            return 1 - images

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r".*torch\.jit.* is deprecated")
        torch.jit.trace(Negative(), torch.zeros(1, 3, 8, 8)).save(str(bundle.path / "model.ts"))
    return resealed(bundle, "model.ts")


def test_a_bundles_torchscript_needs_somebodys_word(nstc, program, save_picture, pixels) -> None:
    photo = save_picture(pixels)
    command = ["stylize", photo, "-m", program.path, "-o", "o.png", "--artifact", "ts"]
    done = nstc(*command)
    assert done.code == 31
    assert "model.ts was not loaded: it is TorchScript" in done.error
    assert "--trust" in done.error
    done = nstc(*command, "--trust")
    assert done.code == 0, done.err


def test_a_graph_that_was_tried_is_not_thereby_a_program_that_is_trusted(
    nstc, program, write_graph, save_picture, pixels
) -> None:
    """One file can be both: ONNX passes over what follows it, an archive over what precedes it."""
    from onnx import helper

    path = write_graph(program.path / "model.onnx", [helper.make_node("Identity", ["x"], ["y"])])
    archive = (program.path / "model.ts").read_bytes()
    size = len(archive)
    varint = bytes([size & 127 | 128, size >> 7 & 127 | 128, size >> 14 & 127 | 128, size >> 21])
    path.write_bytes(path.read_bytes() + b"\xca\x3e" + varint + archive)
    shutil.copyfile(path, program.path / "model.ts")
    resealed(program, "model.onnx", "model.ts")
    photo = save_picture(pixels)
    command = ["stylize", photo, "-m", program.path, "-o", "o.png", "--artifact"]
    assert nstc(*command, "onnx").code == 0
    assert nstc(*command, "ts").code == 31


@pytest.mark.parametrize(
    "more", [["--artifact", "ts", "--target", "torchscript:1"], ["--target", "torchscript:1"]]
)
def test_so_does_bench(nstc, program, more) -> None:
    command = ["bench", program.path, "--against", program.path, "--no-quality", "--size", "64"]
    done = nstc(*command, *more, "--rounds", "3")
    assert done.code == 31
    assert "--trust" in done.error


def test_quantize_does_not_ask_for_a_flag_that_it_has_not(nstc, program, tmp_path) -> None:
    shutil.copy(program.path / "model.ts", tmp_path / "n.onnx")
    done = nstc("quantize", "n.onnx", "-o", "q.onnx")
    assert done.code == 32
    assert "n.onnx is TorchScript" in done.error
    assert "--trust" not in done.error


def test_the_zoos_programs_came_with_nstc(nstc, save_picture, pixels, tmp_path) -> None:
    photo = save_picture(np.zeros((64, 64, 3), np.uint8))
    copied = whole_copy("zoo:starry-night", tmp_path / "copied")
    for model in ("zoo:starry-night", copied):
        done = nstc("stylize", photo, "-m", model, "-o", "o.png", "--artifact", "ts")
        assert done.code == 0, done.err


def test_a_program_that_is_not_trusted_keeps_its_check_vector(nstc, program) -> None:
    assert nstc("verify", program.path, "--record", "--trust").code == 0
    before = read_check_vectors(open_bundle(program.path))
    assert nstc("verify", program.path, "--record").code == 0
    after = read_check_vectors(open_bundle(program.path))
    assert set(after) == set(before) >= {"ts"}
    assert after["ts"].painted_sha256 == before["ts"].painted_sha256
    assert nstc("verify", program.path, "--trust").code == 0
