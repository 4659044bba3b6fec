"""Two files of one network compared, layer by layer and place by place: which one spoils it."""

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import onnx

from nstc.compress.export.export_model import made_artifact
from nstc.compress.quantization.foreign_models import THIRD_PARTY_ERRORS
from nstc.compress.quantization.layer_noise import LayerNoise, Noise, measure_noise
from nstc.compress.quantization.matched_layers import Matches, match_layers
from nstc.core import Progress, Silent, images
from nstc.core.bundle import Bundle, artifact_name, open_bundle
from nstc.core.errors import ArtifactError, CorruptBundleError, OptionError, PhotosError
from nstc.core.images.picture import contact_sheet
from nstc.core.model_names import shown_name
from nstc.core.photos import PhotoSet
from nstc.core.terminal import short_name
from nstc.runtime import arrays
from nstc.runtime.foreign import trial
from nstc.runtime.onnx_session import OnnxSession, first_line

MOST_PHOTOS: Final = 8  # that two files are compared on
MOST_DRAWN: Final = 4
LARGEST_SIZE: Final = 1024  # all layers of a photograph are in memory at once
_BLOCK: Final = 16  # side in pixels of the places that are told apart
_MOST_DB: Final = 99.0
_THREADS: Final = 1  # sums in one order


@dataclasses.dataclass(frozen=True, kw_only=True)
class PhotoNoise:
    """How two files' pictures of one photograph differ."""

    name: str  # of the photograph's file
    psnr_db: float
    largest: int  # difference in levels of 255
    mean: float  # likewise
    row: int  # middle of the block of 16x16 pixels with the largest mean difference
    column: int  # likewise


class _Pictures(NamedTuple):
    """Of one photograph, (H, W, 3) each."""

    photo: images.Pixels
    reference: images.Pixels
    candidate: images.Pixels

    @property
    def difference(self) -> npt.NDArray[np.float32]:
        """The largest of the three colours at each place, in levels, (H, W)."""
        apart = self.candidate.astype(np.float32) - self.reference.astype(np.float32)
        return np.asarray(np.abs(apart).max(axis=2))


