"""The included models and their names: zoo:STYLE is a student, zoo:STYLE/teacher its teacher.

zoo:STYLE/fast is a student that takes less time, at some cost in quality. zoo:STYLE/pruned-teacher
is the teacher with fewer channels, a full-size network all the same. A style whose students learned
from the painting alone has no teacher. zoo:NAME may be a pack of styles, which has nothing else.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Final

from nstc.core import errors

PREFIX: Final = "zoo:"
STUDENT: Final = "student"
FAST: Final = "fast"
TEACHER: Final = "teacher"
PRUNED_TEACHER: Final = "pruned-teacher"
PACK: Final = "pack"
STUDENT_ROLES: Final = (STUDENT, FAST)
ROLES: Final = (*STUDENT_ROLES, TEACHER, PRUNED_TEACHER, PACK)
_UNNAMED: Final = (STUDENT, PACK)  # roles that a zoo name leaves out; no style has both

_WITHIN: Final = (
    rf"[/\\](?P<style>[\w-]+)[/\\](?P<role>{'|'.join(ROLES)})\b"
    r"(?:[/\\](?P<file>[\w.-]*\w))?"
)
"""What follows the zoo's folder in the path of a bundle, or of a file in one."""

_SHIPPING: ContextVar[bool] = ContextVar("shipping", default=False)


def zoo_folder() -> Path:
    """The folder of the package that holds the included bundles, which are read-only."""
    return Path(str(resources.files("nstc.models") / "zoo"))


def zoo_names(roles: Sequence[str] = ROLES) -> tuple[str, ...]:
    """The zoo names of some of the `ROLES`, by style and then in this order; by default all."""
    return tuple(
        zoo_name(style, role) for style in _styles() for role in roles if _is_bundle(style, role)
    )


def _styles() -> list[str]:
    return sorted(p.name for p in zoo_folder().iterdir()) if zoo_folder().is_dir() else []


def _is_bundle(style: str, role: str) -> bool:
    """By the folder's own list of names: some file systems find `Udnie` where `udnie` lies."""
    in_zoo = role in ROLES and style in _styles()
    return in_zoo and (zoo_folder() / style / role / "manifest.json").is_file()


def zoo_students() -> tuple[str, ...]:
    """The zoo names of the students alone, fast ones too; no packs."""
    return zoo_names(STUDENT_ROLES)


def zoo_name(style: str, role: str) -> str:
    """The zoo name of a style in one of the `ROLES`, whether there is such a bundle or not."""
    return f"{PREFIX}{style}" + ("" if role in _UNNAMED else f"/{role}")


def resolve_model_path(model: str | Path) -> Path:
    """The folder of a zoo name, or the path itself; `BundleError` for an unknown zoo name."""
    text = str(model)
    if not text.startswith(PREFIX):
        return Path(model)
    style, _, role = text.removeprefix(PREFIX).partition("/")
    roles = (role,) if role else _UNNAMED
    found = next((own for own in roles if _is_bundle(style, own)), None)
    if found is None:
        raise errors.BundleError(
            f"no {text} in the zoo; there is {', '.join(zoo_names()) or 'nothing'}."
            f"{did_you_mean(text)}"
        )
    return zoo_folder() / style / found


def zoo_name_of(path: Path) -> str | None:
    """The zoo name of a folder, or None if it is not in the zoo."""
    path = path.resolve()
    style, role = path.parent.name, path.name
    inside = path.parent.parent == zoo_folder().resolve()
    return zoo_name(style, role) if inside and _is_bundle(style, role) else None


def did_you_mean(model: str | Path) -> str:
    """A question to end a message with: " Did you mean zoo:udnie?", or nothing."""
    wanted = re.sub(r"[\s_]+", "-", str(model).lower()).removeprefix(PREFIX).removeprefix("zoo/")
    known = {name.removeprefix(PREFIX): name for name in zoo_names()}
    return errors.did_you_mean(wanted, known, least=0.75)


def named(path: str | Path) -> str:
    """A path, or a message, with the zoo names of included bundles in place of their paths."""
    text = str(path)

    def name_of(match: re.Match[str]) -> str:
        name = zoo_name(match["style"], match["role"])
        return name if match["file"] is None else f"{match['file']} of {name}"

    for folder in {str(zoo_folder()), str(zoo_folder().resolve())}:
        if folder in text:
            text = re.sub(re.escape(folder) + _WITHIN, name_of, text)
    return text


@contextmanager
def shipping() -> Iterator[None]:
    """Let included bundles be written in this block: for the scripts that release them."""
    token = _SHIPPING.set(True)
    try:
        yield
    finally:
        _SHIPPING.reset(token)


