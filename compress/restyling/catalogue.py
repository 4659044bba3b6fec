"""A catalogue of paintings as a folder of models: a student of each, made by `restyle`.

The catalogue is a TOML file with a table for each style, and is checked before anything is learned.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from msgspec import Meta

from nstc.compress.learning.stages import STATE_FILE, Stages
from nstc.compress.restyling.restyle_painting import restyle
from nstc.core import Progress, Silent, errors
from nstc.core.bundle import open_bundle
from nstc.core.decoding import DecodingError, Name, decode, parse_toml, read_file
from nstc.core.files import one_at_a_time, sha256_of
from nstc.core.images.paintings import usable_painting
from nstc.core.manifest import fault_of_names
from nstc.core.photos import PhotoSet, sample_photos
from nstc.core.recipe import RestyleRecipe, recipe_from
from nstc.models.tensors import use_threads
from nstc.runtime.jobs import Driver, Jobs
from nstc.runtime.ray_jobs import OnRay, opened_jobs

MAX_STYLES: Final = 10_000
_TRAINING: Final = ".training"  # ends the name of the folder where a style's checkpoints are

Status = Literal["made", "kept", "failed"]  # kept: made by an earlier run
Year = Annotated[int, Meta(ge=-50_000, le=9999)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Entry:
    """A style as the file has it."""

    name: Name
    painting: Name
    title: Name | None = None
    artist: Name | None = None
    year: Year | None = None
    licence: Name | None = None
    init: Name | None = None
    restyle: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Catalogue:
    """The whole file."""

    styles: Annotated[tuple[_Entry, ...], Meta(min_length=1, max_length=MAX_STYLES)]
    restyle: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # for all styles


@dataclasses.dataclass(frozen=True, kw_only=True)
class CatalogueStyle:
    """A painting to be learned, and how."""

    name: str  # of the model, and of its folder
    painting: Path
    credit: str | None  # who made it, what it is called, when, and its licence
    init: str | None  # the student to start from; None for the included one that is nearest
    recipe: RestyleRecipe


@dataclasses.dataclass(frozen=True, kw_only=True)
class StyleOutcome:
    """What became of a style."""

    name: str
    status: Status
    path: Path
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**dataclasses.asdict(self), "path": str(self.path)}


def read_catalogue(path: Path) -> tuple[CatalogueStyle, ...]:
    """The styles of a catalogue; paintings and students are found from the file's own folder.

    Raises:
        RecipeError: the file can't be read, has unknown keys, wrong types, two styles of one name,
            or one whose name can't be a folder's.
        OptionError: a setting is out of range.
        BundleError: there is no bundle of a student to start from.
    """
    try:
        content = parse_toml(read_file(path))
        catalogue = decode(content, _Catalogue)
    except (OSError, DecodingError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise errors.RecipeError(
            f"can't read the catalogue {path}: {reason}. Give a TOML file with a table "
            "[[styles]] for each style, with a name and a painting."
        ) from error
    _refuse_names([entry.name for entry in catalogue.styles], path)
    return tuple(_style_of(entry, catalogue.restyle, path) for entry in catalogue.styles)


def _refuse_names(names: Sequence[str], path: Path) -> None:
    twice = next((name for name in names if names.count(name) > 1), None)
    fault = f"two styles have the name {twice}" if twice else fault_of_names(names, STATE_FILE)
    for name in names:
        if name.startswith(".") or name.casefold().endswith(_TRAINING):
            fault = fault or (
                f"{name!r:.80} is not the name of a folder in it: it begins with a dot or ends "
                f"with {_TRAINING}, as folders of unfinished work do"
            )
    if fault is not None:
        raise errors.RecipeError(
            f"{path}: {fault}. Each style needs a name of its own, which becomes a folder's."
        )


def _style_of(entry: _Entry, common: Mapping[str, Any], path: Path) -> CatalogueStyle:
    where = f"{path}: {entry.name}"
    own = dict(entry.restyle)
    if "steps" in own and "time" not in own:  # the nearer of the two decides how long it learns
        common = {key: value for key, value in common.items() if key != "time"}
    init = entry.init
    if init is not None:
        here = path.parent / init
        init = str(here) if here.is_dir() else init
        open_bundle(init)
    return CatalogueStyle(
        name=entry.name,
        painting=path.parent / entry.painting,
        credit=_credit(entry),
        init=init,
        recipe=recipe_from({"restyle": {**common, **own}}, where).restyle,
    )


def _credit(entry: _Entry) -> str | None:
    """As cards have it: "Francis Picabia, Udnie, 1913 (public domain)"."""
    year = None if entry.year is None else str(entry.year)
    known = ", ".join(filter(None, (entry.artist, entry.title, year)))
    licence = f"({entry.licence})" if entry.licence else ""
    return " ".join(filter(None, (known, licence))) or None


@one_at_a_time("output")
def build_zoo(
    styles: Sequence[CatalogueStyle],
    output: str | Path,
    *,
    photos: PhotoSet,
    vgg: str = "shipped",
    ray: OnRay | None = None,
    progress: Progress | None = None,
    finished: Callable[[StyleOutcome], None] | None = None,
) -> tuple[StyleOutcome, ...]:
    """Make a student of each style of a catalogue, as `nstc.restyle` does, in `output`/NAME.

    Styles that an earlier run made of the same inputs are kept, and one that was interrupted is
    resumed. One that fails is an outcome too, and the others are made all the same. With `ray`
    several are made at once, without it one after another. `finished` receives each outcome as it
    comes; the other arguments are those of `nstc.restyle`.

    Raises:
        ImageError: no style can be learned from some paintings, which are all named. Nothing is
            trained then.
        OutputError: the folder can't be written, or holds files that are not nstc's.
        Interrupted: the run was stopped; running again resumes it.
        ClusterError: the Ray cluster does not answer, or breaks down.
        OptionError: no machine of it has so many processors.
    """
    output = Path(output)
    progress = progress or Silent()
    is_new = not output.is_dir()
    if is_new:  # before it is made, so that no empty one is left
        _refuse_unusable_paintings(styles)
    stages = Stages(output, progress)
    stages.depend_on(photos=photos.list_sha256(), vgg=vgg)
    own = None if photos == sample_photos() else photos
    left = [style for style in styles if not _is_made(stages, style)]
    if not is_new:
        _refuse_unusable_paintings(left)
    # on Ray, whose workers share the processors by how many styles are left
    kept = 0 if ray is None else len(styles) - len(left)
    ray = ray if left else None
    with opened_jobs(ray, output, progress, "styles", len(styles), kept) as jobs:
        building = _Building(jobs, stages, finished or (lambda _outcome: None))
        for number, style in enumerate(styles, start=1):
            progress.note(f"style {number} of {len(styles)}: {style.name}")
            building.begin(style, Restyling(style, output / style.name, own, vgg))
        while building.begun:
            building.end()
    return tuple(building.outcomes[style.name] for style in styles)


@dataclasses.dataclass
class _Building:
    """A zoo that is being built."""

    jobs: Jobs
    stages: Stages
    finished: Callable[[StyleOutcome], None]
    begun: dict[str, "Restyling"] = dataclasses.field(default_factory=dict)  # and not ended
    outcomes: dict[str, StyleOutcome] = dataclasses.field(default_factory=dict)

    def begin(self, style: CatalogueStyle, job: "Restyling") -> None:
        """Begin a style if it is not there, and wait until there is room for another."""
        try:
            found = self.stages.found(style.name, _settings(style))
        except (errors.NstcError, OSError) as error:
            self._settle(job, "failed", error)
            return
        if found is not None:
            self._settle(job, "kept")
            return
        self.begun[style.name] = job
        self.jobs.begin(style.name, job)
        if len(self.begun) == self.jobs.size:
            self.end()

    def end(self) -> None:
        """Wait for one of those that were begun."""
        ended = self.jobs.next()
        job = self.begun.pop(ended.name)
        try:
            ended.result()
        except errors.Interrupted:
            raise
        except (errors.NstcError, OSError) as error:
            self._settle(job, "failed", error)
        else:
            self._settle(job, "made")

    def _settle(self, job: "Restyling", status: Status, error: Exception | None = None) -> None:
        name, reason = job.style.name, None if error is None else str(error)
        outcome = StyleOutcome(name=name, status=status, path=job.output, error=reason)
        self.outcomes[name] = outcome
        self.finished(outcome)


def _refuse_unusable_paintings(styles: Sequence[CatalogueStyle]) -> None:
    """Raise `ImageError` that says of each painting why no style can be learned from it."""
    faults = []
    for style in styles:
        try:
            usable_painting(style.painting)
        except errors.NstcError as error:
            faults.append(f"{style.name}: {error}")
    if faults:
        raise errors.ImageError(
            f"no style can be learned from {len(faults)} of {len(styles)} paintings, and nothing "
            f"was trained. {' '.join(faults)}"
        )


def _is_made(stages: Stages, style: CatalogueStyle) -> bool:
    """Whether a style will be kept; one that can't be made is told of when it is begun."""
    try:
        return stages.made(style.name, _settings(style)) is not None
    except (errors.NstcError, OSError):
        return False


def _settings(style: CatalogueStyle) -> dict[str, Any]:
    """What a style is made of, as JSON has it."""
    return {
        **dataclasses.asdict(style.recipe),
        "painting": sha256_of(style.painting),
        "credit": style.credit,
        "init": None if style.init is None else open_bundle(style.init).identity,
    }


@dataclasses.dataclass(frozen=True)
class Restyling:
    """The job of making a style, which it resumes."""

    style: CatalogueStyle
    output: Path
    photos: PhotoSet | None  # None for the samples, which each machine has in a place of its own
    vgg: str

    def __call__(self, driver: Driver) -> None:
        """Make it."""
        use_threads(driver.threads)
        restyle(
            self.style.painting,
            self.output,
            photos=sample_photos() if self.photos is None else self.photos,
            recipe=self.style.recipe,
            name=self.style.name,
            credit=self.style.credit,
            init=self.style.init,
            vgg=self.vgg,
            resume=True,
            progress=driver,
        )
