"""Portable files in other runtimes: `python -m lab.everywhere`, on a quiet machine.

Prints the table of docs/deploy/runtimes.md: for each runtime that is installed and each kind of
file how far its picture is from ONNX Runtime's of `model.int8.onnx` or `model.onnx`, its bytes, and
the lowest of some runs at 256x256 and 512x512 on one thread.
"""

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from nstc.benchmarks.subjects import Subject, find_subject
from nstc.benchmarks.targets import TARGETS, parse_target
from nstc.compress.export.checking import sample_picture
from nstc.compress.export.export_model import made_artifact
from nstc.runtime.arrays import Difference
from nstc.runtime.foreign.probing import probe_contract
from nstc.runtime.session import Session

RUNTIMES: Final = ("opencv", "openvino", "ncnn")
MODELS: Final = ("zoo:starry-night", "zoo:starry-night/fast")
SIZES: Final = (256, 512)
_RUNS: Final = 20


@dataclass(frozen=True)
class Place:
    """A portable file opened in a runtime."""

    runtime: str
    model: str
    artifact: str
    session: Session
    off: Difference  # of its picture of a photograph to that of the file it comes from


def places(runtime: str, size: int) -> Iterator[Place]:
    """Every portable file of `MODELS` there, of one size."""
    target = parse_target(f"{runtime}:1")
    picture = sample_picture(size, size)
    for model in MODELS:
        subject = find_subject(model, store=made_artifact)
        for artifact in target.artifacts(subject, size):
            session = target.open(subject, artifact, probe_contract)
            off = Difference.between(
                session.run(picture), _original(subject, artifact).run(picture)
            )
            yield Place(runtime, model, artifact, session, off)


def _original(subject: Subject, artifact: str) -> Session:
    return subject.open("int8" if artifact.startswith("int8.") else "float", 1)


def lowest_ms(session: Session, size: int) -> float:
    """Milliseconds of the fastest of some runs."""
    feed = session.prepare(sample_picture(size, size))
    times = []
    for _ in range(_RUNS):
        start = time.perf_counter()
        session.infer(feed)
        times.append(time.perf_counter() - start)
    return 1000 * min(times)


def main() -> int:
    """Print the table; 1 where a runtime is not installed."""
    print("| runtime | model | file | largest difference | bytes | ms at 256 | ms at 512 |")
    print("|---|---|---|---|---|---|---|")
    missing = []
    for runtime in RUNTIMES:
        if (reason := TARGETS[runtime].availability()) is not None:
            missing.append(f"{runtime}: {reason}")
            continue
        for small, large in zip(*(places(runtime, size) for size in SIZES), strict=True):
            pairs = zip((small, large), SIZES, strict=True)
            ms = " | ".join(f"{lowest_ms(own.session, size):.1f}" for own, size in pairs)
            kind = "int8" if small.artifact.startswith("int8.") else "float"
            size_bytes = small.session.path.stat().st_size
            off = f"{small.off.worst}/255, {small.off.psnr_db:.0f} dB"
            print(f"| {runtime} | `{small.model}` | {kind} | {off} | {size_bytes:,} | {ms} |")
    print("\n".join(missing), file=sys.stderr)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
