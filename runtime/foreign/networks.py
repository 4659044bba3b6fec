"""Image-to-image files made by others: opened, and run by a contract as nstc's own are."""

import contextlib
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nstc.core import errors, graph_form, images, unusable_models
from nstc.runtime import model_files, programs
from nstc.runtime.arrays import Array, checked, replicate_edges, unit_to_pixels
from nstc.runtime.foreign import contracts, trial
from nstc.runtime.foreign.other_inputs import NO_OTHERS, OtherInputs, taken_apart
from nstc.runtime.foreign.trial import DTYPES, GraphFailedError, GraphProcess, GraphValue, shown
from nstc.runtime.onnx_session import ORT_ERRORS, first_line, load_graph


@dataclass(frozen=True)
class ForeignGraph:
    """A file that takes a picture and gives one."""

    path: Path
    input_name: str
    output_name: str
    dtype: str  # of its input: float32, float16 or uint8
    shape: Sequence[int | str | None]  # of its input, four axes; free ones have a name or None
    # From all inputs by name to the output; raises `GraphFailedError`.
    call: Callable[[Mapping[str, Array]], Array]
    others: OtherInputs = NO_OTHERS  # what its inputs besides the picture get
    kept_form: graph_form.GraphForm | None = None  # what nstc wrote into it, if it made the file

    def run(self, contract: contracts.GraphContract, rgb: images.Pixels) -> Array:
        """The raw output for a picture (H, W, 3), fed by a contract."""
        return self.call(contract.feeds(rgb))


def open_foreign_graph(
    path: Path,
    threads: int | None = None,
    *,
    trust: bool = False,
    to_probe: bool = False,
    optimized: Path | None = None,
    inputs: tuple[graph_form.GivenInput, ...] | None = None,
) -> ForeignGraph:
    """Open an ONNX or a TorchScript file, recognised by content.

    ONNX that was not tried before is tried first, see `nstc.runtime.foreign.trial`, or with
    `to_probe` runs in a process under limits, which ends with the graph. `threads` are those within
    an operator, None for one a core; `trust` says whether TorchScript, a program, may be loaded;
    `optimized` is a file to write ONNX to as ONNX Runtime runs it. `inputs` are what its inputs get
    besides the picture, None for what nstc wrote into the file when it quantized it.

    Raises:
        TeacherError: it is neither, or takes and gives other than one picture, or another input is
            left without a value.
        OptionError: it does not take such inputs.
        ImageError: the picture of an input can't be read.
        GraphLimitError: it goes over a limit of memory or time, or crashes.
        UnsafeFileError, MissingExtraError: it is TorchScript and not trusted, or torch is missing.
    """
    if not (path.is_file() or path.is_dir()):
        raise errors.TeacherError(f"no network at {path}: there is no such file.")
    if (wrong := unusable_models.wrong_file(path, "an ONNX file")) is not None:
        raise errors.TeacherError(wrong)
    if is_torchscript(path):
        return _open_torchscript(path, threads, trust, inputs)
    limits = trial.current_limits()
    trial.refuse_too_large(path, limits)
    key = model_files.model_sha256(path)
    if to_probe and not trial.keeps_within(key, limits):
        with _as_not_loaded(path, trial.RefusedGraphError):
            process = GraphProcess(path, threads, limits, key)
        values = process.inputs, process.outputs
        return _described(path, *values, process.metadata, process.run, inputs)
    with _as_not_loaded(path, trial.RefusedGraphError):
        trial.ensure_tried(path, sha256=key, threads=threads)
    with _as_not_loaded(path, *ORT_ERRORS):  # only here: elsewhere they may be this process's own
        session = load_graph(path, threads, optimized=optimized)

    def call(feeds: Mapping[str, Array]) -> Array:
        try:
            result: Array = session.run(None, feeds)[0]
        except ORT_ERRORS as error:
            raise GraphFailedError(first_line(error)) from error
        return result

    metadata = session.get_modelmeta().custom_metadata_map
    return _described(path, session.get_inputs(), session.get_outputs(), metadata, call, inputs)


@contextlib.contextmanager
def _as_not_loaded(path: Path, *kinds: type[Exception]) -> Iterator[None]:
    """Raise errors of some kinds as a `TeacherError`."""
    try:
        yield
    except kinds as error:
        reason = first_line(error).rstrip(".")
        raise errors.TeacherError(
            f"{path} can't be loaded as ONNX: {reason}. Export it again."
        ) from error


def is_torchscript(path: Path) -> bool:
    """Whether a file is a TorchScript archive, by its table of contents alone."""
    if not zipfile.is_zipfile(path):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return any("/code/" in name for name in archive.namelist())
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError):
        return False  # it has an archive's end and no table: torch could not open it either


