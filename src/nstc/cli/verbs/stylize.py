"""`nstc stylize`: photographs and videos in, pictures in a painting's style out."""

import contextlib
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nstc.cli.options import TrustBundled, flag, with_flags
from nstc.cli.output import say, say_json, tell
from nstc.cli.verbs import video
from nstc.cli.verbs.video import VideoFlags
from nstc.core.errors import ArtifactError, BatchError, Interrupted, MissingExtraError, OptionError
from nstc.runtime.files.streams import refuse_terminal_output

if TYPE_CHECKING:
    from nstc.core.bundle import Bundle
    from nstc.runtime.files.batch import BatchOptions, PictureOutcome
    from nstc.runtime.stylizer import Stylizer


@dataclass(frozen=True, kw_only=True)
class ModelFlags:
    """Which network runs, and how."""

    model: str = flag("zoo:starry-night", "A bundle's folder or a zoo name.", "--model", "-m")
    precision: str | None = flag(
        None, "Which network runs: int8 or float.", shown="int8; float of weights alone"
    )
    artifact: str | None = flag(
        None, "Another file of the bundle, such as ts, pte or int8.512x512.onnx."
    )
    trust: TrustBundled = False
    threads: int | None = flag(None, "Threads to compute with; by default one a core.")
    provider: str = flag(
        "cpu", "Where ONNX Runtime computes: cpu, cuda, or what else is installed."
    )


@dataclass(frozen=True, kw_only=True)
class ControlFlags:
    """How it paints; see `nstc.runtime.control.Control`."""

    strength: float = flag(1.0, "0 is the photograph, 1 the style; beyond them extrapolates.")
    preserve_color: bool = flag(False, "Paint brightness only; keep the photo's colours.")
    size: int | None = flag(None, "Long side in pixels to paint at.", shown="the photograph's")
    upscale_to_original: bool = flag(False, "Bring the result back to the photograph's size.")
    style_scale: float = flag(1.0, "How large the brush looks: 2 twice as large, 0.5 half.")


@dataclass(frozen=True, kw_only=True)
class PictureFlags:
    """Which pictures are read and how they are written."""

    glob: str | None = flag(None, "Which files of folders, such as '*.jpg'.", shown="all pictures")
    format: str | None = flag(
        None, "Of the files written: png, jpeg, webp, tiff, bmp, gif or heif.", shown="the source's"
    )
    metadata: str = flag(
        "strip",
        "keep or strip EXIF and XMP. Stripped unless asked for: they say where and when a "
        "photograph was taken, and with which camera. IPTC and PNG text are never taken along.",
    )
    skip_existing: bool = flag(
        False, "Leave pictures that are there already, made with the same model and settings."
    )
    max_pixels: int | None = flag(
        None, "Refuse pictures with more pixels, all frames together.", shown="178956970"
    )


@dataclass(frozen=True, kw_only=True)
class LimitFlags:
    """What may be taken up, of this machine and of the network."""

    max_ram: str | None = flag(
        None,
        "What the process may hold, such as 256MB; larger pictures are cut into tiles. "
        "More than 4GB also for trying a bundle's file that did not come with nstc.",
        shown="any amount",
        metavar="SIZE",
    )
    allow_approximate_tiles: bool = flag(
        False, "Cut pictures for a network whose tiles differ from the whole."
    )
    max_download_mb: int = flag(64, "Most MB of an address or of standard input.")
    timeout: float = flag(
        30.0,
        "Most seconds for an address. More than 120 also for trying a bundle's file that "
        "did not come with nstc.",
    )
    allow_private: bool = flag(False, "Fetch from this machine and private networks too.")


@with_flags
def stylize(
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            help="The picture or video to write, a folder for several, or - for a pipe.",
        ),
    ],
    *,
    photos: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PHOTO",
            help="Files, folders with all in them, http(s) addresses, or - for standard input; or "
            "one video.",
            show_default=False,
        ),
    ] = None,
    network: ModelFlags,
    painting: ControlFlags,
    pictures: PictureFlags,
    limits: LimitFlags,
    film: VideoFlags,
    json_output: bool = flag(False, "Print what became of each picture as JSON.", "--json"),
) -> None:
    """Paint photographs, a video or a camera's view in a style."""
    options = _options(painting, pictures, limits)
    inputs = photos or []
    of_video = video.is_video(inputs, output, film)
    if of_video:
        video.refuse_on_videos(
            {
                "glob": pictures.glob,
                "format": pictures.format,
                "skip-existing": pictures.skip_existing,
                "max-ram": limits.max_ram,
            }
        )
    else:
        if film.given:
            raise OptionError(
                f"{', '.join(film.given)} is for videos: expected one, or leave it out."
            )
        if output == "-":
            if json_output:
                raise OptionError("-o - and --json both want standard output: give one of the two.")
            refuse_terminal_output()
    stylizer = _opened(network, limits)
    if options.control.warning is not None:
        tell(options.control.warning)
    if of_video:
        video.stylize_one(inputs, output, stylizer, options, film, network.model, json_output)
    else:
        _run(inputs, output, stylizer, options, model=network.model, json_output=json_output)


