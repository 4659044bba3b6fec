"""What quantization did, compared with the float file, whether it pays and where it is the same.

Integers add up to the same sums on every machine where their weights leave room (see
`integer_body`). Floats are rounded in an order that differs between processors, and a byte made of
them may come out one up. What was found on which processor is in docs/explanation/portable-int8.md.
"""

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import onnx
from onnx import TensorProto

from nstc.benchmarks.timing import latency, statistics
from nstc.compress.graphs.surgery import GraphIndex, graphs_of
from nstc.compress.quantization import calibration
from nstc.compress.quantization.integer_body import FloatLayer
from nstc.compress.quantization.wide_activations import WideLayer
from nstc.core import bundle, images
from nstc.core.photos import PhotoSet
from nstc.core.recipe import QuantizeRecipe
from nstc.core.terminal import short_name
from nstc.runtime.model_files import model_bytes
from nstc.runtime.session import Session

SPEED_THREADS: Final = 2
_SPEED_ROUNDS: Final = 5
_FEW_PHOTOS: Final = 8  # ranges found on fewer leave out much of what a network will be given
INTEGER_MODES: Final = ("static", "dynamic")  # for speed; the others are for bytes alone
_INTEGER_OPERATORS: Final = frozenset({"QLinearConv", "QLinearAdd", "ConvInteger"})
_FLOAT_OPERATORS: Final = frozenset({"Conv", "FusedConv", "NhwcFusedConv"})
_REDUCED_TYPES: Final = tuple(  # of fewer bits than float32
    getattr(TensorProto, kind) for kind in ("FLOAT16", "BFLOAT16", "INT8", "UINT8", "INT4", "UINT4")
)
_FLOATS: Final = frozenset({TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE})
# Move numbers, make one of one in a single step that the standard of floats prescribes, or compute
# with integers although their scales are floats.
_EXACT_OPERATORS: Final = frozenset(
    {"Cast", "Concat", "Expand", "Flatten", "Gather", "Identity", "Pad", "QuantizeLinear"}
    | {"DequantizeLinear", "Reshape", "Shape", "Slice", "Squeeze", "Transpose", "Unsqueeze"}
    | {"QLinearConv"}
)

