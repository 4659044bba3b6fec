"""What a device pays: memory, tiles that don't show, start-up, and time from file to file.

`python -m lab.device_bench [--json] [--model BUNDLE] [--teacher BUNDLE]`
"""

import argparse
import json
import math
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from lab.device_memory import measure_within
from lab.device_speed import file_to_file
from lab.startup import IMPORT_LIMIT_S, Command, startup_rows
from nstc.benchmarks.timing.statistics import median
from nstc.core.bundle import open_bundle
from nstc.core.errors import NstcError
from nstc.core.images import Picture, Pixels, read_picture, write_picture
from nstc.core.photos import sample_photos
from nstc.core.terminal import plain_console
from nstc.runtime.arrays import Difference, tiling_of
from nstc.runtime.bounded import TilingPlan, bounded_stylizer
from nstc.runtime.footprint import measure_footprint
from nstc.runtime.session import find_artifact, open_session

MB: Final = 1_000_000
SIZE: Final = 512
PEAK_LIMIT_MB: Final = 30.0
"""What stylising a picture of `SIZE` may add to an interpreter with its imports."""

LARGE: Final = (4096, 3072)
"""Width and height of the photographs that are cut."""

LARGE_PHOTOS: Final = 3
CORE: Final = (256, 512)
LEVELS: Final = 1.0
"""Of 255 by which a picture in tiles may differ from the whole one."""

RAM_LIMIT_MB: Final = 256
FILE_ENDINGS: Final = (".jpg", ".png")
LEAST_SPEEDUP: Final = 10.0
"""Of the int8 student over the float teacher, from file to file at `SIZE`."""

COLD_LIMIT_S: Final = 1.0
"""What `nstc stylize` may take for a photograph of `SIZE`, from nothing to the file."""


@dataclass(frozen=True, kw_only=True)
class DeviceRow:
    """One fact.

    Attributes:
        fact: In words.
        value: As it was measured; None if it could not be.
        unit: Of the value and the limit.
        limit: The most it may be; None where it stands beside another for comparison.
        least: The least it must be; None likewise.
        note: What else is known, or why there is no value.
    """

    fact: str
    value: float | None
    unit: str
    limit: float | None = None
    least: float | None = None
    note: str = ""

    @property
    def holds(self) -> bool:
        """Whether it was measured and is within its limits, if there are any."""
        if self.limit is None and self.least is None:
            return True
        if self.value is None:
            return False
        within = self.limit is None or self.value <= self.limit
        return within and (self.least is None or self.value >= self.least)

    @property
    def bounds(self) -> str:
        """The limits in words."""
        most = "" if self.limit is None else f"at most {self.limit:g}"
        return most if self.least is None else f"at least {self.least:g}"


def memory_rows(model: str, teacher: str) -> Iterator[DeviceRow]:
    """Peak resident memory over interpreter and imports, each in a process of its own."""
    cases = ((model, "int8", PEAK_LIMIT_MB), (teacher, "float", None))
    for name, artifact, limit in cases:
        fact = f"peak at {SIZE}x{SIZE} over imports: {name} {artifact}"
        try:
            path = find_artifact(open_bundle(name), artifact)
            found = measure_footprint(path, size=SIZE, threads=1)
        except NstcError as error:
            yield DeviceRow(fact=fact, value=None, unit="MB", limit=limit, note=str(error))
            continue
        network = found.network_bytes
        yield DeviceRow(
            fact=fact,
            value=None if network is None else network / MB,
            unit="MB",
            limit=limit,
            note=f"{found.peak_bytes / MB:.0f} MB in all",
        )


def tiling_rows(model: str) -> Iterator[DeviceRow]:
    """Photographs in tiles beside the same photographs in one piece."""
    painter = bounded_stylizer(model, limit_bytes=sys.maxsize)
    whole = open_session(model)
    contract = open_bundle(model).manifest.contract
    tiling = tiling_of(LARGE[1], LARGE[0], CORE, contract)
    plan = TilingPlan(tiling=tiling, peak_bytes=None)
    for path in sample_photos().take(LARGE_PHOTOS).paths:
        rgb = _enlarged(path)
        expected = whole.run(rgb)
        tiled = painter.stylize(rgb, plan)
        off = Difference.between(tiled, expected)
        yield DeviceRow(
            fact=f"{tiling.count} tiles beside the whole at {LARGE[0]}x{LARGE[1]}: {path.stem}",
            value=float(off.worst),
            unit="levels of 255",
            limit=LEVELS,
            note=f"{np.mean(off.levels > 0):.4%} of values differ",
        )


