"""Pictures a second of one worker on Ray and of two: `python -m lab.ray_rates`, on a quiet machine.

What counts is the rate that `nstc stylize --ray` tells, from the first outcomes on. Fails where two
workers are less than 1.7 times as fast as one.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from nstc.core.photos import photos_in

LEAST_GAIN: Final = 1.7
_RATE: Final = re.compile(r"failed, ([0-9.e+]+) pictures/s")


def rate_of(workers: int, photos: Path, model: str) -> float:
    """Pictures a second, told by a run of its own into a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["nstc", "stylize", str(photos), "-o", f"{folder}/out", "-m", model, "--ray"]
        ran = subprocess.run(  # noqa: S603
            [sys.executable, "-m", *command, "--workers", str(workers)],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
    return float(_RATE.findall(ran.stderr)[-1])


def many_photos(listing: Path, count: int) -> Path:
    """A list of the sample photographs, again and again, each with a result of its own."""
    samples = photos_in([]).paths
    rows = (
        {"path": str(samples[index % len(samples)]), "output": f"{index:05}.jpg"}
        for index in range(count)
    )
    listing.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return listing


def main() -> int:
    """Print both rates; 1 if two workers gain too little."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, help="default: the samples, again and again")
    parser.add_argument("--count", type=int, default=1000, help="of the samples")
    parser.add_argument("--model", default="zoo:starry-night")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        photos = asked.photos or many_photos(Path(made) / "samples.jsonl", asked.count)
        one, two = (rate_of(workers, photos, asked.model) for workers in (1, 2))
    print(f"1 worker: {one:.3g} pictures/s")
    print(f"2 workers: {two:.3g} pictures/s, {two / one:.2f} times")
    return 0 if two >= LEAST_GAIN * one else 1


if __name__ == "__main__":
    sys.exit(main())
