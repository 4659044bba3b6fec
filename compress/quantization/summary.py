"""What quantization did, beside the float file of the same network, and whether it pays."""

import dataclasses
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import onnx
from onnx import TensorProto

from nstc.benchmarks.timing.latency import alternate
from nstc.benchmarks.timing.statistics import median
from nstc.compress.graphs.inspection import GraphIndex, graphs_of
from nstc.compress.quantization.integer_body import FloatLayer
from nstc.core.bundle import artifact_file
from nstc.core.files import scratch_folder
from nstc.core.images import Pixels
from nstc.core.photos import PhotoSet
from nstc.core.recipe import QuantizeRecipe
from nstc.runtime.onnx_session import load_graph
from nstc.runtime.session import Session

SPEED_THREADS: Final = 2
SPEED_ROUNDS: Final = 5

FEW_PHOTOS: Final = 8
"""Calibrating on fewer than this leaves out much of what a network will see; reports say so."""

INTEGER_MODES: Final = ("static", "dynamic")
"""Those that compute with integers, and so are there for speed; the others are for bytes alone."""

INTEGER_OPERATORS: Final = frozenset({"QLinearConv", "QLinearAdd", "ConvInteger"})
FLOAT_OPERATORS: Final = frozenset({"Conv", "FusedConv", "NhwcFusedConv"})

_LIGHT: Final = tuple(
    getattr(TensorProto, kind) for kind in ("FLOAT16", "BFLOAT16", "INT8", "UINT8", "INT4", "UINT4")
)
"""Types of fewer bits than float32."""


@dataclass(frozen=True, kw_only=True)
class ConvertedOperators:
    """The operators worth converting: convolutions, and additions between them."""

    total: int  # all of them
    converted: int  # those that run on integers
    left: tuple[str, ...]  # names of the convolutions that still run in float

    def describe(self, kinds: str = "operators", done: str = "converted") -> str:
        """In words, for a reader."""
        left = f", left in float: {', '.join(self.left)}" if self.left else ""
        return f"{self.converted} of {self.total} {kinds} {done}{left}"


def converted_operators(file: Path) -> ConvertedOperators:
    """Count the operators of the graph that ONNX Runtime makes of a file."""
    return count_integer_operators(optimized_graph(file))


def count_integer_operators(graph: onnx.GraphProto) -> ConvertedOperators:
    """Count the operators of a graph as ONNX Runtime runs it."""
    converted = sum(node.op_type in INTEGER_OPERATORS for node in graph.node)
    left = tuple(n.name or n.op_type for n in graph.node if n.op_type in FLOAT_OPERATORS)
    return ConvertedOperators(total=converted + len(left), converted=converted, left=left)


def count_reduced_weights(model: onnx.ModelProto) -> ConvertedOperators:
    """Count the convolutions whose weights are stored in fewer bits than float32."""
    index = GraphIndex(model)

    def is_lighter(weight: str) -> bool:
        maker = index.producers.get(weight)
        if maker is not None and maker.op_type in {"DequantizeLinear", "Cast"}:
            weight = maker.input[0]
        stored = index.constants.get(weight)
        return stored is not None and stored.data_type in _LIGHT

    kinds = ("Conv", "ConvTranspose")
    convolutions = [node for kind in kinds for node in index.nodes(kind)]
    left = [node for node in convolutions if not is_lighter(node.input[1])]
    _, *inner = graphs_of(model.graph)  # of If and Loop: left alone
    inside = [node for graph in inner for node in graph.node if node.op_type in kinds]
    total = len(convolutions) + len(inside)
    names = tuple(node.name or node.op_type for node in (*left, *inside))
    return ConvertedOperators(total=total, converted=total - len(names), left=names)


def optimized_graph(file: Path) -> onnx.GraphProto:
    """The graph as ONNX Runtime runs it on this machine's CPU."""
    with scratch_folder() as folder:
        load_graph(file, None, optimized=folder / "optimized.onnx")
        return onnx.load(folder / "optimized.onnx", load_external_data=False).graph


