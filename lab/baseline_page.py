"""A hook of MkDocs: the reference page of the baseline's file format, written from the code.

Keys, types and meanings are the fields of the dataclasses in `nstc.benchmarks.gate.baseline`, their
annotations and the comments behind them; tolerances are those that the gate uses. What `nstc check`
does with each key stands here, and a key without it stops the build.
"""

import dataclasses
import inspect
import json
import re
import types
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Union, get_args, get_origin, get_type_hints

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from nstc.benchmarks.gate import baseline, instruction_verdicts, verdicts
from nstc.benchmarks.quality.metrics import LEARNED, METRICS, Better, Metric, Tolerance
from nstc.benchmarks.timing.instruction_counts import InstructionCount
from nstc.benchmarks.timing.statistics import REFERENCE_SCATTER, Interval, Tail
from nstc.core import errors
from nstc.core.manifest import PhotoRecord

PATH: Final = "reference/baseline.md"
ZOO: Final = Path(__file__).resolve().parents[1] / "models" / "zoo" / "baseline.json"

HEADINGS: Final[Mapping[type, str]] = {
    baseline.BaselineContent: "The file",
    baseline.BaselineProtocol: "Protocol",
    PhotoRecord: "Photographs",
    baseline.KnownModel: "Model",
    baseline.BaselineRow: "Row",
    baseline.BaselineQuality: "Quality",
    Tail: "Tail",
    baseline.BaselineTime: "Time",
    Interval: "Interval",
    InstructionCount: "Instructions",
    baseline.LogEntry: "Log entry",
    baseline.BaselineFile: "Released file",
}
"""The types that a file is made of, in the order of the page."""


def _percent(share: float) -> str:
    return f"{share * 100:g} %"


_SAME_ROW: Final = "names the row that is measured again"
_OF_A_ROW: Final = "names the row that it belongs to"
_IN_ID: Final = "part of the protocol's `id`"
COMPARED: Final[Mapping[str, str]] = {
    "The file.protocol": "each of its keys",
    "The file.reference": f"timed in the same rounds; its `sha256` is {_IN_ID}",
    "The file.models": "all are measured, or those that the command names",
    "The file.rows": "each of its keys",
    "The file.times": "each of its keys, with `--time`",
    "The file.log": "not compared",
    "The file.files": "each of its keys; an integer file that is missing here is MISSING_BASELINE, "
    "or NOT_JUDGED where an older nstc wrote the model's rows",
    "Protocol.id": "must be that of the run, else quality is INCOMPARABLE",
    "Protocol.rounds": "initial number of rounds, unless `--rounds` is given",
    "Protocol.size": _IN_ID,
    "Protocol.seed": "used again",
    "Protocol.photos": "each of its keys",
    "Protocol.vgg": f"{_IN_ID}; with null, quality is not measured",
    "Photographs.count": "as many are used again",
    "Photographs.sets": "not compared",
    "Photographs.list_sha256": _IN_ID,
    "Model.place": "what is opened where the command names no models",
    "Model.name": "finds a model that the command gives by another path",
    "Model.sha256": "must be equal for the reference and the teachers; not compared for `models`",
    "Row.model": _SAME_ROW,
    "Row.artifact": _SAME_ROW,
    "Row.target": f"{_SAME_ROW}; on fewer cores than it says, its time is INCOMPARABLE",
    "Row.size": _SAME_ROW,
    "Row.facts": "each exactly: more is REGRESSED, fewer is IMPROVED",
    "Row.quality": "with null, a metric that is measured now is MISSING_BASELINE",
    "Quality.metrics": "each within its [tolerance](#tolerances); one that is missing here is "
    "NOT_JUDGED if it is newer than the baseline or of a package, else MISSING_BASELINE",
    "Quality.teacher": "must be the same network, else quality is INCOMPARABLE",
    "Quality.style_source": "must be the same, else quality is INCOMPARABLE",
    "Quality.tails": "each of its keys; those that are missing here are NOT_JUDGED",
    "Quality.pictures": "where it is that of the run, quality is the baseline's and not measured "
    "again; without it, quality is measured",
    "Tail.p90": "under the metric's name and `_p90`; within the [tolerance of tails](#tolerances)",
    "Tail.worst": "under the metric's name and `_worst`; within that tolerance too",
    "Tail.worst_photo": "not compared",
    "Time.model": _OF_A_ROW,
    "Time.artifact": _OF_A_ROW,
    "Time.target": _OF_A_ROW,
    "Time.size": _OF_A_ROW,
    "Time.machine_class": "must be that of the run. If only the runtime differs, the time is "
    "INCOMPARABLE; if no class fits, MISSING_BASELINE",
    "Time.protocol": "must be that of the run, else the time is INCOMPARABLE",
    "Time.rounds": "used in the advice of how many rounds would settle an INCONCLUSIVE time",
    "Time.speedup": f"may be {_percent(verdicts.TIME_TOLERANCE)} slower or faster, or by "
    "`--tolerance`; the whole 95 % interval counts",
    "Time.latency_ms": "times `speedup`, it is the reference's time. Where that differs by more "
    f"than {_percent(REFERENCE_SCATTER)} now, the rest is added to the tolerance",
    "Time.cpu": "not compared",
    "Interval.median": "the median now divided by it is the change",
    "Interval.low": "makes the interval of the change wider",
    "Interval.high": "makes the interval of the change wider",
    "Log entry.date": "not compared",
    "Log entry.reason": "not compared",
    "Log entry.nstc": "not compared",
    "Log entry.machine_class": "not compared",
    "Row.instructions": "where none is of the run's class, or the run can't count, NOT_JUDGED",
    "Instructions.per_picture": f"may be {_percent(instruction_verdicts.TOLERANCE)} more or fewer",
    "Instructions.functions": "the finding says which changed most",
    "Instructions.operators": "the finding says which changed most",
    "Instructions.fewer": "not compared",
    "Released file.model": "names the model whose files are opened",
    "Released file.artifact": "names the file, which must still be there, else it is INCOMPARABLE",
    "Released file.pictures": "each exactly: another picture is CHANGED",
}
"""What `nstc check` does with each key."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the page."""
    files.append(File.generated(config, PATH, content=page()))
    return files


