"""`nstc stylize`: photographs and videos in, the same in a painting's style out."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Final

import typer

from nstc.cli.batches import BatchFlags, Tally, stylize_archive
from nstc.cli.fetch_flags import FetchFlags
from nstc.cli.options import TrustBundled, flag, with_flags
from nstc.cli.output import say, tell
from nstc.cli.style_flags import ChosenStyle, StyleFlags
from nstc.cli.video import VideoFlags, is_video, write_or_show_video
from nstc.core import errors
from nstc.core.bundle import Bundle, artifact_file, artifact_name, open_bundle
from nstc.core.model_names import shown_name
from nstc.core.recipe.settings import parse_bytes
from nstc.core.terminal import refuse_terminal_output

if TYPE_CHECKING:
    from nstc.runtime.files.batch import BatchOptions, PictureOutcome
    from nstc.runtime.stylizer import Opening, Stylizer


@dataclass(frozen=True, kw_only=True)
class ModelFlags:
    """Which network runs, and how."""

    model: str = flag(
        "zoo:starry-night",
        "A bundle's folder, a zoo name, hf:OWNER/NAME, or https://...zip#sha256=HASH.",
        "--model",
        "-m",
    )
    precision: str | None = flag(
        None,
        "Precision of the network that runs: int8 or float.",
        shown="int8; float of weights alone",
    )
    artifact: str | None = flag(
        None, "Another file of the bundle to run, such as ts, pte or int8.512x512.onnx."
    )
    trust: TrustBundled = False
    threads: int | None = flag(
        None, "Number of threads. Default: one per core, or one for each worker on Ray."
    )
    provider: str = flag(
        "cpu", "Execution provider of ONNX Runtime: cpu, cuda, or another that is installed."
    )


@dataclass(frozen=True, kw_only=True)
class ControlFlags:
    """How strong and how large the style is; see `nstc.runtime.control.Control`."""

    strength: float = flag(
        1.0, "Strength of the style: 0 is the photograph, 1 the style; values beyond extrapolate."
    )
    preserve_color: bool = flag(False, "Stylise brightness only and keep the photograph's colours.")
    size: int | None = flag(
        None, "Long side in px at which the network runs.", shown="the photograph's"
    )
    upscale_to_original: bool = flag(False, "Scale the result back to the photograph's size.")
    style_scale: float = flag(1.0, "Size of the brush strokes: 2 is twice as large, 0.5 half.")


@dataclass(frozen=True, kw_only=True)
class PictureFlags:
    """Which pictures are read and how they are written."""

    glob: str | None = flag(
        None, "Pattern for the files of a folder, such as '*.jpg'.", shown="all pictures"
    )
    format: str | None = flag(
        None,
        "Format of the pictures: png, jpeg, webp, tiff, bmp, gif or heif.",
        shown="the source's",
    )
    metadata: str = flag(
        "strip",
        "keep or strip EXIF and XMP, which say where, when and with which camera a photograph "
        "was taken. IPTC and PNG text are always stripped.",
    )
    skip_existing: bool = flag(
        False, "Skip pictures that exist already and were made with the same model and settings."
    )
    max_pixels: int | None = flag(
        None,
        "Most pixels of a picture, all frames together; larger ones are refused.",
        shown="178956970",
    )


@dataclass(frozen=True, kw_only=True)
class LimitFlags(FetchFlags):
    """Most memory and time that a run may take."""

    max_ram: str | None = flag(
        None,
        "Most memory for the process, such as 256MB; pictures that need more are cut into "
        "tiles. More than 4GB also applies to trying a bundle that did not come with nstc.",
        shown="any amount",
        metavar="SIZE",
    )
    allow_approximate_tiles: bool = flag(
        False,
        "Cut pictures into tiles even for a network whose tiles differ from the whole picture.",
    )
    max_download_mb: int = flag(64, "Most MB read from an address or from standard input.")
    timeout: float = flag(
        30.0,
        "Most seconds for an address. More than 120 also applies to trying a bundle that did "
        "not come with nstc.",
    )


_OUTPUT: Final = "The picture or video to write, a folder for several, or - for a pipe."


@with_flags
def stylize(
    *,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            help=f"{_OUTPUT} Required unless --show or --virtual-camera is given.",
        ),
    ] = None,
    photos: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PHOTO",
            help="Pictures, folders, http(s) addresses, or - for standard input; or one video.",
            show_default=False,
        ),
    ] = None,
    network: ModelFlags,
    styles: StyleFlags,
    painting: ControlFlags,
    pictures: PictureFlags,
    batch: BatchFlags,
    limits: LimitFlags,
    video: VideoFlags,
    json_output: bool = flag(False, "Print the outcome for each picture as JSON.", "--json"),
) -> None:
    """Stylise photographs, a video or a camera's picture."""
    if output is None and not video.live:
        from nstc.cli.app import UNREADABLE

        raise UNREADABLE(f"nstc stylize needs --output: {_OUTPUT[:1].lower()}{_OUTPUT[1:]}")
    options, inputs = _options(painting, pictures, limits), photos or []
    of_video = is_video(inputs, output, video)
    misplaced = _of_pictures_alone(pictures, batch, limits) if of_video else vars(video)
    _refuse_misplaced(misplaced, of_video)
    _refuse_without_ray(inputs, output, batch)
    _refuse_unfit_pipe(None if of_video else output, json_output)
    bundle, strength = open_bundle(network.model), painting.strength
    chosen = styles.chosen_in_strength(bundle, strength, live=video.live)
    control = replace(options.control, strength=chosen.strength)
    options = replace(options, control=control, painting=chosen.painting)
    opening = _opening(bundle, chosen, network, limits)
    stylizer = opening.opened()
    if options.control.warning is not None:
        tell(options.control.warning)
    by = "pixels" if chosen.strength == strength else "network"
    asked = {"model": shown_name(network.model), "strength": strength, "strength_by": by}
    if of_video:
        write_or_show_video(inputs, output, stylizer, options, video, asked, json_output)
    elif output is not None and batch.ray is not None:
        stylize_archive(inputs, output, opening, options, batch, asked, json_output)
    elif output is not None:  # as it is: only what is live goes without
        tally = Tally(batch.report, keep=json_output)
        _stylize_pictures(inputs, output, stylizer, options, asked, tally)


