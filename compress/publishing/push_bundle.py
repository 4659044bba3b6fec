"""Sending a bundle to a hub: what its manifest names, once all of it is verified."""

import dataclasses
import re
from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, Final

from nstc.compress.publishing.hub_card import hub_card, license_of, text_of_card
from nstc.core import bundle as bundles
from nstc.core import decoding, errors, files
from nstc.core.bundle import CARD_FILE, MANIFEST_FILE, Bundle
from nstc.core.manifest import Manifest, Origin
from nstc.core.remote import hub
from nstc.core.zoo import zoo_name_of
from nstc.runtime.packs.style_pack import STYLES_FILE, is_pack, open_pack, styles_text
from nstc.runtime.verification import verify

ZOO_LICENSE: Final = "apache-2.0"  # of the included models
_LICENSE: Final = re.compile(r"[a-z0-9][a-z0-9.+-]{0,60}")
_LONGEST_MESSAGE: Final = 500
_MAIN: Final = "main"
_TRIES: Final = 3  # to commit, while others commit to the same branch
_CHANGED_MEANWHILE: Final = frozenset({409, 412})  # what a hub then answers


@dataclass(frozen=True, kw_only=True)
class Pushed:
    """What was sent, or would be."""

    name: str  # hf:OWNER/NAME
    license: str | None  # in the card's head
    sizes: dict[str, int]  # bytes of each file, by name
    # Files of an earlier push that this bundle has not; None if no hub was asked.
    removed: tuple[str, ...] | None = None
    commit: str | None = None  # None if nothing was sent
    url: str | None = None  # of the commit, likewise

    @property
    def pinned(self) -> str:
        """The name of just this commit."""
        return self.name if self.commit is None else f"{self.name}@{self.commit}"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "model": self.pinned,
            "url": self.url,
            "commit": self.commit,
            "license": self.license,
            "files": self.sizes,
            "removed": None if self.removed is None else list(self.removed),
        }


def push(
    model: str | Path,
    target: str,
    *,
    private: bool = False,
    revision: str | None = None,
    message: str | None = None,
    license: str | None = None,
    trust: bool = False,
    dry_run: bool = False,
) -> Pushed:
    """Send a bundle to a hub's repository, hf:OWNER/NAME, which is made where there is none.

    What is sent is verified first, see `nstc.runtime.verification.verify`, and is a copy: its card
    has a head for the hub, and paths of this machine are left out of its manifest, and of a pack's
    list of styles. The same commit removes what the manifest of an earlier push names and this one
    does not.

    Args:
        model: The bundle, by path or name.
        target: The repository.
        private: Whether it is made as one that others can't see.
        revision: The branch; main by default. It is made where there is none.
        message: Of the commit.
        license: Such as apache-2.0, for the card; by default the one that the card names already.
        trust: Whether programs of the bundle may be run to verify them.
        dry_run: Whether all is done but sending; no hub is asked.

    Raises:
        OptionError: an argument that can't be one, or private for a repository that is public.
        BundleError: and its kinds, if the bundle can't be opened or does not verify.
        FetchError: the hub can't be reached, or refuses.
        MissingExtraError: huggingface_hub is not installed.
    """
    name = _target(target, revision)
    if license is not None and not _LICENSE.fullmatch(license):
        raise errors.OptionError(
            f"license is {license!r:.80}: expected a short name such as apache-2.0, cc-by-4.0, "
            "mit or other."
        )
    message = message or "Add a model by nstc push"
    if len(message) > _LONGEST_MESSAGE or not message.isprintable():
        raise errors.OptionError(
            f"message is {message!r:.80}: expected a line of at most {_LONGEST_MESSAGE} characters."
        )
    bundle = bundles.open_bundle(model)
    found = verify(bundle.path, trust=trust)
    if found.errors:
        raise type(found.errors[0])(f"not sent, since it does not verify: {found.errors[0]}")
    with files.scratch_folder() as folder:
        copy, chosen = _copied(bundle, folder / "bundle", name.repository, license)
        paths = [copy.path / MANIFEST_FILE, *map(copy.file, sorted(copy.manifest.files))]
        plan = Pushed(
            name=f"{hub.PREFIX}{name.repository}",
            license=chosen,
            sizes={path.name: path.stat().st_size for path in paths},
        )
        return plan if dry_run else _sent(plan, name, paths, private=private, message=message)


def _target(target: str, revision: str | None) -> hub.HubName:
    """The repository and branch; `OptionError` if they are none."""
    refused = errors.OptionError(
        f"a bundle can't be sent to {target!r:.120}"
        + ("" if revision is None else f", revision {revision!r:.80}")
        + ": expected hf:OWNER/NAME, and the name of a branch as --revision."
    )
    if not target.startswith(hub.PREFIX) or "@" in target:
        raise refused
    try:
        name = hub.HubName.read(f"{target}@{_MAIN if revision is None else revision}")
    except errors.BundleError as error:
        raise refused from error
    if name.file or name.commit:
        raise refused
    return name


