"""nstc doctor."""

import dataclasses

from nstc.cli import options, output


@options.with_flags
def doctor(
    model: str | None = options.flag(
        None,
        "Bundle or zoo name: also report which of its operators the accelerators of phones and "
        "boards would refuse. Needs onnx.",
        "--model",
        "-m",
    ),
    json_output: options.Json = False,
) -> None:
    """Report what this machine can run, and how to install the rest."""
    from nstc.benchmarks.doctor import delegate_reports, diagnose

    found = diagnose()
    reports = () if model is None else delegate_reports(model)
    if json_output:
        content = found.to_dict()
        if model is not None:
            content["delegates"] = [dataclasses.asdict(report) for report in reports]
        output.say_json(content)
        return
    output.print_list(("this machine",), (), found.facts(), sentences=("",))
    rows = [
        (own.name, "yes" if own.reason is None else f"no: {own.reason}") for own in found.providers
    ]
    output.print_list(("provider",), (), rows, sentences=("available",))
    parts = [
        (own.name, own.pip_line or "installed", ", ".join(own.missing)) for own in found.extras
    ]
    output.print_list(("extra",), (), parts, sentences=("install with", "missing"))
    output.say("Targets to measure on: nstc targets")
    if reports:
        output.print_list(
            ("file", "delegate"),
            ("operators", "taken as is", "at one size", "partitions"),
            [report.cells() for report in reports],
            sentences=("refused even at one size",),
        )
    for source in dict.fromkeys(f"{report.delegate}: {report.source}" for report in reports):
        output.print_below(source)
