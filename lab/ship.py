"""Put a finished bundle into the zoo: `python -m lab.ship BUNDLE STYLE ROLE`.

`--measured FILE` takes what `nstc bench BUNDLE --json FILE` found into the manifest and the card;
given again, what other photographs found. The card's plot has the student's place beside those of
the zoo's others, as their manifests hold them: ship again those whose plot should have it too.

What a shipped manifest says holds on every machine: paths of the one that made it are left out, and
a teacher that ships is remembered by its zoo name. A preview and the card are made anew. Style
statistics go into the style's folder, once for all its bundles.
"""

import argparse
import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lab.exploration_report import measured_last, write_frontier
from nstc.compress.card import FRONTIER_FILE, card, measurements, write_preview
from nstc.compress.distillation.teachers import open_teacher
from nstc.compress.export.export_model import made_artifact
from nstc.core import zoo
from nstc.core.bundle import (
    CARD_FILE,
    STYLE_FILE,
    Bundle,
    artifact_name,
    open_bundle,
    revised_bundle,
)
from nstc.core.errors import OutputError
from nstc.core.files import sha256_of
from nstc.core.manifest import Origin
from nstc.core.photos import sample_photos
from nstc.core.zoo import STUDENT, STUDENT_ROLES
from nstc.runtime.session import open_session
from nstc.runtime.verification import record

_DEPLOYED = artifact_name("int8")


def main() -> None:
    """Ship."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("style", help="folder of the zoo, such as starry-night")
    parser.add_argument("role", choices=zoo.ROLES)
    parser.add_argument(
        "--measured", type=Path, action="append", default=[], help="JSON that nstc bench wrote"
    )
    arguments = parser.parse_args()
    bundle = open_bundle(arguments.bundle)
    contents = [json.loads(file.read_text(encoding="utf-8")) for file in arguments.measured]
    measured = tuple(row for content in contents for row in measurements(content, bundle))
    shipped = ship(
        bundle,
        arguments.style,
        arguments.role,
        measured or bundle.manifest.measurements,
    )
    print(f"shipped {shipped.path}")


def ship(
    bundle: Bundle,
    style: str,
    role: str,
    measured: tuple[Mapping[str, Any], ...],
) -> Bundle:
    """Copy a bundle into the zoo's folder of a style.

    Raises:
        OutputError: its style statistics are not those that the style's bundles share.
    """
    folder = zoo.zoo_folder() / style / role
    shared = folder.with_name(STYLE_FILE)
    _refuse_other_statistics(bundle, shared)
    taught = bundle.manifest.teacher
    teacher_origin = _public(taught)
    name = style if role == STUDENT else f"{style}-{role}"
    rows = (_renamed(row, taught, teacher_origin) for row in measured)
    manifest = dataclasses.replace(
        bundle.manifest,
        name=name,
        parent=_public(bundle.manifest.parent, besides=bundle.identity),
        teacher=teacher_origin,
        measurements=tuple({**row, "model": name} for row in rows),
    )
    artifact = "int8" if role in STUDENT_ROLES else "onnx"
    own = open_session(bundle, artifact=artifact, store=made_artifact).run
    taught_by = manifest.teacher.zoo if manifest.teacher else None
    teacher = [open_teacher(taught_by).stylize] if taught_by else []
    with zoo.shipping(), revised_bundle(bundle, folder, manifest) as draft:
        write_preview(draft, [*teacher, own], sample_photos())
        if role in STUDENT_ROLES and measured:
            others = [open_bundle(name).manifest for name in zoo.zoo_students()]
            beside = [measured_last(m, _DEPLOYED) for m in others if m.name != manifest.name]
            write_frontier(draft / FRONTIER_FILE, beside, [measured_last(manifest, _DEPLOYED)])
        (draft / CARD_FILE).write_text(card(manifest, draft), encoding="utf-8")
    if role in STUDENT_ROLES:
        with zoo.shipping():
            record(folder, trust=True)
    if STYLE_FILE in bundle.manifest.files:
        (folder / STYLE_FILE).replace(shared)
    return open_bundle(folder)


def _refuse_other_statistics(bundle: Bundle, shared: Path) -> None:
    own = bundle.manifest.files.get(STYLE_FILE)
    if own is not None and shared.is_file() and own.sha256 != sha256_of(shared):
        raise OutputError(
            f"{STYLE_FILE} of {bundle.path} is not the one that {shared.parent.name}'s bundles "
            "share: make the bundle with theirs, or ship all of them anew without that folder."
        )


def _renamed(
    row: Mapping[str, Any], before: Origin | None, after: Origin | None
) -> Mapping[str, Any]:
    """A row of measurements whose judge is named as it is known everywhere."""
    quality = row.get("quality")
    if quality is None or before is None or after is None or quality.get("teacher") != before.path:
        return row
    return {**row, "quality": {**quality, "teacher": after.zoo}}


def _public(origin: Origin | None, besides: str | None = None) -> Origin | None:
    """An origin as it is known everywhere; a bundle that computes like `besides` is not its own."""
    if origin is None:
        return None
    known = origin.zoo
    for name in zoo.zoo_names():
        if open_bundle(name).identity == origin.sha256 != besides:
            known = name
    return dataclasses.replace(origin, zoo=known, path=None)


if __name__ == "__main__":
    main()
