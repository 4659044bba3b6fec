"""ONNX Runtime: graphs that nstc exported, and the providers that can run them on this machine."""

import contextlib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as ort_state

from nstc.core import errors, files
from nstc.core.images import Pixels
from nstc.runtime.arrays import Array, channel_statistics, checked, to_unit_nchw, unit_to_pixels

# What ONNX Runtime raises; its classes share no base of their own.
ORT_ERRORS: Final[tuple[type[Exception], ...]] = (
    *(it for it in vars(ort_state).values() if isinstance(it, type) and issubclass(it, Exception)),
    RuntimeError,
)
# Also of names in a graph that are not text.
_LOADING_ERRORS: Final[tuple[type[Exception], ...]] = (*ORT_ERRORS, UnicodeError)
STATISTICS_INPUT: Final = "stats"  # second input of a graph that runs tiles, float32 (2, 3)
STATISTICS_ROWS: Final = "statistics_rows"  # of its metadata: they are of every so many-th row
_MOST_STATISTICS_ROWS: Final = 64
CPU: Final = "cpu"
ON_CPU: Final = ("CPUExecutionProvider",)  # where graphs run unless another is asked for
_FATAL: Final = 4

# Options of providers by which float32 is float32 in a product of matrices too.
_IN_FULL: Final[Mapping[str, Mapping[str, str]]] = {"CUDAExecutionProvider": {"use_tf32": "0"}}

_SUFFIX: Final = "ExecutionProvider"
_REPLACE: Final = "pip uninstall onnxruntime && pip install {}"
_GPU: Final = _REPLACE.format("onnxruntime-gpu")
# What to do where the installed build is without one, by short name. Others have to be built.
WAYS: Final[Mapping[str, str]] = {
    "cuda": f"needs an NVIDIA GPU and another build: {_GPU}",
    "tensorrt": f"needs an NVIDIA GPU, TensorRT and another build: {_GPU}",
    "openvino": f"needs another build: {_REPLACE.format('onnxruntime-openvino')}",
    "migraphx": f"needs an AMD GPU and another build: {_REPLACE.format('onnxruntime-migraphx')}",
    "dml": f"needs Windows and another build: {_REPLACE.format('onnxruntime-directml')}",
    "qnn": f"needs a Qualcomm chip: {_REPLACE.format('onnxruntime-qnn')}",
    "coreml": "needs macOS or iOS, whose builds of onnxruntime have it",
    "nnapi": "needs Android: onnxruntime-android has it",
    "xnnpack": "needs Android or iOS: onnxruntime-android and onnxruntime-objc have it",
    **dict.fromkeys(("webgpu", "webnn", "js"), "needs a browser: onnxruntime-web has it"),
}
_UNKNOWN_WAY: Final = "has to be built from source"
_SENDS_DATA_AWAY: Final = frozenset({"azure"})  # never tried

# The graph y = x, as onnx.helper would write it: this package does without onnx.
_IDENTITY: Final = (
    b'\x08\x07\x12\x00:7\n\x10\n\x01x\x12\x01y"\x08Identity\x12\x01g'
    b"Z\x0f\n\x01x\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01"
    b"b\x0f\n\x01y\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01B\x04\n\x00\x10\r"
)


def load_graph(
    path: Path,
    threads: int | None,
    providers: Sequence[str] = ON_CPU,
    profile: Path | None = None,
    *,
    weights_once: bool = False,
    sums_exact: bool = False,
    arena: bool = True,
    optimized: Path | None = None,
) -> Any:
    """An `onnxruntime.InferenceSession`; one of `ORT_ERRORS` if the file is damaged or not ONNX.

    Args:
        path: The file.
        threads: Threads within an operator; None for one a core.
        providers: Execution providers, the wanted one first. ONNX Runtime falls back without an
            error: check what the session got.
        profile: Beginning of the name of a file to write a profile to.
        weights_once: Whether weights stored as integers become floats when the graph is loaded,
            and not in every run anew. It would make an integer graph compute in float.
        sums_exact: Whether matrices are multiplied in full float32 where a provider would rather
            cut the factors: an integer graph adds up the picture's squares so.
        arena: Whether memory of tensors is kept for the next run; without it the peak of a run
            follows from the picture's size alone.
        optimized: A file to write the graph to as ONNX Runtime runs it.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _FATAL  # errors come as exceptions: logged too they are noise
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = options.enable_mem_pattern = arena
    if threads is not None:
        options.intra_op_num_threads = threads
    if weights_once:
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    if optimized is not None:
        options.optimized_model_filepath = str(optimized)
    if profile is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile)
    chosen = [(name, dict(_IN_FULL.get(name, {})) if sums_exact else {}) for name in providers]
    with files.as_utf8(path) as name, contextlib.ExitStack() as stack:
        if len(chosen) > 1:  # callers check themselves which provider the session got
            stack.enter_context(warnings.catch_warnings())
            warnings.filterwarnings("ignore", message=".*provider.*", category=UserWarning)
        return onnxruntime.InferenceSession(name, options, providers=chosen)


def first_line(error: Exception) -> str:
    """The first line of an error's text, or its kind if it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


