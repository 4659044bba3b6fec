"""Put a finished bundle into the zoo: `python -m lab.ship BUNDLE STYLE ROLE`.

`--credit` says who made the painting, where the bundle does not. A bundle that `nstc restyle` made
ships as any student; that it has no teacher, its card says. A pack of styles ships as the role
`pack`, and STYLE is then its own name, which no style has.

What has no teacher is measured beside a full-size network of the zoo, one for all such models:
`nstc bench BUNDLE --against zoo:starry-night/teacher --json FILE`.

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
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from lab.exploration_report import measured_last, write_frontier
from nstc.benchmarks.table import as_markdown
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
from nstc.core.files import sha256_of, write_text
from nstc.core.manifest import Origin, Style
from nstc.core.photos import sample_photos
from nstc.core.zoo import STUDENT, STUDENT_ROLES
from nstc.runtime.packs.style_pack import (
    STYLES_FILE,
    Pack,
    PackedStyle,
    is_pack,
    open_pack,
    styles_text,
)
from nstc.runtime.session import open_session
from nstc.runtime.stylizer import Stylizer
from nstc.runtime.verification import record

_DEPLOYED = artifact_name("int8")
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_.-]+")


def main() -> None:
    """Ship."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("style", help="folder of the zoo, such as starry-night")
    parser.add_argument("role", choices=zoo.ROLES)
    parser.add_argument("--credit", help='such as "Edvard Munch, The Scream, 1893 (public domain)"')
    parser.add_argument(
        "--measured", type=Path, action="append", default=[], help="JSON that nstc bench wrote"
    )
    arguments = parser.parse_args()
    bundle = open_bundle(arguments.bundle)
    if arguments.role == zoo.PACK:
        if arguments.credit or arguments.measured:
            parser.error("a pack takes no --credit and no --measured: its styles have credits")
        print(f"shipped {ship_pack(open_pack(bundle), arguments.style).path}")
        return
    contents = [json.loads(file.read_text(encoding="utf-8")) for file in arguments.measured]
    measured = tuple(row for content in contents for row in measurements(content, bundle))
    shipped = ship(
        bundle,
        arguments.style,
        arguments.role,
        measured or bundle.manifest.measurements,
        credit=arguments.credit,
    )
    print(f"shipped {shipped.path}")


def ship(
    bundle: Bundle,
    style: str,
    role: str,
    measured: tuple[Mapping[str, Any], ...],
    *,
    credit: str | None = None,
) -> Bundle:
    """Copy a bundle into the zoo's folder of a style.

    Args:
        bundle: Any but a pack.
        style: The folder.
        role: One of `zoo.ROLES`.
        measured: Rows for its manifest.
        credit: Of the painting; the bundle's own by default.

    Raises:
        OutputError: its style statistics are not those that the style's bundles share, its painting
            has no credit, it has none to credit, it has no teacher and was not timed beside one
            full-size network of the zoo, or a pack has the folder.
    """
    if is_pack(bundle):
        raise OutputError(f"{bundle.path} is a pack of styles: give {zoo.PACK} in place of {role}.")
    folder = zoo.zoo_folder() / style / role
    shared = folder.with_name(STYLE_FILE)
    _refuse_taken(style, {zoo.PACK})
    _refuse_other_statistics(bundle, shared)
    _refuse_other_references(bundle, measured)
    taught, parent = bundle.manifest.teacher, bundle.manifest.parent
    teacher_origin = None if taught is None else _public(taught)
    name = style if role == STUDENT else f"{style}-{role}"
    judge = (taught.path, teacher_origin.zoo) if taught and teacher_origin else (bundle.name, name)
    rows = [_renamed(row, *judge) for row in measured]
    manifest = dataclasses.replace(
        bundle.manifest,
        name=name,
        style=_credited(bundle, style, credit),
        parent=None if parent is None else _public(parent, besides=bundle.identity),
        teacher=teacher_origin,
        measurements=tuple({**row, "model": name} for row in rows),
    )
    artifact = "int8" if role in STUDENT_ROLES else "onnx"
    own = open_session(bundle, artifact=artifact, store=made_artifact).run
    taught_by = manifest.teacher.zoo if manifest.teacher else None
    teacher = [open_teacher(taught_by).stylize] if taught_by else []
    with zoo.shipping(), revised_bundle(bundle, folder, manifest) as draft:
        write_preview(draft, [*teacher, own], sample_photos())
        if role in STUDENT_ROLES and measured and teacher_origin:
            others = [open_bundle(name).manifest for name in taught_students()]
            beside = [measured_last(m, _DEPLOYED) for m in others if m.name != manifest.name]
            write_frontier(draft / FRONTIER_FILE, beside, [measured_last(manifest, _DEPLOYED)])
        (draft / CARD_FILE).write_text(card(manifest, draft), encoding="utf-8")
    if role in STUDENT_ROLES:
        with zoo.shipping():
            record(folder, trust=True)
    if STYLE_FILE in bundle.manifest.files:
        (folder / STYLE_FILE).replace(shared)
    return open_bundle(folder)


