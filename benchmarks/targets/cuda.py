"""An NVIDIA GPU of this machine: torch in two precisions, and ONNX Runtime's CUDA provider.

Torch is imported where it is used: the table of targets is read without it.
"""

import ctypes
import importlib.util
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final

import onnxruntime

from nstc.benchmarks.subjects import Probe, Subject
from nstc.benchmarks.targets.base import Measurement, RowFacts, TargetKind, alternate_sessions
from nstc.benchmarks.timing.latency import BATCH, Batched, Run, RunClock, Throughput
from nstc.core import Progress, bundle, files
from nstc.core.errors import OptionError, TargetError
from nstc.core.images import Pixels
from nstc.core.recipe import BenchRecipe
from nstc.runtime import arrays
from nstc.runtime.onnx_session import ON_CPU, OnnxSession, load_graph
from nstc.runtime.session import Session

# Artifacts that are not files, and torch's types: it runs a bundle's weights, not an export.
_FULL: Final = "torch-fp32"
TORCH: Final[Mapping[str, str]] = {_FULL: "float32", "torch-fp16": "float16"}
CUDA_PROVIDER: Final = "CUDAExecutionProvider"
_PROVIDERS: Final = (CUDA_PROVIDER, *ON_CPU)
# NVIDIA's own library, which comes with the driver and with nothing else.
_DRIVER: Final = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
EVENT_TICK_NS: Final = 1000  # CUDA's events resolve about half a microsecond
_FRAMES: Final = 50


def keep_warm(seconds: float) -> None:
    """Multiply matrices for so long: an idle GPU lowers its frequency within milliseconds."""
    import torch

    matrix = torch.ones((1024, 1024), device="cuda", dtype=torch.float16)
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        torch.mm(matrix, matrix)
        torch.cuda.synchronize()


@dataclass(frozen=True)
class CudaClock(RunClock):
    """Times runs by CUDA events, which exclude the time that Python takes to start them."""

    sleep: Callable[[float], None] = keep_warm
    tick_ns: int = EVENT_TICK_NS
    cuda: Any = field(default_factory=lambda: importlib.import_module("torch.cuda"))

    def timed_ms(self, run: Run, runs: int = 1) -> float:
        """Milliseconds of one run on the GPU, the mean of `runs` in a row."""
        # the same two events time a session that waits for the GPU itself, as ONNX Runtime's does
        start, end = (self.cuda.Event(enable_timing=True) for _ in range(2))
        self.cuda.synchronize()
        start.record()
        for _ in range(runs):
            run()
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end)) / runs


@dataclass(frozen=True, kw_only=True)
class CudaTarget:
    """The first GPU; see `nstc.benchmarks.targets.base.Target`."""

    onnx: bool  # whether ONNX Runtime has its CUDA provider
    clock: RunClock | None = None  # `CudaClock` unless given
    name: ClassVar[str] = "cuda"
    draws_on: ClassVar[str] = "cuda"
    reports_memory: ClassVar[bool] = False

    def reference_artifact(self, size: int) -> str:  # noqa: ARG002
        """Torch in full precision."""
        return _FULL

    def artifacts(self, subject: Subject, size: int) -> tuple[str, ...]:
        """Torch in both precisions, and all ONNX files where ONNX Runtime has the provider."""
        own = () if subject.bundle is None else tuple(TORCH)
        return (*own, *(subject.artifacts(size) if self.onnx else ()))

    def open(self, subject: Subject, artifact: str, probe: Probe) -> Session:  # noqa: ARG002
        """A session on the GPU; raises as `Target.open`, and as the sessions below."""
        name = bundle.artifact_name(artifact)
        if name in TORCH or subject.bundle is None:
            return TorchSession(subject, name)
        if not self.onnx:
            raise OptionError(
                f"{name} on cuda needs ONNX Runtime's {CUDA_PROVIDER}: pip uninstall -y "
                "onnxruntime, then pip install onnxruntime-gpu. Or give --artifact "
                f"{_FULL}."
            )
        return OrtCudaSession(subject.store(subject.bundle, name), name)

    def measure(
        self, sessions: Sequence[Session], picture: Pixels, recipe: BenchRecipe, progress: Progress
    ) -> Measurement:
        """Alternate on the GPU, which is kept busy between turns."""
        import torch

        clock = self.clock or CudaClock()
        timings = alternate_sessions(sessions, picture, recipe, progress, clock)
        here = torch.cuda.is_available()
        return Measurement(
            timings=timings,
            place={
                "provider": "CUDA",
                "device": torch.cuda.get_device_name(0) if here else "none",
                "runtime": f"torch {torch.__version__}",
                "tf32_convolutions": int(torch.backends.cudnn.allow_tf32),
            },
            rows=tuple(_facts(session, picture, clock) for session in sessions[1:]),
        )