def limit_row(model: str, folder: Path) -> DeviceRow:
    """Peak of a process that stylises a large photograph within a limit."""
    photo = folder / "large.jpg"
    Image.fromarray(_enlarged(sample_photos().paths[0])).save(photo, quality=90)
    fact = f"peak at {LARGE[0]}x{LARGE[1]} with --max-ram {RAM_LIMIT_MB}MB"
    try:
        done = measure_within(photo, folder / "large.png", model, limit_bytes=RAM_LIMIT_MB * MB)
    except NstcError as error:
        return DeviceRow(fact=fact, value=None, unit="MB", limit=RAM_LIMIT_MB, note=str(error))
    return DeviceRow(
        fact=fact,
        value=done.peak_bytes / MB,
        unit="MB",
        limit=RAM_LIMIT_MB,
        note=f"{done.tiles} tiles, {done.predicted_bytes / MB:.0f} MB predicted",
    )


def time_rows(model: str, teacher: str, folder: Path) -> Iterator[DeviceRow]:
    """A cold `nstc stylize` with either and `import nstc`, beside a bare interpreter."""
    photo = _photo(folder / "photo.jpg")
    cold = f"cold nstc stylize of {SIZE}x{SIZE}"
    commands = {
        cold: _stylizing(photo, folder, model, "int8", COLD_LIMIT_S),
        f"the same with {teacher} float": _stylizing(photo, folder, teacher, "float", math.inf),
        "import nstc": Command(("-c", "import nstc"), IMPORT_LIMIT_S),
    }
    for row in startup_rows(commands):
        yield DeviceRow(
            fact=row.command,
            value=row.seconds,
            unit="s",
            limit=row.limit_s if math.isfinite(row.limit_s) else None,
            note=f"IQR {row.iqr:.3f} s, {row.over_bare:.1f} times bare Python",
        )


def speed_rows(model: str, teacher: str, folder: Path) -> Iterator[DeviceRow]:
    """From file to file with the student beside the teacher, both opened already."""
    for ending in FILE_ENDINGS:
        fact = f"file to file at {SIZE}x{SIZE}, {ending[1:]}: {model} int8 beside {teacher} float"
        try:
            timings = file_to_file(_photo(folder / f"a{ending}"), model=model, teacher=teacher)
        except NstcError as error:
            yield DeviceRow(
                fact=fact, value=None, unit="times faster", least=LEAST_SPEEDUP, note=str(error)
            )
            continue
        speedup = timings.speedup(0, seed=0)
        own, other = median(timings.candidates_ms[0]), median(timings.reference_ms)
        yield DeviceRow(
            fact=fact,
            value=speedup.median,
            unit="times faster",
            least=LEAST_SPEEDUP,
            note=f"{speedup.low:.1f} to {speedup.high:.1f}; {own:.0f} and {other:.0f} ms, 1 thread",
        )


def device_rows(model: str, teacher: str) -> Iterator[DeviceRow]:
    """All rows, as they are measured."""
    yield from memory_rows(model, teacher)
    yield from tiling_rows(model)
    with tempfile.TemporaryDirectory() as name:
        yield limit_row(model, Path(name))
        yield from time_rows(model, teacher, Path(name))
        yield from speed_rows(model, teacher, Path(name))


def _stylizing(photo: Path, folder: Path, model: str, precision: str, limit_s: float) -> Command:
    output = folder / "cold.png"
    options = ("-o", str(output), "-m", model, "--precision", precision)
    return Command(("-m", "nstc", "stylize", str(photo), *options), limit_s)


def _photo(path: Path) -> Path:
    """Writes a sample photograph of `SIZE`."""
    rgb = _resized(sample_photos().paths[0], (SIZE, SIZE))
    write_picture(path, Picture(rgb=rgb))
    return path


def _enlarged(path: Path) -> Pixels:
    return _resized(path, LARGE)


def _resized(path: Path, size: tuple[int, int]) -> Pixels:
    image = Image.fromarray(read_picture(path).rgb)
    return np.array(image.resize(size, Image.Resampling.BICUBIC))


def main() -> int:
    """Print the rows; 1 if one is over its limit or could not be measured."""
    from rich.table import Table

    parser = argparse.ArgumentParser(prog="python -m lab.device_bench", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--model", default="zoo:starry-night", help="a student with int8 tiles")
    parser.add_argument("--teacher", default="zoo:starry-night/teacher", help="to stand beside")
    arguments = parser.parse_args()
    rows = list(device_rows(arguments.model, arguments.teacher))
    if arguments.json:
        content = [{**asdict(row), "holds": row.holds} for row in rows]
        sys.stdout.write(json.dumps(content, indent=1) + "\n")
    else:
        table = Table("fact", "measured", "must be", "holds", "", box=None)
        for row in rows:
            value = "-" if row.value is None else f"{row.value:.3g} {row.unit}"
            table.add_row(row.fact, value, row.bounds, "yes" if row.holds else "NO", row.note)
        plain_console().print(table)
    return 0 if all(row.holds for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
