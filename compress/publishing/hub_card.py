"""The card of a bundle as a hub reads it: its README.md behind a head in YAML.

Every value of the head is written as JSON has it, which YAML reads too, so that no name of a model
can end it.
"""

import dataclasses
import json
import math
import re
from collections.abc import Iterator
from typing import Any, Final

from nstc.benchmarks.result import Row, rows_content
from nstc.benchmarks.table import as_markdown
from nstc.core import decoding, errors
from nstc.core.bundle import Bundle
from nstc.core.manifest import Manifest, PhotoRecord
from nstc.runtime.coreml import ENDING as COREML_ENDING

TAGS: Final = ("style-transfer", "neural-style-transfer", "model-compression")
_HEAD: Final = re.compile(r"\A---\n.*?^---\n+", re.DOTALL | re.MULTILINE)
_LICENSE: Final = re.compile(r"\A---\n(?:.*\n)*?license: \"?([a-z0-9.+-]+)\"?\n", re.MULTILINE)
_USE: Final = "## Use this model"
_METRICS: Final = ("style_ratio", "content_ratio")


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Judged(Row):
    """A row as a manifest keeps it, with its photographs."""

    judged_by: PhotoRecord | None = None
    reference: decoding.Name | None = None  # see `nstc.compress.card.measurements`


def hub_card(manifest: Manifest, text: str, repository: str, license: str | None) -> str:
    """A card for a repository, OWNER/NAME: the text of a bundle's own one, or an empty one, more.

    A head that it has is replaced. `CorruptBundleError` if the measurements in the manifest are not
    rows of `nstc bench`.
    """
    body = _HEAD.sub("", text).partition(_USE)[0].strip() or f"# {as_markdown(manifest.name)}"
    use = f"""{_USE}

```sh
pip install "nstc[hub]"
nstc stylize photo.jpg -m hf:{repository} -o stylised.jpg
```"""
    head = "".join(f"{key}: {json.dumps(value)}\n" for key, value in _head(manifest, license))
    return f"---\n{head}---\n\n{body}\n\n{use}\n"


def license_of(text: str) -> str | None:
    """The licence in the head of a card; None if it names none."""
    found = _LICENSE.match(text)
    return None if found is None else found[1]


def _head(manifest: Manifest, license: str | None) -> Iterator[tuple[str, Any]]:
    """Keys and values, in the order in which the hub's own cards have them."""
    if license is not None:
        yield "license", license
    yield "library_name", "nstc"
    yield "pipeline_tag", "image-to-image"
    formats = {name.rpartition(".")[2] for name in manifest.files if name.startswith("model.")}
    int8 = ["int8"] if "model.int8.onnx" in manifest.files else []
    core_ml = ["coreml"] if any(name.endswith(COREML_ENDING) for name in manifest.files) else []
    formats &= {"onnx", "ort", "pte", "tflite", "ts"}
    yield "tags", [*TAGS, *sorted(formats), *core_ml, *int8]
    if bases := _bases(manifest):
        yield "base_model", bases
    if results := _results(manifest):
        yield "model-index", [{"name": manifest.name, "results": results}]


def _bases(manifest: Manifest) -> list[str]:
    """Repositories of the models that it was made from, as far as a hub has them."""
    names = [own.zoo for own in (manifest.teacher, manifest.parent) if own is not None and own.zoo]
    found = (re.match(r"hf:([^/@]+/[^/@]+)", name) for name in names)
    return list(dict.fromkeys(own[1] for own in found if own is not None))


def _results(manifest: Manifest) -> list[dict[str, Any]]:
    """The rows that were judged, as a hub's model-index has them.

    Without a teacher they have no ratios: those that were measured are to the model's own file.
    Nor have they times there; beside another model, the metric's name says which.
    """
    rows, untaught = manifest.measurements, manifest.teacher is None
    try:
        read = decoding.decode(rows_content(rows), tuple[_Judged, ...], known_keys_only=False)
    except decoding.DecodingError as error:
        raise errors.CorruptBundleError(
            f"the manifest's measurements of {manifest.name} are of another form: {error}. Measure "
            "the bundle anew."
        ) from error
    found = []
    for row in read:
        if row.quality is None or (untaught and row.reference is None):
            continue
        judged, compared = row.quality.metrics, () if untaught else _METRICS
        medians = {own: judged[own].median for own in compared if own in judged}
        values = {**medians, f"times_faster_{row.target}": row.speedup.median}
        beside = f" than {row.reference}" if untaught else ""
        sets = "" if row.judged_by is None else f" of {', '.join(row.judged_by.sets)}"
        found.append(
            {
                "task": {"type": "image-to-image", "name": f"Style transfer, model.{row.artifact}"},
                "dataset": {
                    "type": "photographs",
                    "name": f"{row.quality.photos} photographs{sets} at {row.size}x{row.size}",
                },
                "metrics": [
                    {"type": own, "value": round(value, 4), "name": own.replace("_", " ") + beside}
                    for own, value in values.items()
                    if math.isfinite(value)
                ],
            }
        )
    return found


def text_of_card(bundle: Bundle, file: str) -> str:
    """The text of a bundle's own card; empty if it has none. `CorruptBundleError` if no text."""
    if file not in bundle.manifest.files:
        return ""
    try:
        return decoding.read_file(bundle.file(file)).decode()
    except (UnicodeDecodeError, decoding.DecodingError) as error:
        raise errors.CorruptBundleError(f"{bundle.path / file} can't be read: {error}.") from error
