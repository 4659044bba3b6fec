"""Every row of docs/deploy/runtimes.md that says that a runtime works."""

import subprocess
import sys

import pytest
from lab.everywhere import MODELS, RUNTIMES, TARGETED, missing, places

from nstc.benchmarks.subjects import FLOAT, find_subject
from nstc.benchmarks.targets import TARGETS
from nstc.compress.export.export_model import made_artifact
from nstc.runtime.arrays import CHECK_SEED, CHECK_SIZE, Difference, check_picture
from nstc.runtime.foreign.probing import probe_contract

pytestmark = pytest.mark.everywhere


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_portable_files_give_the_picture_that_onnx_runtime_gives(runtime: str) -> None:
    """Floats within a level; of integers each runtime rounds some differently, far from a fault."""
    assert missing(runtime) is None
    found = list(places(runtime, 256))
    assert len(found) == len(MODELS) * (2 if runtime in ("opencv", "openvino") else 1)
    for place in found:
        if place.artifact.startswith("int8."):
            assert place.off.psnr_db > 44, place
        else:
            assert place.off.worst <= 1, place


def test_openvino_reports_nothing_to_its_makers() -> None:
    code = (
        "import nstc.benchmarks.targets.openvino, openvino, sys; "
        "print([name for name in sys.modules if name.startswith('openvino_telemetry.')])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"


@pytest.mark.parametrize(
    ("runtime", "size"),
    [(own, (64, 64)) for own in TARGETED]
    + [(own, CHECK_SIZE) for own in TARGETED if own != "litert"],  # whose files are of multiples
)
def test_the_reference_of_a_benchmark_runs_there_too(runtime: str, size: tuple[int, int]) -> None:
    """A teacher, with instance normalisation."""
    subject = find_subject("zoo:starry-night/teacher", store=made_artifact)
    picture = check_picture(CHECK_SEED, *size)
    expected = subject.open(FLOAT, None).run(picture)
    target = TARGETS[runtime].make("1")
    session = target.open(subject, target.reference_artifact(size[0]), probe_contract)
    assert Difference.between(session.run(picture), expected).worst <= 2