def _facts(session: Session, picture: Pixels, clock: RunClock) -> RowFacts:
    """By the GPU's clock too: torch returns before a frame is done."""
    feed = session.prepare(picture)
    one_ms = clock.timed_ms(lambda: session.infer(feed), _FRAMES)
    batch = session.batch if isinstance(session, Batched) else 1
    batched = None
    if isinstance(session, Batched) and batch is None:
        many = session.prepare_batch(picture, BATCH)
        batched = BATCH * 1000 / clock.timed_ms(lambda: session.infer(many), _FRAMES)
    throughput = Throughput(
        frames_per_second=1000 / one_ms,
        graph_batch="any" if batch is None else batch,
        batched_frames_per_second=batched,
    )
    if not isinstance(session, OrtCudaSession):
        return RowFacts(throughput=throughput, provider="torch CUDA")
    left = operators_on_cpu(session.profile(picture), session.path)
    return RowFacts(
        counts={"cpu_operators": left}, throughput=throughput, provider=session.provider
    )


@dataclass(frozen=True)
class Fed:
    """A picture on the device, enlarged to a size that the network takes."""

    tensor: Any  # torch's, (N, 3, H, W) in [0, 1]
    height: int  # of the picture
    width: int


class TorchSession:
    """A bundle's network, run by torch in one of the precisions of `TORCH`.

    Raises `OptionError` for what is not a bundle: torch has no weights of it.
    """

    batch: ClassVar[int | None] = None  # any number of pictures a run

    def __init__(self, subject: Subject, artifact: str, device: str = "cuda") -> None:
        import torch

        from nstc.models.architectures import load_as_deployed

        if subject.bundle is None:
            raise OptionError(
                f"{subject.path} is an ONNX file, and the cuda target runs bundles only: "
                "distill it to one, or leave it out."
            )
        self.artifact = artifact
        self.path: Path = subject.bundle.file(bundle.WEIGHTS_FILE)
        self._contract = subject.bundle.manifest.contract
        self._place = {"device": device, "dtype": getattr(torch, TORCH[artifact])}
        network = load_as_deployed(subject.bundle).to(**self._place)
        self._network = network.to(memory_format=torch.channels_last)

    def prepare(self, rgb: Pixels, count: int = 1) -> Fed:
        """(H, W, 3) uint8 on the device, `count` times; `ImageError` if it is not a picture."""
        import torch

        height, width = arrays.checked(rgb).shape[:2]
        least, multiple = self._contract.minimum_size, self._contract.size_multiple
        rows, columns = (-(-max(side, least) // multiple) * multiple for side in (height, width))
        enlarged = arrays.replicate_edges(rgb, rows, columns)
        tensor = torch.from_numpy(arrays.to_unit_nchw(enlarged)).repeat(count, 1, 1, 1)
        return Fed(tensor.to(**self._place), height, width)

    prepare_batch = prepare

    def infer(self, feed: Fed) -> Fed:
        """Start the network. On a GPU this returns before it is done."""
        import torch

        with torch.inference_mode():
            return Fed(self._network(feed.tensor), feed.height, feed.width)

    def finish(self, raw: Fed) -> Pixels:
        """The first picture as (H, W, 3) uint8, once it is done."""
        values = raw.tensor[0].permute(1, 2, 0).float().cpu().numpy()
        return arrays.unit_to_pixels(values[: raw.height, : raw.width], self.path)

    def run(self, rgb: Pixels) -> Pixels:
        """Stylise (H, W, 3) uint8; see `nstc.runtime.session.Session`."""
        return self.finish(self.infer(self.prepare(rgb)))


class OrtCudaSession(OnnxSession):
    """A bundle's ONNX file on ONNX Runtime's CUDA provider, its tensors kept on the GPU.

    Raises as `OnnxSession`, and `TargetError` if ONNX Runtime runs it on another provider.
    """

    def __init__(self, path: Path, artifact: str) -> None:
        super().__init__(path, artifact, providers=_PROVIDERS)
        refuse_fall_back(self.provider, path)

    def reopened(self) -> "OrtCudaSession":
        """The same file in a new session."""
        return OrtCudaSession(self.path, self.artifact)

    def prepare(self, rgb: Pixels, count: int = 1) -> dict[str, Any]:
        """(H, W, 3) uint8, `count` times, as the graph's input on the GPU; see `OnnxSession`."""
        return {
            name: onnxruntime.OrtValue.ortvalue_from_numpy(value.repeat(count, 0), "cuda", 0)
            for name, value in super().prepare(rgb).items()
        }

    prepare_batch = prepare

    def infer(self, feed: dict[str, Any]) -> Any:
        """Run the graph; returns when it is done."""
        binding = self._session.io_binding()
        for name, value in feed.items():
            binding.bind_ortvalue_input(name, value)
        binding.bind_output(self.output_name, "cuda")
        self._session.run_with_iobinding(binding)
        return binding.get_outputs()[0]

    def finish(self, raw: Any) -> Pixels:
        """The graph's output as (H, W, 3) uint8."""
        return super().finish(raw.numpy())

    def profile(self, rgb: Pixels) -> list[dict[str, Any]]:
        """The events of one run, as in ONNX Runtime's profile."""
        feed = super().prepare(rgb)
        with files.scratch_folder() as folder:
            session = load_graph(self.path, None, _PROVIDERS, folder / "profile")
            session.run(None, feed)
            return list(json.loads(Path(session.end_profiling()).read_text(encoding="utf-8")))


def refuse_fall_back(provider: str, path: Path) -> None:
    """Raise `TargetError` for another provider: ONNX Runtime falls back without an error."""
    if provider != CUDA_PROVIDER:
        raise TargetError(
            f"{path.name} would have run on {provider}, not on {CUDA_PROVIDER}: ONNX Runtime could "
            "not load its CUDA provider. Its log says why; CUDA and cuDNN must be of the versions "
            "that onnxruntime-gpu was built for."
        )


def operators_on_cpu(events: Sequence[Mapping[str, Any]], path: Path) -> int:
    """How many of a graph's operators ran on the processor, by the events of a profile.

    Raises `TargetError` if all of them did: the file fell back although the session did not.
    """
    providers: dict[str, str] = {}
    for event in events:
        if event.get("cat") == "Node" and event.get("args", {}).get("provider"):
            providers[event["name"]] = event["args"]["provider"]
    left = sum(provider != CUDA_PROVIDER for provider in providers.values())
    if left == len(providers):
        raise TargetError(
            f"no operator of {path.name} ran on {CUDA_PROVIDER}, which implements none of them. "
            "Run another artifact there, such as onnx."
        )
    return left


def _availability() -> str | None:
    if importlib.util.find_spec("torch") is None:
        return 'it needs torch: pip install "nstc[compress]"'
    try:
        ctypes.CDLL(_DRIVER)  # as torch loads it
    except OSError:
        return "there is no NVIDIA driver on this machine"
    import torch  # which takes seconds: only where the answer depends on it

    if torch.cuda.is_available():
        return None
    built = "" if torch.version.cuda else ", and this torch is built without CUDA"
    return f"torch sees no NVIDIA GPU{built}"


def _make(argument: str | None) -> CudaTarget:
    if argument is not None:
        raise OptionError(f"no target 'cuda:{argument}': cuda is the first GPU, without a number.")
    return CudaTarget(onnx=CUDA_PROVIDER in onnxruntime.get_available_providers())


CUDA: Final = TargetKind(
    form="cuda",
    summary="NVIDIA GPU: torch in fp32 and fp16, and ONNX Runtime's CUDA provider where it is",
    make=_make,
    availability=_availability,
)