def _of_pictures_alone(
    pictures: PictureFlags, batch: BatchFlags, limits: LimitFlags
) -> dict[str, object]:
    """Options that a video does not have, by name."""
    return {
        "glob": pictures.glob,
        "format": pictures.format,
        "skip-existing": pictures.skip_existing,
        "max-ram": limits.max_ram,
        **vars(batch),
    }


def _refuse_misplaced(options: dict[str, object], of_video: bool) -> None:
    """Raise `OptionError` for options, by name, that the other kind of input has."""
    typed = ", ".join(
        f"--{name.replace('_', '-')}"
        for name, value in options.items()
        if value is not None and value is not False  # 0, which equals it, was typed
    )
    if typed and of_video:
        raise errors.OptionError(f"{typed} applies to pictures only: leave it out for a video.")
    if typed:
        raise errors.OptionError(f"{typed} applies to videos only: leave it out, or give a video.")


def _refuse_unfit_pipe(output: str | None, json_output: bool) -> None:
    if output != "-":
        return
    if json_output:
        raise errors.OptionError(
            "-o - and --json both write to standard output: give one of the two."
        )
    refuse_terminal_output()


def _refuse_without_ray(inputs: list[str], output: str | None, batch: BatchFlags) -> None:
    """Raise `OptionError` for what only `--ray` takes."""
    from nstc.runtime.files.object_stores import is_stored
    from nstc.runtime.files.picture_lists import is_list
    from nstc.runtime.files.ray_batch import Workers

    Workers(count=batch.workers)  # which refuses what is out of range
    if batch.ray is not None:
        return
    if batch.workers is not None:
        raise errors.OptionError("--workers is of Ray: give --ray too.")
    for given in (*inputs, *([] if output is None else [output])):
        if is_stored(given) or (given in inputs and is_list(given)):
            kind = "in an object store" if is_stored(given) else "a list of pictures"
            raise errors.OptionError(f"{given} is {kind}, which nstc reads on Ray: give --ray too.")


def _options(painting: ControlFlags, pictures: PictureFlags, limits: LimitFlags) -> "BatchOptions":
    from nstc.core.images import MAX_PIXELS
    from nstc.core.images.formats import checked_limit, ending_of
    from nstc.runtime.control import Control
    from nstc.runtime.files.batch import BatchOptions
    from nstc.runtime.files.picture_jobs import ALL

    if pictures.metadata not in {"keep", "strip"}:
        raise errors.OptionError(f"metadata is {pictures.metadata}: expected keep or strip.")
    limit = MAX_PIXELS if pictures.max_pixels is None else checked_limit(pictures.max_pixels)
    return BatchOptions(
        control=Control(**vars(painting)),
        keep_metadata=pictures.metadata == "keep",
        skip_existing=pictures.skip_existing,
        max_pixels=limit,
        limits=limits.fetch_limits(),
        ending=None if pictures.format is None else ending_of(pictures.format),
        pattern=ALL if pictures.glob is None else pictures.glob,
    )


