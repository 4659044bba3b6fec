"""Compare ways to quantize: `python -m lab.calibrator_table [BUNDLE] [--photos DIR]`.

The network is one that learned in float: what has learned to be rounded has ranges of its own.
Every calibrator, with a scale a filter and a scale a layer, rounded to the nearest and adaptively.
Prints the Markdown table of docs/research/quantization.md. Quality is the teacher's judgement of
the file a device runs, on photographs that it was not calibrated on; time is not taken.
"""

import argparse
import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx

from nstc.benchmarks.quality.judging import Candidate, JudgingTeacher, StyleTarget, judge
from nstc.cli.output import Bar
from nstc.compress.export.export_model import made_artifact
from nstc.compress.graphs.deployed import deployed_graph, edges_of
from nstc.compress.pipeline import split_photos
from nstc.compress.quantization.calibration import CALIBRATORS
from nstc.compress.quantization.integer_body import quantized_body
from nstc.core import Progress, Silent
from nstc.core.bundle import Bundle, artifact_name, open_bundle
from nstc.core.photos import PhotoSet
from nstc.core.recipe import QuantizeRecipe
from nstc.models.architectures import load
from nstc.models.style import style_of
from nstc.models.vgg import load_vgg
from nstc.runtime.arrays import Difference, psnr_db
from nstc.runtime.onnx_session import OnnxSession
from nstc.runtime.session import Session

SHOWN = ("style_ratio", "content_ratio", "color_drift")


def main() -> None:
    """Quantize, judge, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", nargs="?", default="zoo:starry-night/pruned-teacher")
    parser.add_argument("--teacher", default="zoo:starry-night/teacher")
    parser.add_argument("--photos", type=Path, action="append", default=[])
    parser.add_argument("--size", type=int, default=256, help="side of the judged pictures")
    arguments = parser.parse_args()
    bundle, teacher = open_bundle(arguments.bundle), open_bundle(arguments.teacher)
    learned, judged = split_photos(arguments.photos)
    with tempfile.TemporaryDirectory() as folder, Bar() as bar:
        sessions = {"float": _float_session(bundle)}
        for name, recipe in recipes():
            bar.note(name)
            sessions[name] = _quantized(bundle, learned, recipe, Path(folder) / f"{len(sessions)}")
        rows = _rows(sessions, teacher, judged, arguments.size, bar)
    print(f"| calibrator, weights | PSNR to float, dB | {' | '.join(SHOWN)} |")
    print("|---|---|" + "---|" * len(SHOWN))
    for name, values in rows.items():
        print(f"| {name} | " + " | ".join(values) + " |")


def recipes() -> Iterator[tuple[str, QuantizeRecipe]]:
    """What is compared, by name."""
    for calibrator, per_channel in itertools.product(CALIBRATORS, (True, False)):
        scales = "per channel" if per_channel else "per tensor"
        yield (
            f"{calibrator}, {scales}",
            QuantizeRecipe(calibrator=calibrator, per_channel=per_channel),
        )
    for per_channel in (True, False):
        scales = "per channel" if per_channel else "per tensor"
        adaptive = QuantizeRecipe(per_channel=per_channel, rounding="adaptive")
        yield f"percentile, {scales}, adaptive rounding", adaptive


def _float_session(bundle: Bundle) -> OnnxSession:
    return OnnxSession(made_artifact(bundle, "float"), artifact_name("float"))


def _quantized(
    bundle: Bundle, photos: PhotoSet, recipe: QuantizeRecipe, folder: Path
) -> OnnxSession:
    network, contract = load(bundle), bundle.manifest.contract
    chosen = photos.take(recipe.calibration_photos)
    made = quantized_body(network, contract, chosen, recipe, Silent())
    folder.mkdir()
    onnx.save(deployed_graph(made.graph, edges_of(network, contract)), folder / "int8.onnx")
    return OnnxSession(folder / "int8.onnx", artifact_name("int8"))


def _rows(
    sessions: dict[str, OnnxSession],
    teacher: Bundle,
    photos: PhotoSet,
    size: int,
    progress: Progress,
) -> dict[str, list[str]]:
    statistics, style = style_of(teacher), teacher.manifest.style
    if statistics is None or style is None:
        raise SystemExit(f"{teacher.path} brings no style to judge by")
    judge_by = JudgingTeacher(name=teacher.name, session=_float_session(teacher))
    target = StyleTarget(statistics=statistics, source=style.source)
    candidates = [
        Candidate(session=session, teacher=judge_by, style=target) for session in sessions.values()
    ]
    found = judge(candidates, photos, size=size, vgg=load_vgg(), seed=0, progress=progress)
    return {
        name: [
            "-" if name == "float" else f"{_psnr_db(session, sessions['float'], photos, size):.1f}",
            *(f"{quality.metrics[metric].median:.3f}" for metric in SHOWN),
        ]
        for (name, session), quality in zip(sessions.items(), found, strict=True)
    }


def _psnr_db(session: Session, reference: Session, photos: PhotoSet, size: int) -> float:
    squares = photos.squares(size)
    errors = [Difference.between(session.run(p), reference.run(p)).mean_square for p in squares]
    return psnr_db(float(np.mean(errors)))


if __name__ == "__main__":
    main()
