"""The memory that an optimisation takes, in a process of its own."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from nstc.compress.export.checking import sample_picture
from nstc.core.images import Picture, write_picture

LIMIT = 4_000_000_000
SIDE = 1024
STEPS = 2
# L-BFGS keeps twenty pairs of steps and gradients. The second step, which computes its losses
# before it makes the first pair, takes as much besides as any.
HISTORY = 20 * 2 * SIDE * SIDE * 3 * 4

CODE = """
import resource, sys
from pathlib import Path
import nstc
from nstc.core.recipe import OptimizeRecipe
from nstc.models import tensors

photo, painting, output, side, steps, precision = sys.argv[1:]
tensors.faster_in_bf16 = lambda: precision == "bf16"
recipe = OptimizeRecipe(size=int(side), steps=int(steps), scales=1, optimizer="lbfgs")
nstc.optimize(photo, painting, Path(output), recipe=recipe)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


@pytest.mark.memory
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss has other units elsewhere")
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_1024_px_take_less_than_4_gb(precision: str, tmp_path: Path) -> None:
    if precision == "bf16" and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        pytest.skip("this processor has no bf16")
    pixels = sample_picture(SIDE, SIDE)
    for name, rgb in (("photo", pixels), ("painting", 255 - pixels)):
        write_picture(tmp_path / f"{name}.png", Picture(rgb=rgb))
    names = [str(tmp_path / name) for name in ("photo.png", "painting.png", "out.png")]
    done = subprocess.run(
        [sys.executable, "-c", CODE, *names, str(SIDE), str(STEPS), precision],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    peak = int(done.stdout) + HISTORY
    print(f"{precision}: {peak / 1e9:.2f} GB with a full history")  # noqa: T201
    assert peak < LIMIT
