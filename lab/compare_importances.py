"""Compare importances: `python -m lab.compare_importances PLAN --photos DIR -o OUT`.

Each model of the plan (a TOML file, see `lab/plans/importances.toml`) is pruned by each
importance, without and with fine-tuning, and judged on photographs that it did not learn from. The
table goes to standard output and to OUT/report.md. Run again to go on.
"""

import argparse
import sys
from pathlib import Path

from lab.importance_comparison import compare, comparison_table, load_plan
from nstc.cli.output import Bar
from nstc.core.errors import NstcError
from nstc.core.files import atomic_file
from nstc.core.photos import photos_in, sample_photos


def main() -> None:
    """Compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("plan", type=Path)
    parser.add_argument("--output", "-o", type=Path, required=True)
    parser.add_argument("--photos", type=Path, action="append", required=True)
    parser.add_argument("--at-most", type=int, help="photographs, evenly spread; default: all")
    arguments = parser.parse_args()
    try:
        _run(arguments)
    except NstcError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


def _run(arguments: argparse.Namespace) -> None:
    photos = photos_in(arguments.photos)
    if arguments.at_most:
        photos = photos.take(arguments.at_most)
    with Bar() as bar:
        rows = compare(
            load_plan(arguments.plan),
            arguments.output,
            photos=photos,
            judged=sample_photos(),
            progress=bar,
        )
    table = comparison_table(rows)
    with atomic_file(arguments.output / "report.md") as draft:
        draft.write_text(table + "\n", encoding="utf-8")
    print(table)


if __name__ == "__main__":
    main()