def _opening(
    bundle: Bundle, chosen: ChosenStyle, flags: ModelFlags, limits: LimitFlags
) -> "Opening":
    from nstc.runtime.foreign.trial import TrialLimits, current_limits
    from nstc.runtime.stylizer import Opening, artifact_of

    max_ram_bytes = None if limits.max_ram is None else parse_bytes(limits.max_ram)
    _make_missing(bundle, artifact_of(flags.precision, flags.artifact))
    usual = current_limits()  # which smaller limits of a picture or an address leave as they are
    return Opening(
        model=chosen.model,
        options={
            "style": chosen.style,
            "max_ram_bytes": max_ram_bytes,
            "precision": flags.precision,
            "artifact": flags.artifact,
            "trust": flags.trust,
            "threads": flags.threads,
            "provider": flags.provider,
            "approximate_tiles": limits.allow_approximate_tiles,
        },
        limits=TrialLimits(
            max_ram_bytes=max(max_ram_bytes or 0, usual.max_ram_bytes),
            timeout_s=max(limits.timeout, usual.timeout_s),
        ),
    )


def _make_missing(bundle: Bundle, asked: str | None) -> None:
    """Make the file that is to run in the user's cache, of a bundle of weights alone or of the zoo.

    Of others, and of files that nothing makes, the session says what to do.
    """
    from nstc.core.zoo import named, zoo_name_of
    from nstc.runtime.session import cached_artifact, usual_artifact

    name = artifact_name(asked or usual_artifact(bundle))
    known = name in bundle.artifacts or artifact_file(name) in bundle.absent
    is_there = known or cached_artifact(bundle, name).is_file()
    if is_there or (bundle.artifacts and zoo_name_of(bundle.path) is None):
        return
    try:
        from nstc.compress.export.export_model import made_artifact
    except ModuleNotFoundError as error:
        raise errors.MissingExtraError(
            f"{named(bundle.path)} holds no {artifact_file(name)}, and making it needs "
            f'{error.name}: run  pip install "nstc[compress]"  and the same command again.'
        ) from error
    with contextlib.suppress(errors.ArtifactError):
        made_artifact(bundle, name, notify=tell)


def _stylize_pictures(
    photos: list[str],
    output: str,
    stylizer: "Stylizer",
    options: "BatchOptions",
    asked: Mapping[str, object],
    tally: Tally,
) -> None:
    from nstc.runtime.files.batch import stylize_files
    from nstc.runtime.files.picture_jobs import is_many

    many = is_many(photos)
    try:
        with tally.writing() as add:

            def report(outcome: "PictureOutcome") -> None:
                add(outcome)
                _report(outcome, quiet=tally.is_kept, many=many, piped=output == "-")

            outcomes = stylize_files(photos, output, stylizer, options, report)
    except KeyboardInterrupt as interrupt:
        done = tally.counts["done"]
        raise errors.Interrupted(
            f"stopped with {done} pictures done, which are kept: give --skip-existing to resume."
            if many
            else f"stopped: {output} is not written."
        ) from interrupt
    tally.print_json(asked)
    failures = [outcome.error for outcome in outcomes if outcome.error is not None]
    if failures and not many:
        raise failures[0]
    if many:
        tally.tell_counts()
    tally.raise_failures()
    if failures:
        raise errors.BatchError("not all pictures from standard input were stylised: see above.")


def _report(outcome: "PictureOutcome", *, quiet: bool, many: bool, piped: bool) -> None:
    """A line a picture: on standard output if it was made, on standard error if not."""
    place = outcome.source if outcome.output == "-" else outcome.output
    for note in outcome.notes:
        tell(f"{place}: {note}")
    if outcome.error is not None and many:
        tell(str(outcome.error))
    if outcome.status != "failed" and not quiet:
        frames = f"  {outcome.frames} frames" if outcome.frames > 1 else ""
        made = f"{outcome.width}x{outcome.height}{frames}  {outcome.seconds:.2f} s"
        skipped = outcome.status == "skipped"
        say(f"{place}  {'skipped, it exists already' if skipped else made}", err=piped)