SAME_BYTES: Final = "the same bytes on x86 with VNNI, x86 with AVX2 alone and Arm"
_ARM_ADDS_OTHERWISE: Final = "Arm adds a few bytes otherwise"
SAME_BUT_ON_ARM: Final = (
    f"the same bytes on x86 with VNNI and x86 with AVX2 alone; {_ARM_ADDS_OTHERWISE}"
)
NEARLY: Final = (
    "x86 with VNNI, x86 with AVX2 alone and Arm agree within 1/255 on all but 0.1 % of values"
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConvertedOperators:
    """The operators worth converting: convolutions, and additions between them."""

    total: int  # all of them
    converted: int  # those that run on integers
    left: tuple[str, ...]  # names of the convolutions that still run in float

    def describe(self, kinds: str = "operators", done: str = "converted") -> str:
        """In words, for a reader."""
        left = f", left in float: {', '.join(self.left)}" if self.left else ""
        return f"{self.converted} of {self.total} {kinds} {done}{left}"


def count_integer_operators(optimized: Path) -> ConvertedOperators:
    """Count the operators of a graph in the file that ONNX Runtime writes of what it runs."""
    graph = onnx.load(optimized, load_external_data=False).graph
    converted = sum(node.op_type in _INTEGER_OPERATORS for node in graph.node)
    left = tuple(n.name or n.op_type for n in graph.node if n.op_type in _FLOAT_OPERATORS)
    return ConvertedOperators(total=converted + len(left), converted=converted, left=left)


def count_reduced_weights(file: Path) -> ConvertedOperators:
    """Count the convolutions whose weights are stored in fewer bits than float32."""
    index = GraphIndex(onnx.load(file))
    total, left = 0, []
    for node in (node for part in graphs_of(index.model.graph) for node in part.node):
        if node.op_type in {"Conv", "ConvTranspose"}:
            total += 1
            weight = node.input[1]
            maker = index.producers.get(weight)
            if maker is not None and maker.op_type in {"DequantizeLinear", "Cast"}:
                weight = maker.input[0]
            stored = index.constants.get(weight)
            if stored is None or stored.data_type not in _REDUCED_TYPES:
                left.append(node.name or node.op_type)
    return ConvertedOperators(total=total, converted=total - len(left), left=tuple(left))


@dataclasses.dataclass(frozen=True, kw_only=True)
class QuantizationReport:
    """Facts and measurements of a quantized file."""

    mode: str  # see `QuantizeRecipe.mode`
    artifact: str  # the file it made, by its artifact name; by its own if others made the network
    operators: ConvertedOperators  # how many became integers, or were stored in fewer bits
    size_bytes: int  # of the file
    float_size_bytes: int  # of the float file
    # Median over rounds that alternate with the float file, on `SPEED_THREADS` threads.
    latency_ms: float
    float_latency_ms: float  # the float file's
    speedup: float  # median over rounds of float over quantized time
    psnr_db: float  # lowest peak signal-to-noise ratio to the network on a sample photograph
    islands: tuple[FloatLayer, ...] = ()  # layers that stay float for the quality asked for
    wide: tuple[WideLayer, ...] = ()  # layers whose output has 16 bits
    # Share of pixels on which the file is within one level of 255 of its training graph, if the
    # network was trained quantization-aware.
    agreement: float | None = None
    # With every layer in integers of 8 bits, if some are not.
    integer_latency_ms: float | None = None
    # Kinds of nodes, in a file made by others, unknown to nstc: they compute in float as before.
    foreign_operators: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()  # what else the user should know
    is_foreign: bool = False  # whether others made the network
    height: int = 512  # of the picture it was measured on, in pixels
    width: int = 512  # likewise

    @property
    def file(self) -> str:
        """Its name."""
        return self.artifact if self.is_foreign else bundle.artifact_file(self.artifact)

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
        """`without_gain` for the middle of a sentence."""
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
        done = {"fp16": "in half precision", "weights": "stored as integers, float computes"}
        words = ("convolutions", done[self.mode]) if self.mode in done else ()
        lines = [
            f"{self.file}: {self.operators.describe(*words)}",
            f"{self.size_bytes / 1000:.0f} KB (float: {self.float_size_bytes / 1000:.0f} KB), "
            f"{self.psnr_db:.1f} dB to the float network",
            f"{self.latency_ms:.1f} ms (float: {self.float_latency_ms:.1f} ms) at "
            f"{self.height}x{self.width} on {SPEED_THREADS} threads: {self.speedup:.2f} times "
            "as fast as float",
        ]
        if self.agreement is not None:
            lines.append(
                "with the learned ranges, nothing was calibrated: within one level of its "
                f"training graph on {100 * self.agreement:.2f} % of pixels"
            )
        lines += [layer.describe() for layer in self.islands]
        lines += [layer.describe() for layer in self.wide]
        if self.integer_latency_ms is not None:
            without = "without wide layers" if self.wide else "without layers in float"
            lines.append(
                f"{without} it takes {self.integer_latency_ms:.1f} ms, "
                f"{self.latency_ms - self.integer_latency_ms:+.1f} ms with them"
            )
        if self.foreign_operators:
            names = ", ".join(map(short_name, self.foreign_operators))
            lines.append(f"passed through as float, unknown to nstc: {names}")
        lines += self.remarks
        if self.without_gain is not None:
            advice = {
                "static": "Keep the float file for speed, or measure both where they are to run.",
                "dynamic": "Do not deploy it for speed; --mode static makes integer convolutions "
                "that are faster on most CPUs.",
            }
            advised = advice.get(self.mode, "Keep the float file.")
            lines.insert(0, f"WARNING: {self.without_gain}. {advised}")
        return "\n".join(lines)


def timed_report(
    reference: Session,
    others: Sequence[Session],
    picture: images.Pixels,
    recipe: QuantizeRecipe,
    photos: PhotoSet,
    optimized: Path,
    **facts: Any,
) -> QuantizationReport:
    """Time a quantized file on a picture (H, W, 3) and report that with other facts.

    The reference is the float file; the others are the quantized one and the same with every layer
    in integers, if there is one. Ranges were found on `photos`, if any. `optimized` is the file's
    graph as ONNX Runtime runs it, in modes that make integers.
    """
    float_run, *runs = (
        functools.partial(session.infer, session.prepare(picture))
        for session in (reference, *others)
    )
    timings = latency.alternate(float_run, runs, rounds=_SPEED_ROUNDS, seed=0)
    latencies_ms = [statistics.median(samples) for samples in timings.candidates_ms]
    file, remarks = others[0].path, []
    if 0 < len(photos) < _FEW_PHOTOS:
        few = f"{len(photos)} photograph{'' if len(photos) == 1 else 's'}"
        remarks.append(
            f"calibrated on {few}: values of others may saturate. Give at least {_FEW_PHOTOS} with "
            "--photos and --calibration-photos."
        )
    return QuantizationReport(
        mode=recipe.mode,
        operators=count_integer_operators(optimized)
        if recipe.mode in INTEGER_MODES
        else count_reduced_weights(file),
        size_bytes=file.stat().st_size,
        float_size_bytes=model_bytes(reference.path),
        latency_ms=latencies_ms[0],
        float_latency_ms=statistics.median(timings.reference_ms),
        speedup=timings.speedup(0, seed=0).median,
        integer_latency_ms=latencies_ms[1] if len(latencies_ms) > 1 else None,
        remarks=tuple(remarks),
        height=picture.shape[0],
        width=picture.shape[1],
        **facts,
    )


class FloatOperators(NamedTuple):
    """The kinds of nodes of a graph that compute with floats, in alphabetical order."""

    in_front: tuple[str, ...]  # of the first integers: they can move the bytes these begin with
    inside: tuple[str, ...]  # between integers or behind them


def portability(model: onnx.ModelProto) -> str:
    """What to expect of a file on another machine, in words."""
    left = float_operators(model)
    if left.inside:
        return f"float nodes remain inside ({', '.join(left.inside)}): machines may differ a little"
    index = GraphIndex(model)
    alike = all(_is_portable(index, n) for n in index.nodes("Add") if _on_integers(index, n))
    if left.in_front:
        apart = "" if alike else f"; {_ARM_ADDS_OTHERWISE}"
        return f"float nodes remain in front ({', '.join(left.in_front)}): {NEARLY}{apart}"
    return f"integer from end to end: {SAME_BYTES if alike else SAME_BUT_ON_ARM}"


def float_operators(model: onnx.ModelProto) -> FloatOperators:
    """The operators of a quantized graph that compute with floats."""
    index = GraphIndex(model)
    graph = onnx.shape_inference.infer_shapes(model).graph
    known = (*graph.value_info, *graph.input, *graph.output)
    floats = {each.name for each in known if each.type.tensor_type.elem_type in _FLOATS}
    behind: set[str] = set()
    found: dict[bool, set[str]] = {False: set(), True: set()}
    for node in model.graph.node:
        leaves = node.op_type == "DequantizeLinear" and not index.is_constant(node.input[0])
        inside = leaves or not behind.isdisjoint(node.input)
        if inside:
            behind.update(node.output)
        touches = not floats.isdisjoint((*node.input, *node.output))
        if touches and node.op_type not in _EXACT_OPERATORS and not _on_integers(index, node):
            found[inside].add(node.op_type)
    if not behind:  # there are no integers that the rest could be in front of
        found = {False: set(), True: found[False]}
    return FloatOperators(*(tuple(sorted(found[inside])) for inside in (False, True)))


def _is_portable(index: GraphIndex, node: onnx.NodeProto) -> bool:
    """Whether an addition of bytes has the same result on every processor."""
    pairs = [*map(index.producers.get, node.input), index.only_reader(node.output[0])]
    ranges = []
    for pair in pairs:  # a QuantizeLinear that makes bytes, or a DequantizeLinear that reads them
        if pair is None or pair.op_type not in {"QuantizeLinear", "DequantizeLinear"}:
            return False
        if not all(map(index.is_constant, pair.input[1:])):
            return False
        scale, *zero_points = map(index.value, pair.input[1:])
        if scale.size != 1:
            return False
        zero_point = zero_points[0].item() if zero_points else 0
        ranges.append(calibration.range_of_levels(scale.item(), zero_point))
    return calibration.is_portable_addition(*ranges)


def _on_integers(index: GraphIndex, node: onnx.NodeProto) -> bool:
    """Whether ONNX Runtime makes one integer operator of it and the pairs around it."""
    local = calibration.LOCAL_OPERATORS
    made = [index.producers[name] for name in node.input if name in index.producers]
    pairs = [*(index.producers.get(name) for name in node.input), *index.readers[node.output[0]]]
    return (
        node.op_type in local
        and not any(_has_wide_zero(index, pair) for pair in pairs if pair is not None)
        and all(n.op_type in {"DequantizeLinear", *local} for n in made)
        and all(n.op_type in {"QuantizeLinear", *local} for n in index.readers[node.output[0]])
    )


def _has_wide_zero(index: GraphIndex, node: onnx.NodeProto) -> bool:
    """Whether it makes 16 bits, or floats of them, which ONNX Runtime computes with in float."""
    if node.op_type not in {"QuantizeLinear", "DequantizeLinear"} or len(node.input) < 3:
        return False
    zero = index.constants.get(node.input[2])
    return zero is not None and zero.data_type in {TensorProto.UINT16, TensorProto.INT16}
