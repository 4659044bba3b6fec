"""Finding out what a network made by others takes: by what its file says, and by trying."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from nstc.core.errors import OptionError, TeacherError
from nstc.core.images import Pixels, read_picture, resize_shorter_side
from nstc.core.photos import sample_photos
from nstc.runtime.arrays import Array, refuse_not_finite_output
from nstc.runtime.foreign_graph import ForeignGraph, GraphFailedError, open_to_probe, shown
from nstc.runtime.graph_contract import (
    LAYOUTS,
    RANGES,
    GraphContract,
    Layout,
    ValueRange,
)

_TRIED_SIZES: Final = ((128, 192), (256, 256), (512, 512))
_TRIED_MULTIPLES: Final = (1, 2, 4, 8, 16, 32, 64, 128)
_LARGEST_MULTIPLE: Final = 1024
_SMALL: Final = 64
_USUAL_CONTRAST: Final = 0.1
_SAME_RANGE_BONUS: Final = 1.25
_LEAST_SCORE: Final = 0.02
_AS_GOOD: Final = 0.95


def probe_contract(
    path: Path,
    *,
    layout: str | None = None,
    value_range: int | None = None,
    size_multiple: int | None = None,
    threads: int | None = None,
    trust: bool = False,
) -> GraphContract:
    """Find out what an ONNX or TorchScript file takes and gives.

    A sample photograph is run through it at every range of values that the flags leave open; the
    right one gives a picture with contrast that has to do with the photograph.

    Args:
        path: The file.
        layout: "NCHW" or "NHWC" where it is known.
        value_range: Of the input where it is known: 1, 255, or -1 for -1 to 1.
        size_multiple: What heights and widths must be multiples of, where it is known.
        threads: Threads to run it with; None for one a core.
        trust: Whether TorchScript, which is a program, may be loaded.

    Raises:
        TeacherError: it is no such file, or no image-to-image network; the message says why.
        GraphLimitError: it goes over a limit of memory or time, or crashes.
        UnusableModelError: what it gives is not finite, at whatever range of values.
        UnsafeFileError: it is TorchScript and was not trusted.
        OptionError: a flag has no such value, or the graph does not work with it.
    """
    refuse_unknown(layout, value_range, size_multiple)
    graph = open_to_probe(path, threads, trust=trust)
    multiple = size_multiple or 1
    trials = [_first_guess(graph, tried, multiple) for tried in _layouts(graph, layout)]
    contract, photo = _first_that_runs(graph, trials, multiple)
    contract = _with_range(graph, contract, photo, value_range)
    if contract.fixed_size is not None:
        return contract
    multiple = _size_multiple(graph, contract, photo, size_multiple)
    contract = dataclasses.replace(contract, size_multiple=multiple)
    small = -(-_SMALL // multiple) * multiple
    keeps = small <= min(photo.shape[:2]) and _keeps_size(graph, contract, photo[:small, :small])
    return dataclasses.replace(contract, minimum_size=small if keeps else max(photo.shape[:2]))


def refuse_unknown(layout: str | None, value_range: int | None, multiple: int | None) -> None:
    """Refuse what no network is fed with; None is what is still to be found.

    Raises:
        OptionError: one of them is out of range.
    """
    if layout is not None and layout not in LAYOUTS:
        raise OptionError(f"layout is {layout}: expected {' or '.join(LAYOUTS)}.")
    if value_range is not None and value_range not in RANGES:
        known = ", ".join(map(str, RANGES))
        raise OptionError(f"value-range is {value_range}: expected one of {known}.")
    if multiple is not None and not 1 <= multiple <= _LARGEST_MULTIPLE:
        raise OptionError(f"size-multiple is {multiple}: expected from 1 to {_LARGEST_MULTIPLE}.")


def _layouts(graph: ForeignGraph, wanted: str | None) -> list[Layout]:
    """The layouts that the declared shape allows."""
    channels: dict[Layout, int | str | None] = {"NCHW": graph.shape[1], "NHWC": graph.shape[3]}
    allowed = [name for name in LAYOUTS if channels[name] == 3]
    if not allowed:
        allowed = [name for name in LAYOUTS if not isinstance(channels[name], int)]
    if not allowed:
        raise TeacherError(f"{graph.path} takes {shown(graph.shape)}: no axis holds 3 colours.")
    if wanted is not None and wanted not in allowed:
        raise OptionError(
            f"layout is {wanted}, but {graph.path} takes {shown(graph.shape)}: "
            f"expected {' or '.join(allowed)}."
        )
    return [name for name in allowed if wanted in (None, name)]


def _first_guess(graph: ForeignGraph, layout: Layout, multiple: int) -> GraphContract:
    """What a file's declarations say, to be corrected by running it."""
    sides = graph.shape[2:4] if layout == "NCHW" else graph.shape[1:3]
    fixed = tuple(side for side in sides if isinstance(side, int))
    if len(fixed) == 1:
        raise TeacherError(
            f"{graph.path} takes {shown(graph.shape)}: export it with both sides free or fixed."
        )
    return GraphContract(
        input_name=graph.input_name,
        output_name=graph.output_name,
        layout=layout,
        dtype=graph.dtype,
        input_range=255 if graph.dtype == "uint8" else 1,
        output_layout=layout,
        output_range=1,
        size_multiple=multiple,
        minimum_size=1,
        fixed_size=(fixed[0], fixed[1]) if len(fixed) == 2 else None,
    )


