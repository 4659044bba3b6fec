"""Model cards, previews, and pictures side by side.

A card is made from the manifest: what the model is, what it was trained on and how good it is.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import onnx
from torch import nn

from nstc.benchmarks.quality.metrics import metric_of
from nstc.benchmarks.result import BenchResult, Quality, Row, rows_content
from nstc.benchmarks.table import NONE, as_markdown, finite, heading, shown_metrics
from nstc.benchmarks.timing.statistics import Interval
from nstc.compress.learning.logs import Losses, loss_curves, preview_sheet
from nstc.compress.quantization.summary import portability
from nstc.core import bundle as bundles
from nstc.core import decoding, errors, images
from nstc.core.bundle import Bundle
from nstc.core.manifest import Manifest, PhotoRecord, Step
from nstc.core.photos import PhotoSet, sample_photos
from nstc.core.recipe import SHAPE
from nstc.runtime.packs.any_painting import PREDICTOR_FILE
from nstc.runtime.session import open_session

CURVES_FILE: Final = "losses.png"
FRONTIER_FILE: Final = "frontier.svg"

SHEET_SIZE: Final = 384  # side in pixels of the pictures side by side
_LABELS: Final = ("photograph", "teacher", "student, float", "student, int8")

Stylise = Callable[[images.Pixels], images.Pixels]

_FRONTIER: Final = f"""![speed and style]({FRONTIER_FILE})

Beside the other students of the zoo, each against its own teacher."""

_ANY_PAINTING: Final = (
    f"- any painting: `{PREDICTOR_FILE}` predicts a style from a picture of one; without a picture "
    "it has the style above"
)
_CALIBRATED: Final = ("train-any",)  # verbs that train in float, and find ranges afterwards
_DIGITS: Final = 3  # behind the point, of metrics
_LAST_STEPS: Final = 3  # of a history are not folded away: distilling, pruning, quantizing
_CURVES: Final = f"""![loss curves]({CURVES_FILE})

The terms of the loss, with their weights, over the steps; on a logarithmic scale. Results are means
over the last tenth of the steps."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Measured(Row):
    """A row as a manifest keeps it, with quality and the counts of the network."""

    params: decoding.Count
    macs: decoding.Count
    quality: Quality
    protocol: decoding.Name
    judged_by: PhotoRecord | None = None
    reference: decoding.Name | None = None  # see `measurements`


def with_card(bundle: Bundle, result: BenchResult, photos: PhotoSet, teacher: Stylise) -> Bundle:
    """Write a student's rows of a result, its card and a preview into its bundle, in place.

    The preview has photographs, the teacher's pictures of them, and the student's. `OutputError` if
    the bundle can't be written.
    """
    with bundles.bundle_to_revise(bundle) as own:
        measured = measurements(result.to_dict(), own)
        manifest = dataclasses.replace(own.manifest, measurements=measured)
        with bundles.revised_bundle(own, own.path, manifest) as draft:
            write_card(draft, manifest, [teacher, open_session(own).run], photos)
        return bundles.open_bundle(own.path)


def write_card(
    folder: Path, manifest: Manifest, models: Sequence[Stylise], photos: PhotoSet
) -> None:
    """Write a student's card and its preview, see `write_preview`, into its draft."""
    write_preview(folder, models, photos)
    (folder / bundles.CARD_FILE).write_text(card(manifest, folder), encoding="utf-8")


def measurements(result: Mapping[str, Any], bundle: Bundle) -> tuple[Mapping[str, Any], ...]:
    """A bundle's rows of a benchmark's JSON as its manifest keeps them: without raw samples.

    Rows of a bundle without a teacher have `reference`, the model that it was timed beside, or None
    for its own float file. That is what must have judged it, and is called by the bundle's name
    there: `OutputError` for another judge.
    """

    def is_itself(model: str) -> bool:
        return Path(model).resolve() == bundle.path.resolve()

    beside = {own["target"]: own["model"] for own in result["references"]}
    kept = []
    for row in result["rows"]:
        if not is_itself(row["model"]):
            continue
        own = {
            **row,
            "model": bundle.name,
            "protocol": result["protocol"]["id"],
            "judged_by": result["protocol"]["photos"],
            "latency_ms": {k: v for k, v in row["latency_ms"].items() if k != "samples"},
        }
        if bundle.manifest.teacher is None:
            reference, quality = beside[row["target"]], row.get("quality")
            own["reference"] = None if is_itself(reference) else reference
            if quality is not None:
                if not is_itself(quality["teacher"]):
                    raise errors.OutputError(
                        f"{bundle.path} was judged by {quality['teacher']}, and a model without a "
                        "teacher is judged by its own float file: measure it without --teacher."
                    )
                own["quality"] = {**quality, "teacher": bundle.name}
        kept.append(own)
    return tuple(kept)


