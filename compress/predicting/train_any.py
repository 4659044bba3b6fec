"""A student of any painting: a trunk and the predictor of its numbers, trained together."""

import dataclasses
import functools
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from nstc.compress.distillation.compared_losses import PaintingLosses
from nstc.compress.distillation.distill_model import DistillationRun, LossBalance, student_of
from nstc.compress.distillation.shared_weights import refuse_unshareable
from nstc.compress.distillation.watching import Watch, unwatched
from nstc.compress.learning import logs, loop
from nstc.compress.learning.time_plan import TimePlan
from nstc.compress.predicting.painting_squares import (
    PaintingSquares,
    painting_as_read,
    refuse_too_few,
)
from nstc.compress.predicting.styled_trunk import PaintingNetwork
from nstc.compress.predicting.write_any import write_any
from nstc.compress.quantization.aware_training import require_qat_student
from nstc.core import Progress, Silent
from nstc.core.bundle import Bundle, open_bundle
from nstc.core.files import one_at_a_time
from nstc.core.images import Picture, Pixels, centre_square, write_picture
from nstc.core.images.picture import contact_sheet
from nstc.core.photos import PhotoSet, sample_photos
from nstc.core.recipe import AnyRecipe
from nstc.models.losses import STYLE_LAYERS, gram_matrix
from nstc.models.student import StudentNetwork
from nstc.models.style import painting_style
from nstc.models.tensors import best_device, images_to_tensor
from nstc.models.vgg import VggFeatures, load_vgg

DEFAULT_START: Final = "zoo:starry-night/fast"
_PAINTINGS: Final = 14  # the stream of random numbers that paintings are drawn by
_SHOWN: Final = 4  # paintings and photographs of a preview
_SHOWN_SIZE: Final = 256
_CALIBRATED: Final = 12  # paintings whose activations set the ranges of all
_EXPECTED: Final = "a trunk with a predictor is expected"


