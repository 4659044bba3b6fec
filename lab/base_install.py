"""What the base install brings: `python -m lab.base_install [--json]`.

Builds the wheel, installs it alone in a fresh environment as a device would, and lists every
package there with its version and the megabytes that its files take.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import venv
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
_NOT_BUILT_FROM: Final = (".*", "__pycache__", "runs", "demo", "build", "*.egg-info")
_TOOLS: Final = frozenset({"pip", "setuptools"})
"""What every environment has before anything is installed."""

_LIST: Final = """
import json
from importlib.metadata import distributions

print(json.dumps([
    {
        "name": own.metadata["Name"],
        "version": own.version,
        "size_mb": sum(
            path.stat().st_size for file in own.files or () if (path := file.locate()).is_file()
        ) / 1e6,
    }
    for own in distributions()
]))
"""


@dataclass(frozen=True)
class Package:
    """One that is installed.

    Attributes:
        name: As pip has it.
        version: Likewise.
        size_mb: Of its files, compiled ones included.
    """

    name: str
    version: str
    size_mb: float


def built_wheel(folder: Path) -> Path:
    """The wheel of this checkout, built from a copy so that nothing old in build/ gets into it.

    Args:
        folder: Where the copy and the wheel go.
    """
    ignored = shutil.ignore_patterns(*_NOT_BUILT_FROM)
    source = shutil.copytree(ROOT, folder / "source", ignore=ignored)
    _run(sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(source))
    return next(folder.glob("nstc-*.whl"))


def fresh_install(wheel: Path, folder: Path) -> Path:
    """Install a wheel alone in a new environment, and return its `bin` folder.

    Args:
        wheel: What to install; its requirements come from the usual index.
        folder: Of the environment.
    """
    venv.create(folder, with_pip=True)
    _run(str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", str(wheel))
    return folder / "bin"


def installed_packages(programs: Path) -> list[Package]:
    """What an environment holds beside its own tools, the largest first.

    Args:
        programs: Its `bin` folder. Python runs isolated there: in a checkout it would count the
            checkout as well.
    """
    found = (
        Package(**row) for row in json.loads(_run(str(programs / "python"), "-I", "-c", _LIST))
    )
    own = [package for package in found if package.name not in _TOOLS]
    return sorted(own, key=lambda package: -package.size_mb)


def _run(*command: str) -> str:
    """What a command prints; where it fails, what it said ends this program."""
    # Words of this folder's scripts alone.
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return done.stdout


def main() -> None:
    """Build, install, list."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    as_json = parser.parse_args().json
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        packages = installed_packages(fresh_install(built_wheel(folder), folder / "venv"))
    total_mb = sum(package.size_mb for package in packages)
    if as_json:
        rows = [asdict(package) for package in packages]
        print(json.dumps({"packages": rows, "total_mb": total_mb}, indent=1))
        return
    print("| package | version | MB |\n|---|---|---|")
    for package in packages:
        print(f"| {package.name} | {package.version} | {package.size_mb:.1f} |")
    print(f"| {len(packages)} packages | | {total_mb:.1f} |")


if __name__ == "__main__":
    main()
