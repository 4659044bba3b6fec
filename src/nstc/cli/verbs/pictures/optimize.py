"""nstc optimize."""

import dataclasses
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

import nstc
from nstc.cli import options
from nstc.cli.fetch_flags import FetchFlags
from nstc.cli.output import Bar, say, say_json
from nstc.cli.steps_or_time import with_steps_or_time
from nstc.core.errors import OptionError
from nstc.core.recipe import OptimizeRecipe, load_recipe

_WEIGHTED = re.compile(r"(.+)=([0-9.eE+-]+|nan|inf)", re.DOTALL)
# Of an address, the last part of its query without a value: in p.jpg?id=2 the 2 is no weight.
_QUERY = re.compile(r"[a-z]+://.*[?&][^?&=]*", re.DOTALL | re.IGNORECASE)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProgressFlags:
    """What is reported of a run besides its picture."""

    preview_every: int | None = options.flag(
        None, "Steps between previews, which go to OUTPUT.optimization/previews."
    )
    plot: Path | None = options.flag(None, "Picture to write with the curves of the losses.")

    def refuse_unwritable_plot(self, output: Path, *given: str | Path | None) -> None:
        """Raise `OptionError` or `OutputError` before the work if the plot can't be written.

        Of what is `given` nothing may be replaced.
        """
        if self.plot is None:
            return
        from nstc.core.files import refuse_unwritable_file
        from nstc.core.images.formats import format_of

        format_of(self.plot)
        if self.plot.resolve() == output.resolve():
            raise OptionError(f"plot and output are both {output}: give two names.")
        if any(own is not None and Path(own).resolve() == self.plot.resolve() for own in given):
            raise OptionError(f"plot is {self.plot}, which is an input too: give another name.")
        refuse_unwritable_file(self.plot)

    def write_plot(self, trace: Sequence[Mapping[str, float]]) -> None:
        """Draw the losses without weights, if that was asked for; the trace is a run's."""
        if self.plot is None:
            return
        from nstc.compress.learning.logs import loss_curves
        from nstc.core.images import Picture, write_picture

        shown = {"step": "step", "style_loss": "style", "content_loss": "content", "tv": "tv"}
        curves = [{shown[k]: v for k, v in line.items() if k in shown} for line in trace]
        write_picture(self.plot, Picture(rgb=loss_curves(curves)))


Photo = Annotated[
    str, typer.Argument(metavar="PHOTO", help="Photograph: a path or an http(s) address.")
]
Paintings = Annotated[
    list[str],
    typer.Argument(
        metavar="PAINTING",
        help="Painting whose style it gets, or several with weights: a.jpg=2 b.jpg=1.",
    ),
]


@options.with_flags
def optimize(
    photo: Photo,
    paintings: Paintings,
    output: Annotated[Path, typer.Option("--output", "-o", help="Picture to write.")],
    *,
    recipe: options.Recipe = None,
    given: options.Given[OptimizeRecipe],
    init: str = options.flag(
        "photo",
        "Where the image starts: photo, noise, painting, another picture, or the bundle or zoo "
        "name of a network.",
    ),
    photo_mask: Path | None = options.flag(
        None, "Label map of the photograph, as nstc mask makes it; needs --style-mask."
    ),
    style_mask: Path | None = options.flag(
        None, "Label map of the painting, with the same colours."
    ),
    vgg: options.Vgg = "shipped",
    limits: FetchFlags,
    _seed: options.Placed = None,
    report: ProgressFlags,
    resume: options.Resume = False,
    json_output: options.Json = False,
) -> None:
    """Stylise a photograph without a network, by optimising an image.

    The image is changed step by step until its style loss against the painting is low and its
    content loss against the photograph is at its level. This takes minutes for a picture, and needs
    no training: it is the reference for every network of that style.
    """
    settings = with_steps_or_time(load_recipe(recipe).optimize, given)
    weights = _weights(paintings)
    report.refuse_unwritable_plot(output, photo, *weights, init, photo_mask, style_mask)
    with Bar() as bar:
        made = nstc.optimize(
            photo,
            weights,
            output,
            recipe=settings,
            init=init,
            photo_mask=photo_mask,
            style_mask=style_mask,
            vgg=vgg,
            preview_every=report.preview_every,
            limits=limits.fetch_limits(),
            resume=resume,
            progress=bar,
        )
    report.write_plot(made.trace)
    if json_output:
        say_json({"schema": "nstc.optimize/1", **made.to_dict()})
        return
    say(
        f"wrote {output}: style loss {made.style:.3f}, content loss {made.content:.3f}, "
        f"{made.steps} steps in {made.seconds:.0f} s"
    )


def _weights(paintings: list[str]) -> dict[str, float]:
    """Weights of paintings by name; 1 where none is given."""
    weights: dict[str, float] = {}
    for given in paintings:
        found = _WEIGHTED.fullmatch(given)
        is_file = os.path.exists(given)  # noqa: PTH110  (of a name of any length)
        if found is None or is_file or _QUERY.fullmatch(found[1]):
            name, weight = given, 1.0
        else:
            try:
                name, weight = found[1], float(found[2])
            except ValueError:
                raise OptionError(
                    f"{given} ends in a weight that is not a number: expected such as a.jpg=2."
                ) from None
        if name in weights:
            raise OptionError(f"{name} was given twice: give it once, with a larger weight.")
        weights[name] = weight
    return weights