@dataclasses.dataclass(frozen=True, kw_only=True)
class FileComparison:
    """What was found of a file, the candidate, beside another, the reference."""

    model: str
    candidate: str
    reference: str
    size: int  # side of the photographs' squares in pixels
    seed: int  # of the choice of photographs
    layers: tuple[LayerNoise, ...]  # in the candidate's order
    photos: tuple[PhotoNoise, ...]
    unmatched: tuple[str, ...]  # what could not be compared, in words
    # For `write_heat_map`: pictures of each photograph, and what each layer adds where.
    pictures: tuple[_Pictures, ...] = dataclasses.field(repr=False)
    maps: dict[str, list[npt.NDArray[np.float32]]] = dataclasses.field(repr=False)

    @property
    def worst_first(self) -> tuple[LayerNoise, ...]:
        """The layers by what they add themselves, relative to their signal."""
        return tuple(sorted(self.layers, key=lambda layer: layer.own_db))

    @property
    def worst_photo(self) -> PhotoNoise:
        """The photograph whose pictures differ most."""
        return min(self.photos, key=lambda photo: photo.psnr_db)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, without the pictures."""
        own = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)[:5]}
        return {
            **own,
            "layers": [layer.to_dict() for layer in self.layers],
            "worst_first": [layer.layer for layer in self.worst_first],
            "photos": [dataclasses.asdict(photo) for photo in self.photos],
            "unmatched": list(self.unmatched),
        }


def compare(
    model: str | Path,
    candidate: str,
    reference: str,
    *,
    photos: PhotoSet,
    size: int = 512,
    seed: int = 0,
    progress: Progress | None = None,
) -> FileComparison:
    """Compare an ONNX file of a network with another of it, such as int8 with float.

    Args:
        model: The bundle, its path or its zoo name.
        candidate: The artifact to explain, or the path of an ONNX file that nstc made.
        reference: What it should be like, likewise.
        photos: Of more than `MOST_PHOTOS`, so many are chosen.
        size: Side in pixels of their centre squares.
        seed: Of that choice.
        progress: Receives an update for each photograph.

    Raises:
        OptionError: a size that can't be, or files that have no layers in common.
        PhotosError: there are no photographs.
        ArtifactError: there is no such ONNX file.
        UnusableModelError: the reference's values are not finite.
        GraphLimitError: a file of others goes over a limit when it is tried.
        BundleError: and its kinds, if the bundle or a file can't be opened.
    """
    _refuse_bad_options(size, photos)
    progress = progress or Silent()
    bundle = open_bundle(model)
    sessions = [_session(bundle, name) for name in (reference, candidate)]
    compared = chosen(photos, seed)
    with _readable(sessions):
        exact, other = (onnx.load(session.path) for session in sessions)
        matches = match_layers(exact, other)
        _refuse_two_networks(matches, sessions)
        squares = list(compared.squares(size))
        progress.begin("compare layers", len(squares), 0)
        feeds = [(sessions[0].prepare(own), sessions[1].prepare(own)) for own in squares]
        noise = measure_noise(exact, other, matches.found, feeds, progress)
    if not noise.layers:
        raise _nothing_in_common(sessions)
    pictures = [_Pictures(own, *(session.run(own) for session in sessions)) for own in squares]
    return FileComparison(
        model=shown_name(model),
        candidate=sessions[1].path.name,
        reference=sessions[0].path.name,
        size=size,
        seed=seed,
        layers=noise.layers,
        photos=tuple(map(_photo_noise, compared, pictures)),
        unmatched=tuple(_in_words(matches, noise, sessions)),
        pictures=tuple(pictures),
        maps=noise.maps,
    )


def _refuse_bad_options(size: int, photos: PhotoSet) -> None:
    if not (64 <= size <= LARGEST_SIZE and size % 8 == 0):
        raise OptionError(
            f"size is {size}: expected a multiple of 8 from 64 to {LARGEST_SIZE} with --compare."
        )
    if len(photos) == 0:
        raise PhotosError("no photographs to compare on: name a folder of them with --photos.")


def chosen(photos: PhotoSet, seed: int) -> PhotoSet:
    """At most `MOST_PHOTOS` of some photographs, in their order."""
    if len(photos) <= MOST_PHOTOS:
        return photos
    places = np.random.default_rng(seed).choice(len(photos), MOST_PHOTOS, replace=False)
    return photos.only(photos.paths[place] for place in sorted(places))


def _session(bundle: Bundle, name: str) -> OnnxSession:
    """An artifact of a bundle, or a file of its own, which is tried under limits first."""
    path = Path(name)
    if path.suffix == ".onnx" and path.is_file():
        trial.ensure_tried(path)
        return OnnxSession(path, path.name, _THREADS)
    artifact = artifact_name(name)
    if not artifact.endswith("onnx"):
        raise ArtifactError(
            f"{name} can't be taken apart: give an ONNX file, such as int8 or float, or the path "
            "of one."
        )
    return OnnxSession(made_artifact(bundle, artifact), artifact, _THREADS)


@contextlib.contextmanager
def _readable(sessions: Sequence[OnnxSession]) -> Iterator[None]:
    """Turn what onnx and ONNX Runtime raise into one line."""
    try:
        yield
    except THIRD_PARTY_ERRORS as error:
        names = " or ".join(str(session.path) for session in sessions)
        raise CorruptBundleError(
            f"{names} can't be taken apart: {first_line(error).rstrip('.')} "
            f"({type(error).__name__}). Make it again."
        ) from error


def _refuse_two_networks(matches: Matches, sessions: Sequence[OnnxSession]) -> None:
    if not matches.found:
        raise _nothing_in_common(sessions)
    layers = [match for match in matches.found if not match.layer.startswith("input of ")]
    if 2 * matches.differing > len(layers):
        reference, candidate = (session.path.name for session in sessions)
        raise OptionError(
            f"{candidate} has other weights than {reference}, by more than rounding makes, in "
            f"{matches.differing} of {len(layers)} layers: expected two files of one network. "
            "Quantizing with --per-tensor, or a network with normalisation, rescales layers; "
            "compare those by nstc bench."
        )


def _nothing_in_common(sessions: Sequence[OnnxSession]) -> OptionError:
    reference, candidate = (session.path for session in sessions)
    return OptionError(
        f"{candidate} and {reference} have no layer in common: layers are matched by the names of "
        "their weights. Give two files of one network, made by nstc in float, int8, fp16 or "
        "weights."
    )


def _in_words(matches: Matches, noise: Noise, sessions: Sequence[OnnxSession]) -> Iterator[str]:
    alone = (matches.reference_alone, matches.candidate_alone)
    for names, session in zip(alone, sessions, strict=True):
        for name in names:
            yield f"{short_name(name)}, in {session.path.name} alone"
    for name in noise.other_forms:
        yield f"{short_name(name)}, stored otherwise"


def _photo_noise(path: Path, pictures: _Pictures) -> PhotoNoise:
    found = arrays.Difference.between(pictures.reference, pictures.candidate)
    apart = pictures.difference
    rows, columns = (side // _BLOCK for side in apart.shape)
    blocks = apart[: rows * _BLOCK, : columns * _BLOCK]
    means = blocks.reshape(rows, _BLOCK, columns, _BLOCK).mean(axis=(1, 3))
    row, column = np.unravel_index(int(means.argmax()), means.shape)
    return PhotoNoise(
        name=path.name,
        psnr_db=min(found.psnr_db, _MOST_DB),
        largest=int(apart.max()),
        mean=float(apart.mean()),
        row=int(row) * _BLOCK + _BLOCK // 2,
        column=int(column) * _BLOCK + _BLOCK // 2,
    )


def refuse_unknown_ending(path: Path) -> None:
    """Raise `OptionError` before the work if a heat map can't be written to such a file."""
    if path.suffix.lower() != ".png":
        raise OptionError(f"{path} ends in {path.suffix or 'nothing'}: use .png with --compare.")


