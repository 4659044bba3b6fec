"""nstc targets."""

from nstc.cli import options, output


def targets(json_output: options.Json = False) -> None:
    """List the targets that nstc bench can measure, and why others are unavailable."""
    from nstc.benchmarks.targets import all_targets

    kinds = all_targets()
    if json_output:
        output.say_json([kind.to_dict() for kind in kinds])
        return
    output.print_list(
        ("target",),
        (),
        (kind.cells() for kind in kinds),
        sentences=("available", "what it measures"),
    )