class OnnxSession:
    """A graph of a bundle: uint8 NHWC as devices run it, or the float NCHW reference.

    For `threads`, `providers`, `arena` and `optimized` see `load_graph`. `shown` is what messages
    call the file, where it is a copy that goes once it is open.

    Attributes:
        batch: Pictures a run; None for any number.
        fixed_size: Height and width of the only pictures it takes; None for any.
        bytes_in_and_out: Whether it is uint8 NHWC and not the float NCHW reference.
        input_name: Of the graph's picture.
        output_name: Of what it gives.
        takes_statistics: Whether the whole picture's statistics are an input, so as to run tiles.
        weights_once: See `load_graph`.

    Raises:
        CorruptBundleError: the file is damaged, or not a graph that nstc writes.
    """

    def __init__(
        self,
        path: Path,
        artifact: str,
        threads: int | None = None,
        *,
        providers: Sequence[str] = ON_CPU,
        arena: bool = True,
        optimized: Path | None = None,
        shown: str | None = None,
    ) -> None:
        self.path = path
        self._shown = shown or str(path)
        # of a picture's failure, which is no fault of the file
        self._shown_briefly = shown or path.name
        self.artifact = artifact
        self.weights_once = artifact.startswith("weights-")  # integers that compute in float
        self._threads = threads
        self._options: dict[str, Any] = {"providers": providers, "arena": arena}
        try:
            self._session = load_graph(
                path,
                threads,
                weights_once=self.weights_once,
                sums_exact=artifact.startswith("int8"),
                optimized=optimized,
                **self._options,
            )
            self._take_form()
        except _LOADING_ERRORS as error:
            if (no_memory := errors.out_of_memory(error)) is not None:
                raise no_memory from error
            raise errors.CorruptBundleError(
                f"{self._shown} can't be loaded: {first_line(error)}. Delete it and make it again."
            ) from error

    def _take_form(self) -> None:
        """What the graph takes and gives, as its file has it."""
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        self.takes_statistics = len(inputs) == 2 and inputs[1].name == STATISTICS_INPUT
        self.statistics_rows = self._statistics_rows() if self.takes_statistics else 1
        pictures = inputs[:1] if self.takes_statistics else inputs
        kinds = [value.type for value in (*pictures, *outputs)]
        shape = inputs[0].shape if inputs else []
        self.bytes_in_and_out = kinds == ["tensor(uint8)"] * 2
        if self.bytes_in_and_out and len(shape) == 4 and shape[3] == 3:
            size = shape[1:3]
        elif kinds == ["tensor(float)"] * 2 and len(shape) == 4 and shape[1] == 3:
            size = shape[2:4]
        else:
            raise errors.CorruptBundleError(
                f"{self._shown} is not a graph of nstc's: it takes "
                f"{[(i.type, i.shape) for i in inputs]}, expected one uint8 picture "
                "[1, H, W, 3] or one float picture [1, 3, H, W]."
            )
        is_fixed = all(isinstance(side, int) for side in size)
        self.fixed_size: tuple[int, int] | None = (size[0], size[1]) if is_fixed else None
        self.batch: int | None = shape[0] if isinstance(shape[0], int) else None
        self.input_name, self.output_name = inputs[0].name, outputs[0].name

    def _statistics_rows(self) -> int:
        stored = self._session.get_modelmeta().custom_metadata_map.get(STATISTICS_ROWS, "1")
        if stored not in map(str, range(1, _MOST_STATISTICS_ROWS + 1)):
            raise errors.CorruptBundleError(
                f"{self._shown} is damaged: its {STATISTICS_ROWS} is {stored!r:.40}, expected 1 to "
                f"{_MOST_STATISTICS_ROWS}. Delete it and make it again."
            )
        return int(stored)

    def reopened(self) -> "OnnxSession":
        """The same file opened again, in a session of its own."""
        return OnnxSession(self.path, self.artifact, self._threads, **self._options)

    @property
    def provider(self) -> str:
        """The execution provider that ONNX Runtime put first, whatever was asked for."""
        return str(self._session.get_providers()[0])

    def prepare(self, rgb: Pixels) -> dict[str, Array]:
        """(H, W, 3) uint8 as the graph's input."""
        size, fixed = checked(rgb).shape[:2], self.fixed_size
        if fixed is not None and fixed != size:
            raise errors.OptionError(
                f"{self._shown_briefly} takes pictures of {fixed[0]}x{fixed[1]} (height x width) "
                f"only, this one is {size[0]}x{size[1]}: resize it, or choose another --artifact."
            )
        feed = {self.input_name: self._values(rgb)}
        if self.takes_statistics:
            feed[STATISTICS_INPUT] = channel_statistics(rgb[:: self.statistics_rows])
        return feed

    def prepare_batch(self, rgb: Pixels, count: int) -> dict[str, Array]:
        """(H, W, 3) uint8, `count` times over, as the graph's input; raises as `prepare`."""
        return {name: values.repeat(count, 0) for name, values in self.prepare(rgb).items()}

    def _values(self, rgb: Pixels) -> Array:
        return rgb[None] if self.bytes_in_and_out else to_unit_nchw(rgb)

    def infer(self, feed: dict[str, Array]) -> Array:
        """Run the graph; `CorruptBundleError` if the output is not of the input's size."""
        given = feed[self.input_name].shape
        try:
            raw: Array = self._session.run([self.output_name], feed)[0]
        except ORT_ERRORS as error:
            shape = "x".join(map(str, given))
            raise errors.ImageError(
                f"{self._shown_briefly} failed on a picture of shape {shape}, it may be too large "
                f"for the memory: {first_line(error)}"
            ) from error
        if raw.shape != given:
            raise errors.CorruptBundleError(
                f"{self._shown} is not a style network: for {list(given)} it gives "
                f"{list(raw.shape)}, expected a picture of the same size."
            )
        return raw

    def finish(self, raw: Array) -> Pixels:
        """The graph's output as (H, W, 3) uint8."""
        picture: Array = raw[0]
        if self.bytes_in_and_out:
            return picture
        return unit_to_pixels(picture.transpose(1, 2, 0), self._shown)

    def run(self, rgb: Pixels) -> Pixels:
        """Stylise (H, W, 3) uint8; see `nstc.runtime.session.Session`."""
        return self.finish(self.infer(self.prepare(rgb)))

    def run_tile(self, rgb: Pixels, statistics: Array) -> Pixels:
        """Stylise a tile (h, w, 3) uint8, given the whole picture's `channel_statistics`."""
        feed = {self.input_name: self._values(rgb), STATISTICS_INPUT: statistics}
        return self.finish(self.infer(feed))


