"""Peak memory of calibrating on many photographs: `python -m lab.calibration_memory [COUNT]`.

Quantizes the shipped student in a fresh process and reports the high-water mark of its resident
set, and how much of it was there before the first photograph: PyTorch and its ONNX exporter. A
PyTorch with CUDA brings more than one without. The sample photographs are linked under as many
names as are wanted, unless --photos names others; every one is decoded. Exits with 1 where the mark
is not under --most.
"""

import argparse
import functools
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from nstc.core.photos import sample_photos

_CHILD = """
import resource, sys
from pathlib import Path
from nstc.compress.quantization.calibration import photographs
from nstc.compress.graphs.float_graphs import body_graph
from nstc.compress.quantization.integer_body import integer_form_of, quantized_statically
from nstc.core.bundle import open_bundle
from nstc.core.photos import photos_in
from nstc.core.recipe import QuantizeRecipe
from nstc.models.architectures import load

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6

bundle, photos = open_bundle(sys.argv[1]), photos_in([Path(sys.argv[2])]).take(int(sys.argv[4]))
recipe = QuantizeRecipe(calibration_photos=len(photos), calibration_size=int(sys.argv[3]))
network, contract = load(bundle), bundle.manifest.contract
graph = body_graph(network)
print(len(photos), peak())
quantized_statically(
    graph,
    integer_form_of(network, contract, per_channel=recipe.per_channel),
    photographs(network, contract, photos, size=recipe.calibration_size),
    recipe,
)
print(peak())
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int, nargs="?", default=500)
    parser.add_argument("--bundle", default="zoo:starry-night")
    parser.add_argument("--size", type=int, default=512, help="side of the photographs in pixels")
    parser.add_argument("--photos", type=Path, help="a folder; the sample photographs by default")
    parser.add_argument("--most", type=float, default=1000, help="megabytes")
    arguments = parser.parse_args()
    if arguments.photos:
        measure: Callable[..., tuple[float, float]] = functools.partial(
            peaks_mb, folder=arguments.photos
        )
    else:
        measure = peaks_on_samples_mb
    before, found = measure(bundle=arguments.bundle, size=arguments.size, count=arguments.count)
    print(
        f"{found:.0f} MB at most, calibrating on {arguments.count} photographs; "
        f"{before:.0f} MB of it before the first"
    )
    sys.exit(0 if found < arguments.most else 1)


def peaks_on_samples_mb(*, bundle: str, size: int, count: int) -> tuple[float, float]:
    """As `peaks_mb`, on the sample photographs under as many names as are wanted."""
    samples = sample_photos().paths
    with tempfile.TemporaryDirectory() as folder:
        for number in range(count):
            source = samples[number % len(samples)]
            (Path(folder) / f"{number:05}{source.suffix}").symlink_to(source.resolve())
        return peaks_mb(folder=Path(folder), bundle=bundle, size=size, count=count)


def peaks_mb(*, folder: Path, bundle: str, size: int, count: int) -> tuple[float, float]:
    """High-water marks of a fresh process, in megabytes: before it calibrates, and in the end."""
    command = [sys.executable, "-c", _CHILD, bundle, str(folder), str(size), str(count)]
    # This Python with a program of this file.
    ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603
    found, before, most = map(float, ran.stdout.split())
    if found != count:
        sys.exit(f"{folder} holds {found:.0f} photographs, not {count}")
    return before, most


if __name__ == "__main__":
    main()
