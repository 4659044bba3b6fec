"""Finding out what a network made by others takes: by what its file says, and by trying."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Unpack

import numpy as np

from nstc.core import files, graph_form
from nstc.core.errors import OptionError, OutputError, TeacherError
from nstc.core.graph_form import GraphForm, Layout
from nstc.core.images import Picture, Pixels, read_picture, resize_shorter_side, write_picture
from nstc.core.photos import installed_samples
from nstc.runtime import arrays, foreign
from nstc.runtime.foreign.contracts import Choice, ContractCandidate, GraphContract
from nstc.runtime.foreign.networks import ForeignGraph, open_foreign_graph
from nstc.runtime.foreign.trial import GraphFailedError, shown
from nstc.runtime.model_files import model_sha256

_SIZES: Final = ((128, 192), (256, 256), (512, 512))
_MULTIPLES: Final = (1, 2, 4, 8, 16, 32, 64, 128)
_SMALL: Final = 64
# Two of the samples with black, bright parts and colours.
_PHOTOS: Final = ("astronaut.jpg", "retina.jpg")
_FOUR_CHANNELS: Final = (
    "four channels: colours and an alpha channel or a mask. nstc works on three: export it again "
    "inside a network"
)
_SHOWN_CANDIDATES: Final = 4


def probe_contract(
    path: Path,
    form: GraphForm | None = None,
    *,
    threads: int | None = None,
    trust: bool = False,
    **flags: Unpack[graph_form.GraphFlags],
) -> GraphContract:
    """Find out what an ONNX or TorchScript file takes and gives.

    Sample photographs are run through it in every usual way that is left open; the right one gives
    a picture with contrast that resembles the photograph. Keywords take precedence over `form`,
    which was found before, and that over what nstc wrote into the file when it quantized it.
    Threads and trust are as in `open_foreign_graph`.

    Raises:
        TeacherError: it is not such a file or network, or several ways to feed it give good
            pictures that differ; the message says why, and where the pictures are.
        GraphLimitError: it goes over a limit of memory or time, or crashes.
        UnusableModelError: what it gives is not finite, at whatever range of values.
        UnsafeFileError: it is TorchScript and was not trusted.
        OptionError: a flag has no such value, or the graph does not work with it.
        ImageError: the picture of an input can't be read.
    """
    known = graph_form.form_of(**flags).completed_by(form)
    graph = open_foreign_graph(path, threads, trust=trust, to_probe=True, inputs=known.inputs)
    known = known.completed_by(graph.kept_form)
    multiple = known.size_multiple or 1
    contract, photo = _first_that_runs(graph, _guesses(graph, known.layout, multiple), multiple)
    contract = _with_values(graph, contract, photo, known)
    if contract.fixed_size is not None:
        return contract
    multiple = _size_multiple(graph, contract, photo, known.size_multiple)
    contract = dataclasses.replace(contract, size_multiple=multiple)
    small = _up_to(_SMALL, multiple)
    keeps = small <= min(photo.shape[:2]) and _keeps_size(graph, contract, photo[:small, :small])
    return dataclasses.replace(contract, minimum_size=small if keeps else max(photo.shape[:2]))


def _guesses(graph: ForeignGraph, wanted: Layout | None, multiple: int) -> list[GraphContract]:
    """What a file's declared shape allows, to be corrected by running it."""
    takes = f"{graph.path} takes {shown(graph.shape)}"
    channels: dict[Layout, int | str | None] = {"NCHW": graph.shape[1], "NHWC": graph.shape[3]}
    allowed = [name for name in graph_form.LAYOUTS if channels[name] == 3]
    if not allowed and 4 in channels.values():
        raise TeacherError(
            f"{takes}, {_FOUR_CHANNELS} that takes 3 colours and adds the fourth channel, all of "
            "it opaque or all of the mask set."
        )
    free = [name for name in graph_form.LAYOUTS if not isinstance(channels[name], int)]
    allowed = allowed or free
    if not allowed:
        raise TeacherError(f"{takes}: no axis holds 3 colours.")
    if wanted is not None and wanted not in allowed:
        raise OptionError(f"layout is {wanted}, but {takes}: expected {' or '.join(allowed)}.")
    guesses = []
    for layout in [wanted] if wanted else allowed:
        sides = graph.shape[2:4] if layout == "NCHW" else graph.shape[1:3]
        fixed = [side for side in sides if isinstance(side, int)]
        if len(fixed) == 1:
            raise TeacherError(f"{takes}: export it with both sides free or fixed.")
        guess = GraphContract(
            input_name=graph.input_name,
            output_name=graph.output_name,
            layout=layout,
            dtype=graph.dtype,
            input_range=255 if graph.dtype == "uint8" else 1,
            output_layout=layout,
            output_range=1,
            size_multiple=multiple,
            minimum_size=1,
            fixed_size=(fixed[0], fixed[1]) if fixed else None,
            others=graph.others,
        )
        guesses.append(guess)
    return guesses


def _keeps_size(graph: ForeignGraph, contract: GraphContract, rgb: Pixels) -> bool:
    """Whether it runs on this picture and gives one of the same size."""
    try:
        raw = graph.run(contract, rgb)
    except GraphFailedError:
        return False
    return _output_layout(raw.shape, rgb) == contract.output_layout


