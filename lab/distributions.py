"""What is released: `python -m lab.distributions FOLDER` writes sdists and wheels there.

Divides the checkout by `nstc.core.distributions` into two source trees and builds each: `nstc`,
whose extra `compress` then needs `nstc-models` of the same version, and `nstc-models`. To install
the checkout itself takes all of its files. `--address` is the repository's on GitHub: the README's
links lead to its files at the tag of this version.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from nstc.core import VERSION
from nstc.core.distributions import MODELS, STAMP, is_of_models

ROOT: Final = Path(__file__).resolve().parents[1]
MOST_BYTES: Final = 3_000_000
"""Of the wheel that a device gets."""

_OWN: Final = ROOT / "release" / MODELS
_RELATIVE_LINK: Final = re.compile(r"(?P<image>!?)(?P<text>\[[^\]]*\]\()(?![a-z]+:|#)")
_NO_VERSION: Final = "0.0.0"
_VGG_LICENCE: Final = ', "models/data/LICENSE-VGG16.md"'
_COMPRESS: Final = "compress = [\n"
_SCRIPTS: Final = "[project.scripts]\n"


@dataclass(frozen=True)
class Wheels:
    """The two that were built."""

    device: Path
    models: Path


def built_wheels(folder: Path) -> Wheels:
    """The wheels of this checkout, built without their sdists.

    Args:
        folder: Where the source trees and the wheels go; old wheels there are removed.
    """
    for old in folder.glob("nstc*.whl"):
        old.unlink()
    staged(folder)
    for name in ("nstc", MODELS):
        run(sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(folder / name))
    return Wheels(device=next(folder.glob("nstc-*.whl")), models=next(folder.glob("nstc_m*.whl")))


def staged(folder: Path, address: str | None = None) -> None:
    """Write the two source trees, `nstc` and `nstc-models`, of copies of this checkout's files.

    Args:
        folder: Where they go.
        address: The repository's, where the README's links lead; None leaves them as they are.
    """
    device, models = folder / "nstc", folder / MODELS
    for old in (device, models):
        shutil.rmtree(old, ignore_errors=True)
    for path, installed in _files():
        if is_of_models(installed):
            _copy(path, models / "nstc" / installed)
        else:
            _copy(path, device / path.relative_to(ROOT))
    for name in ("LICENSE", "README.md", "pyproject.toml"):
        _copy(ROOT / name, device / name)
    for name in ("README.md", "pyproject.toml"):
        _copy(_OWN / name, models / name)
    _copy(ROOT / "LICENSE", models / "LICENSE")
    _copy(ROOT / "src/nstc/core/samples/LICENSES.md", models / "nstc/core/samples/LICENSES.md")
    _replace(models / "pyproject.toml", _NO_VERSION, VERSION)
    (models / "nstc" / STAMP).write_text(f"{VERSION}\n", encoding="utf-8")
    project = device / "pyproject.toml"
    _replace(project, _VGG_LICENCE, "", times=1)
    _replace(project, _COMPRESS, f'{_COMPRESS}    "{MODELS}=={VERSION}",\n', times=1)
    if address is not None:
        _replace(project, _SCRIPTS, f'[project.urls]\nSource = "{address}"\n\n{_SCRIPTS}', times=1)
        text = (device / "README.md").read_text(encoding="utf-8")
        (device / "README.md").write_text(linked(text, address), encoding="utf-8")


def linked(text: str, address: str) -> str:
    """A page whose relative links and pictures are the repository's, at the version's tag."""

    def whole(link: re.Match[str]) -> str:
        kind = "raw" if link["image"] else "blob"
        return f"{link[0]}{address}/{kind}/v{VERSION}/"

    return _RELATIVE_LINK.sub(whole, text)


def _files() -> Iterator[tuple[Path, PurePosixPath]]:
    """What installs: each file of the packages' folders, and its path in the installed `nstc`."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    for package, folder in project["tool"]["setuptools"]["package-dir"].items():
        inside = PurePosixPath(*package.split(".")[1:])
        for path in sorted((ROOT / folder).rglob("*")):
            within = path.relative_to(ROOT / folder)
            if path.is_file() and "__pycache__" not in within.parts:
                yield path, inside / PurePosixPath(within.as_posix())


def _copy(path: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, target)


def _replace(path: Path, old: str, new: str, *, times: int | None = None) -> None:
    text = path.read_text(encoding="utf-8")
    if old not in text or times not in (None, text.count(old)):
        sys.exit(f"{path.name} has {old!r} {text.count(old)} times: lab/distributions.py needs it.")
    path.write_text(text.replace(old, new), encoding="utf-8")


def run(*command: str) -> str:
    """What a command prints; where it fails, what it said ends this program."""
    # Words of this folder's scripts alone.
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return done.stdout


def main() -> None:
    """Build both, each wheel from its sdist, and print their sizes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--address", help="such as https://github.com/OWNER/nstc")
    given = parser.parse_args()
    if given.folder.exists() and (not given.folder.is_dir() or any(given.folder.iterdir())):
        sys.exit(f"{given.folder} is not an empty folder: remove it, or name another.")
    with tempfile.TemporaryDirectory() as name:
        staged(Path(name), given.address)
        for source in ("nstc", MODELS):
            out = ("--outdir", str(given.folder))
            run(sys.executable, "-m", "build", *out, str(Path(name) / source))
    for path in sorted(given.folder.iterdir()):
        print(f"{path.name}: {path.stat().st_size / 1e6:.2f} MB")
    [device] = given.folder.glob("nstc-*.whl")
    if device.stat().st_size > MOST_BYTES:
        sys.exit(f"{device.name} is larger than {MOST_BYTES} bytes.")


if __name__ == "__main__":
    main()
