"""An NVIDIA GPU of this machine: torch in two precisions, and ONNX Runtime's CUDA provider."""

import ctypes
import importlib.util
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from nstc.benchmarks.subjects import Probe, Subject
from nstc.benchmarks.targets.base import Reading, RowFacts, TargetKind
from nstc.benchmarks.targets.here import alternate_sessions
from nstc.benchmarks.timing.latency import RunClock
from nstc.benchmarks.timing.throughput import BATCH, Batched, Throughput
from nstc.core.bundle import artifact_name
from nstc.core.errors import OptionError
from nstc.core.images import Pixels
from nstc.core.progress import Progress
from nstc.core.recipe import BenchRecipe
from nstc.runtime.session import Session

TORCH: Final = ("torch-fp32", "torch-fp16")
"""Artifacts that are no files: a bundle's weights, run by torch."""

_PROVIDER: Final = "CUDAExecutionProvider"
_DRIVER: Final = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
"""NVIDIA's own library, which comes with the driver and with nothing else."""

_FRAMES: Final = 50


@dataclass(frozen=True, kw_only=True)
class CudaTarget:
    """The first GPU; see `nstc.benchmarks.targets.base.Target`."""

    onnx: bool  # whether ONNX Runtime has its CUDA provider
    clock: RunClock | None = None  # the GPU's own time unless given
    name: ClassVar[str] = "cuda"
    reference_artifact: ClassVar[str] = TORCH[0]
    reports_memory: ClassVar[bool] = False

    def artifacts(self, subject: Subject, size: int) -> tuple[str, ...]:
        """Torch in both precisions, and all ONNX files where ONNX Runtime has the provider."""
        own = () if subject.bundle is None else TORCH
        return (*own, *(subject.artifacts(size) if self.onnx else ()))

    def open(self, subject: Subject, artifact: str, probe: Probe) -> Session:  # noqa: ARG002
        """A session on the GPU; files that others made are not run there.

        Raises:
            OptionError: no bundle, or an ONNX file without the provider.
            TargetError: ONNX Runtime fell back to the processor.
        """
        from nstc.benchmarks.targets.cuda_sessions import OrtCudaSession, TorchSession

        name = artifact_name(artifact)
        if name in TORCH or subject.bundle is None:
            return TorchSession(subject, name)
        if not self.onnx:
            raise OptionError(
                f"{name} on cuda needs ONNX Runtime's {_PROVIDER}: pip uninstall -y onnxruntime, "
                f"then pip install onnxruntime-gpu. Or give --artifact {TORCH[0]}."
            )
        return OrtCudaSession(subject.store(subject.bundle, name), name)

    def measure(
        self, sessions: Sequence[Session], picture: Pixels, recipe: BenchRecipe, progress: Progress
    ) -> Reading:
        """Alternate on the GPU, which is kept busy between turns."""
        from nstc.benchmarks.targets.cuda_sessions import CudaClock

        clock = self.clock or CudaClock()
        timings = alternate_sessions(sessions, picture, recipe, progress, clock)
        return Reading(
            timings=timings,
            place=_place(),
            rows=tuple(_facts(session, picture, clock) for session in sessions[1:]),
        )


def _facts(session: Session, picture: Pixels, clock: RunClock) -> RowFacts:
    from nstc.benchmarks.targets.cuda_sessions import OrtCudaSession, operators_on_cpu

    throughput = _throughput(session, picture, clock)
    if not isinstance(session, OrtCudaSession):
        return RowFacts(throughput=throughput, provider="torch CUDA")
    left = operators_on_cpu(session.profile(picture), session.path)
    return RowFacts(
        counts={"cpu_operators": left}, throughput=throughput, provider=session.provider
    )


def _throughput(session: Session, picture: Pixels, clock: RunClock) -> Throughput:
    """By the GPU's clock too: torch comes back before a frame is done."""
    feed = session.prepare(picture)
    one_ms = clock.timed_ms(lambda: session.infer(feed), _FRAMES)
    batch = session.batch if isinstance(session, Batched) else 1
    batched = None
    if isinstance(session, Batched) and batch is None:
        many = session.prepare_batch(picture, BATCH)
        batched = BATCH * 1000 / clock.timed_ms(lambda: session.infer(many), _FRAMES)
    return Throughput(
        frames_per_second=1000 / one_ms,
        graph_batch="any" if batch is None else batch,
        batched_frames_per_second=batched,
    )


def _place() -> dict[str, str | int | float | None]:
    import torch

    here = torch.cuda.is_available()
    return {
        "provider": "CUDA",
        "device": torch.cuda.get_device_name(0) if here else "none",
        "runtime": f"torch {torch.__version__}",
        "tf32_convolutions": int(torch.backends.cudnn.allow_tf32),
    }


def _availability() -> str | None:
    if importlib.util.find_spec("torch") is None:
        return 'it needs torch: pip install "nstc[compress]"'
    try:
        ctypes.CDLL(_DRIVER)  # as torch loads it
    except OSError:
        return "there is no NVIDIA driver on this machine"
    import torch  # which takes seconds: only where the answer hangs on it

    if torch.cuda.is_available():
        return None
    built = "" if torch.version.cuda else ", and this torch is built without CUDA"
    return f"torch sees no NVIDIA GPU{built}"


def _make(argument: str | None) -> CudaTarget:
    if argument is not None:
        raise OptionError(f"no target 'cuda:{argument}': cuda is the first GPU.")
    import onnxruntime

    return CudaTarget(onnx=_PROVIDER in onnxruntime.get_available_providers())


CUDA: Final = TargetKind(
    form="cuda",
    summary="NVIDIA GPU: torch in fp32 and fp16, and ONNX Runtime's CUDA provider where it is",
    make=_make,
    availability=_availability,
)
