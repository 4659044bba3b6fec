"""Every mode of `nstc quantize` beside the float file: `python -m lab.quantization_modes`.

Makes each mode's file anew, times all of them in one run beside the float file, and judges them on
photographs that none was calibrated on. Prints the Markdown table of
docs/research/quantization.md. Times want an idle machine.
"""

import argparse
import dataclasses
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from nstc.benchmarks.bench import bench
from nstc.benchmarks.result import Row
from nstc.cli.output import Bar
from nstc.compress.pipeline import split_photos
from nstc.compress.quantization.quantize_model import quantize
from nstc.compress.quantization.summary import QuantizationReport
from nstc.core import Progress
from nstc.core.bundle import (
    QUANTIZATION_FILE,
    STYLE_FILE,
    WEIGHTS_FILE,
    Bundle,
    new_bundle,
    open_bundle,
)
from nstc.core.photos import PhotoSet
from nstc.core.recipe import BenchRecipe, QuantizeRecipe

MODES: Final[Mapping[str, QuantizeRecipe]] = {
    "static": QuantizeRecipe(),
    "dynamic": QuantizeRecipe(mode="dynamic"),
    "weights": QuantizeRecipe(mode="weights"),
    "weights --bits 4": QuantizeRecipe(mode="weights", bits=4),
    "weights --bits 4 --rounding adaptive --calibration-size 256": QuantizeRecipe(
        mode="weights", bits=4, rounding="adaptive", calibration_size=256
    ),
    "fp16": QuantizeRecipe(mode="fp16"),
}
"""By the flags that make them."""

FLOAT: Final = "onnx"
JUDGED: Final = ("style_ratio", "content_ratio")


def main() -> None:
    """Quantize, bench, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", nargs="?", default="zoo:starry-night")
    parser.add_argument("--photos", type=Path, action="append", default=[])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--size", type=int, default=512, help="side of the pictures in pixels")
    arguments = parser.parse_args()
    learned, judged = split_photos(arguments.photos)
    recipe = BenchRecipe(rounds=arguments.rounds, size=arguments.size)
    with tempfile.TemporaryDirectory() as folder, Bar() as bar:
        bare = without_files(open_bundle(arguments.bundle), Path(folder) / "bare")
        reports = made_files(bare, learned, Path(folder), bar)
        rows = bench(
            [str(folder) for folder in reports],
            against=str(bare.path),
            photos=judged,
            recipe=recipe,
            progress=bar,
        ).rows
    print_table(reports, rows)


def without_files(bundle: Bundle, folder: Path) -> Bundle:
    """A copy that holds what was learned, and nothing that was made of it."""
    learned = {WEIGHTS_FILE, STYLE_FILE, QUANTIZATION_FILE} & bundle.manifest.files.keys()
    manifest = dataclasses.replace(bundle.manifest, files={}, measurements=())
    with new_bundle(folder, manifest) as draft:
        for name in learned:
            (draft / name).write_bytes(bundle.file(name).read_bytes())
    return open_bundle(folder)


def made_files(
    bare: Bundle, photos: PhotoSet, folder: Path, progress: Progress
) -> dict[Path, QuantizationReport]:
    """A bundle a mode, with its float file and the mode's, by its path."""
    reports = {}
    for number, recipe in enumerate(MODES.values()):
        made, report = quantize(
            bare, folder / f"mode{number}", photos=photos, recipe=recipe, progress=progress
        )
        reports[made.path] = report
    return reports


def print_table(reports: Mapping[Path, QuantizationReport], rows: tuple[Row, ...]) -> None:
    """A row a file, the float one first; times faster are those than the float file."""
    print(f"| mode | KB | PSNR to float, dB | times faster (95 %) | {' | '.join(JUDGED)} |")
    print("|---|---|---|---|" + "---|" * len(JUDGED))
    by_file = {(row.model, row.artifact): row for row in rows}
    first = next(iter(reports))
    print(line("float", by_file[str(first), FLOAT], None))
    for (path, report), flags in zip(reports.items(), MODES, strict=True):
        print(line(f"`{flags}`", by_file[str(path), report.artifact], report.psnr_db))


def line(name: str, row: Row, psnr_db: float | None) -> str:
    """One row of the table."""
    cells = [name, f"{row.size_bytes / 1000:.0f}", "-" if psnr_db is None else f"{psnr_db:.1f}"]
    faster = row.speedup
    cells.append(f"{faster.median:.2f} ({faster.low:.2f} to {faster.high:.2f})")
    if row.quality is not None:
        cells += [f"{row.quality.metrics[name].median:.3f}" for name in JUDGED]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
