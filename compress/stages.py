"""Work in stages, each of which leaves a bundle: what a stopped run has made is taken over."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from nstc.core.bundle import Bundle, open_bundle
from nstc.core.decoding import DecodingError, decode, parse_json, read_file
from nstc.core.errors import BundleError, OutputError
from nstc.core.files import atomic_file, reported_as_output_error
from nstc.core.files.drafts import discard, remove_abandoned
from nstc.core.progress import Progress

_STATE_FILE: Final = "pipeline.json"


class Stages:
    """Runs stages whose result is not there yet, and remembers what each was made from.

    Args:
        folder: Of the stages' bundles.
        progress: Told which stages are taken over.
    """

    def __init__(self, folder: Path, progress: Progress) -> None:
        self._folder = folder
        self._inputs: dict[str, Any] = {}
        self._progress = progress
        with reported_as_output_error(folder):
            folder.mkdir(parents=True, exist_ok=True)
        remove_abandoned(folder)
        self._state = self._read_state()

    def depend_on(self, **inputs: str | None) -> None:
        """Say what all stages depend on: where it differs, they are done again."""
        self._inputs |= inputs

    def run(self, name: str, settings: Any, make: Callable[[Path], Bundle]) -> Bundle:
        """The bundle of a stage, made now or by an earlier run with the same inputs.

        Settings are a recipe or a dictionary of what JSON can hold.
        """
        self._inputs[name] = settings if isinstance(settings, dict) else asdict(settings)
        text = json.dumps(self._inputs, sort_keys=True)
        fingerprint = hashlib.sha256(text.encode()).hexdigest()
        target = self._folder / name
        same_inputs = self._state.get(name) == fingerprint
        if same_inputs and (whole := _finished(target)) is not None:
            self._progress.note(f"{name}: taken over from an earlier run")
            return whole
        if not same_inputs:
            discard(target)
            discard(self._folder / f"{name}.training")
            self._state[name] = fingerprint
            with atomic_file(self._folder / _STATE_FILE) as draft:
                draft.write_text(json.dumps(self._state, indent=1), encoding="utf-8")
        return make(target)

    def _read_state(self) -> dict[str, str]:
        path = self._folder / _STATE_FILE
        if not path.is_file():
            if any(self._folder.iterdir()):
                raise OutputError(
                    f"will not write into {self._folder}: it holds files that are not nstc's. "
                    "Give another folder, or empty it first."
                )
            return {}
        try:
            return decode(parse_json(read_file(path)), dict[str, str])
        except (OSError, DecodingError):
            self._progress.note(f"{path} can't be read: all stages are done again")
            return {}


def _finished(path: Path) -> Bundle | None:
    """The bundle at a path if it is whole."""
    try:
        bundle = open_bundle(path)
        for name in bundle.manifest.files:
            bundle.file(name)
    except BundleError:
        return None
    return bundle