@one_at_a_time("output")
def train_any(
    output: str | Path,
    *,
    paintings: PhotoSet,
    photos: PhotoSet,
    recipe: AnyRecipe | None = None,
    name: str | None = None,
    init: str | Path | Bundle = DEFAULT_START,
    vgg: str = "shipped",
    preview_every: int | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> Bundle:
    """Train a student of any painting, and give its bundle, which runs in the first one's style.

    Args:
        output: The bundle to write; checkpoints go to `OUTPUT.training` beside it.
        paintings: Paintings and textures to learn from: two at least, better hundreds.
        photos: What is stylised to learn.
        recipe: Settings.
        name: Of the model; the output's name by default.
        init: A student's bundle that the trunk starts from, and has the shape of.
        vgg: See `nstc.models.vgg.load_vgg`.
        preview_every: Steps between previews, which go to `OUTPUT.training/previews`.
        resume: Continue from the checkpoint of a run with the same settings.
        progress: Receives progress updates.

    Raises:
        OptionError: there are not two paintings, or one has no style; `init` is not a student that
            can be integer from end to end; the time is too short for a step.
        NstcError: bad input, an interrupted or a diverged run.
    """
    started, recipe, progress = time.monotonic(), recipe or AnyRecipe(), progress or Silent()
    output, folder = Path(output), loop.training_folder(Path(output))
    logs.refuse_preview_interval(preview_every)
    refuse_too_few(paintings.paths)
    squares = PaintingSquares(paintings, recipe.size)  # which refuses those that have no style
    start = open_bundle(init) if isinstance(init, str | Path) else init
    trunk = require_qat_student(student_of(start, recipe.distillation, progress))
    refuse_unshareable(trunk, start)
    features = load_vgg(vgg)
    identity = {"vgg": vgg, "init": start.identity, "time": recipe.time}
    watch: Watch = unwatched
    if preview_every is not None:
        watch = previewed(folder / "previews", preview_every, paintings)
    run = AnyRun(
        teacher=None,
        source=painting_style(paintings.paths[0], credit=None, vgg=features),
        photos=photos,
        recipe=recipe.distillation,
        features=features.to(best_device()),
        folder=folder,
        resume=resume,
        progress=progress,
        settings={**identity, "paintings": paintings.list_sha256()},
        squares=squares,
        time=_time_plan(recipe, folder, resume=resume, started=started),
        watch=watch,
    )
    return _carried_out(run, trunk, paintings, start, output, recipe, name or output.name)


def _carried_out(
    run: "AnyRun",
    trunk: StudentNetwork,
    paintings: PhotoSet,
    start: Bundle,
    output: Path,
    recipe: AnyRecipe,
    name: str,
) -> Bundle:
    """Learn, write the bundle, and only then delete the checkpoint."""
    if not run.resume:
        run.forget_checkpoints()
    torch.manual_seed(recipe.seed)  # of the predictor's first weights
    network = PaintingNetwork(trunk)
    run.perceptual_stage(network, steps=recipe.steps, rate=recipe.learning_rate)
    shown = [painting_as_read(path) for path in paintings.take(_CALIBRATED)]
    made = write_any(
        run,
        network,
        [images_to_tensor([painting]) for painting in shown],
        start,
        output,
        name=name,
        settings=dataclasses.asdict(recipe),
    )
    run.forget_checkpoints()
    return made


def _time_plan(recipe: AnyRecipe, folder: Path, *, resume: bool, started: float) -> TimePlan | None:
    if recipe.seconds is None:
        return None
    return TimePlan(
        recipe.seconds,
        (1.0,),
        folder / loop.PLAN_FILE,
        resume=resume and any(folder.rglob(loop.CHECKPOINT_FILE)),
        started=started,
        refuses_no_step=True,
    )


class PaintingsLosses(PaintingLosses):
    """The losses of pictures each of which has a painting of its own: those shown last."""

    def __init__(self, vgg: VggFeatures) -> None:
        super().__init__(vgg, {})

    def show(self, paintings: Tensor) -> None:
        """Compare with paintings (N, 3, H, W) in [0, 1] from now on."""
        features = self.features(paintings, STYLE_LAYERS)
        self.painted = {"gram": {layer: gram_matrix(own) for layer, own in features.items()}}


@dataclasses.dataclass(frozen=True, kw_only=True)
class AnyRun(DistillationRun):
    """The stage of a distillation in which every picture of a step is to be in another style."""

    squares: PaintingSquares

    @functools.cached_property
    def losses(self) -> PaintingsLosses:
        """Those of the paintings that are shown in a step."""
        return PaintingsLosses(self.features)

    def perceptual_objective(
        self, network: nn.Module, balance: LossBalance | None = None
    ) -> loop.Objective:
        """What is minimised: a distillation's objective, after paintings were drawn and read."""
        if not isinstance(network, PaintingNetwork):
            raise TypeError(_EXPECTED)
        inner = super().perceptual_objective(network.student, balance)

        def objective(step: int) -> Mapping[str, Tensor]:
            rng = np.random.default_rng((self.recipe.seed, _PAINTINGS, step))
            drawn = self.squares.draw(self.recipe.perceptual_batch, rng)
            paintings = images_to_tensor(drawn).to(self.losses.device)
            self.losses.show(paintings)
            network.read(paintings)
            return inner(step)

        return objective


def previewed(folder: Path, every: int, paintings: PhotoSet) -> Watch:
    """Writes sheets of photographs in the styles of some paintings, each in front of its row."""

    def watch(_stage: str, network: nn.Module, steps: int) -> Callable[[int], None] | None:
        if not isinstance(network, PaintingNetwork):
            raise TypeError(_EXPECTED)

        def show(finished: int) -> None:
            if finished % every == 0 or finished == steps:
                sheet = preview_sheet(network, paintings.take(_SHOWN))
                write_picture(folder / f"step-{finished:06d}.jpg", Picture(rgb=sheet))

        return show

    return watch


def preview_sheet(network: PaintingNetwork, paintings: PhotoSet) -> Pixels:
    """Sample photographs, and below them a row for each painting, which stands first in it."""
    device = network.biases.device
    squares = list(sample_photos().take(_SHOWN).squares(_SHOWN_SIZE))
    rows = [[np.full_like(squares[0], 255), *squares]]
    for path in paintings:
        painting = painting_as_read(path)
        student = network.in_style_of(images_to_tensor([painting]).to(device))
        row = logs.stylised_squares(student, squares)
        rows.append([centre_square(painting, _SHOWN_SIZE), *row])
    return contact_sheet(rows)