def ship_pack(pack: Pack, name: str) -> Bundle:
    """Copy a pack into the zoo, as zoo:NAME, with a preview and a card.

    `OutputError` if the zoo has models of a style of that name, a style's painting has no credit,
    or its name has other signs than letters, digits and _ . -
    """
    _refuse_taken(name, set(zoo.ROLES) - {zoo.PACK})
    _refuse_unfit_styles(pack)
    styles = tuple(dataclasses.replace(own, bundle=_public(own.bundle)) for own in pack.styles)
    bundle = pack.bundle
    manifest = dataclasses.replace(bundle.manifest, name=name)
    folder = zoo.zoo_folder() / name / zoo.PACK
    painted = [Stylizer(pack, style=own) for own in pack.names]
    with zoo.shipping(), revised_bundle(bundle, folder, manifest) as draft:
        write_text(draft / STYLES_FILE, styles_text(styles))
        write_preview(draft, painted, sample_photos())
        listed = "".join(f"- {as_markdown(own.name + _painting(own))}\n" for own in styles)
        about = (
            f"\n## Styles\n\nThe preview has them below the photographs, in this order:\n\n{listed}"
        )
        write_text(draft / CARD_FILE, card(manifest, draft) + about)
    return open_bundle(folder)


def _painting(own: PackedStyle) -> str:
    credit = own.style.credit if own.style is not None else None
    return "" if credit is None else f": {credit}"


def taught_students() -> list[str]:
    """The zoo names of the students that learned from a teacher, fast ones too."""
    names = zoo.zoo_students()
    return [name for name in names if open_bundle(name).manifest.teacher is not None]


def _refuse_taken(style: str, roles: Collection[str]) -> None:
    """`OutputError` if the zoo's folder of a style has models of some roles."""
    there = [role for role in zoo.ROLES if (zoo.zoo_folder() / style / role).exists()]
    if taken := [role for role in there if role in roles]:
        raise OutputError(
            f"zoo:{style} has a {taken[0]}, and a pack has no name of a style: choose another name."
        )


def _credited(bundle: Bundle, name: str, credit: str | None) -> Style | None:
    """The bundle's style, named as in the zoo, and with who made the painting."""
    style = bundle.manifest.style
    if style is None:
        if credit:
            raise OutputError(f"{bundle.path} has no painting to credit: leave out --credit.")
        return None
    if (credit := credit or style.credit) is None:
        raise OutputError(
            f'{bundle.path} does not say who made its painting: give --credit "ARTIST, TITLE, YEAR '
            '(public domain)".'
        )
    return dataclasses.replace(style, name=name, credit=credit)


def _refuse_other_statistics(bundle: Bundle, shared: Path) -> None:
    own = bundle.manifest.files.get(STYLE_FILE)
    if own is not None and shared.is_file() and own.sha256 != sha256_of(shared):
        raise OutputError(
            f"{STYLE_FILE} of {bundle.path} is not the one that {shared.parent.name}'s bundles "
            "share: make the bundle with theirs, or ship all of them anew without that folder."
        )


def _refuse_other_references(bundle: Bundle, rows: Sequence[Mapping[str, Any]]) -> None:
    """`OutputError` for what has no teacher, unless one teacher of the zoo stands for it in all."""
    if bundle.manifest.teacher is not None:
        return
    beside = {row.get("reference") for row in rows}
    if len(beside) > 1 or not beside <= {*zoo.zoo_names((zoo.TEACHER,))}:
        found = ", ".join(sorted(own or "its own float file" for own in beside))
        raise OutputError(
            f"{bundle.path} was timed beside {found}, and a model without a teacher ships beside "
            "one full-size network of the zoo: measure it with nstc bench BUNDLE --against "
            "zoo:starry-night/teacher."
        )


def _refuse_unfit_styles(pack: Pack) -> None:
    """`OutputError` for styles that need quotes in a command, or do not say who painted them."""
    if unfit := [name for name in pack.names if not _PLAIN_NAME.fullmatch(name)]:
        raise OutputError(
            f"styles of {pack.bundle.path} are called {', '.join(map(repr, unfit))}: join them "
            "anew with names of letters, digits, and the signs _ . - alone."
        )
    painted = [own for own in pack.styles if own.style is not None and not own.photograph]
    if unfit := [own.name for own in painted if own.style and own.style.credit is None]:
        raise OutputError(
            f"styles of {pack.bundle.path} do not say who made their paintings: "
            f"{', '.join(unfit)}. Ship them first with --credit, and join those."
        )


def _renamed(row: Mapping[str, Any], before: str | None, after: str | None) -> Mapping[str, Any]:
    """A row whose judge is named as it is known everywhere."""
    quality = row.get("quality")
    if quality is None or after is None or quality.get("teacher") != before:
        return row
    return {**row, "quality": {**quality, "teacher": after}}


def _public(origin: Origin, besides: str | None = None) -> Origin:
    """An origin as it is known everywhere; a bundle that computes like `besides` is not its own."""
    known = origin.zoo
    for name in zoo.zoo_names():
        if open_bundle(name).identity == origin.sha256 != besides:
            known = name
    return dataclasses.replace(origin, zoo=known, path=None)


if __name__ == "__main__":
    main()