def _run(graph: ForeignGraph, contract: GraphContract, rgb: Pixels) -> Array:
    """The raw output for a picture (H, W, 3)."""
    return graph.call(contract.encode(rgb))


def _keeps_size(graph: ForeignGraph, contract: GraphContract, rgb: Pixels) -> bool:
    """Whether it runs on this picture and gives one of the same size."""
    try:
        raw = _run(graph, contract, rgb)
    except GraphFailedError:
        return False
    return _output_layout(raw.shape, rgb) == contract.output_layout


def _first_that_runs(
    graph: ForeignGraph, trials: Sequence[GraphContract], multiple: int
) -> tuple[GraphContract, Pixels]:
    """The first guess that gives a picture as large as the photograph, and that photograph."""
    reason = ""
    for contract in trials:
        for size in [contract.fixed_size] if contract.fixed_size else _TRIED_SIZES:
            height, width = size
            if contract.fixed_size is None:
                height, width = (-(-side // multiple) * multiple for side in size)
            photo = _photo(height, width)
            try:
                raw = _run(graph, contract, photo)
            except GraphFailedError as error:
                reason = reason or str(error)
                continue
            output_layout = _output_layout(raw.shape, photo)
            if output_layout is not None:
                return dataclasses.replace(contract, output_layout=output_layout), photo
            reason = (
                f"for a picture of {height}x{width} it gives {shown(raw.shape)}, "
                "which is no picture of that size"
            )
    raise TeacherError(f"{graph.path} is not an image-to-image network: {reason}.")


def _with_range(
    graph: ForeignGraph, contract: GraphContract, photo: Pixels, wanted: int | None
) -> GraphContract:
    """The contract with the ranges of values under which the network does best."""
    candidates = [name for name in RANGES if wanted in (None, name)]
    if contract.dtype == "uint8":
        candidates = [255]
    scored: list[tuple[float, GraphContract]] = []
    for name in candidates:
        tried = dataclasses.replace(contract, input_range=name)
        raw = _run(graph, tried, photo)
        if name == candidates[-1] and not scored:  # nothing finite in any range
            refuse_not_finite_output(raw, graph.path)
        if not np.isfinite(raw).all():
            continue
        tried = dataclasses.replace(tried, output_range=_range_of(raw))
        scored.append((_score(tried, raw, photo), tried))
    best = max(score for score, _ in scored)
    if best < _LEAST_SCORE and wanted is None:
        raise TeacherError(
            f"{graph.path} gives nothing like the photograph it is given, whether values go to 1 "
            "or to 255: it is no style network, or --value-range must say what it takes."
        )
    return next(tried for score, tried in scored if score >= _AS_GOOD * best)


def _range_of(raw: Array) -> ValueRange:
    if raw.dtype == np.uint8:
        return 255
    low, high = np.percentile(raw.astype(np.float32), [1, 99])
    if max(abs(low), abs(high)) > 4:
        return 255
    return -1 if low < -0.4 else 1


def _score(contract: GraphContract, raw: Array, photo: Pixels) -> float:
    """How much the output looks like a picture made from the photograph; about 0 to 1.

    Correlation of the brightness of 8x8 blocks, less for little contrast and for saturation. Many
    networks normalise their input at once and do not care about its scale: equal ranges in and
    out are then the likelier.
    """
    picture = contract.decode(raw)
    seen = np.clip(picture, 0, 1)
    contrast = min(1.0, float(seen.std()) / _USUAL_CONTRAST)
    saturated = float(((picture <= 0) | (picture >= 1)).mean())
    bonus = _SAME_RANGE_BONUS if contract.input_range == contract.output_range else 1.0
    return abs(_correlation(_blocks(seen), _blocks(photo))) * contrast * (1 - saturated) * bonus


def _blocks(picture: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Mean brightness of 8x8 blocks, flattened."""
    height, width = (side // 8 * 8 for side in picture.shape[:2])
    brightness = picture[:height, :width].astype(np.float64).mean(axis=2)
    means: npt.NDArray[np.float64] = brightness.reshape(height // 8, 8, width // 8, 8).mean(
        axis=(1, 3)
    )
    return means.ravel()


def _correlation(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> float:
    a, b = a - a.mean(), b - b.mean()
    norm = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / norm if norm > 1e-9 else 0.0


def _size_multiple(
    graph: ForeignGraph, contract: GraphContract, photo: Pixels, wanted: int | None
) -> int:
    """The smallest multiple that sizes must keep to."""
    height, width = photo.shape[:2]
    for multiple in [wanted] if wanted else _TRIED_MULTIPLES:
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


def _photo(height: int, width: int) -> Pixels:
    """A sample photograph, scaled and cropped to a size."""
    rgb = read_picture(sample_photos().paths[0]).rgb
    scaled = resize_shorter_side(rgb, max(height, width))
    return np.ascontiguousarray(scaled[:height, :width])
