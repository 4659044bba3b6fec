"""Work in stages that each leave a bundle in a folder, and are not done again."""

import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from nstc.core import Progress, drafts, errors
from nstc.core.bundle import Bundle, open_bundle
from nstc.core.decoding import DecodingError, decode, parse_json, read_file
from nstc.core.files import own_folder, write_text

STATE_FILE: Final = "pipeline.json"


class Stages:
    """Work in stages that each leave a bundle in a folder: runs those that are not there yet.

    `OutputError` if the folder can't be written, or holds files that are not nstc's.
    """

    def __init__(self, folder: Path, progress: Progress) -> None:
        self._folder = folder
        self._progress = progress
        self._inputs: dict[str, Any] = {}
        self._state: dict[str, str] = {}  # what each stage was made from, as a hash
        path = folder / STATE_FILE
        if own_folder(folder, STATE_FILE):
            try:
                self._state = decode(parse_json(read_file(path)), dict[str, str])
            except (OSError, DecodingError):
                progress.note(f"{path} can't be read: what is there is not known to be of it")

    def depend_on(self, **inputs: str | None) -> None:
        """Add what all stages depend on: where it differs, they are done again."""
        self._inputs |= inputs

    def run(self, name: str, settings: Any, make: Callable[[Path], Bundle]) -> Bundle:
        """The bundle of a stage, made now or by an earlier run with the same inputs.

        Settings are a recipe or a dictionary of what JSON can hold. Later stages depend on them.
        """
        found = self.found(name, settings)
        self._inputs |= {name: _plain(settings)}
        return make(self._folder / name) if found is None else found

    def found(self, name: str, settings: Any) -> Bundle | None:
        """The bundle of a stage that an earlier run made with the same inputs, if there is one.

        If not, its place is free then, but for what was begun with them. `OutputError` if something
        is there that was not made here.
        """
        fingerprint = self._fingerprint(name, settings)
        target = self._folder / name
        if self._state.get(name) != fingerprint:
            if name not in self._state and target.exists():
                raise errors.OutputError(
                    f"will not replace {target}: it was not made here. Move it away, or choose "
                    "another folder."
                )
            drafts.discard(target)
            drafts.discard(self._folder / f"{name}.training")
            self._state[name] = fingerprint
            write_text(self._folder / STATE_FILE, json.dumps(self._state, indent=1))
            return None
        bundle = self.made(name, settings)
        if bundle is not None:
            self._progress.note(f"{name}: taken over from an earlier run")
        return bundle

    def made(self, name: str, settings: Any) -> Bundle | None:
        """What `found` would give, while all stays as it is."""
        if self._state.get(name) != self._fingerprint(name, settings):
            return None
        try:
            bundle = open_bundle(self._folder / name)
            for file in bundle.manifest.files:
                bundle.file(file)
        except errors.BundleError:
            return None
        return bundle

    def _fingerprint(self, name: str, settings: Any) -> str:
        inputs = self._inputs | {name: _plain(settings)}
        return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()


def _plain(settings: Any) -> dict[str, Any]:
    return settings if isinstance(settings, dict) else dataclasses.asdict(settings)
