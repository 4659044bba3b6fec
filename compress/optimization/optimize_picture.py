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
from nstc.compress.learning.time_plan import TimePlan
from nstc.compress.optimization import inputs, planning
from nstc.compress.optimization.best_image import BestImage
from nstc.compress.optimization.inputs import Inputs
from nstc.compress.optimization.picture_losses import (
    Image,
    PictureLosses,
    refuse_unknown_losses,
)
from nstc.core import Progress, Silent, errors, files
from nstc.core.images import Picture, Pixels, formats, write_picture
from nstc.core.recipe import OptimizeRecipe
from nstc.core.remote.fetching import USUAL_LIMITS, FetchLimits
from nstc.models.tensors import best_device
from nstc.models.vgg import VggFeatures, load_vgg, vgg_identity

_WARMUP: Final = 5  # steps of Adam
_CHECKPOINT_EVERY: Final = 50  # steps; one of L-BFGS has 40 times the size of the image


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimizedPicture:
    """What an optimisation came to."""

    path: Path
    rgb: Pixels  # (H, W, 3) uint8
    # Losses of `rgb`, 8-bit, each summed by the weights of its layers and losses alone.
    style: float
    content: float
    steps: int  # over all scales, those before a --resume included
    seconds: float  # of this run
    # A line a step: its scale in px as "size", the weighted terms, "style_loss" and "content_loss"
    # without weights, and the "balance".
    trace: Sequence[Mapping[str, float]]

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
    output: str | Path,
    *,
    recipe: OptimizeRecipe | None = None,
    init: str | Path = "photo",
    photo_mask: str | Path | None = None,
    style_mask: str | Path | None = None,
    vgg: str = "shipped",
    preview_every: int | None = None,
    limits: FetchLimits = USUAL_LIMITS,
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
        init: Where the image starts: "photo", "noise", "painting", the path or address of another
            picture, or the bundle or zoo name of a network, whose picture it then is.
        photo_mask: Label map of the photograph; see `nstc.core.images.label_maps`.
        style_mask: Label map of the painting, with the same labels.
        vgg: See `nstc.models.vgg.load_vgg`.
        preview_every: Steps between previews.
        limits: What an address may take.
        resume: Continue from the checkpoints of a run with the same settings.
        progress: Receives progress updates.

    Raises:
        NstcError: bad input; an interrupted or a diverged run, whose best image is at `output`.
    """
    output = Path(output)
    photo_mask, style_mask = files.path_or_none(photo_mask), files.path_or_none(style_mask)
    recipe, progress = recipe or OptimizeRecipe(), progress or Silent()
    started = time.monotonic()
    label_maps = (photo_mask, style_mask)
    refuse_unknown_losses(recipe, masked=label_maps != (None, None))
    named = [painting] if isinstance(painting, str | Path) else painting
    _folder_beside(output, (photo, *named, init, *label_maps), preview_every)  # before any work
    return optimized(
        inputs.read_inputs(photo, painting, init, label_maps, recipe, limits),
        output,
        recipe=recipe,
        vgg=vgg,
        preview_every=preview_every,
        resume=resume,
        progress=progress,
        started=started,
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
    started: float | None = None,
) -> OptimizedPicture:
    """As `optimize`, of what was read; its time counts from `started`, by `time.monotonic`."""
    started = time.monotonic() if started is None else started
    folder = _folder_beside(output, (), preview_every)
    features = load_vgg(vgg).to(best_device())
    run = _Run(
        given=given,
        recipe=recipe,
        vgg=features,
        vgg_key=vgg_identity(vgg),
        folder=folder,
        output=output,
        resume=resume,
        preview_every=preview_every,
        started=started,
        progress=progress,
    )
    return run.carry_out()


def _folder_beside(
    output: Path, given: Sequence[str | Path | None], preview_every: int | None
) -> Path:
    """For checkpoints and previews; an error if it or the output can't be written."""
    formats.format_of(output)
    logs.refuse_preview_interval(preview_every)
    if any(own is not None and Path(own).resolve() == output.resolve() for own in given):
        raise errors.OptionError(f"output is {output}, which is an input too: give another name.")
    files.refuse_unwritable_file(output)
    folder = output.with_name(f"{output.name}.optimization")
    if folder.exists() and not folder.is_dir():
        raise errors.OutputError(
            f"cannot write checkpoints to {folder}: it is a file. Move it, or name another output."
        )
    return folder


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
    started: float  # by `time.monotonic`
    progress: Progress

    def carry_out(self) -> OptimizedPicture:
        """Optimise at every scale, and write the image of the last one."""
        try:
            image, losses = self._through_scales()
        except KeyboardInterrupt as interrupt:  # between sizes; the loop turns others into errors
            raise errors.Interrupted(
                f"stopped: {self.output} is not written. Run the same command with --resume to "
                "continue after the last size that was done."
            ) from interrupt
        trace = self._trace()
        picture = self._write(image.pixels)
        self._tidy_up()
        return OptimizedPicture(
            path=self.output,
            rgb=picture,
            **losses.unweighted(inputs.as_optimized(picture, self.recipe)),
            steps=len(trace),
            seconds=time.monotonic() - self.started,
            trace=trace,
        )

    def _through_scales(self) -> tuple[Image, PictureLosses]:
        """The image at the last scale."""
        recipe, sizes = self.recipe, self._sizes()
        seconds, plan = recipe.seconds, None
        steps = [0] * len(sizes) if seconds else planning.shared_steps(recipe.steps, len(sizes))
        if seconds is not None:
            plan = TimePlan(
                seconds,
                planning.shares_of_time(len(sizes)),
                self.folder / loop.PLAN_FILE,
                resume=bool(self._kept()),
                started=self.started,
            )
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
            if number == 0:  # only now is it known that everything fits together
                self._begin()
            if plan is not None:
                steps[number] = plan.steps_at(number, functools.partial(_evaluate, image, losses))
            self._optimise(image, losses, size, steps[number])
            pixels = image.pixels.detach()
        return image, losses

    def _begin(self) -> None:
        """Drop what an earlier run left, or check that it is the one to be resumed."""
        if not self.resume:
            self._drop()
            return
        kept = self._kept()
        if not kept:
            self._drop()
            self.progress.note(f"nothing to resume at {self.folder}: starting from the beginning")
        elif self._folder_of(self._sizes()[0]) not in kept:
            raise errors.OptionError(
                f"{self.folder} belongs to a run with other settings: repeat those, or run without "
                "--resume to start afresh."
            )

    def _kept(self) -> list[Path]:
        """Folders of the scales whose checkpoints are to be continued from."""
        files_of = self.folder.glob(f"*/{loop.CHECKPOINT_FILE}") if self.resume else ()
        return [path.parent for path in files_of]

    def _tidy_up(self) -> None:
        """Delete checkpoints; where previews were asked for, they and the losses stay."""
        if self.preview_every is None:
            self._drop()
            return
        with files.reported_as_output_error(self.folder):
            (self.folder / loop.PLAN_FILE).unlink(missing_ok=True)
            for size in self._sizes():
                loop.forget(self._folder_of(size))

    def _drop(self) -> None:
        with files.reported_as_output_error(self.folder):
            if self.folder.is_dir():
                shutil.rmtree(self.folder)

    def _optimise(self, image: Image, losses: PictureLosses, size: int, steps: int) -> None:
        """All steps at one scale, to its best image; that one is written if it ends early."""
        best = BestImage(image, losses)

        def after_step(finished: int) -> None:
            image.clamp()
            if self.preview_every is not None and finished % self.preview_every == 0:
                name = f"previews/{size:04d}px-step-{finished:05d}.jpg"
                write_picture(self.folder / name, Picture(rgb=self._finished(image.pixels)))

        optimisation = loop.Optimisation(
            network=image,
            objective=best,
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
            balance=best,
        )
        if self.recipe.optimizer == "lbfgs":  # a step of Adam is as short as its rate
            best.restart = optimisation.optimiser.forget
        try:
            optimisation.run()
        except errors.DivergedError as error:
            self._write(best.pixels)
            self._tidy_up()
            raise errors.DivergedError(
                f"{error} The best image until then is in {self.output}."
            ) from error
        except errors.Interrupted as error:
            self._write(best.pixels)
            raise errors.Interrupted(
                f"{error} The best image until then is in {self.output}."
            ) from error
        best.finish()

    def _trace(self) -> list[Mapping[str, float]]:
        """The terms at each step of every scale."""
        lines: list[Mapping[str, float]] = []
        for size in self._sizes():
            known = logs.read_losses(self._folder_of(size) / logs.LOSSES_FILE)
            lines += [
                {"size": size, **line, "step": len(lines) + n} for n, line in enumerate(known)
            ]
        return lines

    def _write(self, pixels: Tensor) -> Pixels:
        """Write the image in the colours that were asked for, and give what was written."""
        rgb = self._finished(pixels)
        write_picture(self.output, Picture(rgb=rgb))
        return rgb

    def _finished(self, pixels: Tensor) -> Pixels:
        return inputs.colored(self.given, pixels, self.recipe)

    def _sizes(self) -> tuple[int, ...]:
        return planning.scales(self.recipe, self.given.photo.shape[:2])

    def _folder_of(self, size: int) -> Path:
        return self.folder / f"{size}px"


def _evaluate(image: Image, losses: PictureLosses, step: int) -> None:
    """What a step costs, without its effect."""
    torch.stack(list(losses(step).values())).sum().backward()  # type: ignore[no-untyped-call]
    if image.pixels.grad is not None:
        float(image.pixels.grad.sum())  # waits for a GPU
    image.pixels.grad = None
