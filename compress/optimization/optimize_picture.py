"""Neural style transfer by optimisation: an image is changed until it is a photograph in a style.

Gatys, Ecker and Bethge, "Image Style Transfer Using Convolutional Neural Networks", CVPR 2016, from
coarse to fine as in Gatys et al., "Controlling Perceptual Factors in Neural Style Transfer", CVPR
2017.
"""

import dataclasses
import functools
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor

from nstc.compress.learning import logs, loop, optimisers
from nstc.compress.optimization import inputs, planning
from nstc.compress.optimization.inputs import Inputs
from nstc.compress.optimization.picture_losses import (
    Image,
    PictureLosses,
    refuse_unknown_losses,
)
from nstc.core import Progress, Silent, errors, files
from nstc.core.images import Picture, Pixels, formats, write_picture
from nstc.core.recipe import OptimizeRecipe
from nstc.models.tensors import best_device
from nstc.models.vgg import VggFeatures, load_vgg, vgg_identity

_WARMUP: Final = 5  # steps of Adam
_CHECKPOINT_EVERY: Final = 25  # steps


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimizedPicture:
    """What an optimisation came to."""

    path: Path
    rgb: Pixels  # (H, W, 3) uint8
    style: float  # loss of the picture, as the recipe sums it without the weights of the two
    content: float
    steps: int
    seconds: float
    trace: Sequence[Mapping[str, float]]  # the weighted terms at each step, and its scale in px

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        height, width = self.rgb.shape[:2]
        found = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        del found["rgb"]
        return {**found, "path": str(self.path), "width": width, "height": height}