def refuse_shipped(target: Path, advice: str = "choose another --output.") -> None:
    """Raise `OutputError`, with advice, for a path among included or fetched models: read-only."""
    from nstc.core.remote.fetched_models import place_of  # which needs more than names do

    if place_of(target) is not None:
        raise errors.OutputError(
            f"{target} is a model as it was fetched, and stays as it is: {advice}"
        )
    if not _SHIPPING.get() and target.resolve().is_relative_to(zoo_folder().resolve()):
        raise errors.OutputError(f"{named(target)} is included in nstc and is read-only: {advice}")


@dataclass(frozen=True, kw_only=True)
class ZooEntry:
    """An included model."""

    name: str  # its zoo name
    stage: str  # what was done to it last
    style: str  # name of the painting
    styles: tuple[str, ...]  # of a pack, by name; else empty
    installed: bool  # False where no file of it runs, since all come with nstc-models
    artifacts: tuple[str, ...]  # files that run
    size_bytes: int  # of the int8 file, else of the weights
    # Times faster than `faster_than`, by the last measurement of the int8 file, else of the float
    # one. None for a teacher.
    speedup: float | None
    style_ratio: float | None  # to its teacher, likewise; None without one
    content_ratio: float | None  # likewise
    faster_than: str | None  # of what has no teacher the model that it was timed beside
    taken: str | None  # on what these were measured: "12 sample photographs at 512x512 on cpu:2"

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def cells(self) -> tuple[str, ...]:
        """For a table."""
        speedup = self.speedup
        return (
            self.name,
            self.stage,
            f"{len(self.styles)} styles" if self.styles else self.style,
            ", ".join(self.artifacts) or "-",
            f"{self.size_bytes / 1000:.0f}",
            # As the README's: 82.7, 103, 2.96.
            "-" if speedup is None else f"{speedup:.0f}" if speedup >= 100 else f"{speedup:#.3g}",
            "-" if self.style_ratio is None else f"{self.style_ratio:.2f}",
        )


def basis(entries: Sequence[ZooEntry]) -> list[str]:
    """On what the entries were measured, a line for each of these conditions."""
    names: dict[tuple[str, str | None], list[str]] = {}
    for entry in entries:
        if entry.taken is not None:
            names.setdefault((entry.taken, entry.faster_than), []).append(entry.name)
    lines, conditions = [], sum(faster_than is None for _, faster_than in names)
    for (taken, faster_than), models in names.items():
        about, compared = ", ".join(models), "compared with the model's teacher"
        if faster_than is not None:
            compared = f"without a teacher, and timed beside {faster_than}"
        elif conditions == 1:
            about = "times faster and style ratio"
        lines.append(f"{about}: {compared}, medians over {taken}")
    return lines


def list_zoo() -> list[ZooEntry]:
    """All included models; `CorruptBundleError` if a file that should be here is missing."""
    return [_entry(name) for name in zoo_names()]


def installed_names() -> tuple[str, ...]:
    """The zoo names of the models whose files are here, those of nstc-models only with it.

    Packs are left out: they are served where they are named.
    """
    return tuple(own.name for own in list_zoo() if own.installed and not own.styles)


def _entry(name: str) -> ZooEntry:
    # which imports this
    from nstc.core.bundle import Bundle, artifact_file, artifact_name, read_manifest

    path = resolve_model_path(name)
    bundle = Bundle(path, read_manifest(path))
    bundle.refuse_incomplete()
    manifest = bundle.manifest
    deployed = artifact_file("int8")
    main_file = deployed if deployed in manifest.files else "weights.safetensors"
    # What was measured last of a file, which the README shows too.
    rows = {row["artifact"]: row for row in manifest.measurements}
    row = rows.get(artifact_name("int8")) or rows.get(artifact_name("float"))
    quality = (row or {}).get("quality") or {}
    faster_than = taken = None
    if row is not None:
        if manifest.teacher is None:
            # the quality that was measured is to the model's own float file
            quality, faster_than = {}, row["reference"]
        photos = row.get("judged_by") or {}
        count = photos.get("count", "some")
        # the name of a folder of whoever measured says nothing to others
        of_samples = "sample " if [*photos.get("sets", ())] == ["samples"] else ""
        size = f" at {row['size']}x{row['size']}" if "size" in row else ""
        target = f" on {row['target']}" if "target" in row else ""
        taken = f"{count} {of_samples}photographs{size}{target}"
    style = manifest.style
    return ZooEntry(
        name=name,
        stage=manifest.stage,
        style="-" if style is None else style.name,
        styles=manifest.packed_styles,
        installed=bundle.is_installed,
        artifacts=bundle.artifacts,
        size_bytes=manifest.files[main_file].size_bytes,
        speedup=None if row is None else row["speedup"]["median"],
        style_ratio=quality.get("style_ratio"),
        content_ratio=quality.get("content_ratio"),
        faster_than=faster_than,
        taken=taken,
    )