def _options(painting: ControlFlags, pictures: PictureFlags, limits: LimitFlags) -> "BatchOptions":
    from nstc.core.images import MAX_PIXELS
    from nstc.core.images.formats import checked_limit, ending_of
    from nstc.runtime.control import Control
    from nstc.runtime.files.batch import BatchOptions
    from nstc.runtime.files.fetching import FetchLimits
    from nstc.runtime.files.picture_jobs import ALL

    control = Control(**vars(painting))
    if pictures.metadata not in {"keep", "strip"}:
        raise OptionError(f"metadata is {pictures.metadata}: expected keep or strip.")
    return BatchOptions(
        control=control,
        keep_metadata=pictures.metadata == "keep",
        skip_existing=pictures.skip_existing,
        max_pixels=MAX_PIXELS
        if pictures.max_pixels is None
        else checked_limit(pictures.max_pixels),
        limits=FetchLimits(
            max_bytes=limits.max_download_mb * 1_000_000,
            timeout_s=limits.timeout,
            allow_private=limits.allow_private,
        ),
        ending=None if pictures.format is None else ending_of(pictures.format),
        pattern=ALL if pictures.glob is None else pictures.glob,
    )


def _opened(flags: ModelFlags, limits: LimitFlags) -> "Stylizer":
    from nstc.core.bundle import open_bundle
    from nstc.core.recipe.settings import parse_bytes
    from nstc.runtime.foreign.trial import current_limits, limited_to
    from nstc.runtime.stylizer import Stylizer, artifact_of

    max_ram_bytes = None if limits.max_ram is None else parse_bytes(limits.max_ram)
    asked = artifact_of(flags.precision, flags.artifact)
    bundle = open_bundle(flags.model)
    _make_missing(bundle, asked)
    usual = current_limits()  # which smaller limits of a picture or an address leave as they are
    ram = max(max_ram_bytes or 0, usual.max_ram_bytes)
    with limited_to(max_ram_bytes=ram, timeout_s=max(limits.timeout, usual.timeout_s)):
        return Stylizer(
            bundle,
            max_ram_bytes=max_ram_bytes,
            precision=flags.precision,
            artifact=flags.artifact,
            trust=flags.trust,
            threads=flags.threads,
            provider=flags.provider,
            approximate_tiles=limits.allow_approximate_tiles,
        )


def _make_missing(bundle: "Bundle", asked: str | None) -> None:
    """Make the file that is to run in the user's cache, of a bundle of weights alone or of the zoo.

    Of others, and of files that nothing makes, the session says what to do.
    """
    from nstc.core.bundle import artifact_file, artifact_name
    from nstc.core.zoo import named, zoo_name_of
    from nstc.runtime.session import cached_artifact, usual_artifact

    name = artifact_name(asked or usual_artifact(bundle))
    is_there = name in bundle.artifacts or cached_artifact(bundle, name).is_file()
    if is_there or (bundle.artifacts and zoo_name_of(bundle.path) is None):
        return
    try:
        from nstc.compress.export.export_model import made_artifact
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"{named(bundle.path)} holds no {artifact_file(name)}, and making it needs "
            f'{error.name}: run  pip install "nstc[compress]"  and the same command again.'
        ) from error
    with contextlib.suppress(ArtifactError):
        made_artifact(bundle, name, told=tell)


def _run(
    photos: list[str],
    output: str,
    stylizer: "Stylizer",
    options: "BatchOptions",
    *,
    model: str,
    json_output: bool,
) -> None:
    from nstc.runtime.files.batch import stylize_files
    from nstc.runtime.files.picture_jobs import is_many

    many = is_many(photos)
    done = 0

    def report(outcome: "PictureOutcome") -> None:
        nonlocal done
        done += outcome.status == "done"
        _report(outcome, quiet=json_output, many=many, piped=output == "-")

    try:
        outcomes = stylize_files(photos, output, stylizer, options, report)
    except KeyboardInterrupt as interrupt:
        raise Interrupted(
            f"stopped with {done} pictures done, which are kept: give --skip-existing to go on."
            if many
            else f"stopped: {output} is not written."
        ) from interrupt
    counts: Counter[str] = Counter(outcome.status for outcome in outcomes)
    if json_output:
        say_json(_summary(outcomes, counts, model))
    errors = [outcome.error for outcome in outcomes if outcome.error is not None]
    if errors and not many:
        raise errors[0]
    if many:
        tell(f"{counts['done']} done, {counts['skipped']} skipped, {counts['failed']} failed")
    if counts["failed"]:
        raise BatchError(
            f"{counts['failed']} of {len(outcomes)} pictures could not be stylised: "
            "each is named above, and the others are done."
        )
    if errors:
        raise BatchError("not all pictures of standard input were made: see above.")


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
        say(f"{place}  {'skipped, it is there already' if skipped else made}", err=piped)


def _summary(outcomes: "list[PictureOutcome]", counts: Counter[str], model: str) -> dict[str, Any]:
    return {
        "schema": "nstc.stylize/1",
        "model": model,
        **{status: counts[status] for status in ("done", "skipped", "failed")},
        "pictures": [
            {
                "source": outcome.source,
                "output": outcome.output,
                "status": outcome.status,
                "width": outcome.width,
                "height": outcome.height,
                "frames": outcome.frames,
                "seconds": round(outcome.seconds, 4),
                "notes": list(outcome.notes),
                "error": None
                if outcome.error is None
                else {"kind": type(outcome.error).__name__, "message": str(outcome.error)},
            }
            for outcome in outcomes
        ],
    }
