"""A bundle for any painting: beside its graphs a small one that predicts a style's own numbers.

A pack has a table for each style; this bundle has `predictor.onnx`, which gives the numbers of a
style for a picture of its painting, and `predictor.json`, which says into which constants they go:

    {"schema": "nstc.predictor/1", "graphs": {"int8.onnx": {"sha256": "...", "layers":
     [{"bias": "t3", "bias_step": "t4", "input_scale": "t9", "weight_step": "t7"}, ...]}, ...}}

Its graphs are those of one painting, so that it runs as any bundle does. What is predicted is a
factor and a bias for each filter of the layers, in their order. A factor is over that painting's.
"""

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import numpy as np
from msgspec import Meta, to_builtins
from PIL import Image

from nstc.core import decoding, files
from nstc.core.bundle import TILES_ARTIFACT, Bundle, artifact_file
from nstc.core.decoding import DecodingError, Name, Sha256
from nstc.core.errors import OptionError, OutputError
from nstc.core.images import Picture, Pixels, picture_of, read_picture, resize_longer_side
from nstc.core.images.paintings import refuse_without_style, seen_of
from nstc.core.manifest import Style
from nstc.core.tensor_files import Values, read_tensors, tensor_bytes
from nstc.core.zoo import named
from nstc.runtime import arrays
from nstc.runtime.onnx_session import ORT_ERRORS, first_line, load_graph
from nstc.runtime.packs.blending import biases_of
from nstc.runtime.packs.stored_graph import StoredGraph
from nstc.runtime.packs.style_pack import (
    INT8,
    MAX_GRAPH_BYTES,
    as_damage,
    content_of_schema,
    damaged,
    passing_style,
    read_graph_file,
    write_style,
)
from nstc.runtime.session import refuse_unsafe_graph

PREDICTOR_FILE: Final = "predictor.onnx"
LAYERS_FILE: Final = "predictor.json"
SCHEMA: Final = "nstc.predictor/1"
FLOAT: Final = "onnx"
GRAPHS: Final = (FLOAT, INT8, TILES_ARTIFACT)
PAINTING_SIZE: Final = 512  # long side, in pixels, of paintings that a style is predicted from
_MOST_LAYERS: Final = 500
_LARGEST_FACTOR: Final = 1e3
_LARGEST_BIAS: Final = 1e6
_LARGEST_WHOLE: Final = 2**31 - 1
_NUMBERS: Final = "numbers"
_PREDICTION_ERRORS: Final[tuple[type[Exception], ...]] = (*ORT_ERRORS, ValueError)


@dataclass(frozen=True)
class ReadPainting:
    """A painting that was read: what other processes and machines get in place of its file."""

    pixels: Pixels  # as `painting_of` gives them, at most 786 KB
    name: str  # of it in messages

    @classmethod
    def of(cls, style: "Painting | Mapping[str, float]") -> "ReadPainting":
        """It, read; raises as `painting_of`, and `OptionError` for a mixture."""
        if isinstance(style, ReadPainting):
            return style
        if isinstance(style, Mapping):
            raise OptionError(
                "blend is of a pack of styles, and this bundle is for any painting: give one, by "
                "--style."
            )
        return cls(painting_of(style), _name_of(style))


_Unread = str | Path | Image.Image | Pixels
Painting = _Unread | ReadPainting


@dataclass(frozen=True, kw_only=True)
class Constants:
    """The constants of a layer in a graph: of a float one its filters, of an integer one steps."""

    bias: Name
    weight: Name | None = None
    weight_step: Name | None = None
    input_scale: Name | None = None
    bias_step: Name | None = None  # the product of the two

    def __post_init__(self) -> None:
        """Refuse what is neither."""
        steps = (self.weight_step, self.input_scale, self.bias_step)
        if (self.weight is None) == (None in steps):
            raise ValueError("a layer has either filters or the steps of integers")

    def of_style(self, graph: StoredGraph, factors: Values, biases: Values) -> dict[str, Values]:
        """Their values for factors and biases (filters,), float64; or `ValueError`.

        The layer's shapes are those that `fits` found.
        """
        with np.errstate(all="ignore"):  # what is not finite, as of a step of 0, is refused
            if self.weight is not None:
                filters = _known(graph, self.weight)
                scaled = filters * factors.reshape(-1, *[1] * (filters.ndim - 1))
                made = {self.weight: scaled, self.bias: biases}
            else:
                step, scale = _known(graph, self.weight_step), _known(graph, self.input_scale)
                steps = (step * factors).astype(np.float32)
                of_biases = scale.astype(np.float32) * steps
                whole = np.rint(biases / of_biases.astype(np.float64))
                if not (np.abs(whole) <= _LARGEST_WHOLE).all():
                    raise ValueError("a bias is beyond int32")
                made = {
                    str(self.weight_step): steps,
                    str(self.bias_step): of_biases,
                    self.bias: whole,
                }
            stored = {name: own.astype(_known(graph, name).dtype) for name, own in made.items()}
        for name, own in stored.items():
            if not np.isfinite(own).all():
                raise ValueError(f"it makes {name!r:.60} not finite")
        return stored

    def fits(self, graph: StoredGraph) -> bool:
        """Whether the constants are of one number of filters, as those of a layer are."""
        bias = _known(graph, self.bias)
        if bias.ndim != 1:
            return False
        if self.weight is not None:
            return _known(graph, self.weight).shape[:1] == bias.shape
        steps = (self.weight_step, self.input_scale, self.bias_step)
        return all(_known(graph, name).size in {1, bias.size} for name in steps)


