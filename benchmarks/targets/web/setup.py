"""The files of onnxruntime-web, from npm into the user's cache at the versions that are pinned."""

import hashlib
import json
import shutil
import subprocess
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Final

from nstc.core.child_processes import run_to_end
from nstc.core.errors import MissingExtraError
from nstc.core.files import atomic_folder
from nstc.core.files.cache import cached

SETUP_LINE: Final = "nstc web-setup"

DATA: Final = Path(str(resources.files("nstc.benchmarks.targets.web")))
"""Where this package's own JavaScript lies."""

_LOCK: Final = "package-lock.json"
_PINS: Final = ("package.json", _LOCK)
_NPM: Final = ("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
_TIME_LIMIT_S: Final = 600


@dataclass(frozen=True)
class WebRuntime:
    """An installation."""

    folder: Path  # that npm filled; it may not be there yet

    @property
    def is_complete(self) -> bool:
        """Whether npm has done its work there."""
        return all(path.is_file() for path in (self.node_module, self.driver, *self.page_files))

    @property
    def node_module(self) -> Path:
        """What Node imports."""
        return self._dist / "ort.node.min.mjs"

    @property
    def page_files(self) -> tuple[Path, ...]:
        """What a page needs, to be served by these files' own names."""
        names = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
        return tuple(self._dist / name for name in names)

    @property
    def driver(self) -> Path:
        """What drives Chromium."""
        return self.folder / "node_modules" / "playwright-core" / "index.mjs"

    @property
    def _dist(self) -> Path:
        return self.folder / "node_modules" / "onnxruntime-web" / "dist"


def web_runtime() -> WebRuntime:
    """Where the pinned versions are, or will be: other pins are another folder."""
    pins = hashlib.sha256((DATA / _LOCK).read_bytes()).hexdigest()[:16]
    return WebRuntime(cached("web", pins))


def runtime_version() -> str:
    """The pinned version of onnxruntime-web."""
    pins = json.loads((DATA / "package.json").read_text(encoding="utf-8"))
    return str(pins["dependencies"]["onnxruntime-web"])


def missing_runtime() -> str | None:
    """None if the files are there, or what is missing and how to get it."""
    if web_runtime().is_complete:
        return None
    if shutil.which("npm") is None:
        return f"npm is not installed: install Node.js 20 or newer with npm, then run {SETUP_LINE}"
    return f"onnxruntime-web is not installed: run {SETUP_LINE}"


def install() -> WebRuntime:
    """Let npm fetch what the lock file names; each package is checked by its hash.

    No package's own install script is run. What is there already is left as it is.

    Raises:
        MissingExtraError: there is no npm, or it failed; the message says why.
        OutputError: the cache can't be written.
    """
    runtime = web_runtime()
    if runtime.is_complete:
        return runtime
    npm = shutil.which("npm")
    if npm is None:
        raise MissingExtraError(f"{missing_runtime()}.")
    with atomic_folder(runtime.folder, replaceable=_LOCK) as draft:
        for name in _PINS:
            shutil.copyfile(DATA / name, draft / name)
        try:
            ran = run_to_end([npm, *_NPM[1:]], cwd=draft, timeout_s=_TIME_LIMIT_S)
        except subprocess.TimeoutExpired as error:
            raise MissingExtraError(
                f"npm ci took more than {_TIME_LIMIT_S} s: check the network, then run "
                f"{SETUP_LINE} again."
            ) from error
        if ran.status:
            said = [line for line in ran.complaints.splitlines() if line.strip()]
            reason = said[0] if said else f"exit status {ran.status}"
            raise MissingExtraError(
                f"npm ci failed: {reason:.200}. Check the network and the disk, then run "
                f"{SETUP_LINE} again."
            )
        if not WebRuntime(draft).is_complete:
            raise MissingExtraError("npm ci left files out: update npm, then run it again.")
    return runtime
