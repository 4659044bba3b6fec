"""Networks on an NVIDIA GPU, torch's own and ONNX Runtime's where it has it, and its own time."""

import json
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import torch

from nstc.benchmarks.subjects import Subject
from nstc.benchmarks.timing.latency import Run, RunClock
from nstc.core.bundle import WEIGHTS_FILE
from nstc.core.errors import OptionError, TargetError
from nstc.core.files import scratch_folder
from nstc.core.images import Pixels
from nstc.models.saturation import load_as_deployed
from nstc.runtime.arrays import Array, checked, replicate_edges, to_unit_nchw, unit_to_pixels
from nstc.runtime.onnx_session import OnnxSession, load_graph

PRECISIONS: Final[Mapping[str, torch.dtype]] = {
    "torch-fp32": torch.float32,
    "torch-fp16": torch.float16,
}
"""Torch runs a bundle's weights, not a file that was exported; so these are called in results."""

CUDA_PROVIDER: Final = "CUDAExecutionProvider"
_PROVIDERS: Final = (CUDA_PROVIDER, "CPUExecutionProvider")

EVENT_TICK_NS: Final = 1000
"""CUDA's events resolve about half a microsecond."""


@dataclass(frozen=True)
class Fed:
    """A picture on the device: (N, 3, H, W) in [0, 1], enlarged to a size the network takes."""

    tensor: torch.Tensor
    height: int
    width: int