def _described(
    path: Path,
    inputs: Sequence[GraphValue],
    outputs: Sequence[GraphValue],
    metadata: Mapping[str, str],
    run: Callable[[Mapping[str, Array]], Array],
    given: tuple[graph_form.GivenInput, ...] | None,
) -> ForeignGraph:
    if not inputs or len(outputs) != 1:
        raise errors.TeacherError(
            f"{path} has {len(inputs)} inputs and {len(outputs)} outputs "
            f"({', '.join(value.name for value in (*inputs, *outputs))}): an image-to-image "
            "network takes a picture and gives one output."
        )
    kept = metadata.get(graph_form.FORM_KEY)
    form = None if kept is None else graph_form.form_from_json(kept)
    if given is None and form is not None:
        given = form.inputs
    taken, others = taken_apart(path, inputs, given or ())
    dtype = DTYPES.get(taken.type)
    if taken.type == "tensor(double)":
        raise errors.TeacherError(
            f"{path} takes double precision: export it again in single precision, in torch by "
            "network.float() and a float32 example."
        )
    if dtype is None:
        raise errors.TeacherError(
            f"{path} takes {taken.type}: expected a picture as one of {', '.join(DTYPES)}."
        )
    shape = taken.shape or [None] * 4
    if len(shape) != 4 or (isinstance(shape[0], int) and shape[0] != 1):
        raise errors.TeacherError(
            f"{path} takes {shown(shape)}: expected one picture, [1, 3, H, W] or [1, H, W, 3]."
        )
    if not trial.is_possible(shape):
        raise errors.TeacherError(
            f"{path} takes {shown(shape)}: expected sides from 1 to {trial.LONGEST_SIDE} and at "
            f"most {trial.MOST_PIXELS / 1e6:.0f} megapixels. Export it with free sizes."
        )
    return ForeignGraph(path, taken.name, outputs[0].name, dtype, shape, run, others, form)


def _open_torchscript(
    path: Path,
    threads: int | None,
    trust: bool,
    inputs: tuple[graph_form.GivenInput, ...] | None,
) -> ForeignGraph:
    if inputs:
        raise errors.OptionError(
            f"input is {inputs[0]}: {path} is TorchScript, which is given a picture alone. Export "
            "it to ONNX."
        )
    if not trust:
        trial.refuse_program(path, "TorchScript")
    if (missing := programs.missing_torch()) is not None:
        raise errors.MissingExtraError(missing)
    try:
        network = programs.load_torchscript(path, threads)
    except (RuntimeError, ValueError, OSError) as error:
        raise errors.TeacherError(
            f"{path} can't be loaded as TorchScript: {first_line(error)}"
        ) from error

    def call(feeds: Mapping[str, Array]) -> Array:
        import torch

        [values] = feeds.values()

        try:
            with torch.inference_mode():
                output = network(torch.from_numpy(values))
        except RuntimeError as error:
            raise GraphFailedError(str(error).strip().splitlines()[-1]) from error
        if not isinstance(output, torch.Tensor):
            raise GraphFailedError(f"it gives a {type(output).__name__}, not one tensor")
        return np.asarray(output)

    return ForeignGraph(path, "input", "output", "float32", (1, None, None, None), call)


@dataclass(frozen=True)
class Framed:
    """What a graph takes or gives, with a picture of this height and width at the upper left."""

    values: Array
    height: int
    width: int


class ForeignSession:
    """Runs a graph by its contract: edges are repeated up to a size it takes, and cropped off.

    The contract is `probe_contract`'s; all else, errors included, is as in `open_foreign_graph`.
    """

    def __init__(
        self,
        path: Path,
        contract: contracts.GraphContract,
        threads: int | None = None,
        *,
        trust: bool = False,
        optimized: Path | None = None,
    ) -> None:
        self.path = path
        self.artifact = path.name
        self.contract = contract
        self.fixed_size = contract.fixed_size  # of the only pictures it takes; None for any
        self._threads = threads
        self._trust = trust
        # What its inputs besides the picture get, by name.
        self.others: Mapping[str, Array] = contract.feeds_of_others()
        self._graph = open_foreign_graph(
            path, threads, trust=trust, optimized=optimized, inputs=contract.inputs
        )

    def reopened(self) -> "ForeignSession":
        """The same file in a session of its own."""
        return ForeignSession(self.path, self.contract, self._threads, trust=self._trust)

    def prepare(self, rgb: images.Pixels) -> Framed:
        """(H, W, 3) uint8 as the graph's input, enlarged where it must be."""
        height, width = checked(rgb).shape[:2]
        fixed = self.fixed_size
        if fixed is None:
            multiple, least = self.contract.size_multiple, self.contract.minimum_size
            rows, columns = (
                -(-max(side, least) // multiple) * multiple for side in (height, width)
            )
            rgb = replicate_edges(rgb, rows, columns)
        elif fixed != (height, width):
            raise errors.OptionError(
                f"{self.path} takes pictures of {fixed[0]}x{fixed[1]} (height x width) only, "
                f"this one is {height}x{width}: export it with free sizes."
            )
        return Framed(self.contract.encode(rgb), height, width)

    def infer(self, feed: Framed) -> Framed:
        """Run the graph."""
        try:
            raw = self._graph.call({self.contract.input_name: feed.values, **self.others})
        except GraphFailedError as error:
            raise errors.ImageError(
                f"{self.path.name} failed on a picture of {feed.height}x{feed.width}, it may be "
                f"too large for the memory: {error}"
            ) from error
        return Framed(raw, feed.height, feed.width)

    def finish(self, raw: Framed) -> images.Pixels:
        """The graph's output as (H, W, 3) uint8, without what was added.

        `UnusableModelError` if it is not finite, `TeacherError` if it is smaller than the picture.
        """
        picture = self.contract.decode(raw.values)[: raw.height, : raw.width]
        if picture.shape[:2] != (raw.height, raw.width):
            raise errors.TeacherError(
                f"{self.path} gave {picture.shape[0]}x{picture.shape[1]} for a picture of "
                f"{raw.height}x{raw.width}: --size-multiple may be wrong."
            )
        return unit_to_pixels(picture, self.path)

    def run(self, rgb: images.Pixels) -> images.Pixels:
        """Stylise (H, W, 3) uint8; see `nstc.runtime.session.Session`."""
        return self.finish(self.infer(self.prepare(rgb)))
