"""An environment of the lowest versions: `python -m lab.lowest_install FOLDER`.

Builds the two wheels and installs them in FOLDER/venv, where each package that pyproject.toml names
is of the lowest version that it allows, and what those need of the newest that go with them: what a
user has who upgrades late, or shares an environment with another program. `--extra` takes extras
along, `--with` other packages. uv resolves that way and pip does not; it gets an environment of its
own.
"""

import argparse
import sys
import venv
from pathlib import Path

from lab.distributions import ROOT, built_wheels, run

UV = "uv>=0.9"


def lowest_install(folder: Path, extras: list[str], more: list[str]) -> Path:
    """Make the environment, and return its `bin` folder.

    Args:
        folder: Where it goes; what is there of an earlier one is replaced.
        extras: Of nstc.
        more: Other packages, as pip takes them; in their newest versions unless they say otherwise.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tools, place = folder / "tools", folder / "venv"
    venv.create(tools, with_pip=True)
    run(str(tools / "bin" / "python"), "-m", "pip", "install", "--quiet", UV)
    venv.create(place, clear=True)
    install = [str(tools / "bin" / "uv"), "pip", "install", "--quiet", "--python"]
    install.append(str(place / "bin" / "python"))
    chosen = [word for extra in extras for word in ("--extra", extra)]
    project = str(ROOT / "pyproject.toml")
    run(*install, "--resolution", "lowest-direct", "-r", project, *chosen)
    wheels = built_wheels(folder)
    run(*install, "--no-deps", str(wheels.device), str(wheels.models))
    if more:
        run(*install, *more)
    return place / "bin"


def main() -> None:
    """Make it, and print what is in it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--extra", action="append", default=[], metavar="EXTRA")
    parser.add_argument("--with", action="append", default=[], dest="more", metavar="PACKAGE")
    given = parser.parse_args()
    programs = lowest_install(given.folder, given.extra, given.more)
    uv = str(given.folder / "tools" / "bin" / "uv")
    sys.stdout.write(run(uv, "pip", "list", "--python", str(programs / "python")))


if __name__ == "__main__":
    main()
