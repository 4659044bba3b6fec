"""Peak memory of calibrating on many photographs: `python scripts/calibration_memory.py [COUNT]`.

Quantizes the shipped student in a fresh process and reports the high-water mark of its resident
set. The sample photographs are linked under as many names as are wanted; every one is decoded.
Exits with 1 where the mark is not under --most.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from nstc.core.photos import sample_photos

_CHILD = """
import resource, sys
from pathlib import Path
from nstc.compress.static_quantization import quantized_body
from nstc.core.bundle import open_bundle
from nstc.core.photos import photos_in
from nstc.core.progress import Silent
from nstc.core.recipe import QuantizeRecipe
from nstc.models.architectures import load

bundle, photos = open_bundle(sys.argv[1]), photos_in([Path(sys.argv[2])])
recipe = QuantizeRecipe(calibration_photos=len(photos), calibration_size=int(sys.argv[3]))
quantized_body(load(bundle), bundle.manifest.contract, photos, recipe, Silent())
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6)
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int, nargs="?", default=500)
    parser.add_argument("--bundle", default="zoo:starry-night")
    parser.add_argument("--size", type=int, default=512, help="side of the photographs in pixels")
    parser.add_argument("--most", type=float, default=1000, help="megabytes")
    arguments = parser.parse_args()
    found = peak_mb(arguments.bundle, arguments.count, arguments.size)
    print(f"{found:.0f} MB at most, calibrating on {arguments.count} photographs")
    sys.exit(0 if found < arguments.most else 1)


def peak_mb(bundle: str, count: int, size: int) -> float:
    """The high-water mark of a fresh process that calibrates, in megabytes."""
    samples = sample_photos().paths
    with tempfile.TemporaryDirectory() as folder:
        for number in range(count):
            source = samples[number % len(samples)]
            (Path(folder) / f"{number:05}{source.suffix}").symlink_to(source.resolve())
        command = [sys.executable, "-c", _CHILD, bundle, folder, str(size)]
        ran = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(ran.stdout)


if __name__ == "__main__":
    main()