class TorchSession:
    """A bundle's network, run by torch in one of `PRECISIONS`.

    Raises:
        OptionError: it is no bundle: torch has no weights of it.
        BundleError: and its kinds, if it can't be loaded.
    """

    def __init__(self, subject: Subject, artifact: str, device: str = "cuda") -> None:
        if subject.bundle is None:
            raise OptionError(
                f"{subject.path} is an ONNX file, and the cuda target runs bundles only: "
                "distill it to one, or leave it out."
            )
        self.artifact = artifact
        self.path: Path = subject.bundle.file(WEIGHTS_FILE)
        self._contract = subject.bundle.manifest.contract
        self._dtype, self._device = PRECISIONS[artifact], device
        network = load_as_deployed(subject.bundle).to(device=device, dtype=self._dtype)
        self._network = network.to(memory_format=torch.channels_last)

    @property
    def batch(self) -> int | None:
        """Any number of pictures a run."""
        return None

    def prepare(self, rgb: Pixels) -> Fed:
        """(H, W, 3) uint8 on the device; `ImageError` if it is no picture."""
        return self.prepare_batch(rgb, 1)

    def prepare_batch(self, rgb: Pixels, count: int) -> Fed:
        """The same, `count` times over."""
        height, width = checked(rgb).shape[:2]
        enlarged = replicate_edges(rgb, self._enlarged(height), self._enlarged(width))
        tensor = torch.from_numpy(to_unit_nchw(enlarged)).repeat(count, 1, 1, 1)
        return Fed(tensor.to(device=self._device, dtype=self._dtype), height, width)

    def infer(self, feed: Fed) -> Fed:
        """Start the network. On a GPU this comes back before it is done."""
        with torch.inference_mode():
            return Fed(self._network(feed.tensor), feed.height, feed.width)

    def finish(self, raw: Fed) -> Pixels:
        """The first picture as (H, W, 3) uint8, once it is done."""
        values = raw.tensor[0].permute(1, 2, 0).float().cpu().numpy()
        return unit_to_pixels(values[: raw.height, : raw.width], self.path)

    def run(self, rgb: Pixels) -> Pixels:
        """Stylise (H, W, 3) uint8; see `nstc.runtime.session.Session`."""
        return self.finish(self.infer(self.prepare(rgb)))

    def _enlarged(self, side: int) -> int:
        multiple = self._contract.size_multiple
        return -(-max(side, self._contract.minimum_size) // multiple) * multiple


class OrtCudaSession(OnnxSession):
    """A bundle's ONNX file on ONNX Runtime's CUDA provider, its tensors kept on the GPU.

    Raises:
        TargetError: ONNX Runtime runs it on another provider than the one that was asked for.
        CorruptBundleError: the file is damaged, or no graph that nstc writes.
    """

    def __init__(self, path: Path, artifact: str) -> None:
        with warnings.catch_warnings():
            # ONNX Runtime warns of what is refused below
            warnings.filterwarnings("ignore", message=".*provider.*", category=UserWarning)
            super().__init__(path, artifact, providers=_PROVIDERS)
        refuse_fall_back(self.provider, path)

    def reopened(self) -> "OrtCudaSession":
        """The same file in a session of its own."""
        return OrtCudaSession(self.path, self.artifact)

    def prepare(self, rgb: Pixels) -> dict[str, Any]:
        """(H, W, 3) uint8 as the graph's input, on the GPU; raises as `OnnxSession.prepare`."""
        return _on_gpu(super().prepare(rgb))

    def prepare_batch(self, rgb: Pixels, count: int) -> dict[str, Any]:
        """The same, `count` times over."""
        held = super().prepare(rgb)
        return _on_gpu({name: value.repeat(count, 0) for name, value in held.items()})

    def infer(self, feed: dict[str, Any]) -> Any:
        """Run the graph, and come back when it is done."""
        binding = self._session.io_binding()
        for name, value in feed.items():
            binding.bind_ortvalue_input(name, value)
        binding.bind_output(self._output_name, "cuda")
        self._session.run_with_iobinding(binding)
        return binding.get_outputs()[0]

    def finish(self, raw: Any) -> Pixels:
        """The graph's output as (H, W, 3) uint8."""
        return super().finish(raw.numpy())

    def profile(self, rgb: Pixels) -> list[dict[str, Any]]:
        """The events of one run, as ONNX Runtime's profile has them."""
        feed = super().prepare(rgb)
        with scratch_folder() as folder:
            session = load_graph(self.path, None, _PROVIDERS, folder / "profile")
            session.run(None, feed)
            events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
        return list(events)


def refuse_fall_back(provider: str, path: Path) -> None:
    """Raise `TargetError` for another provider: ONNX Runtime falls back without an error."""
    if provider != CUDA_PROVIDER:
        raise TargetError(
            f"{path.name} would have run on {provider}, not on {CUDA_PROVIDER}: ONNX Runtime could "
            "not load its CUDA provider. Its log says why; CUDA and cuDNN must be of the versions "
            "that onnxruntime-gpu was built for."
        )


def operators_on_cpu(events: Sequence[Mapping[str, Any]], path: Path) -> int:
    """How many of a graph's operators ONNX Runtime left on the processor, by its profile's events.

    Raises:
        TargetError: all of them: the file fell back although the session did not.
    """
    places: dict[str, str] = {
        event["name"]: event["args"]["provider"]
        for event in events
        if event.get("cat") == "Node" and event.get("args", {}).get("provider")
    }
    left = sum(provider != CUDA_PROVIDER for provider in places.values())
    if left == len(places):
        raise TargetError(
            f"no operator of {path.name} ran on {CUDA_PROVIDER}: it has none of them. "
            "Run another artifact there, such as onnx."
        )
    return left


def _on_gpu(feed: Mapping[str, Array]) -> dict[str, Any]:
    import onnxruntime

    return {
        name: onnxruntime.OrtValue.ortvalue_from_numpy(value, "cuda", 0)
        for name, value in feed.items()
    }


class Cuda(Protocol):
    """What is used of `torch.cuda`."""

    def Event(self, *, enable_timing: bool) -> Any:  # noqa: N802  (torch's name)
        """A point in the GPU's own time."""

    def synchronize(self) -> None:
        """Wait until the GPU has nothing left to do."""


def keep_warm(seconds: float) -> None:
    """Multiply matrices for so long: an idle GPU lowers its frequency within milliseconds."""
    matrix = torch.ones((1024, 1024), device="cuda", dtype=torch.float16)
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        torch.mm(matrix, matrix)
        torch.cuda.synchronize()


@dataclass(frozen=True)
class CudaClock(RunClock):
    """Times runs by CUDA events, which do not count what Python takes to start them.

    It does not sleep, but keeps the GPU busy.
    """

    sleep: Callable[[float], None] = keep_warm
    tick_ns: int = EVENT_TICK_NS
    cuda: Cuda = field(default_factory=lambda: torch.cuda)

    def timed_ms(self, run: Run, runs: int = 1) -> float:
        """Milliseconds of one run on the GPU, the mean of as many in a row.

        A session that waits for the GPU itself, as ONNX Runtime's does, is timed by the same two
        events: the second is not recorded before it comes back.
        """
        start, end = (self.cuda.Event(enable_timing=True) for _ in range(2))
        self.cuda.synchronize()
        start.record()
        for _ in range(runs):
            run()
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end)) / runs