@dataclass(frozen=True, kw_only=True)
class _Graph:
    """What is known of a graph."""

    sha256: Sha256  # of its file
    layers: Annotated[tuple[Constants, ...], Meta(min_length=1, max_length=_MOST_LAYERS)]

    def __post_init__(self) -> None:
        decoding.refuse_other_than_sha256(self.sha256)


@dataclass(frozen=True, kw_only=True)
class _Layers:
    """The whole of `predictor.json`."""

    schema: Literal["nstc.predictor/1"]
    graphs: Annotated[Mapping[Name, _Graph], Meta(min_length=1, max_length=len(GRAPHS))]

    def __post_init__(self) -> None:
        """Refuse graphs of other names, or without the one that runs."""
        if not {INT8} <= set(self.graphs) <= set(GRAPHS):
            raise ValueError(f"its graphs are not of {', '.join(GRAPHS)}")


def is_for_any(bundle: Bundle) -> bool:
    """Whether a bundle runs in the style of any painting."""
    return PREDICTOR_FILE in bundle.manifest.files


def constants_of(graph: StoredGraph) -> tuple[Constants, ...]:
    """Those of each convolution with a bias, in the order of the graph's nodes."""
    makers = {output: node for node in graph.nodes for output in node.outputs}
    found = []
    for node in graph.nodes:
        if node.operator != "Conv" or len(node.inputs) < 3:
            continue
        if graph.value(node.inputs[1]) is not None:
            found.append(Constants(bias=node.inputs[2], weight=node.inputs[1]))
        for own in biases_of(graph, [makers.get(name) for name in node.inputs]):
            bias, bias_step, input_scale, weight_step = own
            found.append(
                Constants(
                    bias=bias,
                    bias_step=bias_step,
                    input_scale=input_scale,
                    weight_step=weight_step,
                )
            )
    return tuple(found)


def layers_text(bundle: Bundle, layers: Mapping[str, tuple[Constants, ...]]) -> str:
    """What `predictor.json` holds, of a bundle's graphs by artifact."""
    hashes = {name: bundle.manifest.files[artifact_file(name)].sha256 for name in layers}
    graphs = {name: _Graph(sha256=hashes[name], layers=own) for name, own in layers.items()}
    content = to_builtins(_Layers(schema=SCHEMA, graphs=graphs))
    return json.dumps(decoding.as_readable(content), indent=1, sort_keys=True) + "\n"