@dataclass(frozen=True, kw_only=True)
class Provider:
    """An execution provider: where ONNX Runtime can compute."""

    name: str  # as ONNX Runtime has it, without its ending: CPU, CUDA, CoreML
    reason: str | None  # why it can't be used here; None if it can

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"provider": self.name, "available": self.reason is None, "reason": self.reason}


def providers() -> tuple[Provider, ...]:
    """All that ONNX Runtime has a name for: those that work here first."""
    found = [
        Provider(name=full.removesuffix(_SUFFIX), reason=_reason_against(full))
        for full in onnxruntime.get_all_providers()
    ]
    return tuple(sorted(found, key=lambda own: own.reason is not None))


def available_providers() -> tuple[str, ...]:
    """Short names of what this build computes with: cpu, cuda, coreml and so on."""
    offered = {_short(name) for name in onnxruntime.get_available_providers()}
    return tuple(sorted(offered - _SENDS_DATA_AWAY))


def provider_chain(name: str) -> tuple[str, ...]:
    """The providers to ask ONNX Runtime for: the wanted one, such as cuda, and the processor.

    `OptionError` if there is no provider of that name; `MissingExtraError`, which says what there
    is, if it is not part of this installation.
    """
    wanted = name.lower()
    known = {_short(full): full for full in onnxruntime.get_all_providers()}
    if wanted not in known or wanted in _SENDS_DATA_AWAY:
        names = ", ".join(sorted({*WAYS, *available_providers()}))
        raise errors.OptionError(f"provider is {name}: expected one of {names}.")
    if wanted not in available_providers():
        raise errors.MissingExtraError(
            f"provider {wanted} is not in the installed onnxruntime, which offers "
            f"{', '.join(available_providers())}: it {WAYS.get(wanted, _UNKNOWN_WAY)}."
        )
    return ON_CPU if wanted == CPU else (known[wanted], *ON_CPU)


def _reason_against(full: str) -> str | None:
    """Why a provider can't be used here; None if a graph really opens there."""
    if full not in onnxruntime.get_available_providers():
        way = WAYS.get(_short(full), f"it {_UNKNOWN_WAY}")
        return f"not in this build of ONNX Runtime: {way}"
    if _short(full) in _SENDS_DATA_AWAY:
        return "sends pictures to a service on the network"
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _FATAL
    try:
        session = onnxruntime.InferenceSession(_IDENTITY, options, providers=[full])
    except ORT_ERRORS as error:
        return f"in this build, but does not start: {first_line(error)}"
    if session.get_providers()[0] != full:  # it falls back to the CPU without an error
        return "in this build, but does not start: its libraries or its device are missing"
    return None


def _short(full: str) -> str:
    return full.removesuffix(_SUFFIX).lower()
