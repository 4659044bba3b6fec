"""nstc doctor, targets and web-setup: what can run here, where to measure, and a part of that."""

from typing import TYPE_CHECKING, Annotated

import typer

from nstc.cli import options
from nstc.cli.output import print_list, say, say_json

if TYPE_CHECKING:
    from nstc.benchmarks.doctor.delegates import DelegateReport
    from nstc.benchmarks.doctor.diagnosis import Diagnosis


def doctor(
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            help="A bundle or zoo name: tell too which of its operators the accelerators of "
            "phones and boards would refuse. Needs onnx.",
        ),
    ] = None,
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
    _print_machine(found)
    if reports:
        _print_delegates(reports)


def _print_machine(found: "Diagnosis") -> None:
    print_list(("this machine",), (), found.facts(), sentences=("",))
    rows = [
        (own.name, "yes" if own.reason is None else f"no: {own.reason}") for own in found.providers
    ]
    print_list(("provider",), (), rows, sentences=("available",))
    parts = [
        (own.name, "installed" if own.pip_line is None else f"{own.pip_line}", own.missing_text)
        for own in found.extras
    ]
    print_list(("extra",), (), parts, sentences=("install with", "missing"))
    say("Places to measure: nstc targets")


def _print_delegates(reports: "tuple[DelegateReport, ...]") -> None:
    print_list(
        ("file", "delegate"),
        ("operators", "taken as is", "at one size", "partitions"),
        (report.cells() for report in reports),
        sentences=("refused even at one size",),
    )
    for source in dict.fromkeys(f"{report.delegate}: {report.source}" for report in reports):
        say(source)


def targets(
    json_output: options.Json = False,
) -> None:
    """List where nstc bench can measure, and why not where it can't."""
    from nstc.benchmarks.targets import TARGETS

    kinds = TARGETS.values()
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
