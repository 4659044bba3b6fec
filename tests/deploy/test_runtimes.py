"""Every row of docs/deploy/runtimes.md that says that a runtime works."""

import pytest
from lab.everywhere import MODELS, RUNTIMES, places

from nstc.benchmarks.targets import TARGETS

pytestmark = pytest.mark.everywhere


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_portable_files_give_the_picture_that_onnx_runtime_gives(runtime: str) -> None:
    """Floats within a level; of integers each runtime rounds some differently, far from a fault."""
    assert TARGETS[runtime].availability() is None
    found = list(places(runtime, 256))
    assert len(found) == len(MODELS) * (1 if runtime == "ncnn" else 2)
    for place in found:
        if place.artifact.startswith("int8."):
            assert place.off.psnr_db > 44, place
        else:
            assert place.off.worst <= 1, place
