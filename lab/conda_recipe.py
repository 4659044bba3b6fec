"""conda-forge's recipe of what was built: `python -m lab.conda_recipe FOLDER --address URL`.

Prints `release/conda-forge/recipe.yaml` with the version, and the hashes of the sdists in FOLDER,
which `python -m lab.distributions` wrote. `--address` is that of the repository.
"""

import argparse
import hashlib
from pathlib import Path
from typing import Final

from nstc.core import VERSION
from nstc.core.distributions import MODELS

RECIPE: Final = Path(__file__).resolve().parents[1] / "release" / "conda-forge" / "recipe.yaml"
_NO_VERSION: Final = 'version: "0.0.0"'
_NO_HASH: Final = "0" * 64
_NO_ADDRESS: Final = "https://github.com/OWNER/nstc"


def filled(recipe: str, sdists: Path, address: str) -> str:
    """The recipe of the sdists of this version in a folder; `OSError` if one is not there."""
    text = recipe.replace(_NO_VERSION, f'version: "{VERSION}"').replace(_NO_ADDRESS, address)
    for key, name in (("nstc", "nstc"), ("models", MODELS.replace("-", "_"))):
        sdist = (sdists / f"{name}-{VERSION}.tar.gz").read_bytes()
        found = hashlib.sha256(sdist).hexdigest()
        text = text.replace(f'sha256_{key}: "{_NO_HASH}"', f'sha256_{key}: "{found}"')
    return text


def main() -> None:
    """Print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--address", required=True)
    given = parser.parse_args()
    print(filled(RECIPE.read_text(encoding="utf-8"), given.folder, given.address), end="")


if __name__ == "__main__":
    main()
