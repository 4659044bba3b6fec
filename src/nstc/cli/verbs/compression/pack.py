"""nstc pack."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nstc.cli import options
from nstc.cli.output import Bar, print_list, say, say_json, tell
from nstc.cli.steps_or_time import with_steps_or_time
from nstc.cli.style_flags import StyleFlags
from nstc.core.recipe import AnyRecipe, load_recipe

if TYPE_CHECKING:
    from nstc.runtime.packs.style_pack import Pack as StylePack
    from nstc.runtime.packs.style_pack import PackedStyle

_PACK = typer.Argument(help="The pack: a folder or a zoo name.", metavar="PACK")
Pack = Annotated[str, _PACK]


@options.with_flags
def join(
    members: Annotated[
        list[str],
        typer.Argument(
            help="Quantized bundles or zoo names, one for each style; NAME=BUNDLE gives the style "
            "another name than its bundle has.",
            metavar="BUNDLE",
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The pack to write.", resolve_path=True)
    ],
    name: str | None = options.flag(None, "Name of the pack. Default: the name of the output."),
) -> None:
    """Join quantized students that were trained with one trunk in a pack of styles."""
    from nstc.core.bundle import TILES_ARTIFACT
    from nstc.core.zoo import named
    from nstc.runtime.packs.joining import join_styles, members_of

    opened = members_of(members)
    pack = join_styles(opened, output, name=name)
    if TILES_ARTIFACT not in pack.styles[0].files:
        lacking = [named(own.path) for _, own in opened if TILES_ARTIFACT not in own.artifacts]
        tell(
            f"the pack has no {TILES_ARTIFACT}, which stylize --max-ram runs, as {lacking[0]} has "
            f"none: make it with  nstc export {lacking[0]} --format tiles"
        )
    say(f"wrote {output}: {', '.join(pack.names)}")


@options.with_flags
def train_any(
    output: options.Output,
    *,
    paintings: Annotated[
        list[Path],
        typer.Option(
            "--paintings",
            help="Folder of paintings and textures to learn from, repeatable: two pictures at "
            "least, better hundreds. The bundle runs in the first one's style without --style.",
        ),
    ],
    photos: options.PhotoSets = None,
    recipe: options.Recipe = None,
    name: options.Name = None,
    init: str = options.flag(
        "zoo:starry-night/fast", "Bundle of a student that the trunk starts from."
    ),
    given: options.Given[AnyRecipe],
    vgg: options.Vgg = "shipped",
    preview_every: int | None = options.flag(
        None, "Steps between previews, which go to OUTPUT.training/previews."
    ),
    _seed: options.Placed = None,
    resume: options.Resume = False,
) -> None:
    """Train a student of any painting, whose style is predicted.

    A small network reads it from a picture of the painting, so nstc stylize --style PAINTING runs
    at once, for paintings that it has not seen too.
    """
    import nstc
    from nstc.compress.learning.logs import refuse_preview_interval
    from nstc.compress.learning.loop import note_what_is_resumed
    from nstc.compress.learning.photo_sets import photos_of
    from nstc.core.photos import photos_in

    settings = with_steps_or_time(load_recipe(recipe).train_any, given)
    refuse_preview_interval(preview_every)  # before any folder is looked through
    with Bar() as bar:
        if resume:
            note_what_is_resumed(output, bar)
        bundle = nstc.train_any(
            output,
            paintings=photos_in(paintings, "--paintings"),
            photos=photos_of(photos or []),
            recipe=settings,
            name=name,
            init=init,
            vgg=vgg,
            preview_every=preview_every,
            resume=resume,
            progress=bar,
        )
    say(f"wrote {bundle.path}")


@options.with_flags
def extract(
    model: Pack,
    output: Annotated[Path, typer.Option("--output", "-o", help="The ONNX file to write.")],
    *,
    styles: StyleFlags,
    tiles: bool = options.flag(
        False, "Write the file that takes the whole picture's statistics, for tiles."
    ),
) -> None:
    """Write the int8 ONNX file of one style of a pack, or of a blend."""
    from nstc.core.bundle import TILES_ARTIFACT
    from nstc.core.errors import OptionError
    from nstc.core.files import atomic_file
    from nstc.core.zoo import named, refuse_shipped
    from nstc.runtime.packs.style_pack import INT8

    pack = _opened(model)
    chosen = styles.chosen(pack)
    if chosen is None:
        raise OptionError(
            f"no style is given: give --style or --blend, of {', '.join(pack.names)}."
        )
    made, artifact = pack.files(chosen), TILES_ARTIFACT if tiles else INT8
    if artifact not in made:
        raise OptionError(f"{named(pack.bundle.path)} has no {artifact}: leave --tiles out.")
    refuse_shipped(output)
    with atomic_file(output) as draft:
        draft.write_bytes(made[artifact])
    say(f"wrote {output}: {chosen.name}")


@options.with_flags
def show(model: Pack, json_output: options.Json = False) -> None:
    """List the styles of a pack."""
    pack = _opened(model)
    if json_output:
        say_json([own.to_dict() for own in pack.styles])
        return
    rows = [
        (own.name, _painting(own), (own.style and own.style.credit) or "-") for own in pack.styles
    ]
    print_list(("style", "painting", "credit"), (), rows, sentences=())


def _opened(model: str) -> "StylePack":
    from nstc.core.bundle import open_bundle
    from nstc.core.errors import OptionError
    from nstc.core.zoo import named
    from nstc.runtime.packs.any_painting import is_for_any
    from nstc.runtime.packs.style_pack import open_pack

    bundle = open_bundle(model)
    if is_for_any(bundle):
        raise OptionError(
            f"{named(bundle.path)} is for any painting, and no pack of styles: run it by `nstc "
            "stylize --style PAINTING`."
        )
    return open_pack(bundle)


def _painting(style: "PackedStyle") -> str:
    if style.photograph:
        return "none: the photograph itself"
    return "-" if style.style is None else style.style.name