def write_preview(folder: Path, models: Sequence[Stylise], photos: PhotoSet) -> None:
    """Write a sheet of six photographs above each model's pictures of them into a folder."""
    squares = list(photos.take(6).squares(192))
    stylised = [[stylise(square) for square in squares] for stylise in models]
    sheet = images.picture.contact_sheet([squares, *stylised])
    images.write_picture(folder / bundles.PREVIEW_FILE, images.Picture(rgb=sheet))


def write_comparison(path: Path, teacher: Stylise, student: Bundle, photos: PhotoSet) -> None:
    """Write a labelled sheet: photograph, teacher, student and int8, a row for each photograph."""
    models = [teacher, *(open_session(student, artifact=name).run for name in ("onnx", "int8"))]
    squares = photos.squares(SHEET_SIZE)
    rows = [[square, *(stylise(square) for stylise in models)] for square in squares]
    images.write_picture(path, images.Picture(rgb=images.picture.contact_sheet(rows, _LABELS)))


def write_training_card(
    folder: Path, manifest: Manifest, network: nn.Module, losses: Losses
) -> None:
    """Write card, loss curves and preview of a network that was just trained into its draft."""
    sheet = preview_sheet(network, list(sample_photos().take(4).squares(256)))
    images.write_picture(folder / bundles.PREVIEW_FILE, images.Picture(rgb=sheet))
    images.write_picture(folder / CURVES_FILE, images.Picture(rgb=loss_curves(losses)))
    text = card(manifest, folder, teacher_shown=False)
    (folder / bundles.CARD_FILE).write_text(text, encoding="utf-8")


def card(manifest: Manifest, folder: Path | None = None, *, teacher_shown: bool = True) -> str:
    """A model's card in Markdown.

    `folder` is its bundle's: its plots are shown, and the portability of its int8 files. The
    preview has the teacher's pictures if there is a teacher, unless not `teacher_shown`.
    `CorruptBundleError` if the manifest's measurements are not rows of `nstc bench`.
    """
    shown = manifest.teacher is not None and teacher_shown
    held = {path.name for path in folder.iterdir()} if folder else set()
    int8 = sorted(folder.glob("model.int8*.onnx")) if folder else []
    predicts = [_ANY_PAINTING] if PREDICTOR_FILE in held | manifest.files.keys() else []
    portable = [f"- {file.name}: {portability(onnx.load(file))}" for file in int8]
    parts = [
        f"# {as_markdown(manifest.name)}",
        "\n".join([*_summary(manifest), *predicts, *portable]),
        f"![preview]({bundles.PREVIEW_FILE})",
        *(["Photographs, the teacher's pictures, the model's."] if shown else []),
        *_measurements(manifest),
        *([_FRONTIER] if FRONTIER_FILE in held else []),
        "## How it was made",
        *_history(manifest.history),
        *([_CURVES] if CURVES_FILE in held else []),
        "This card is generated from `manifest.json` and the graphs beside it.",
    ]
    return "\n\n".join(parts) + "\n"


def _summary(manifest: Manifest) -> list[str]:
    arguments = dict(manifest.architecture.arguments)
    if isinstance(inner := arguments.get("inner"), list | tuple):  # of a student's blocks
        arguments = {"blocks": len(inner), **arguments}
    listed = ", ".join(f"{k} {v}" for k, v in arguments.items())
    architecture = f"{manifest.architecture.name} ({listed})"
    lines = [f"- stage: {manifest.stage}", f"- architecture: {architecture}"]
    if manifest.style:
        source = "painting" if manifest.style.source == "painting" else "the network's own outputs"
        credit = f", {manifest.style.credit}" if manifest.style.credit else ""
        named = as_markdown(f"{manifest.style.name}{credit}")
        lines.append(f"- style: {named} (statistics of {source})")
    start = manifest.parent
    if start and (start.zoo or start.path):  # nobody else can find one that has a name only
        lines.append(f"- parent bundle: {as_markdown(start.zoo or start.name)}")
    if manifest.teacher:
        where = as_markdown(manifest.teacher.zoo or manifest.teacher.name)
        lines.append(f"- teacher: {where}, sha256 {manifest.teacher.sha256[:16]}")
    learned = manifest.learned
    calibrated = learned is not None and learned.verb in _CALIBRATED
    if bundles.QUANTIZATION_FILE in manifest.files and not calibrated:
        lines.append("- quantization-aware training: its int8 file has the ranges of that")
    contract = manifest.contract
    lines.append(
        f"- any picture size; receptive field: {contract.receptive_field} pixels across; "
        f"locality: {contract.locality}"
    )
    return lines


