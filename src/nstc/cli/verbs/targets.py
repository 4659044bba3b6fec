"""nstc targets."""

from nstc.cli import options
from nstc.cli.output import print_list, say_json


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
