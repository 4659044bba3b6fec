"""What a reader must know before believing the numbers."""

from collections.abc import Sequence

from nstc.benchmarks.report.columns import all_rows
from nstc.benchmarks.report.reading import Run


def caveats_of(runs: Sequence[Run]) -> list[str]:
    """One sentence each; none if there is nothing to warn of."""
    return [*_of_quality(runs), *_of_comparing(runs)]


def _of_quality(runs: Sequence[Run]) -> list[str]:
    rows = [row for _, row in all_rows(runs)]
    judged = [row.quality for row in rows if row.quality is not None]
    found = []
    few = sorted({quality.photos for quality in judged if quality.few_photos})
    if few:
        counts = " or ".join(map(str, few))
        found.append(f"Quality was judged on {counts} photographs only: a rough guide.")
    without = sorted({q.teacher for q in judged if q.style_source == "outputs"})
    if without:
        found.append(
            f"No painting is known for {', '.join(without)}: "
            "its style is the mean of its own pictures."
        )
    sampled: dict[str, str] = {}
    for quality in judged:
        sampled |= {name: str(count) for name, count in quality.sampled_photos.items()}
    found += [f"{name} was measured on {count} photographs." for name, count in sampled.items()]
    unjudged = len(rows) - len(judged)
    if unjudged:
        found.append(
            f"{unjudged} of {len(rows)} rows were not judged: the plot of quality lacks them."
        )
    return found


def _of_comparing(runs: Sequence[Run]) -> list[str]:
    found = []
    if len({run.protocol.get("id") for run in runs}) > 1:
        found.append(
            "These runs followed different protocols: their speed-ups and qualities are relative "
            "to different references, photographs or sizes, and can't be compared."
        )
    machines = {(str(run.machine.get("cpu")), str(run.machine.get("cores"))) for run in runs}
    if len(machines) > 1:
        found.append("These runs are of different machines: their milliseconds can't be compared.")
    return found