def _first_that_runs(
    graph: ForeignGraph, guesses: Sequence[GraphContract], multiple: int
) -> tuple[GraphContract, Pixels]:
    """The first guess that gives a picture as large as the photograph, and that photograph."""
    reason = ""
    free_sizes = [(_up_to(height, multiple), _up_to(width, multiple)) for height, width in _SIZES]
    for contract in guesses:
        for height, width in [contract.fixed_size] if contract.fixed_size else free_sizes:
            photo = _photo(height, width)
            try:
                raw = graph.run(contract, photo)
            except GraphFailedError as error:
                reason = reason or str(error)
                continue
            output_layout = _output_layout(raw.shape, photo)
            if output_layout is not None:
                return dataclasses.replace(contract, output_layout=output_layout), photo
            if raw.ndim == 4 and 4 in (raw.shape[1], raw.shape[3]):
                reason = (
                    f"it gives {shown(raw.shape)}, {_FOUR_CHANNELS} that leaves out the fourth "
                    "channel"
                )
            else:
                reason = (
                    f"for a picture of {height}x{width} it gives {shown(raw.shape)}, "
                    "which is not a picture of that size"
                )
    raise TeacherError(f"{graph.path} is not an image-to-image network: {reason}.")


def _up_to(side: int, multiple: int) -> int:
    return -(-side // multiple) * multiple


def _with_values(
    graph: ForeignGraph, contract: GraphContract, photo: Pixels, form: GraphForm
) -> GraphContract:
    """The contract with the values under which the network does best."""
    photos = [_photo(photo.shape[0], photo.shape[1], name) for name in _PHOTOS]
    try:
        choice = foreign.contracts.choose(graph.run, contract, photos, form)
    except GraphFailedError as error:
        raise TeacherError(f"{graph.path} fails on some values of pictures: {error}.") from error
    if choice.best.score == 0:
        raw = graph.run(choice.best.contract, photo)
        arrays.refuse_not_finite_output(raw, graph.path)
    if choice.best.score < foreign.contracts.LEAST_SCORE and choice.certainty:
        raise TeacherError(
            f"{graph.path} gives nothing like the photograph it is given, whether values go to 1 "
            "or to 255: it is not a style network, or --input-range, --mean and --std must say "
            "what it takes."
        )
    if choice.rivals:
        raise TeacherError(_ambiguity(graph.path, choice, photo))
    return dataclasses.replace(choice.best.contract, certainty=choice.certainty)


def _ambiguity(path: Path, choice: Choice, photo: Pixels) -> str:
    """What to say of a network that gives good pictures in several ways."""
    shown_first = (choice.best, *choice.rivals)[:_SHOWN_CANDIDATES]
    candidates = sorted(shown_first, key=lambda one: one.score, reverse=True)
    listed = ", ".join(
        f"{number}.png is {one.flags} (fits {100 * one.score / candidates[0].score:.0f} %)"
        for number, one in enumerate(candidates, start=1)
    )
    try:
        pictures = f"see {_write_pictures(path, candidates, photo)}"
    except OutputError as error:
        pictures = f"the pictures could not be written: {error}".rstrip(".")
    return (
        f"{path} gives a good picture in {len(candidates)} ways that differ, and nothing says "
        f"which is meant: {listed}; {pictures}. Give the flags of the right one."
    )


def _write_pictures(path: Path, candidates: Sequence[ContractCandidate], photo: Pixels) -> Path:
    """What each candidate makes of the photograph, by number; the folder."""
    folder = files.cache_folder("probing") / f"{path.stem[:40]}-{model_sha256(path)[:12]}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for outdated in folder.glob("*.png"):
            outdated.unlink()
    except OSError as error:
        raise OutputError(f"{folder} can't be written: {error.strerror}.") from error
    write_picture(folder / "photo.png", Picture(rgb=foreign.contracts.thinned(photo)))
    for number, one in enumerate(candidates, start=1):
        picture = arrays.unit_to_pixels(one.pictures[0], path.name)
        write_picture(folder / f"{number}.png", Picture(rgb=picture))
    return folder


def _size_multiple(
    graph: ForeignGraph, contract: GraphContract, photo: Pixels, wanted: int | None
) -> int:
    """The smallest multiple that sizes must keep to."""
    height, width = photo.shape[:2]
    for multiple in [wanted] if wanted else _MULTIPLES:
        larger = _photo(height + multiple, width + 3 * multiple)
        if _keeps_size(graph, contract, larger):
            return multiple
    if wanted:
        raise OptionError(f"size-multiple is {wanted}: {graph.path} does not keep such sizes.")
    raise TeacherError(
        f"{graph.path} runs at {height}x{width} but keeps no size near it: "
        "give --size-multiple, or export it with a fixed size."
    )


def _output_layout(shape: Sequence[int], rgb: Pixels) -> Layout | None:
    height, width = rgb.shape[:2]
    shapes: dict[tuple[int, ...], Layout] = {
        (1, 3, height, width): "NCHW",
        (1, height, width, 3): "NHWC",
    }
    return shapes.get(tuple(shape))


def _photo(height: int, width: int, name: str = _PHOTOS[0]) -> Pixels:
    """A sample photograph, scaled and cropped to a size."""
    [path] = [path for path in installed_samples() if path.name == name]
    scaled = resize_shorter_side(read_picture(path).rgb, max(height, width))
    return np.ascontiguousarray(scaled[:height, :width])
