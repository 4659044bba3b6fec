"""Small networks with random weights that paint something like a picture, and their bundles."""

import shutil
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from nstc.compress.distillation.crops import Squares
from nstc.compress.distillation.distill_model import distill
from nstc.compress.distillation.teacher_outputs import TeacherOutputs
from nstc.compress.export.checking import sample_picture
from nstc.compress.pruning.channels import least_scored, remove_channels
from nstc.compress.pruning.plan import make_plan
from nstc.compress.pruning.probe import PruningProbe
from nstc.compress.quantization.quantize_model import quantize
from nstc.compress.quantization.summary import QuantizationReport
from nstc.core import Silent
from nstc.core.bundle import STYLE_FILE, WEIGHTS_FILE, Bundle, new_bundle, open_bundle
from nstc.core.images import Picture, Pixels, write_picture
from nstc.core.manifest import Manifest, Style
from nstc.core.photos import PhotoSet, photos_in
from nstc.core.recipe import DistillRecipe, PruneRecipe, QuantizeRecipe, override
from nstc.models.architectures import describe
from nstc.models.student import Student
from nstc.models.style import StyleStatistics
from nstc.models.tensors import save_tensors
from nstc.models.transformer import TransformerNet
from nstc.models.vgg import VggFeatures, load_vgg

MakeStyledBundle = Callable[..., Bundle]

SMALL = QuantizeRecipe(calibration_photos=2, calibration_size=96)


def bundle_of(network: nn.Module, path: Path) -> Bundle:
    architecture, contract = describe(network)
    manifest = Manifest(name="tiny", stage="trained", architecture=architecture, contract=contract)
    with new_bundle(path, manifest) as draft:
        save_tensors(network.state_dict(), draft / WEIGHTS_FILE)
    return open_bundle(path)


def tiny_student() -> Student:
    torch.manual_seed(1)
    network = Student(16, [16])
    nn.init.normal_(network.head.weight, std=0.05)
    return network.eval()


def tiny_teacher() -> TransformerNet:
    torch.manual_seed(1)
    network = TransformerNet((8, 8, 16), (8,), (8, 8))
    network.prepare_for_training()
    return network.eval()


@pytest.fixture(scope="session")
def crops_by() -> Callable[..., TeacherOutputs]:
    """Crops of photographs with the pictures that a teacher, a function, makes of them."""

    def make(
        teacher: Callable[[Pixels], Pixels], photos: PhotoSet, size: int = 64
    ) -> TeacherOutputs:
        cut = Squares(size=size, jitter=0, seed=0)
        pairs = TeacherOutputs(teacher, teacher.__name__.ljust(24), photos, cut=cut)
        for index in pairs.missing():
            pairs.make(index)
        return pairs

    return make


@pytest.fixture(scope="session")
def make_network_bundle() -> Callable[[nn.Module, Path], Bundle]:
    """Writes the bundle of a network, weights alone."""
    return bundle_of


@pytest.fixture(scope="session")
def student() -> Student:
    return tiny_student()


@pytest.fixture(scope="session")
def teacher() -> TransformerNet:
    return tiny_teacher()


@pytest.fixture
def student_bundle(student: Student, tmp_path: Path) -> Bundle:
    return bundle_of(student, tmp_path / "student")


@pytest.fixture
def teacher_bundle(teacher: TransformerNet, tmp_path: Path) -> Bundle:
    return bundle_of(teacher, tmp_path / "teacher")


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> PhotoSet:
    """Two photographs in a folder named holiday."""
    folder = tmp_path_factory.mktemp("photos") / "holiday"
    for number, size in enumerate([(120, 100), (96, 140)]):
        write_picture(folder / f"{number}.png", Picture(rgb=sample_picture(*size)))
    return photos_in([folder])


@pytest.fixture(scope="session")
def quantized(
    student: Student, photos: PhotoSet, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Bundle, Bundle, QuantizationReport]:
    """A student's bundle, the static quantization of it, and its report. Not to be changed."""
    folder = tmp_path_factory.mktemp("quantized")
    bundle = bundle_of(student, folder / "student")
    made, report = quantize(bundle, folder / "int8", photos=photos, recipe=SMALL)
    return bundle, made, report


