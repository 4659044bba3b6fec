"""How fast shapes of students are before they have learned: `python -m lab.shape_times`.

Every shape gets random weights, is quantized, and its int8 and float files are timed in turn with
the int8 file of `tiny`: ONNX Runtime's on one thread and on two, ExecuTorch's programs for XNNPACK
on one. What a shape can learn it does not say: `lab.exploration` trains them. Prints the Markdown
table of docs/research/students.md.
"""

import argparse
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from nstc.benchmarks.timing.latency import Run, alternate
from nstc.compress.export.checking import sample_picture
from nstc.compress.export.export_model import made_artifact
from nstc.compress.quantization.untrained import quantized_untrained
from nstc.core.bundle import Bundle, open_bundle
from nstc.models.architectures import complexity
from nstc.models.student import student_named
from nstc.runtime.session import open_session

SIZE: Final = 512
THREADS: Final = (1, 2)


def _without_details(**changes: Any) -> tuple[str, Mapping[str, Any]]:
    return "fast", {"details": (), **changes}


# The first is what the others are timed beside.
SHAPES: Final[Mapping[str, tuple[str, Mapping[str, Any]]]] = {
    "`tiny`": ("tiny", {}),
    "`fast`: 64 x 4, 32 at a quarter, and a layer of 48": ("fast", {}),
    "64 x 4, 32": _without_details(),
    "48 x 4, 32": _without_details(width=48),
    "48 x 4, 24": _without_details(width=48, skip=24),
    "48 x 6, 32": _without_details(width=48, blocks=6),
    "64 x 3, 32": _without_details(blocks=3),
    "64 x 4, 16": _without_details(skip=16),
    "64 x 4, 48": _without_details(skip=48),
    "64 x 4, 16, plain head": _without_details(skip=16, head="plain"),
    "96 x 4, 32": _without_details(width=96),
    "plain 32 x 4, 32": _without_details(block="plain", width=32),
    "plain 48 x 2, 32": _without_details(block="plain", width=48, blocks=2),
}


@dataclass(frozen=True, kw_only=True)
class Row:
    """What a shape costs."""

    params: int
    macs: int
    int8_bytes: int
    ms: tuple[float, ...]  # of the int8 file, by `THREADS`
    of_reference: tuple[float, ...]  # how many times faster than the first shape's it is
    of_float: tuple[float, ...]  # and than its own float file
    xnnpack_ms: float  # of the int8 program
    xnnpack_of_reference: float
    xnnpack_of_float: float


def main() -> None:
    """Time, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--size", type=int, default=SIZE)
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES))
    arguments = parser.parse_args()
    heads = [f"ms, {n} threads" if n > 1 else "ms, 1 thread" for n in THREADS]
    factors = "of `tiny` | of its float"
    heads = [*heads, factors, "ms, XNNPACK", factors]
    print(f"| shape | parameters | MACs | int8 | {' | '.join(heads)} |")
    print("|---|---|---|---|" + "---|" * (len(THREADS) + 5))
    with tempfile.TemporaryDirectory() as folder:
        for name, row in timed(arguments.shapes, Path(folder), arguments.size, arguments.rounds):
            ms = " | ".join(f"{value:.1f}" for value in row.ms)
            print(
                f"| {name} | {row.params / 1e3:.1f} k | {row.macs / 1e9:.2f} G | "
                f"{row.int8_bytes / 1000:.0f} KB | {ms} | {_factors(row.of_reference)} | "
                f"{_factors(row.of_float)} | {row.xnnpack_ms:.1f} | "
                f"{row.xnnpack_of_reference:.2f} | {row.xnnpack_of_float:.2f} |",
                flush=True,
            )


def timed(names: list[str], folder: Path, size: int, rounds: int) -> list[tuple[str, Row]]:
    """A row for each shape, all timed beside the first of `SHAPES`."""
    reference = made(next(iter(SHAPES)), folder)
    return [(name, _row(made(name, folder), reference, size, rounds)) for name in names]


def made(name: str, folder: Path) -> Bundle:
    """A quantized bundle of a shape, with random weights."""
    path = folder / f"int8-{list(SHAPES).index(name)}"
    if path.is_dir():
        return open_bundle(path)
    shape, changes = SHAPES[name]
    return quantized_untrained(student_named(shape, **changes), path)


def _row(bundle: Bundle, reference: Bundle, size: int, rounds: int) -> Row:
    def beside(int8: str, floating: str, threads: int) -> tuple[float, float, float]:
        """Lowest ms of the int8 file, times faster than the reference's, than its own float."""
        runs = [_run_of(bundle, name, size, threads) for name in (int8, floating)]
        others = _run_of(reference, int8, size, threads)
        timings = alternate(others, runs, rounds=rounds, seed=0)
        first, second = (timings.speedup(number, seed=0).median for number in range(len(runs)))
        return min(timings.candidates_ms[0]), first, first / second

    onnx = [beside("int8", "float", threads) for threads in THREADS]
    xnnpack = beside("int8.pte", "pte", 1)
    ms, of_reference, of_float = zip(*onnx, strict=True)
    counted = complexity(bundle, size)
    return Row(
        params=counted.params,
        macs=counted.macs,
        int8_bytes=bundle.artifact("int8").stat().st_size,
        ms=ms,
        of_reference=of_reference,
        of_float=of_float,
        xnnpack_ms=xnnpack[0],
        xnnpack_of_reference=xnnpack[1],
        xnnpack_of_float=xnnpack[2],
    )


def _run_of(bundle: Bundle, artifact: str, size: int, threads: int) -> Run:
    session = open_session(bundle, artifact=artifact, threads=threads, store=made_artifact)
    return partial(session.infer, session.prepare(sample_picture(size, size)))


def _factors(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:.2f}" for value in values)


if __name__ == "__main__":
    main()
