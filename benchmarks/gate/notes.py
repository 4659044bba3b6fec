"""What a reader of a check's findings must know: what was left out, and why."""

from collections.abc import Iterable, Sequence

from nstc.benchmarks.gate import baseline as baselines
from nstc.benchmarks.gate.baseline import Baseline
from nstc.benchmarks.gate.keys import FileKey
from nstc.benchmarks.gate.pairing import Pairs
from nstc.benchmarks.gate.scope import Scope
from nstc.benchmarks.gate.verdicts import UPDATE, ComparedWith, Finding, Measured, Verdict


def on_models(known: Baseline, pairs: Pairs, scope: Scope) -> list[str]:
    """Of what was compared with what, and of what was not."""
    notes: list[str] = []
    for own, model in pairs.items():
        given = baselines.known_model(model, known.folder)
        if given.place != own.place and given.name != own.name:
            notes.append(
                f"{model}, whose name is {given.name}, was compared with the baseline's only "
                f"model, {own.place}, whose name is {own.name}"
            )
    if known.protocol.vgg is None:
        notes.append("quality was not compared: the baseline was made without it")
    if (left_out := scope.note(known)) is not None:
        notes.append(left_out)
    if scope.times is ComparedWith.BASE:
        notes.append("time is compared with the base's own files, in the same run")
    if left := [own.place for own in known.models if own not in pairs]:
        notes.append(f"not checked, since other models were named: {', '.join(left)}")
    return notes


def on_same_pictures(measured: Iterable[Measured]) -> list[str]:
    """Of how many rows the quality is the baseline's, which was not measured again."""
    found = [own.same_pictures for own in measured]
    if not any(found):
        return []
    return [
        f"quality of {sum(found)} of {len(found)} rows is the baseline's: the pictures are the "
        "same, byte for byte, and were not judged again; --measure-quality does"
    ]


def on_unjudged(findings: Sequence[Finding]) -> list[str]:
    """What the baseline is too old for, one note for all rows that lack the same numbers."""
    lacking: dict[FileKey, list[str]] = {}
    for finding in findings:
        if finding.verdict is Verdict.NOT_JUDGED and finding.value is not None:
            lacking.setdefault(finding.row, []).append(finding.fact)
    rows: dict[str, list[str]] = {}
    for row, names in lacking.items():
        rows.setdefault(", ".join(names), []).append(str(row))
    return [
        f"not in the baseline, and so not judged: {names}, of {'; '.join(own)}. {UPDATE} adds them"
        for names, own in rows.items()
    ]
