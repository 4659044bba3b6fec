"""What the base install brings: `python -m lab.base_install [--json]`.

Builds the wheel of `nstc`, installs it alone in a fresh environment as a device would, and lists
every package there with its version and the megabytes that its files take.
"""

import argparse
import json
import tempfile
import venv
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from lab.distributions import built_wheels, run

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


def fresh_install(wheel: Path, folder: Path) -> Path:
    """Install a wheel alone in a new environment, and return its `bin` folder.

    Args:
        wheel: What to install; its requirements come from the usual index.
        folder: Of the environment.
    """
    venv.create(folder, with_pip=True)
    run(str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", str(wheel))
    return folder / "bin"


def installed_packages(programs: Path) -> list[Package]:
    """What an environment holds beside its own tools, the largest first.

    Args:
        programs: Its `bin` folder. Python runs isolated there: in a checkout it would count the
            checkout as well.
    """
    found = (Package(**row) for row in json.loads(run(str(programs / "python"), "-I", "-c", _LIST)))
    own = [package for package in found if package.name not in _TOOLS]
    return sorted(own, key=lambda package: -package.size_mb)


def main() -> None:
    """Build, install, list."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    as_json = parser.parse_args().json
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        packages = installed_packages(fresh_install(built_wheels(folder).device, folder / "venv"))
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