def page() -> str:
    """The page in Markdown."""
    kinds = (errors.BaselineError, errors.CorruptBaselineError, errors.BaselineSchemaError)
    missing, corrupt, schema = (kind.exit_code for kind in kinds)
    text = (
        "# Baselines\n\nGenerated from the code by `make docs`.\n\n"
        "A baseline is the file that `nstc check` compares with. `nstc bench --save-baseline FILE` "
        "starts one, and `nstc baseline update FILE --reason TEXT` accepts new numbers. [Gate in "
        "CI](../guides/ci.md) shows how to use it.\n\n"
        f"The file is JSON in UTF-8: one object, whose first key `schema` is `{baseline.SCHEMA}`. "
        "Readers ignore keys that they do not have. A metric that is infinite or not a number is "
        'the text `"inf"`, `"-inf"` or `"nan"`. Every model has a row and every row a model, and '
        "no row is there twice.\n\n"
        f"A file that can't be read ends with exit code {missing}, a damaged one with {corrupt}, "
        f"and one of another schema with {schema}.\n"
    )
    for kind, heading in HEADINGS.items():
        rows = [
            (f"`{name}`", what, meaning, COMPARED[f"{heading}.{name}"])
            for name, what, meaning in fields_of(kind)
        ]
        head = ("key", "type", "meaning", "in `nstc check`")
        text += f"\n## {heading}\n\n{_introduction(kind)}\n\n{_table(head, rows)}"
    text += (
        "\n## Tolerances\n\nA median may move by this much on either side. Where two values are "
        "given, the wider one holds. [Metrics](metrics.md#tolerances-of-nstc-check) says how they "
        "were chosen.\n\n"
    )
    figures = [("facts: `params`, `macs`, `bytes` and others", "lower", "0")]
    figures += [
        (f"`{own.name}`", _BETTER[own.better], _allowed(own)) for own in (*METRICS, *LEARNED)
    ]
    text += _table(("figure", "better", "may move by"), figures)
    text += f"| `{verdicts.SPEEDUP}` | higher | {_percent(verdicts.TIME_TOLERANCE)} |\n"
    text += (
        "\nA metric of another package has the tolerance that the package gives it. One that is "
        f"not known here has that of {_allowed(_UNKNOWN)}, and lower is better.\n"
        "\nOf tails: "
        f"{', '.join(f'`{own.name}` {_words(own.tail)}' for own in METRICS if own.tail)}.\n"
    )
    return f"{text}\n## Example\n\n{_example()}"


def fields_of(kind: type) -> Iterator[tuple[str, str, str]]:
    """Key, type in words and meaning of each field of a dataclass."""
    hints = get_type_hints(kind, include_extras=True)
    comments: dict[str, str] = {}
    for own in reversed(kind.__mro__):
        if dataclasses.is_dataclass(own):
            source = inspect.getsource(own)
            comments |= dict(re.findall(r"^    (\w+): [^#\n]+  # (.+)$", source, re.MULTILINE))
    for each in dataclasses.fields(kind):
        meaning = comments[each.name].replace("None", "null")
        yield each.name, _type(hints[each.name]), f"{meaning[:1].upper()}{meaning[1:]}"


def _type(hint: Any) -> str:
    """A type in a reader's words; those with a section of their own are links to it."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _type(inner[0])
    if origin in (Union, types.UnionType):
        return " or ".join(_type(choice) for choice in inner)
    if origin is tuple:
        return f"list of {_type(inner[0])}"
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return f"object: a {_type(inner[1])} by name"
    if hint in HEADINGS:
        heading = HEADINGS[hint].lower()
        return f"[{heading}](#{heading.replace(' ', '-')})"
    return {str: "text", int: "whole number", float: "number", types.NoneType: "null"}[hint]


def _introduction(kind: type) -> str:
    return " ".join((kind.__doc__ or "").split())


_BETTER: Final[Mapping[Better, str]] = {
    Better.LOWER: "lower",
    Better.HIGHER: "higher",
    Better.NEITHER: "neither: any more is REGRESSED",
}
_UNKNOWN: Final = Metric("", lambda _own, _reference: None)


def _allowed(metric: Metric) -> str:
    own = metric.tolerance
    words = _words(own, metric.unit)
    if own.ceiling < float("inf"):
        words += f"; all values above {own.ceiling:g} {metric.unit} are equal"
    return words


def _words(tolerance: Tolerance, unit: str = "") -> str:
    absolute = f"{tolerance.absolute:g} {unit}".strip().replace("*", r"\*")
    relative = _percent(tolerance.relative) if tolerance.relative else ""
    return " or ".join(filter(None, (absolute if tolerance.absolute else "", relative)))


def _example() -> str:
    """The baseline of the included models, with one entry of each list."""
    content = json.loads(ZOO.read_text(encoding="utf-8"))
    content |= {key: content[key][:1] for key in ("models", "rows", "times", "log")}
    return (
        "From the baseline of the included models, one entry of each list:\n\n"
        f"```json\n{json.dumps(content, indent=1, ensure_ascii=False)}\n```\n"
    )


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(row)} |\n" for row in lines)