def write_heat_map(found: FileComparison, path: Path) -> None:
    """Write a PNG: a row for each of the worst photographs, and where its pictures differ.

    Columns are the photograph, both files' pictures, their difference by place, and what the worst
    layer adds by place. Black is none and white the largest finite difference of the column, which
    its label says, or a value that is not finite. OutputError if the path can't be written.
    """
    refuse_unknown_ending(path)
    worst = found.worst_first[0].layer
    order = sorted(range(len(found.photos)), key=lambda place: found.photos[place].psnr_db)
    drawn = order[:MOST_DRAWN]
    apart = [found.pictures[place].difference for place in drawn]
    added = [found.maps[worst][place] for place in drawn]
    most = [max(map(_largest_finite, column)) for column in (apart, added)]
    rows = [
        [
            *found.pictures[place],
            heat(apart[number], most[0]),
            images.resize(heat(added[number], most[1]), found.size, found.size),
        ]
        for number, place in enumerate(drawn)
    ]
    labels = [
        "photograph",
        found.reference,
        found.candidate,
        f"difference, white: {most[0]:.0f} levels",
        f"{short_name(worst)} adds, white: {most[1]:.3g}",
    ]
    sheet = contact_sheet(rows, labels)
    images.write_picture(path, images.Picture(rgb=sheet))


def _largest_finite(values: npt.NDArray[np.float32]) -> float:
    return float(np.where(np.isfinite(values), values, 0).max())


def heat(values: npt.NDArray[np.float32], most: float) -> images.Pixels:
    """(H, W) of 0 to `most` as (H, W, 3) from black over red and yellow to white.

    What is not finite is white.
    """
    finite = np.isfinite(values)
    share = np.where(finite, values, 0) / (most if most > 0 else 1)
    share[~finite] = 1
    ramps = np.stack([3 * share, 3 * share - 1, 3 * share - 2], axis=-1)
    return np.asarray((ramps.clip(0, 1) * 255).round().astype(np.uint8))
