"""Teachers: bundles, checkpoints, TorchScript and ONNX files; and the style that they teach."""

import dataclasses
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from torch import nn

from nstc.compress.export.checking import eager_reference, refuse_unusable_network
from nstc.compress.graphs.float_graphs import probe_usable
from nstc.compress.importing.import_model import network_of_checkpoint
from nstc.core import Progress, errors, manifest, photos, zoo
from nstc.core.bundle import Bundle, is_bundle, open_bundle
from nstc.core.files import atomic_file, cached, locked
from nstc.core.graph_form import GraphForm
from nstc.core.images import Pixels
from nstc.core.model_names import local_path, name_of
from nstc.models import architectures, tensors
from nstc.models import style as styles
from nstc.models.style import STYLE_SIZES
from nstc.models.vgg import load_vgg, vgg_identity
from nstc.runtime.arrays import refuse_without_picture
from nstc.runtime.foreign.networks import ForeignSession, is_torchscript
from nstc.runtime.model_files import model_sha256


@dataclasses.dataclass(frozen=True, kw_only=True)
class TeacherOptions(GraphForm):
    """How a file made by others is fed, where the file does not say, and whether it is trusted."""

    trust: bool = False  # whether TorchScript, which is a program, may be loaded
    key: str | None = None  # path in a checkpoint to the weights, where several parts of it fit

    def __post_init__(self) -> None:
        """Raise `OptionError` for a value out of range, whatever the teacher turns out to be."""
        try:
            super().__post_init__()
        except ValueError as error:
            raise errors.OptionError(f"{error}.") from error


@dataclasses.dataclass(frozen=True, kw_only=True)
class Teacher:
    """An opened teacher."""

    origin: manifest.Origin  # what its students' manifests say of it
    stylize: Callable[[Pixels], Pixels]  # (H, W, 3) uint8 to the same
    style: styles.StyleSource | None = None  # its style, if it brought one
    note: str | None = None  # what was found in a foreign file or checkpoint, in one line
    part: str | None = None  # path in a checkpoint to its weights, unless it is the file itself

    @property
    def key(self) -> str:
        """A hash of what its pictures depend on: its weights, and how a file is fed or read."""
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
    """Open a teacher of any kind; an opened one is returned as it is.

    The options are for files made by others. What they leave open is taken from the manifest of the
    student, if it was distilled from this very file.

    Raises:
        OptionError: the options name a key, and the teacher is not a checkpoint; or inputs, and it
            is not an ONNX file, or takes others.
        ImageError: the picture of an input can't be read.
        TeacherError: there is no file, or not an image-to-image network.
        BundleError: it is a damaged bundle.
        CheckpointError: it is a checkpoint of another architecture.
        UnusableModelError: its weights or pictures are not finite, or it gives one colour.
        UnsafeFileError: it is TorchScript and was not trusted.
    """
    if isinstance(model, Teacher):
        return model
    options = options or TeacherOptions()
    named = model.path if isinstance(model, Bundle) else local_path(model)
    if options.key is not None and not is_checkpoint(named):
        raise errors.OptionError(
            f"key is {options.key}, and {zoo.named(named)} is not a checkpoint: leave it out."
        )
    if is_bundle(named):
        _refuse_inputs(options, named)
        bundle = model if isinstance(model, Bundle) else open_bundle(named)
        network = architectures.load_as_deployed(bundle)
        refuse_unusable_network(network, bundle.path)
        return Teacher(
            origin=bundle.origin(),
            stylize=_by_network(network),
            style=styles.style_brought_by(bundle),
        )
    if not named.is_file():
        raise errors.TeacherError(
            f"no teacher at {named}: --teacher takes a bundle, a zoo name, or an ONNX, "
            f"TorchScript or checkpoint file.{zoo.did_you_mean(named)}"
        )
    if not is_checkpoint(named):
        return _foreign_teacher(named, options, student)
    _refuse_inputs(options, named)
    network, part = network_of_checkpoint(named, options.key)  # refuses a large file before a hash
    return Teacher(
        origin=_origin(named),
        stylize=_by_network(network),
        note=part.note,
        part=part.key or None,
    )


def _refuse_inputs(options: TeacherOptions, model: str | Path) -> None:
    if options.inputs:
        raise errors.OptionError(
            f"input is {options.inputs[0]}, and {zoo.named(Path(model))} is not an ONNX file made "
            "by others: leave it out."
        )


def is_checkpoint(model: str | Path) -> bool:
    """Whether a model is a file of weights, and neither a bundle, ONNX nor TorchScript."""
    path = local_path(model)
    return not (is_bundle(path) or path.suffix.lower() == ".onnx" or is_torchscript(path))


def _origin(path: Path) -> manifest.Origin:
    known = name_of(path)
    place = None if known else str(path.resolve())
    return manifest.Origin(name=path.stem, sha256=model_sha256(path), zoo=known, path=place)


def _foreign_teacher(path: Path, options: TeacherOptions, student: Bundle | None) -> Teacher:
    origin = _origin(path)
    recorded = None if student is None else student.manifest.teacher
    form: GraphForm = options
    if recorded is not None and recorded.sha256 == origin.sha256:
        form = options.completed_by(recorded.form)
    contract = probe_usable(path, form, trust=options.trust)
    session = ForeignSession(path, contract, trust=options.trust)
    refuse_without_picture(session.run, path, contract.fixed_size)
    origin = dataclasses.replace(origin, form=contract.form)
    return Teacher(origin=origin, stylize=session.run, note=contract.describe())


def _by_network(network: nn.Module) -> Callable[[Pixels], Pixels]:
    _, contract = architectures.describe(network)
    return eager_reference(network.to(tensors.best_device()), contract)


_PHOTOS: Final = 6  # samples that the style of a network without a painting is taken from


def style_of_teacher(
    teacher: Teacher, painting: Path | None, *, credit: str | None, vgg: str, progress: Progress
) -> styles.StyleSource:
    """The style to aim at: a painting if one is given, else the teacher's own.

    For a teacher that came without a painting it is the mean Gram matrices of its pictures of six
    sample photographs, computed once and kept in the cache. `ImageError` if the painting can't be
    read, `OutputError` if the cache can't be written.
    """
    if painting is not None:
        return styles.painting_style(painting, credit=credit, vgg=vgg)
    if teacher.style is not None:
        return teacher.style
    record = manifest.Style(name=teacher.origin.name, source="outputs")
    file = cached("teacher-styles", f"{teacher.key[:24]}-{vgg_identity(vgg)[:12]}.safetensors")
    with locked(file):
        if not file.is_file():
            progress.begin("style of the teacher's pictures", _PHOTOS * len(STYLE_SIZES), 0)
            outputs = {
                size: _pictures(teacher, size, number * _PHOTOS, progress)
                for number, size in enumerate(STYLE_SIZES)
            }
            statistics = styles.statistics_of_outputs(outputs, load_vgg(vgg))
            with atomic_file(file) as draft:
                tensors.save_tensors(statistics.packed(), draft)
    return styles.StyleSource(record, styles.load_style(file))


def _pictures(teacher: Teacher, size: int, done: int, progress: Progress) -> Iterator[Pixels]:
    squares = photos.sample_photos().take(_PHOTOS).squares(size)
    for number, square in enumerate(squares, start=1):
        yield teacher.stylize(square)
        progress.advance(done + number, {})
