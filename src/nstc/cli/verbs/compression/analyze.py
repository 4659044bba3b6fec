"""nstc analyze."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import nstc
from nstc.cli import options, output

if TYPE_CHECKING:
    from nstc.compress.pruning.analysis import Analysis
    from nstc.compress.pruning.probe import Sensitivity


@options.with_flags
def analyze(
    model: Annotated[str, typer.Argument(help="Bundle or zoo name to analyse.")],
    plot: Path | None = options.flag(
        None, "Also write a plot, to a file ending in .svg or .png.", "--output", "-o"
    ),
    photos: options.Photos = None,
    artifact: str | None = options.flag(
        None, "ONNX file to time.", shown="int8 if there is one, else float"
    ),
    size: int = options.flag(512, "Side in px of the picture that layers are timed on."),
    threads: int = options.flag(1, "Threads that layers are timed with."),
    importance: str = options.flag(
        "group-norm",
        "What chooses the half of the channels to remove: magnitude, group-norm or activation.",
    ),
    vgg: options.Vgg = "shipped",
    _max_ram: options.TrialRam = None,
    _timeout: options.TrialTime = None,
    json_output: options.Json = False,
) -> None:
    """Show each layer's cost, and what pruning or rounding it would do to the picture."""
    from nstc.compress.pruning.analysis import refuse_unknown_ending, write_plot
    from nstc.core.files import refuse_unwritable_file

    if plot is not None:
        refuse_unknown_ending(plot)
        refuse_unwritable_file(plot)
    with output.Bar() as bar:
        found = nstc.analyze(
            model,
            photos=nstc.photos_in(photos or []),
            artifact=artifact,
            size=size,
            threads=threads,
            importance=importance,
            vgg=vgg,
            progress=bar,
        )
    if plot is not None:
        write_plot(found, plot)
    if json_output:
        output.say_json(found.to_dict())
    else:
        _print_analysis(found)


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