class Recorder:
    """A `Progress` that remembers what it was told, and presses Ctrl-C where it is asked to."""

    def __init__(self, ctrl_c_at: tuple[str, int] | None = None, presses: int = 1) -> None:
        self.begun: list[tuple[str, int, int]] = []
        self.steps: list[tuple[str, int]] = []
        self.losses: list[Mapping[str, float]] = []
        self.notes: list[str] = []
        self._ctrl_c_at = ctrl_c_at
        self._presses = presses

    def begin(self, title: str, steps: int, done: int) -> None:
        self.begun.append((title, steps, done))

    def advance(self, step: int, losses: Mapping[str, float]) -> None:
        title = self.begun[-1][0]
        self.steps.append((title, step))
        self.losses.append(losses)
        if (title, step) == self._ctrl_c_at:
            for _ in range(self._presses):
                signal.raise_signal(signal.SIGINT)

    def note(self, message: str) -> None:
        self.notes.append(message)


@pytest.fixture(scope="session")
def recorder() -> type[Recorder]:
    return Recorder


@pytest.fixture(scope="session")
def painting(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A painting so narrow that its statistics take no time."""
    path = tmp_path_factory.mktemp("painting") / "stripes.png"
    write_picture(path, Picture(rgb=sample_picture(16, 256)))
    return path


@pytest.fixture(scope="session")
def style_statistics() -> StyleStatistics:
    """Gram matrices of noise, by the layers that losses look at."""
    channels = {"relu1_2": 64, "relu2_2": 128, "relu3_3": 256, "relu4_3": 512}
    generator = torch.Generator().manual_seed(4)
    noise = {name: torch.randn(c, 20, generator=generator) for name, c in channels.items()}
    return StyleStatistics({512: {name: x @ x.T / x.numel() for name, x in noise.items()}})


@pytest.fixture(scope="session")
def make_styled_bundle(style_statistics: StyleStatistics) -> MakeStyledBundle:
    """Makes a bundle that brings a painting's statistics, of a network and what else is given."""

    def make(network: nn.Module, path: Path, **fields: Any) -> Bundle:
        architecture, contract = describe(network)
        manifest = Manifest(
            name=fields.pop("name", path.name),
            stage=fields.pop("stage", "trained"),
            architecture=architecture,
            contract=contract,
            style=Style(name=fields.pop("of", "noise"), source="painting", credit="Nobody"),
            **fields,
        )
        with new_bundle(path, manifest) as draft:
            save_tensors(network.state_dict(), draft / WEIGHTS_FILE)
            save_tensors(style_statistics.packed(), draft / STYLE_FILE)
        return open_bundle(path)

    return make


@pytest.fixture
def styled_teacher(
    teacher: TransformerNet, make_styled_bundle: MakeStyledBundle, tmp_path: Path
) -> Bundle:
    """A full-size network's bundle that brings its style."""
    return make_styled_bundle(teacher, tmp_path / "styled-teacher")


@pytest.fixture(scope="session")
def vgg() -> VggFeatures:
    """The shipped feature network."""
    return load_vgg()


@pytest.fixture
def copy_of_quantized(
    quantized: tuple[Bundle, Bundle, QuantizationReport], tmp_path: Path
) -> Callable[[], Bundle]:
    """Makes a copy that a test may change."""

    def copy() -> Bundle:
        return open_bundle(shutil.copytree(quantized[1].path, tmp_path / "copy"))

    return copy


@pytest.fixture(scope="session")
def slim_down() -> Callable[[nn.Module, PruneRecipe], None]:
    """Removes from a network what a recipe asks for, in place, without fine-tuning."""

    def slim(network: nn.Module, recipe: PruneRecipe) -> None:
        probe: Any = PruningProbe(
            network=network,
            importance=recipe.importance,
            photos=PhotoSet((), ()),  # weights alone decide
            source=None,
            vgg=None,
            objective=None,
            seed=0,
            progress=Silent(),
        )
        plan = make_plan(network, recipe, probe)
        remove_channels(network, least_scored(probe.scores(network), plan.widths))

    return slim


@pytest.fixture(scope="module")
def painter(
    teacher: TransformerNet,
    make_styled_bundle: Callable[..., Bundle],
    tmp_path_factory: pytest.TempPathFactory,
) -> Bundle:
    """The teacher. Not to be changed."""
    return make_styled_bundle(teacher, tmp_path_factory.mktemp("painter") / "painter")


@pytest.fixture(scope="module")
def distill_by(
    painter: Bundle, photos: PhotoSet
) -> Callable[[DistillRecipe], Callable[..., Bundle]]:
    """From a recipe to what distills by it, with other settings and arguments where given."""

    def by(recipe: DistillRecipe) -> Callable[..., Bundle]:
        def run(output: Path, **given: Any) -> Bundle:
            fields = DistillRecipe.__dataclass_fields__
            settings = {name: given.pop(name) for name in tuple(given) if name in fields}
            arguments = {"teacher": painter.path, "photos": photos, **given}
            return distill(output=output, recipe=override(recipe, **settings), **arguments)

        return run

    return by
