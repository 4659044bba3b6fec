"""Where students run: `python -m lab.everywhere [--write]`, on a quiet machine.

Makes the table of docs/deploy/runtimes.md: for each place and each kind of file how far its picture
is from ONNX Runtime's of `model.int8.onnx` or `model.onnx`, its bytes, and the lowest of some runs
at 256x256 and 512x512 on one thread. `--write` puts it into the page.
"""

import importlib
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Final

from lab.count_and_time import fill
from nstc.benchmarks.subjects import Subject, find_subject
from nstc.benchmarks.targets import TARGETS, parse_target
from nstc.compress.export import COREML
from nstc.compress.export.checking import sample_picture
from nstc.compress.export.coreml_files import painted
from nstc.compress.export.export_model import export, made_artifact
from nstc.core.files import VARIABLE, scratch_folder
from nstc.core.images import Pixels
from nstc.runtime.arrays import Difference
from nstc.runtime.coreml import missing_coremltools, read_coreml
from nstc.runtime.foreign.probing import probe_contract
from nstc.runtime.session import Session

PAGE: Final = Path(__file__).resolve().parents[1] / "docs" / "deploy" / "runtimes.md"
BEGIN: Final = "<!-- python -m lab.everywhere --write writes from here -->"
TARGETED: Final = ("opencv", "openvino", "ncnn", "litert")
RUNTIMES: Final = (*TARGETED, COREML)
SHOWN: Final = {
    "opencv": "OpenCV DNN",
    "openvino": "OpenVINO, CPU",
    "ncnn": "ncnn, through pnnx",
    "litert": "LiteRT",
    COREML: "Core ML",
}
PACKAGES: Final = {
    "openvino": "openvino",
    "ncnn": "ncnn",
    "litert": "ai-edge-litert",
    COREML: "coremltools",
}
"""What was tried, as pip names it. OpenCV is not here: several packages give it."""
MODELS: Final = ("zoo:starry-night", "zoo:starry-night/fast")
SIZES: Final = (256, 512)
_RUNS: Final = 20
_HEAD: Final = (
    "place", "model", "file", "works", "tried with", "largest difference", "bytes",
    *(f"ms at {size}" for size in SIZES),
)  # fmt: skip
_NONE: Final = "–"
_NO_FFMPEG: Final = ("FFmpeg", "any", "float", "contract only", "not tried", *(_NONE,) * 4)


@dataclass(frozen=True)
class Place:
    """A file opened in a runtime."""

    runtime: str
    model: str
    artifact: str
    session: Session | None  # None where nothing here runs it
    off: Difference  # of its picture of a photograph to that of the file it comes from
    size_bytes: int

    @property
    def kind(self) -> str:
        """Of its layers."""
        if self.runtime == COREML:
            return "float16"
        return "int8" if self.artifact.startswith("int8.") else "float"


def missing(runtime: str) -> str | None:
    """Why a runtime can't be tried here, or None."""
    return missing_coremltools() if runtime == COREML else TARGETS[runtime].availability()


def places(runtime: str, size: int) -> Iterator[Place]:
    """Every file of `MODELS` there, of one size."""
    picture = sample_picture(size, size)
    for model in MODELS:
        subject = find_subject(model, store=made_artifact)
        if runtime in TARGETED:
            target = parse_target(f"{runtime}:1")
            for artifact in target.artifacts(subject, size):
                session = target.open(subject, artifact, probe_contract)
                off = _off(session.run(picture), subject, artifact, picture)
                yield Place(runtime, model, artifact, session, off, session.path.stat().st_size)
        else:
            yield _package(model, subject, picture)


def _package(model: str, subject: Subject, picture: Pixels) -> Place:
    """The Core ML package, whose operations are computed one by one."""
    height, width, _ = picture.shape
    with scratch_folder() as folder:
        (path,) = export(model, formats=[COREML], size=(height, width), output=folder)
        artifact, size_bytes = path.name.removeprefix("model."), path.stat().st_size
        off = _off(painted(read_coreml(path), picture), subject, artifact, picture)
        return Place(COREML, model, artifact, None, off, size_bytes)


def _off(made: Pixels, subject: Subject, artifact: str, picture: Pixels) -> Difference:
    original = subject.open("int8" if artifact.startswith("int8.") else "float", 1)
    return Difference.between(made, original.run(picture))


def lowest_ms(session: Session, size: int) -> float:
    """Milliseconds of the fastest of some runs."""
    feed = session.prepare(sample_picture(size, size))
    times = []
    for _ in range(_RUNS):
        start = time.perf_counter()
        session.infer(feed)
        times.append(time.perf_counter() - start)
    return 1000 * min(times)


def version(runtime: str) -> str:
    """What runs or computes a runtime's files here, and its version."""
    if runtime == "opencv":
        return f"OpenCV {importlib.import_module('cv2').__version__}"
    return f"{PACKAGES[runtime]} {metadata.version(PACKAGES[runtime])}"


def row(runtime: str, *sizes: Place) -> tuple[str, ...]:
    """The line of a file, which was opened for each of `SIZES`."""
    first = sizes[0]
    off = f"{first.off.worst} of 255, {first.off.psnr_db:.0f} dB"
    ms = [
        _NONE if own.session is None else f"{lowest_ms(own.session, size):.1f}"
        for own, size in zip(sizes, SIZES, strict=True)
    ]
    works = "not run here" if first.session is None else "yes"
    name, size_bytes = f"`{first.model}`", f"{first.size_bytes:,}"
    return SHOWN[runtime], name, first.kind, works, version(runtime), off, size_bytes, *ms


def table(rows: list[tuple[str, ...]]) -> str:
    """Lines of Markdown."""
    lines = [_HEAD, ("---",) * len(_HEAD), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> int:
    """Print or write the table; 1 where a runtime is not installed, of which nothing is written."""
    with scratch_folder() as folder:
        os.environ[VARIABLE] = str(folder)  # a cache may have files of an older converter
        return _main()


def _main() -> int:
    lacking = {own: reason for own in RUNTIMES if (reason := missing(own)) is not None}
    rows = [
        row(runtime, *both)
        for runtime in RUNTIMES
        if runtime not in lacking
        for both in zip(*(places(runtime, size) for size in SIZES), strict=True)
    ]
    text = table([*rows, _NO_FFMPEG])
    print(text)
    for runtime, reason in lacking.items():
        print(f"{runtime}: {reason}", file=sys.stderr)
    if "--write" in sys.argv[1:] and not lacking:
        fill(PAGE, text, BEGIN)
    return 1 if lacking else 0


if __name__ == "__main__":
    sys.exit(main())