@dataclass(frozen=True)
class AnyPainting:
    """An opened bundle for any painting."""

    bundle: Bundle
    _graphs: Mapping[str, _Graph]

    @cached_property
    def _stored(self) -> Mapping[str, StoredGraph]:
        return {name: read_graph_file(self.bundle, name) for name in self._graphs}

    @cached_property
    def _filters(self) -> tuple[int, ...]:
        """Of each layer; `CorruptBundleError` if graphs don't have the layers."""
        held = []
        with as_damage(self.bundle, LAYERS_FILE):
            for name, graph in self._graphs.items():
                stored, layers = self._stored[name], graph.layers
                # before anything is computed: constants of other shapes would fill the memory
                if not {*layers} <= {*constants_of(stored)} or len({*layers}) < len(layers):
                    raise DecodingError(f"{artifact_file(name)} lacks layers that it names")
                try:
                    if not all(own.fits(stored) for own in layers):
                        raise ValueError("a layer's constants are of different filters")
                except ValueError as error:
                    raise DecodingError(f"{artifact_file(name)}: {error}") from error
                held.append(tuple(_known(stored, own.bias).size for own in layers))
            if len(set(held)) > 1:
                raise DecodingError("its graphs have different layers")
        return held[0]

    def numbers(self, painting: Pixels, *, anew: bool = False) -> Values:
        """Factors and biases, (2, filters) float64, for what `painting_of` gave.

        They are kept in the user's cache, by the hashes of painting and predictor; `anew` predicts
        them all the same.

        Raises:
            CorruptBundleError: the predictor is damaged, or gives what can't be a style.
            GraphLimitError: it goes over a limit of memory or time.
        """
        path = self.bundle.file(PREDICTOR_FILE)
        record = self.bundle.manifest.files[PREDICTOR_FILE]
        key = hashlib.sha256(f"{record.sha256}|{digest_of_painting(painting)}".encode())
        kept = files.cached("numbers", f"{key.hexdigest()}.safetensors")
        if not anew:
            with contextlib.suppress(OSError, DecodingError, ValueError):
                return self._checked(read_tensors(kept).get(_NUMBERS))
        if record.size_bytes > MAX_GRAPH_BYTES:
            raise damaged(self.bundle, PREDICTOR_FILE, f"it has more than {MAX_GRAPH_BYTES} bytes")
        refuse_unsafe_graph(self.bundle, PREDICTOR_FILE)
        try:
            session = load_graph(path, None)
            (given,) = session.get_inputs()
            found = session.run(None, {given.name: arrays.to_unit_nchw(painting)})[0]
            made = self._checked(np.asarray(found))
        except _PREDICTION_ERRORS as error:
            raise damaged(self.bundle, PREDICTOR_FILE, first_line(error)) from error
        with contextlib.suppress(OutputError), files.atomic_file(kept) as draft:
            draft.write_bytes(tensor_bytes({_NUMBERS: made}))
        return made

    def _checked(self, found: Values | None) -> Values:
        """Numbers in the form (2, filters); `ValueError` for what no style has."""
        filters = sum(self._filters)
        if found is None or found.size != 2 * filters or found.dtype.kind != "f":
            raise ValueError(f"it does not give {2 * filters} numbers")
        made = found.astype(np.float64).reshape(2, filters)
        factors, biases = made
        if not ((factors > 1 / _LARGEST_FACTOR) & (factors < _LARGEST_FACTOR)).all():
            raise ValueError("it gives factors out of range")
        if not (np.abs(biases) < _LARGEST_BIAS).all():
            raise ValueError("it gives biases out of range")
        return made

    def files(self, painting: Pixels, *, anew: bool = False) -> dict[str, bytes]:
        """The files of a painting, by artifact; `anew` and errors as of `numbers`."""
        ends = np.cumsum(self._filters)[:-1]
        factors, biases = (np.split(own, ends) for own in self.numbers(painting, anew=anew))
        made = {}
        for artifact, known in self._graphs.items():
            graph = self._stored[artifact]
            values: dict[str, Values] = {}
            try:
                for layer, factor, bias in zip(known.layers, factors, biases, strict=True):
                    values |= layer.of_style(graph, factor, bias)
                made[artifact] = graph.with_values(values)
            except ValueError as error:
                raise damaged(self.bundle, PREDICTOR_FILE, str(error)) from error
        return made

    @contextmanager
    def as_bundle(self, painting: Pixels, name: str, *, anew: bool = False) -> Iterator[Bundle]:
        """A bundle of a painting's files, in a folder that goes after the block.

        See `passing_style`; `anew` and errors as of `numbers`.
        """
        style = Style(name=name, source="painting")
        made = self.files(painting, anew=anew)
        with files.scratch_folder() as folder:
            bundle = write_style(self.bundle, made, folder / "style", name=name, style=style)
            with passing_style(self.bundle, bundle, self.shown(name)):
                yield bundle

    def shown(self, name: str) -> str:
        """The bundle and the name of a painting, for messages."""
        return f"{named(self.bundle.path)} ({name})"


def open_for_any(bundle: Bundle) -> AnyPainting:
    """Open a bundle for any painting.

    Raises:
        OptionError: it is none.
        CorruptBundleError: it is damaged.
        SchemaVersionError: a newer nstc wrote it.
    """
    if not is_for_any(bundle):
        raise OptionError(
            f"{named(bundle.path)} has one style, and runs without a painting: `nstc pack "
            "train-any` makes bundles for any painting, and `nstc restyle` one of a painting."
        )
    with as_damage(bundle, LAYERS_FILE):
        if LAYERS_FILE not in bundle.manifest.files:
            raise DecodingError("it is missing")
        content = content_of_schema(bundle.file(LAYERS_FILE), SCHEMA)
        graphs = decoding.decode(content, _Layers).graphs
        for artifact, graph in graphs.items():
            record = bundle.manifest.files.get(artifact_file(artifact))
            if record is None or record.sha256 != graph.sha256:
                raise DecodingError(f"{artifact_file(artifact)} is not the file that it is for")
    return AnyPainting(bundle, graphs)


def painting_of(painting: _Unread) -> Pixels:
    """A painting as a style is predicted from it: (H, W, 3) uint8, its long side 512 pixels.

    `ImageError` if it can't be read; `OptionError` if it has no style, see `usable_painting`.
    """
    name = _name_of(painting)
    if isinstance(painting, np.ndarray):
        picture = Picture(rgb=arrays.checked(painting))
    elif isinstance(painting, Image.Image):
        picture = picture_of(painting)
    else:
        picture = read_picture(Path(painting))
    pixels = seen_of(picture, name)
    refuse_without_style(pixels, name)
    return resize_longer_side(pixels, PAINTING_SIZE)


def _name_of(painting: _Unread) -> str:
    """What messages call it."""
    return Path(painting).name if isinstance(painting, str | Path) else "the painting"


def digest_of_painting(painting: Pixels) -> str:
    """SHA-256 of its pixels and its size."""
    content = hashlib.sha256(str(painting.shape).encode())
    content.update(np.ascontiguousarray(painting).tobytes())
    return content.hexdigest()


def _known(graph: StoredGraph, name: Any) -> Values:
    values = graph.value(str(name))
    if values is None:
        raise ValueError(f"the graph has no constant {name!r:.60}")
    return values
