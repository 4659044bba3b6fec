"""Make the pictures of README.md and docs/results.md, and print the table of the latter.

python -m lab.readme_pictures [-o docs/images]

`zoo.jpg` is `nstc models --sheet` of a sample photograph, `frontier.svg` the speed and the style
ratio that the manifests hold of the files of every student that had a teacher, by the photographs
that they were judged on last, and `comparison.jpg` three photographs beside one teacher's and its
student's pictures. The table has a row for each file, of the same photographs. `zoo-STYLE.jpg` is a
thumbnail of what a style's usual student makes of one photograph.
"""

import argparse
from pathlib import Path
from typing import Final

from PIL import Image

from lab.exploration_report import Outcome, measured_last, shapes_table, write_frontier
from lab.ship import taught_students
from nstc.compress.card import write_comparison
from nstc.compress.distillation.teachers import open_teacher
from nstc.core.bundle import open_bundle
from nstc.core.photos import PhotoSet, sample_photos
from nstc.core.zoo import STUDENT, TEACHER, zoo_names
from nstc.runtime.stylizer import Stylizer, write_zoo_sheet

SHOWN: Final = "astronaut"
THUMBNAIL: Final = "chelsea"
THUMBNAIL_SIDE: Final = 200
COMPARED: Final = ("astronaut", "chelsea", "coffee")
COMPARED_STYLE: Final = "zoo:starry-night"


def main() -> None:
    """Write them and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/images"))
    folder: Path = parser.parse_args().output
    photos = sample_photos()
    named = {path.stem: path for path in photos}
    write_zoo_sheet(named[SHOWN], folder / "zoo.png")
    compared = PhotoSet(tuple(named[name] for name in COMPARED), photos.names)
    teacher = open_teacher(f"{COMPARED_STYLE}/{TEACHER}")
    write_comparison(
        folder / "comparison.png", teacher.stylize, open_bundle(COMPARED_STYLE), compared
    )
    for name in ("zoo", "comparison"):
        lossless = folder / f"{name}.png"
        Image.open(lossless).save(folder / f"{name}.jpg", quality=88, optimize=True)
        lossless.unlink()
    for name in zoo_names([STUDENT]):
        picture = Stylizer(name)(named[THUMBNAIL])
        picture.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
        picture.save(folder / f"zoo-{name.removeprefix('zoo:')}.jpg", quality=88, optimize=True)
    floating, deployed = (_outcomes(artifact) for artifact in ("onnx", "int8.onnx"))
    write_frontier(folder / "frontier.svg", floating, deployed)
    print(shapes_table([*floating, *deployed]))


def _outcomes(artifact: str) -> list[Outcome]:
    """Of the file of each student that had a teacher, what was measured last."""
    return [measured_last(open_bundle(name).manifest, artifact) for name in taught_students()]


if __name__ == "__main__":
    main()
