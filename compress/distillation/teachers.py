"""Anything that can teach, and the style its students aim at.

A teacher is a bundle, a checkpoint, or a TorchScript or ONNX file made by others; it may have come
without a painting.
"""

import dataclasses
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from torch import nn

from nstc.compress.export.checking import eager_reference, refuse_unusable_network
from nstc.compress.graphs.foreign_graphs import probe_usable
from nstc.compress.importing.import_model import network_of_checkpoint
from nstc.compress.learning.processes import best_device
from nstc.core.bundle import Bundle, is_bundle, open_bundle
from nstc.core.errors import OptionError, TeacherError
from nstc.core.files import atomic_file, locked
from nstc.core.files.cache import cached
from nstc.core.graph_form import GraphForm
from nstc.core.images import Pixels
from nstc.core.manifest import Origin, Style
from nstc.core.photos import sample_photos
from nstc.core.progress import Progress
from nstc.core.zoo import did_you_mean, named
from nstc.models.architectures import describe, load_as_deployed
from nstc.models.style import (
    STYLE_SIZES,
    StyleSource,
    StyleStatistics,
    load_style,
    painting_style,
    statistics_of_outputs,
    style_of,
)
from nstc.models.tensors import save_tensors
from nstc.models.vgg import load_vgg, vgg_identity
from nstc.runtime.check_vectors import refuse_without_picture
from nstc.runtime.foreign.networks import ForeignSession, is_torchscript
from nstc.runtime.model_files import model_sha256


@dataclass(frozen=True, kw_only=True)
class TeacherOptions(GraphForm):
    """What can't always be found by looking at a file made by others: how it is fed, and trust.

    Raises:
        OptionError: a value is out of range, also where the teacher turns out not to be foreign.
    """

    trust: bool = False  # whether TorchScript, which is a program, may be loaded
    # The path in a checkpoint that leads to the weights, where several parts of it fit.
    key: str | None = None

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        try:
            super().__post_init__()
        except ValueError as error:
            raise OptionError(f"{error}.") from error


@dataclass(frozen=True, kw_only=True)
class Teacher:
    """An opened teacher."""

    origin: Origin  # what its students' manifests say of it
    stylize: Callable[[Pixels], Pixels]  # (H, W, 3) uint8 to the same
    statistics: StyleStatistics | None = None  # its style, if it brought one
    style: Style | None = None  # what its manifest says of the style
    # What was found out about a foreign file, or taken of a checkpoint, in one line.
    note: str | None = None
    # The path in a checkpoint that led to its weights, if it was not the file itself.
    part: str | None = None

    @property
    def key(self) -> str:
        """What its pictures depend on: its weights, and how a foreign file is fed or read."""
        form = self.origin.form
        if form is None and self.part is None:
            return self.origin.sha256
        read = self.part if form is None else form.to_json()
        return hashlib.sha256(f"{self.origin.sha256}|{read}".encode()).hexdigest()


def open_teacher(
    model: str | Path | Bundle | Teacher,
    options: TeacherOptions | None = None,
    *,
    student: Bundle | None = None,
) -> Teacher:
    """Open a teacher of any kind.

    Args:
        model: The teacher. One that was opened before stays what it is.
        options: For files made by others.
        student: If it learned from this very file, the file is fed as then in all that the options
            leave open.

    Raises:
        TeacherError: there is nothing at that place, or no image-to-image network.
        BundleError: it is a damaged bundle.
        CheckpointError: it is a checkpoint of another architecture.
        UnusableModelError: its weights or pictures are not finite, or it gives one colour.
        UnsafeFileError: it is TorchScript and was not trusted.
    """
    if isinstance(model, Teacher):
        return model
    options = options or TeacherOptions()
    place = model.path if isinstance(model, Bundle) else model
    if options.key is not None and not is_checkpoint(place):
        raise OptionError(
            f"key is {options.key}, and {named(Path(place))} is not a checkpoint: leave it out."
        )
    if is_bundle(place) or str(place).startswith("zoo:"):
        bundle = model if isinstance(model, Bundle) else open_bundle(place)
        network = load_as_deployed(bundle)
        refuse_unusable_network(network, bundle.path)
        return Teacher(
            origin=bundle.origin(),
            stylize=_by_network(network),
            statistics=style_of(bundle),
            style=bundle.manifest.style,
        )
    path = Path(place)
    if not path.is_file():
        raise TeacherError(
            f"no teacher at {place}: --teacher takes a bundle, a zoo name, or an ONNX, "
            f"TorchScript or checkpoint file.{did_you_mean(place)}"
        )
    if not is_checkpoint(path):
        return _foreign_teacher(path, options, student)
    read = network_of_checkpoint(path, options.key)
    return Teacher(
        origin=_origin(path),
        stylize=_by_network(read.network),
        note=read.note,
        part=read.key or None,
    )


