"""Anything that can teach: a bundle, a checkpoint, a TorchScript or ONNX file made by others."""

import dataclasses
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from nstc.compress.checking import eager_reference, refuse_unusable_network
from nstc.compress.graph_values import probe_usable
from nstc.compress.importing import network_of_checkpoint
from nstc.compress.processes import best_device
from nstc.core.bundle import Bundle, is_bundle, open_bundle
from nstc.core.errors import OptionError, TeacherError
from nstc.core.graph_form import GraphForm
from nstc.core.images import Pixels
from nstc.core.manifest import Origin, Style
from nstc.core.zoo import did_you_mean
from nstc.models.architectures import describe, style_of
from nstc.models.saturation import load_as_deployed
from nstc.models.style import StyleStatistics
from nstc.runtime.check_vectors import refuse_without_picture
from nstc.runtime.foreign import ForeignSession
from nstc.runtime.foreign_graph import is_torchscript
from nstc.runtime.model_files import model_sha256


@dataclass(frozen=True, kw_only=True)
class TeacherOptions(GraphForm):
    """What can't always be found by looking at a file made by others: how it is fed, and trust.

    Attributes:
        trust: Whether TorchScript, which is a program, may be loaded.
        key: The path in a checkpoint that leads to the weights, where several parts of it fit.

    Raises:
        OptionError: a value is out of range, also where the teacher turns out not to be foreign.
    """

    trust: bool = False
    key: str | None = None

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        try:
            super().__post_init__()
        except ValueError as error:
            raise OptionError(f"{error}.") from error


@dataclass(frozen=True, kw_only=True)
class Teacher:
    """An opened teacher.

    Attributes:
        origin: What its students' manifests say of it.
        stylize: (H, W, 3) uint8 to the same.
        statistics: Its style, if it brought one.
        style: What its manifest says of the style.
        note: What was found out about a foreign file, or taken of a checkpoint, in one line.
        network: Itself, unless it is a foreign file.
        part: The path in a checkpoint that led to its weights, if it was not the file itself.
    """

    origin: Origin
    stylize: Callable[[Pixels], Pixels]
    statistics: StyleStatistics | None = None
    style: Style | None = None
    note: str | None = None
    network: nn.Module | None = None
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
    model: str | Path,
    options: TeacherOptions | None = None,
    *,
    student: Bundle | None = None,
) -> Teacher:
    """Open a teacher of any kind.

    Args:
        model: The teacher.
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
    options = options or TeacherOptions()
    if options.key is not None and not is_checkpoint(model):
        raise OptionError(f"key is {options.key}, and {model} is not a checkpoint: leave it out.")
    if is_bundle(model) or str(model).startswith("zoo:"):
        bundle = open_bundle(model)
        network = load_as_deployed(bundle)
        refuse_unusable_network(network, bundle.path)
        return Teacher(
            origin=bundle.origin(),
            network=network,
            stylize=_by_network(network),
            statistics=style_of(bundle),
            style=bundle.manifest.style,
        )
    path = Path(model)
    if not path.is_file():
        raise TeacherError(
            f"no teacher at {model}: --teacher takes a bundle, a zoo name, or an ONNX, "
            f"TorchScript or checkpoint file.{did_you_mean(model)}"
        )
    if not is_checkpoint(path):
        return _foreign_teacher(path, options, student)
    read = network_of_checkpoint(path, options.key)
    return Teacher(
        origin=_origin(path),
        network=read.network,
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
