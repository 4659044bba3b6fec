"""Links the package's folders into one tree, for checkers that don't follow setuptools' mapping.

mypy, pyright and import-linter look for `nstc.models` in a folder `nstc/models`; the checkout has
it in `models/`. This reads the mapping from pyproject.toml and makes `.typetree/nstc/`, with the
folders of code that is not installed beside it.
"""

import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TREE = ROOT / ".typetree"
NOT_INSTALLED = ("lab", "integrations", "examples")


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
    for name in NOT_INSTALLED:
        (TREE / name).unlink(missing_ok=True)
        (TREE / name).symlink_to(ROOT / name)


if __name__ == "__main__":
    main()