def _measurements(manifest: Manifest) -> list[str]:
    """The section of numbers: a table for each list of photographs that judged."""
    rows = manifest.measurements
    if not rows:
        return []
    try:
        read = decoding.decode(rows_content(rows), tuple[_Measured, ...], known_keys_only=False)
    except decoding.DecodingError as error:
        raise errors.CorruptBundleError(
            f"the manifest's measurements are of another form: {error}. Measure the bundle anew."
        ) from error
    judges: dict[PhotoRecord | None, list[_Measured]] = {}
    for row in read:
        judges.setdefault(row.judged_by, []).append(row)
    first = read[0]
    compared = (
        "compared with the teacher's float ONNX graph in the same run; quality against the teacher "
        "on photographs the model was not trained on. Ratios are the model's over the teacher's, "
        "medians over the photographs."
    )
    if manifest.teacher is None:
        # the same for all rows, see `measurements` and lab.ship
        beside = "its own float file"
        if first.reference is not None:
            beside = f"{as_markdown(first.reference)} in float"
        compared = (
            f"timed beside {beside} in the same run. The model has no teacher: ratios are "
            "each file's over its own float file's, medians over photographs it was not trained on."
        )
    return [
        "## Measured",
        f"By `nstc bench` at {first.size}x{first.size} on {first.target}, "
        f"protocol {first.protocol}, {compared}",
        *[part for judged in judges.values() for part in _judged(judged)],
        f"{first.params:,} parameters, {first.macs / 1e9:.2f} GMACs.",
    ]


def _judged(rows: Sequence[_Measured]) -> list[str]:
    """The table of one list of photographs."""
    quality, judged_by = rows[0].quality, rows[0].judged_by
    of = ""
    if judged_by is not None:
        of = f" of {_sets(judged_by)}"
    few = ": few, the intervals are wide" if quality.few_photos else ""
    shown = shown_metrics(name for row in rows for name in row.quality.metrics)
    table = [
        f"| file | KB | times faster (95 %) | {' | '.join(map(heading, shown))} |",
        f"|---|---|---|{'---|' * len(shown)}",
    ]
    for row in rows:
        metrics = [_number(row.quality.metrics.get(own.name)) for own in shown]
        table.append(
            f"| model.{row.artifact} | {row.size_bytes / 1000:.0f} | {row.speedup.median:.1f} "
            f"({row.speedup.low:.1f} to {row.speedup.high:.1f}) | {' | '.join(metrics)} |"
        )
    return [f"On {quality.photos} photographs{of}{few}.", "\n".join(table), *_tails(rows)]


def _sets(photos: PhotoRecord) -> str:
    sets = as_markdown(", ".join(photos.sets))
    return f"{sets} (list sha256 {photos.list_sha256[:16]})"


def _tails(rows: Sequence[_Measured]) -> list[str]:
    """The table of the worst photographs; older measurements do not have them."""
    names = dict.fromkeys(name for row in rows for name in row.quality.tails)
    if not names:
        return []
    headings = (f"{heading(metric_of(name))} {end}" for name in names for end in ("p90", "worst"))
    table = [f"| file | {' | '.join(headings)} |", f"|---|{'---|---|' * len(names)}"]
    for row in rows:
        cells = []
        for name in names:
            tail = row.quality.tails.get(name)
            if tail is None:
                cells += [NONE, NONE]
                continue
            photo = as_markdown(tail.worst_photo)
            cells += [finite(tail.p90, _DIGITS), f"{finite(tail.worst, _DIGITS)} ({photo})"]
        table.append(f"| model.{row.artifact} | {' | '.join(cells)} |")
    return [
        "90th percentile over the same photographs, and the worst of them:",
        "\n".join(table),
    ]


def _number(found: Interval | None) -> str:
    """A metric's median."""
    return NONE if found is None else finite(found.median, _DIGITS)


def _history(steps: Sequence[Step]) -> list[str]:
    """The last steps, and folded away those before them: students start from others."""
    parts: list[str] = []
    for step in steps:
        parts.append(f"### {step.verb}")
        if step.photos:
            parts[-1] += f"\n\nOn {step.photos.count} photographs of {_sets(step.photos)}."
        recipe = step.recipe
        if step.verb == "prune" or recipe.get("init") is not None:
            # older manifests have the shape of a fresh student, which this one never had
            recipe = {key: own for key, own in recipe.items() if key not in ("student", *SHAPE)}
        for title, values in (("Recipe", recipe), ("Results", step.results)):
            if values or title == "Recipe":
                listed = ", ".join(f"{key} {value}" for key, value in values.items())
                parts[-1] += f"\n\n{title}: {listed}."
    before, last = parts[:-_LAST_STEPS], parts[-_LAST_STEPS:]
    if not before:
        return last
    title = f"<details><summary>Before that: {len(before)} steps</summary>"
    return [*last, title, *before, "</details>"]
