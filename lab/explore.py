"""Compare students by measurement: `python -m lab.explore PLAN --photos DIR -o OUT`.

Each variant of the plan (a TOML file, see `lab/plans`) is distilled with the same budget,
quantized and measured; OUT gets their bundles, `report.md` and `report.svg`. Run again to go on.
"""

import argparse
import dataclasses
import sys
from pathlib import Path

from lab.exploration import explore, load_plan
from lab.exploration_report import TABLE_FILE
from nstc.cli.output import Bar
from nstc.core.errors import NstcError, OptionError
from nstc.core.photos import photos_in, sample_photos


def main() -> None:
    """Explore."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("plan", type=Path)
    parser.add_argument("--output", "-o", type=Path, required=True)
    parser.add_argument("--teacher", default="zoo:starry-night/teacher")
    parser.add_argument("--photos", type=Path, action="append", required=True)
    parser.add_argument(
        "--judge", type=Path, action="append", help="photographs to judge by; default: the samples"
    )
    parser.add_argument("--only", action="append", help="name of a variant, repeatable")
    parser.add_argument("--pixel-steps", type=int, help="instead of the plan's, for all variants")
    parser.add_argument("--steps", type=int, help="likewise, of the second stage")
    arguments = parser.parse_args()
    try:
        _run(arguments)
    except NstcError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


def _run(arguments: argparse.Namespace) -> None:
    plan = load_plan(arguments.plan, pixel_steps=arguments.pixel_steps, steps=arguments.steps)
    if arguments.only:
        names = [variant.name for variant in plan.variants]
        unknown = [name for name in arguments.only if name not in names]
        if unknown:
            raise OptionError(f"no variant {', '.join(unknown)}: there is {', '.join(names)}.")
        chosen = tuple(v for v in plan.variants if v.name in arguments.only)
        plan = dataclasses.replace(plan, variants=chosen)
    with Bar() as bar:
        outcomes = explore(
            arguments.teacher,
            arguments.output,
            plan=plan,
            photos=photos_in(arguments.photos),
            judged=photos_in(arguments.judge) if arguments.judge else sample_photos(),
            progress=bar,
        )
    print((arguments.output / TABLE_FILE).read_text(encoding="utf-8"))
    if failed := [outcome.name for outcome in outcomes if outcome.failure]:
        sys.exit(f"failed: {', '.join(failed)}; the table says why")


if __name__ == "__main__":
    main()