def is_checkpoint(model: str | Path) -> bool:
    """Whether a model is a file of weights, and neither a bundle, ONNX nor TorchScript."""
    if is_bundle(model) or str(model).startswith("zoo:") or Path(model).suffix.lower() == ".onnx":
        return False
    return not is_torchscript(Path(model))


def _foreign_teacher(path: Path, options: TeacherOptions, student: Bundle | None) -> Teacher:
    origin = _origin(path)
    remembered = None if student is None else student.manifest.teacher
    form: GraphForm = options
    if remembered is not None and remembered.sha256 == origin.sha256:
        form = options.completed_by(remembered.form)
    contract = probe_usable(path, form, trust=options.trust)
    session = ForeignSession(path, contract, trust=options.trust)
    refuse_without_picture(session.run, path, contract.fixed_size)
    origin = dataclasses.replace(origin, form=contract.form)
    return Teacher(origin=origin, stylize=session.run, note=contract.describe())


def _origin(path: Path) -> Origin:
    return Origin(name=path.stem, sha256=model_sha256(path), path=str(path.resolve()))


def _by_network(network: nn.Module) -> Callable[[Pixels], Pixels]:
    _, contract = describe(network)
    return eager_reference(network.to(best_device()), contract)


_PHOTOS: Final = 6
"""Sample photographs whose pictures stand for the style of a network without a painting."""


def style_of_teacher(
    teacher: Teacher, painting: Path | None, *, credit: str | None, vgg: str, progress: Progress
) -> StyleSource:
    """The style to aim at: a painting if one is given, else the teacher's own.

    A teacher that came without a painting has the mean Gram of its own pictures of a few sample
    photographs, which is worked out once and kept in the cache.

    Raises:
        ImageError: the painting can't be read.
        OutputError: the cache can't be written.
    """
    if painting is not None:
        return painting_style(painting, credit=credit, vgg=vgg)
    if teacher.statistics is not None and teacher.style is not None:
        return StyleSource(teacher.style, teacher.statistics)
    record = Style(name=teacher.origin.name, source="outputs")
    file = cached("teacher-styles", f"{teacher.key[:24]}-{vgg_identity(vgg)[:12]}.safetensors")
    with locked(file):
        if not file.is_file():
            statistics = _style_of_outputs(teacher, vgg, progress)
            with atomic_file(file) as draft:
                save_tensors(statistics.packed(), draft)
    return StyleSource(record, load_style(file))


def _style_of_outputs(teacher: Teacher, vgg: str, progress: Progress) -> StyleStatistics:
    photos = sample_photos().take(_PHOTOS)
    progress.begin("style of the teacher's pictures", _PHOTOS * len(STYLE_SIZES), 0)

    def pictures(size: int, done: int) -> Iterator[Pixels]:
        for number, square in enumerate(photos.squares(size), start=1):
            yield teacher.stylize(square)
            progress.advance(done + number, {})

    return statistics_of_outputs(
        {size: pictures(size, i * _PHOTOS) for i, size in enumerate(STYLE_SIZES)}, load_vgg(vgg)
    )
