"""nstc analyze."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

import nstc
from nstc.cli import options, output
from nstc.core.errors import OptionError

if TYPE_CHECKING:
    from nstc.compress.pruning.analysis import Analysis
    from nstc.compress.pruning.probe import Sensitivity
    from nstc.compress.quantization.compare_files import FileComparison

# What only the costs of layers are measured by, by default.
_USUAL: Final[dict[str, Any]] = {
    "artifact": None,
    "threads": 1,
    "importance": "group-norm",
    "vgg": "shipped",
}
_PLOT: Final = (
    "Also write a plot, to a file ending in .svg or .png; with --compare, a heat map of where "
    "pictures differ, to one ending in .png."
)
_WORST: Final = 3  # layers that are named below the table


@options.with_flags
def analyze(
    model: Annotated[str, typer.Argument(help="Bundle or zoo name to analyse.")],
    plot: Path | None = options.flag(None, _PLOT, "--output", "-o"),
    compare: tuple[str, str] | None = options.flag(
        None,
        "Instead of timing layers, compare those of a file with another's, such as int8 float, on "
        "at most eight photographs. Each is an artifact, or the path of an ONNX file that nstc "
        "made.",
        metavar="FILE REFERENCE",
    ),
    photos: options.Photos = None,
    artifact: str | None = options.flag(
        None, "ONNX file to time.", shown="int8 if there is one, else float"
    ),
    size: int = options.flag(
        512,
        "Side in px of the picture that layers are timed on; with --compare, of the photographs' "
        "squares, at most 1024.",
    ),
    threads: int = options.flag(1, "Threads that layers are timed with."),
    importance: str = options.flag(
        "group-norm",
        "What chooses the half of the channels to remove: magnitude, group-norm or activation.",
    ),
    vgg: options.Vgg = "shipped",
    seed: int = options.flag(0, "Random seed of the choice of photographs for --compare."),
    _max_ram: options.TrialRam = None,
    _timeout: options.TrialTime = None,
    json_output: options.Json = False,
) -> None:
    """Show each layer's cost, and what pruning or rounding it would do to the picture.

    With --compare: show how much noise each layer of a file has beside another file, and which
    layers add it.
    """
    from nstc.compress.pruning.analysis import refuse_unknown_ending, write_plot
    from nstc.core.files import refuse_unwritable_file

    of_costs: dict[str, Any] = {"artifact": artifact, "threads": threads}
    of_costs |= {"importance": importance, "vgg": vgg}
    if compare is not None:
        given = {name: own != _USUAL[name] for name, own in of_costs.items()}
        _refuse(given, "has no meaning with --compare")
        _compare(model, compare, photos or [], plot, size, seed, json_output=json_output)
        return
    _refuse({"seed": seed != 0}, "belongs to --compare")
    if plot is not None:
        refuse_unknown_ending(plot)
        refuse_unwritable_file(plot)
    with output.Bar() as bar:
        found = nstc.analyze(
            model, photos=nstc.photos_in(photos or []), size=size, progress=bar, **of_costs
        )
    if plot is not None:
        write_plot(found, plot)
    if json_output:
        output.say_json(found.to_dict())
    else:
        _print_analysis(found)


def _refuse(given: dict[str, bool], reason: str) -> None:
    names = [f"--{name}" for name, is_given in given.items() if is_given]
    if names:
        raise OptionError(f"{' and '.join(names)} {reason}: leave it out.")


def _compare(
    model: str,
    files: tuple[str, str],
    folders: list[Path],
    picture: Path | None,
    size: int,
    seed: int,
    *,
    json_output: bool,
) -> None:
    from nstc.compress.quantization.compare_files import refuse_unknown_ending, write_heat_map
    from nstc.core.files import refuse_unwritable_file

    if picture is not None:
        refuse_unknown_ending(picture)
        refuse_unwritable_file(picture)
    with output.Bar() as bar:
        found = nstc.compare(
            model, *files, photos=nstc.photos_in(folders), size=size, seed=seed, progress=bar
        )
    if picture is not None:
        write_heat_map(found, picture)
    if json_output:
        output.say_json(found.to_dict())
    else:
        _print_comparison(found)


def _print_comparison(found: "FileComparison") -> None:
    from nstc.benchmarks.table import NONE, fine
    from nstc.core.terminal import short_name

    rows = [
        (
            short_name(layer.layer),
            f"{layer.snr_db:.1f}",
            f"{layer.own_db:.1f}",
            fine(layer.largest),
            fine(layer.peak),
            NONE if layer.outside is None else f"{100 * layer.outside:.2f}",
        )
        for layer in found.layers
    ]
    output.print_list(("layer",), ("SNR dB", "own dB", "largest", "peak", "outside %"), rows)
    worst = [f"{short_name(own.layer)} ({own.own_db:.1f} dB)" for own in found.worst_first[:_WORST]]
    photo, count = found.worst_photo, len(found.photos)
    output.print_below(
        f"{found.candidate} compared with {found.reference} on {count} photograph(s) at "
        f"{found.size}x{found.size}. SNR: signal-to-noise ratio of what the layer makes, its "
        "inputs' noise included. own: the same with exact inputs, what the layer itself adds. "
        "largest: the largest difference. peak: the largest value. outside: values that its "
        "integers can't reach."
    )
    output.print_below(f"Most noise is added by {', '.join(worst)}.")
    output.print_below(
        f"Worst photograph: {photo.name}, {photo.psnr_db:.1f} dB, {photo.largest} of 255 levels at "
        f"most, {photo.mean:.1f} on average, most of it around row {photo.row}, column "
        f"{photo.column}."
    )
    if found.unmatched:
        output.print_below(f"Not compared: {'; '.join(found.unmatched)}.")


def _print_analysis(analysis: "Analysis") -> None:
    from nstc.benchmarks.table import NONE, byte_count, count, fine

    rows = [
        (
            layer.name,
            layer.kind,
            count(layer.params),
            count(layer.macs),
            byte_count(layer.activation_bytes),
            fine(layer.ms),
            f"{100 * layer.share:.1f}",
            NONE if layer.halved is None else _lost(layer.halved) + "*" * layer.made_together,
            _lost(layer.rounded),
        )
        for layer in analysis.layers
    ]
    other_ms, share = fine(analysis.other_ms), f"{100 * analysis.other_ms / analysis.total_ms:.1f}"
    rows.append(("all else", "", NONE, NONE, NONE, other_ms, share, NONE, NONE))
    output.print_list(
        ("layer", "kernel"),
        ("params", "MACs", "memory", "ms", "time %", "halved", "8 bits"),
        rows,
        apart=2,
    )
    output.print_below(
        f"{analysis.artifact} at {analysis.size}x{analysis.size}, {analysis.threads} thread(s): "
        f"{fine(analysis.total_ms)} ms in operators. memory: its output, in float32. halved, "
        "8 bits: growth of the style loss / content loss in % when that layer alone is pruned by "
        "half, or quantized, before any fine-tuning. * channels that several layers share: they "
        "are halved together."
    )


def _lost(sensitivity: "Sensitivity") -> str:
    return f"{100 * sensitivity.style:+.1f} / {100 * sensitivity.content:+.1f}"
