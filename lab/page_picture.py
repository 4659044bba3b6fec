"""A picture of the live page for README and guide: `python -m lab.page_picture [-o FILE.jpg]`.

It is taken in a headless Chromium, of a page that `nstc serve` gives. Needs `nstc web-setup`.
"""

import argparse
from pathlib import Path
from typing import Final

from lab.live_page import driven
from nstc.core.zoo import STUDENT, zoo_names

PICTURE: Final = Path("docs/images/live-page.jpg")
SETTINGS: Final = "photo=coffee&model=starry-night&size=768"
SCRIPT: Final = Path(__file__).with_suffix(".mjs")


def main() -> None:
    """Take it."""
    parser = argparse.ArgumentParser(prog="python -m lab.page_picture", description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=PICTURE)
    asked = parser.parse_args()
    given = {"settings": SETTINGS, "output": str(asked.output)}
    driven(SCRIPT, given, models=zoo_names([STUDENT]), threads=1)


if __name__ == "__main__":
    main()
