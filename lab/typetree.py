"""Links the package's folders into one tree, for checkers that don't follow setuptools' mapping.

mypy, pyright and import-linter look for `nstc.models` in a folder `nstc/models`; the checkout has
it in `models/`. This reads the mapping from pyproject.toml and makes `.typetree/nstc/`, with `lab`
beside it.
"""

import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TREE = ROOT / ".typetree"


def main() -> None:
    """Make the links anew."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    folders = {k: ROOT / v for k, v in project["tool"]["setuptools"]["package-dir"].items()}
    top = TREE / "nstc"
    top.mkdir(parents=True, exist_ok=True)
    for link in top.iterdir():
        link.unlink()
    for source in folders.pop("nstc").iterdir():
        if source.name != "__pycache__":
            (top / source.name).symlink_to(source)
    for package, source in folders.items():
        (TREE / package.replace(".", "/")).symlink_to(source)
    lab = TREE / "lab"
    lab.unlink(missing_ok=True)
    lab.symlink_to(ROOT / "lab")


if __name__ == "__main__":
    main()
