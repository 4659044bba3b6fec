"""onnxruntime-web, which runs networks in browsers: npm installs it into the user's cache.

Versions are pinned by the hash of every package in `package-lock.json`, beside this module.
"""

import hashlib
import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nstc.core import child_processes, files
from nstc.core.errors import MissingExtraError

SETUP_LINE: Final = "nstc web-setup"

_HERE: Final = Path(__file__).parent
_DIST: Final = "node_modules/onnxruntime-web/dist"
_WASM: Final = "ort-wasm-simd-threaded"
_LOCK: Final = "package-lock.json"
_PINS: Final = ("package.json", _LOCK)
_NPM: Final = ("ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
_TIME_LIMIT_S: Final = 600


@dataclass(frozen=True)
class WebRuntime:
    """An installation of onnxruntime-web."""

    folder: Path  # of npm's; it may not be there yet

    @property
    def is_complete(self) -> bool:
        """Whether all files are there."""
        needed = (self.node_module, self.driver, *self.page_files, *self.webgpu_files)
        return all(path.is_file() for path in needed)

    @property
    def node_module(self) -> Path:
        """What Node imports."""
        return self.folder / _DIST / "ort.node.min.mjs"

    @property
    def page_files(self) -> tuple[Path, ...]:
        """What a page needs for WebAssembly, to be served by these files' own names."""
        return self._dist("ort.wasm.min.mjs", f"{_WASM}.mjs", f"{_WASM}.wasm")

    @property
    def webgpu_files(self) -> tuple[Path, ...]:
        """What it needs more for WebGPU: `ort.webgpu.min.mjs` in the place of `ort.wasm.min.mjs`.

        Of onnxruntime-web's two builds with WebGPU the one that every browser can run: the smaller
        one (`jspi`) needs a stack switching that some lack.
        """
        return self._dist("ort.webgpu.min.mjs", f"{_WASM}.asyncify.mjs", f"{_WASM}.asyncify.wasm")

    def _dist(self, *names: str) -> tuple[Path, ...]:
        return tuple(self.folder / _DIST / name for name in names)

    @property
    def driver(self) -> Path:
        """What drives Chromium."""
        return self.folder / "node_modules/playwright-core/index.mjs"


def web_runtime() -> WebRuntime:
    """Where the pinned versions are, or will be installed: other pins are another folder."""
    pins = hashlib.sha256((_HERE / _LOCK).read_bytes()).hexdigest()[:16]
    return WebRuntime(files.cached("web", pins))


def runtime_version() -> str:
    """The pinned version of onnxruntime-web."""
    pins = json.loads((_HERE / "package.json").read_text(encoding="utf-8"))
    return str(pins["dependencies"]["onnxruntime-web"])


def missing_runtime() -> str | None:
    """None if the files are there, or what is missing and how to get it."""
    if web_runtime().is_complete:
        return None
    if shutil.which("npm") is None:
        return f"npm is not installed: install Node.js 20 or newer with npm, then run {SETUP_LINE}"
    return f"onnxruntime-web is not installed: run {SETUP_LINE}"


def install() -> WebRuntime:
    """Install what the lock file names, unless it is there; npm checks each package by its hash.

    No package's own install script is run. `MissingExtraError` if there is no npm, or it failed,
    and why; `OutputError` if the cache can't be written.
    """
    runtime = web_runtime()
    if runtime.is_complete:
        return runtime
    npm = shutil.which("npm")
    if npm is None:
        raise MissingExtraError(f"{missing_runtime()}.")
    with files.atomic_folder(runtime.folder, replaceable=_LOCK) as draft:
        for name in _PINS:
            shutil.copyfile(_HERE / name, draft / name)
        try:
            ran = child_processes.run_to_end([npm, *_NPM], cwd=draft, timeout_s=_TIME_LIMIT_S)
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
