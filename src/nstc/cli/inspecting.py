"""The verbs that look: analyze, models, verify, targets, web-setup and doctor."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import nstc
from nstc.cli import options
from nstc.cli.options import flag, with_flags
from nstc.cli.output import Bar, print_list, say, say_json

if TYPE_CHECKING:
    from nstc.benchmarks.doctor.delegates import DelegateReport
    from nstc.compress.pruning.analysis import Analysis
    from nstc.compress.pruning.survey import Damage


@with_flags
def analyze(
    model: Annotated[str, typer.Argument(help="Bundle or zoo name to look into.")],
    plot: Path | None = flag(
        None, "Also draw it, to a file ending in .svg or .png.", "--output", "-o"
    ),
    photos: options.Photos = None,
    artifact: str | None = flag(
        None, "ONNX file to time.", shown="int8 if there is one, else float"
    ),
    size: int = flag(512, "Side in px of the picture that is timed."),
    threads: int = flag(1, "To time with."),
    importance: str = flag("group-norm", "Which half goes: magnitude, group-norm or activation."),
    vgg: options.Vgg = "shipped",
    _max_ram: options.TrialRam = None,
    _timeout: options.TrialTime = None,
    json_output: options.Json = False,
) -> None:
    """Show layer by layer what a network costs and could lose."""
    from nstc.compress.pruning.analysis_plot import refuse_unknown_ending, write_plot
    from nstc.core.files import refuse_unwritable_file

    if plot is not None:
        refuse_unknown_ending(plot)
        refuse_unwritable_file(plot)
    with Bar() as bar:
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
        say_json(found.to_dict())
    else:
        _print_analysis(found)


def _print_analysis(analysis: "Analysis") -> None:
    from nstc.benchmarks.wording import NONE, byte_count, count, fine

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
    print_list(
        ("layer", "kernel"), ("params", "MACs", "memory", "ms", "time %", "halved", "8 bits"), rows
    )
    say(
        f"{analysis.artifact} at {analysis.size}x{analysis.size}, {analysis.threads} thread(s): "
        f"{fine(analysis.total_ms)} ms in operators. memory: what it makes, in float32. halved, "
        "8 bits: growth of the style loss / of the content loss in %, by that layer alone, before "
        "any fine-tuning. * channels that several layers make: all are halved together."
    )


def _lost(damage: "Damage") -> str:
    return f"{100 * damage.style:+.1f} / {100 * damage.content:+.1f}"


@with_flags
def models(
    sheet: Path | None = flag(None, "A photograph, to see all of them on, side by side."),
    output: Path | None = flag(None, "The picture that --sheet writes.", "--output", "-o"),
    json_output: options.Json = False,
) -> None:
    """List the models that ship with nstc."""
    from nstc.core.errors import OptionError
    from nstc.core.zoo_listing import basis, list_zoo

    if (sheet is None) != (output is None):
        raise OptionError("--sheet and --output go together: give the photograph and the picture.")
    if sheet is not None and output is not None:
        from nstc.runtime.stylizer import write_zoo_sheet

        names = write_zoo_sheet(sheet, output)
        if json_output:
            say_json({"output": str(output), "models": names})
        else:
            say(f"wrote {output}: {', '.join(names)}")
        return
    entries = list_zoo()
    if json_output:
        say_json([entry.to_dict() for entry in entries])
        return
    print_list(
        ("name", "stage", "style"),
        ("KB", "times faster", "style ratio"),
        (entry.cells() for entry in entries),
        sentences=("artifacts",),
    )
    for line in basis(entries):
        say(line)


@with_flags
def verify(
    models: Annotated[list[str], typer.Argument(help="Bundles or zoo names.", metavar="BUNDLE")],
    trust: options.TrustBundled = False,
    _max_ram: options.TrialRam = None,
    _timeout: options.TrialTime = None,
    record: bool = flag(
        False,
        "Write what each file paints here into the bundle first: its check vectors, which "
        "bundles from before they were kept lack.",
    ),
    json_output: bool = flag(False, "Print what was found as JSON.", "--json"),
) -> None:
    """Check a bundle's hashes, and what its files paint."""
    from nstc.runtime.verification import record as record_vectors
    from nstc.runtime.verification import verify as run

    checked = []
    for model in models:
        if record:
            record_vectors(model, trust=trust)
        found = run(model, trust=trust)
        checked.append(found)
        if not json_output:
            say(f"{found.model}: {found.summary}")
            rows = [(each.file, each.check, each.state, each.detail) for each in found.findings]
            print_list(("file", "check", "state"), (), rows, sentences=("found",))
    if json_output:
        say_json([found.to_dict() for found in checked])
    errors = [error for found in checked for error in found.errors]
    if errors:
        more = f" ({len(errors) - 1} more above)" if len(errors) > 1 else ""
        raise type(errors[0])(f"{errors[0]}{more}")


@with_flags
def doctor(
    model: str | None = flag(
        None,
        "A bundle or zoo name: tell too which of its operators the accelerators of "
        "phones and boards would refuse. Needs onnx.",
        "--model",
        "-m",
    ),
    json_output: options.Json = False,
) -> None:
    """Say what this machine can run, and how to get the rest."""
    from nstc.benchmarks.doctor.diagnosis import diagnose

    found = diagnose()
    reports: tuple[DelegateReport, ...] = ()
    if model is not None:
        from nstc.benchmarks.doctor.delegates import delegate_reports

        reports = delegate_reports(model)
    if json_output:
        content = found.to_dict()
        if model is not None:
            content["delegates"] = [report.to_dict() for report in reports]
        say_json(content)
        return
    print_list(("this machine",), (), found.facts(), sentences=("",))
    rows = [
        (own.name, "yes" if own.reason is None else f"no: {own.reason}") for own in found.providers
    ]
    print_list(("provider",), (), rows, sentences=("available",))
    parts = [(own.name, own.pip_line or "installed", own.missing_text) for own in found.extras]
    print_list(("extra",), (), parts, sentences=("install with", "missing"))
    say("Places to measure: nstc targets")
    if reports:
        print_list(
            ("file", "delegate"),
            ("operators", "taken as is", "at one size", "partitions"),
            [report.cells() for report in reports],
            sentences=("refused even at one size",),
        )
    for source in dict.fromkeys(f"{report.delegate}: {report.source}" for report in reports):
        say(source)


def targets(
    json_output: options.Json = False,
) -> None:
    """List where nstc bench can measure, and why not where it can't."""
    from nstc.benchmarks.targets import all_targets

    kinds = all_targets()
    if json_output:
        say_json([kind.to_dict() for kind in kinds])
        return
    print_list(
        ("target",),
        (),
        (kind.cells() for kind in kinds),
        sentences=("available", "what it measures"),
    )


def web_setup() -> None:
    """Fetch onnxruntime-web from npm, for nstc bench --target web."""
    from nstc.benchmarks.targets.web.setup import install, runtime_version

    runtime = install()
    say(f"onnxruntime-web {runtime_version()} is in {runtime.folder}")
