"""Put a finished bundle into the zoo: `python scripts/ship.py BUNDLE STYLE {teacher,student}`.

`--measured FILE` takes what `nstc bench BUNDLE --json FILE` found into the manifest and the card.

What a shipped manifest says holds on every machine: paths of the one that made it are left out, and
a teacher that ships is remembered by its zoo name. A preview and the card are made anew.
"""

import argparse
import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nstc.compress.card import card, measurements, write_preview
from nstc.compress.exporting import ensure_artifact
from nstc.core.bundle import CARD_FILE, Bundle, open_bundle, revised_bundle
from nstc.core.manifest import Origin
from nstc.core.photos import sample_photos
from nstc.core.zoo import STUDENT, TEACHER, zoo_folder, zoo_names
from nstc.runtime.session import open_session
from nstc.runtime.verification import record


def main() -> None:
    """Ship."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("style", help="folder of the zoo, such as starry-night")
    parser.add_argument("role", choices=[TEACHER, STUDENT])
    parser.add_argument("--measured", type=Path, help="JSON that nstc bench wrote of it")
    arguments = parser.parse_args()
    bundle = open_bundle(arguments.bundle)
    measured = bundle.manifest.measurements
    if arguments.measured:
        content = json.loads(arguments.measured.read_text(encoding="utf-8"))
        measured = measurements(content, bundle)
    shipped = ship(bundle, arguments.style, arguments.role, measured)
    print(f"shipped {shipped.path}")


def ship(bundle: Bundle, style: str, role: str, measured: tuple[Mapping[str, Any], ...]) -> Bundle:
    """Copy a bundle into the zoo's folder of a style."""
    manifest = dataclasses.replace(
        bundle.manifest,
        name=style if role == STUDENT else f"{style}-{TEACHER}",
        parent=_public(bundle.manifest.parent, besides=bundle.identity),
        teacher=_public(bundle.manifest.teacher),
        measurements=measured,
    )
    ensure_artifact(bundle.path)
    session = open_session(bundle, artifact="int8" if role == STUDENT else "onnx")
    with revised_bundle(bundle, zoo_folder() / style / role, manifest) as draft:
        write_preview(draft, session, sample_photos())
        (draft / CARD_FILE).write_text(card(manifest), encoding="utf-8")
    record(zoo_folder() / style / role, trust=True)
    return open_bundle(zoo_folder() / style / role)


def _public(origin: Origin | None, besides: str | None = None) -> Origin | None:
    """An origin as it is known everywhere; a bundle that computes like `besides` is not its own."""
    if origin is None:
        return None
    zoo = origin.zoo
    for name in zoo_names():
        if open_bundle(name).identity == origin.sha256 != besides:
            zoo = name
    return dataclasses.replace(origin, zoo=zoo, path=None)


if __name__ == "__main__":
    main()