@dataclass(frozen=True, kw_only=True)
class QuantizationReport:
    """Facts and measurements."""

    mode: str  # see `QuantizeRecipe.mode`
    artifact: str  # the file it made, by its artifact name; by its own if others made the network
    # How many convolutions, and additions between them, became integers, or were stored in fewer
    # bits; and which were not.
    operators: ConvertedOperators
    size_bytes: int  # of the file
    float_size_bytes: int  # of the float file
    # Median over rounds that alternate with the float file, on a picture of `height` x `width` and
    # `SPEED_THREADS` threads.
    latency_ms: float
    float_latency_ms: float  # the float file's
    speedup: float  # median over rounds of float over quantized time
    psnr_db: float  # lowest peak signal-to-noise ratio to the network on a sample photograph
    islands: tuple[FloatLayer, ...] = ()  # layers that stay float for the quality asked for
    # Share of pixels on which the file is within one level of 255 of the graph that the network
    # learned through, if it was distilled quantize-aware.
    agreement: float | None = None
    # What the file would take without islands, if there are any.
    integer_latency_ms: float | None = None
    # Kinds of nodes, in a file made by others, that nstc does not know: they compute in float as
    # they did.
    foreign_operators: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()  # what else the user should know
    is_foreign: bool = False  # whether others made the network
    height: int = 512  # of the picture it was measured on, in pixels
    width: int = 512  # likewise

    @property
    def file(self) -> str:
        """The name of the file."""
        return self.artifact if self.is_foreign else artifact_file(self.artifact)

    @property
    def slower(self) -> bool:
        """Whether the quantized file takes longer than the float one."""
        return self.speedup < 1

    @property
    def without_gain(self) -> str | None:
        """Why the file is not worth having, None if it is."""
        if self.mode in INTEGER_MODES:
            if self.operators.converted == 0:
                return f"{self.file} HAS NO OPERATOR ON INTEGERS"
            if self.slower:
                return f"{self.file} IS SLOWER THAN FLOAT, {1 / self.speedup:.1f} times"
        elif self.size_bytes >= self.float_size_bytes:
            return f"{self.file} IS NO SMALLER THAN FLOAT"
        return None

    @property
    def complaint(self) -> str | None:
        """`without_gain` for the middle of a sentence; the file keeps its name as it is."""
        loud = self.without_gain
        return None if loud is None else self.file + loud.removeprefix(self.file).lower()

    def to_dict(self) -> dict[str, Any]:
        """For JSON, which has no infinity: a perfect match has 99 dB."""
        return {
            **dataclasses.asdict(self),
            "psnr_db": min(self.psnr_db, 99.0),
            "slower": self.slower,
            "without_gain": self.without_gain,
        }

    def describe(self) -> str:
        """Lines for a reader. A file without gain says so first, and loudly."""
        converted = self.operators.describe()
        if self.mode not in INTEGER_MODES:
            done = (
                "in half precision" if self.mode == "fp16" else "stored as integers, float computes"
            )
            converted = self.operators.describe("convolutions", done)
        lines = [
            f"{self.file}: {converted}",
            f"{self.size_bytes / 1000:.0f} KB beside {self.float_size_bytes / 1000:.0f} KB, "
            f"{self.psnr_db:.1f} dB to the float network",
            f"{self.latency_ms:.1f} ms beside {self.float_latency_ms:.1f} ms at "
            f"{self.height}x{self.width} on {SPEED_THREADS} threads: {self.speedup:.2f} times "
            "as fast as float",
        ]
        if self.agreement is not None:
            lines.append(
                "with the ranges that it learned, nothing was calibrated: within one level of its "
                f"training graph on {100 * self.agreement:.2f} % of pixels"
            )
        lines += [island.describe() for island in self.islands]
        if self.integer_latency_ms is not None:
            lines.append(
                f"without layers in float it takes {self.integer_latency_ms:.1f} ms, "
                f"{self.latency_ms - self.integer_latency_ms:+.1f} ms with them"
            )
        if self.foreign_operators:
            lines.append(
                f"passed through as float, unknown to nstc: {', '.join(self.foreign_operators)}"
            )
        lines += self.remarks
        if self.without_gain is not None:
            lines.insert(0, f"WARNING: {self.without_gain}. {self._advice()}")
        return "\n".join(lines)

    def _advice(self) -> str:
        if self.mode == "static":
            return "Keep the float file for speed, or measure both where they are to run."
        if self.mode in INTEGER_MODES:
            return (
                "Do not deploy it for speed; --mode static makes integer convolutions that are "
                "faster on most CPUs."
            )
        return "Keep the float file."


def timed_report(
    reference: Session, others: Sequence[Session], picture: Pixels, **facts: Any
) -> QuantizationReport:
    """Time sessions on a picture (H, W, 3), and report these and other facts.

    They are the float file's, and that of the file that was made, and of it without islands if
    there are any.
    """
    float_run, *runs = (
        functools.partial(session.infer, session.prepare(picture))
        for session in (reference, *others)
    )
    timings = alternate(float_run, runs, rounds=SPEED_ROUNDS, seed=0)
    latencies_ms = [median(samples) for samples in timings.candidates_ms]
    return QuantizationReport(
        size_bytes=others[0].path.stat().st_size,
        latency_ms=latencies_ms[0],
        float_latency_ms=median(timings.reference_ms),
        speedup=timings.speedup(0, seed=0).median,
        integer_latency_ms=latencies_ms[1] if len(latencies_ms) > 1 else None,
        height=picture.shape[0],
        width=picture.shape[1],
        **facts,
    )


def calibration_remarks(photos: PhotoSet, recipe: QuantizeRecipe) -> tuple[str, ...]:
    """What to say of the photographs that ranges were found on."""
    if not recipe.needs_photos or len(photos) >= FEW_PHOTOS:
        return ()
    few = f"{len(photos)} photograph{'' if len(photos) == 1 else 's'}"
    return (
        f"calibrated on {few}: what others hold may saturate. Give at least {FEW_PHOTOS} with "
        "--photos and --calibration-photos.",
    )