def _copied(
    bundle: Bundle, target: Path, repository: str, license: str | None
) -> tuple[Bundle, str | None]:
    """A copy of a bundle as others get it, and the licence that its card names."""
    text = text_of_card(bundle, CARD_FILE)
    if license is None:
        license = ZOO_LICENSE if zoo_name_of(bundle.path) else license_of(text)
    own: set[str] = set()
    manifest = _without_paths(bundle.manifest, own)
    for path in sorted(own, key=len, reverse=True):
        text = text.replace(path, _last(path))
    with bundles.revised_bundle(bundle, target, manifest) as draft:
        card = hub_card(bundle.manifest, text, repository, license)
        (draft / CARD_FILE).write_text(card, encoding="utf-8")
        if is_pack(bundle):
            styles = (
                dataclasses.replace(own, bundle=dataclasses.replace(own.bundle, path=None))
                for own in open_pack(bundle).styles
            )
            files.write_text(draft / STYLES_FILE, styles_text(tuple(styles)))
    return bundles.open_bundle(target), license


def _without_paths(manifest: Manifest, found: set[str]) -> Manifest:
    """A manifest that names no folder of this machine; those that it named are added to a set."""

    def of(origin: Origin | None) -> Origin | None:
        if origin is None:
            return None
        form = origin.form
        if form is not None and form.inputs:
            given = form.inputs
            given = tuple(dataclasses.replace(own, value=shortened(own.value)) for own in given)
            form = dataclasses.replace(form, inputs=given)
        return dataclasses.replace(origin, path=None, form=form)

    def shortened(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: shortened(own) for key, own in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(shortened(own) for own in value)
        if isinstance(value, str) and _is_path(value):
            found.add(value)
            return _last(value)
        return value

    steps = (
        dataclasses.replace(
            step, recipe=shortened(dict(step.recipe)), results=shortened(dict(step.results))
        )
        for step in manifest.history
    )
    return dataclasses.replace(
        manifest,
        parent=of(manifest.parent),
        teacher=of(manifest.teacher),
        history=tuple(steps),
        measurements=tuple(shortened(dict(row)) for row in manifest.measurements),
    )


def _is_path(text: str) -> bool:
    """Whether a text is a whole path of some system, and not a mere / either."""
    return (text.startswith("/") or PureWindowsPath(text).is_absolute()) and len(text) > 1


def _last(path: str) -> str:
    return (PurePosixPath(path) if path.startswith("/") else PureWindowsPath(path)).name or "path"


def _sent(
    plan: Pushed, name: hub.HubName, paths: list[Path], *, private: bool, message: str
) -> Pushed:
    """Make the repository and its branch where they are not there, and commit the files."""
    if hub.is_offline():
        raise errors.FetchError("HF_HUB_OFFLINE forbids to send anything: unset it.")
    api = hub.api()
    repository = hub.HubName(name.repository)
    with hub.reported(repository):
        api.create_repo(name.repository, private=private or None, exist_ok=True)
    if private and not hub.repository_info(repository).private:
        raise errors.OptionError(
            f"{plan.name} is public already: make it private on the hub first, or leave out "
            "--private. Nothing was sent."
        )
    with hub.reported(name):
        if name.revision != _MAIN:
            api.create_branch(name.repository, branch=name.revision, exist_ok=True)
        removed, made = _committed(name, paths, message)
        commit, url = str(made.oid), str(made.commit_url)
    committed = hub.repository_info(dataclasses.replace(repository, revision=commit))
    missing = {path.name for path in paths} - {own.rfilename for own in committed.siblings or ()}
    if missing or committed.sha != commit:
        lacking = ", ".join(sorted(missing)) or f"commit {commit:.60}"
        raise errors.FetchError(
            f"{plan.name} lacks {lacking} after it was sent: look whether a .gitignore there "
            "leaves files out, and send it again."
        )
    return dataclasses.replace(plan, removed=removed, commit=commit, url=url)


def _committed(
    name: hub.HubName, paths: list[Path], message: str, tries: int = _TRIES
) -> tuple[tuple[str, ...], Any]:
    """Commit the files to a branch: which of an earlier push went, and what the hub says of it.

    What goes was read of one commit, and the new one follows that one: where another came between,
    all is read again.
    """
    library = hub.library()
    info = hub.repository_info(name)
    removed = _left_of_earlier(name, info, {path.name for path in paths})
    operations = [
        library.CommitOperationAdd(path_in_repo=path.name, path_or_fileobj=str(path))
        for path in paths
    ]
    operations += [library.CommitOperationDelete(path_in_repo=own) for own in removed]
    try:
        made = hub.api().create_commit(
            name.repository,
            operations,
            commit_message=message,
            revision=name.revision,
            parent_commit=str(info.sha),
        )
    except library.errors.HfHubHTTPError as error:
        if tries > 1 and error.response.status_code in _CHANGED_MEANWHILE:
            return _committed(name, paths, message, tries - 1)
        raise
    return removed, made


def _left_of_earlier(name: hub.HubName, info: Any, sent: Set[str]) -> tuple[str, ...]:
    """Files of a commit that the manifest there names, and that are not sent again."""
    sizes = {str(own.rfilename): own.size for own in info.siblings or ()}
    there = sizes.keys()
    if MANIFEST_FILE not in there or (sizes[MANIFEST_FILE] or 0) > decoding.MAX_BYTES:
        return ()  # the second is another program's
    manifest = dataclasses.replace(name, file=MANIFEST_FILE, revision=str(info.sha))
    try:
        content = hub.read_file(manifest, decoding.MAX_BYTES)
        earlier = Manifest.from_json(content, str(manifest))
    except errors.BundleError:
        return ()  # another program's, or a newer nstc's: nobody here knows which files are whose
    return tuple(sorted((earlier.files.keys() & there) - sent))