@files.one_at_a_time("output")
def optimize(
    photo: str | Path,
    painting: str | Path | Mapping[str, float],
    output: Path,
    *,
    recipe: OptimizeRecipe | None = None,
    init: str | Path = "photo",
    photo_mask: Path | None = None,
    style_mask: Path | None = None,
    vgg: str = "shipped",
    preview_every: int | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> OptimizedPicture:
    """Optimise an image to be a photograph in a painting's style, and write it to `output`.

    Args:
        photo: Path or http(s) address of the photograph, which is the content.
        painting: Path or address of the style; several as a mapping to their weights.
        output: The picture to write; its ending says the format. Checkpoints and previews go to
            `OUTPUT.optimization` beside it, which is deleted at the end unless previews were asked.
        recipe: Settings.
        init: Where the image starts: "photo", "noise", "painting", or the bundle or zoo name of a
            network, whose picture it then is.
        photo_mask: Label map of the photograph; see `nstc.core.images.label_maps`.
        style_mask: Label map of the painting, with the same labels.
        vgg: See `nstc.models.vgg.load_vgg`.
        preview_every: Steps between previews.
        resume: Continue from the checkpoints of a run with the same settings.
        progress: Receives progress updates.

    Raises:
        NstcError: bad input; an interrupted or a diverged run, whose best image is at `output`.
    """
    recipe, progress = recipe or OptimizeRecipe(), progress or Silent()
    formats.format_of(output)
    files.refuse_unwritable_file(output)
    refuse_unknown_losses(recipe, masked=photo_mask is not None)
    given = inputs.read_inputs(photo, painting, init, (photo_mask, style_mask), recipe)
    return optimized(
        given,
        output,
        recipe=recipe,
        vgg=vgg,
        preview_every=preview_every,
        resume=resume,
        progress=progress,
    )


def optimized(
    given: Inputs,
    output: Path,
    *,
    recipe: OptimizeRecipe,
    vgg: str = "shipped",
    preview_every: int | None = None,
    resume: bool = False,
    progress: Progress,
) -> OptimizedPicture:
    """As `optimize`, of what was read."""
    started = time.monotonic()
    features = load_vgg(vgg).to(best_device())
    folder = output.with_name(f"{output.name}.optimization")
    if not resume:
        _forget(folder)
    run = _Run(
        given=given,
        recipe=recipe,
        vgg=features,
        vgg_key=vgg_identity(vgg),
        folder=folder,
        output=output,
        resume=resume,
        preview_every=preview_every,
        progress=progress,
    )
    image, losses = run.carry_out()
    trace = run.trace()
    picture = run.write(image)
    if preview_every is None:
        _forget(folder)
    return OptimizedPicture(
        path=output,
        rgb=picture,
        **losses.unweighted(),
        steps=len(trace),
        seconds=time.monotonic() - started,
        trace=trace,
    )


def _forget(folder: Path) -> None:
    with files.reported_as_output_error(folder):
        if folder.is_dir():
            shutil.rmtree(folder)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Run:
    """An optimisation over all scales."""

    given: Inputs
    recipe: OptimizeRecipe
    vgg: VggFeatures
    vgg_key: str
    folder: Path
    output: Path
    resume: bool
    preview_every: int | None
    progress: Progress

    def carry_out(self) -> tuple[Image, PictureLosses]:
        """Optimise at every scale; give the image at the last one."""
        recipe, sizes = self.recipe, self._sizes()
        steps, seconds = planning.shared_steps(recipe.steps, len(sizes)), recipe.seconds
        plan = None
        if seconds is not None:
            file = self.folder / planning.PLAN_FILE
            plan = planning.TimePlan(seconds, len(sizes), file, resume=self.resume)
        pixels = None
        for number, size in enumerate(sizes):
            scene = inputs.scene_at(self.given, size, recipe, best_device())
            if pixels is None:
                pixels = inputs.first_image(self.given, scene, recipe)
            else:
                shape = scene.photograph.shape[2:]
                pixels = F.interpolate(pixels, shape, mode="bicubic").clamp(0, 1)
            image = Image(pixels)
            losses = PictureLosses(image, scene, self.vgg, recipe)
            if plan is not None:
                steps[number] = plan.steps_at(number, functools.partial(_evaluate, image, losses))
            self._optimise(image, losses, size, steps[number])
            pixels = image.pixels.detach()
        return image, losses

    def _optimise(self, image: Image, losses: PictureLosses, size: int, steps: int) -> None:
        """All steps at one scale. What it has come to is written if it ends early."""
        kept = _Kept(image, losses)

        def after_step(finished: int) -> None:
            image.clamp()
            if self.preview_every is not None and finished % self.preview_every == 0:
                name = f"previews/{size:04d}px-step-{finished:05d}.jpg"
                write_picture(self.folder / name, Picture(rgb=self._finished(image.pixels)))

        optimisation = loop.Optimisation(
            network=image,
            objective=kept,
            schedule=optimisers.Schedule(
                steps=steps,
                learning_rate=self.recipe.rate,
                warmup=_WARMUP,
                checkpoint_every=_CHECKPOINT_EVERY,
                method="lbfgs" if self.recipe.optimizer == "lbfgs" else "adam",
            ),
            title=f"{size} px",
            folder=self._folder_of(size),
            resume=self.resume,
            identity={
                **dataclasses.asdict(self.recipe),
                "inputs": self.given.identity,
                "vgg": self.vgg_key,
                "scale": [size, steps],
            },
            progress=self.progress,
            after_step=after_step,
            balance=losses.balance,
        )
        try:
            optimisation.run()
        except errors.DivergedError as error:
            self.write(Image(kept.pixels))
            raise errors.DivergedError(
                f"{error} The best image until then is in {self.output}."
            ) from error
        except errors.Interrupted as error:
            self.write(image)
            raise errors.Interrupted(f"{error} The image as it is is in {self.output}.") from error

    def trace(self) -> list[Mapping[str, float]]:
        """The terms at each step of every scale."""
        lines: list[Mapping[str, float]] = []
        for size in self._sizes():
            known = logs.read_losses(self._folder_of(size) / logs.LOSSES_FILE)
            lines += [
                {"size": size, **line, "step": len(lines) + n} for n, line in enumerate(known)
            ]
        return lines

    def write(self, image: Image) -> Pixels:
        """Write the image in the colours that were asked for, and give what was written."""
        rgb = self._finished(image.pixels)
        write_picture(self.output, Picture(rgb=rgb))
        return rgb

    def _finished(self, pixels: Tensor) -> Pixels:
        return inputs.colored(self.given, pixels, self.recipe)

    def _sizes(self) -> tuple[int, ...]:
        return planning.scales(self.recipe, self.given.photo.shape[:2])

    def _folder_of(self, size: int) -> Path:
        return self.folder / f"{size}px"


def _evaluate(image: Image, losses: PictureLosses) -> None:
    """What a step costs, without its effect."""
    torch.stack(list(losses(0).values())).sum().backward()  # type: ignore[no-untyped-call]
    image.pixels.grad = None


class _Kept:
    """The objective of an image, which keeps the best image that it has been given."""

    def __init__(self, image: Image, losses: PictureLosses) -> None:
        self._image, self._losses = image, losses
        self._best = float("inf")
        self.pixels = image.pixels.detach().clone()

    def __call__(self, step: int) -> Mapping[str, Tensor]:
        """See `nstc.compress.learning.loop.Objective`."""
        terms = self._losses(step)
        total = float(torch.stack(list(terms.values())).detach().sum())
        if total < self._best:
            self._best = total
            self.pixels = self._image.pixels.detach().clone()
        return terms
