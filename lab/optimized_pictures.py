"""How low the losses go: `python -m lab.optimized_pictures yardstick|strength --paintings DIR`.

`yardstick` optimises an image for each photograph and each style of the zoo, by the defaults of
`nstc optimize` at 512 px, and compares its losses and the student's with those of the teacher's
picture. `strength`
optimises one photograph for every painting in the folder, with the weights balanced and with fixed
ones, compares how the content losses spread, and plots them with `--plot FILE.svg`. Paintings are
DIR/starry-night.jpg and so on; what was made before in the output folder is kept. Prints the
Markdown tables of docs/results.md and of docs/explanation/content-balance.md.
"""

import argparse
import json
import statistics
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch

import nstc
from nstc.benchmarks.report.plots import plotting
from nstc.core.bundle import open_bundle
from nstc.core.files import write_text
from nstc.core.images import Picture, Pixels, read_picture, write_picture
from nstc.core.images.picture import centre_square
from nstc.core.photos import sample_photos
from nstc.core.recipe import OptimizeRecipe
from nstc.models.architectures import load_as_deployed
from nstc.models.losses import CONTENT_LAYERS, STYLE_LAYERS, ContentLoss, StyleLoss
from nstc.models.style import StyleStatistics, statistics_of_painting, style_of
from nstc.models.tensors import images_to_tensor, tensor_to_images
from nstc.models.vgg import VggFeatures, load_vgg

SIZE: Final = 512
STYLES: Final = ("starry-night", "the-scream", "great-wave", "udnie")
PHOTOS: Final = ("astronaut", "camera", "chelsea", "coffee", "rocket")
# At which fixed weights lose as much content, in the mean over paintings, as balanced ones.
FIXED_CONTENT_WEIGHT: Final = 0.4
SPREAD: Final = "standard deviation over mean of the content loss"


def main() -> None:
    """Optimise, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", choices=("yardstick", "strength"))
    parser.add_argument("--paintings", type=Path, required=True)
    parser.add_argument("--photos", nargs="+", default=PHOTOS)
    parser.add_argument("-o", "--output", type=Path, default=Path("optimized"))
    parser.add_argument("--styles", nargs="+", default=STYLES)
    parser.add_argument("--size", type=int, default=SIZE)
    parser.add_argument("--plot", type=Path, help="of strength, as SVG")
    parser.add_argument("--threads", type=int, help="of torch; by default one a core")
    arguments = parser.parse_args()
    if arguments.threads is not None:
        torch.set_num_threads(arguments.threads)
    if arguments.table == "yardstick":
        yardstick(arguments.paintings, arguments.styles, arguments.photos, arguments.output)
    else:
        photo, size = arguments.photos[0], arguments.size
        found = strength(arguments.paintings, photo, size, arguments.output)
        if arguments.plot is not None:
            plot_contents(found, arguments.plot)


def yardstick(paintings: Path, styles: Sequence[str], photos: Sequence[str], output: Path) -> None:
    """Losses of the optimised image and of the student's picture, over the teacher's, in rows.

    A row is a style and a photograph, and has the style loss and the content loss of each.
    """
    vgg, ratios = load_vgg(), []
    print("| style | photograph | optimised: style, content | seconds | student: style, content |")
    print("|---|---|---|---|---|")
    for name in styles:
        teacher = open_bundle(f"zoo:{name}/teacher")
        grams = style_of(teacher)
        networks = [load_as_deployed(each) for each in (teacher, open_bundle(f"zoo:{name}"))]
        for photo in photos:
            square = _square(photo)
            made = _optimized(paintings / f"{name}.jpg", photo, SIZE, output, OptimizeRecipe())
            with torch.no_grad():
                given = images_to_tensor([square])
                stylised = [tensor_to_images(network(given))[0] for network in networks]
            of_teacher, *others = (
                _losses(rgb, square, grams, vgg) for rgb in (*stylised, read_picture(made[0]).rgb)
            )
            of_student, optimised = (np.divide(each, of_teacher) for each in others)
            ratios.append((*optimised, *of_student))
            cells = (_pair(optimised), f"{made[1]:.0f}", _pair(of_student))
            print(f"| {name} | {photo} | {' | '.join(cells)} |", flush=True)
    found = np.array(ratios)
    for title, row in (("median", np.median(found, axis=0)), ("worst", found.max(axis=0))):
        print(f"| all | {title} | {_pair(row[:2])} | | {_pair(row[2:])} |")


def _pair(values: Iterable[float]) -> str:
    return ", ".join(f"{value:.2f}" for value in values)


def strength(
    paintings: Path, photo: str, size: int, output: Path
) -> Mapping[str, Mapping[str, float]]:
    """Content loss of one photograph in several styles at one strength, balanced and fixed.

    By kind of weight, then by painting.
    """
    kinds: Mapping[str, OptimizeRecipe] = {
        "balanced": OptimizeRecipe(size=size),
        "fixed": OptimizeRecipe(size=size, balance=False, content_weight=FIXED_CONTENT_WEIGHT),
    }
    vgg, square = load_vgg(), _square(photo)
    found: dict[str, dict[str, float]] = {kind: {} for kind in kinds}
    print("| painting | " + " | ".join(f"{kind}: style, content" for kind in kinds) + " |")
    print("|---|" + "---|" * len(kinds))
    for path in sorted(paintings.glob("*.jpg")):
        grams = statistics_of_painting(read_picture(path).rgb, vgg, [size])
        cells = []
        for kind, recipe in kinds.items():
            picture, _ = _optimized(path, photo, size, output / kind, recipe)
            style, content = _losses(read_picture(picture).rgb, square, grams, vgg)
            found[kind][path.stem] = content
            cells.append(f"{style:.3f}, {content:.3f}")
        print(f"| {path.stem} | {' | '.join(cells)} |", flush=True)
    print(f"| {SPREAD} | {' | '.join(map(_spread, found.values()))} |")
    return found


def plot_contents(found: Mapping[str, Mapping[str, float]], path: Path) -> None:
    """Plot what `strength` found: a row a painting, a mark a kind of weight."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with plotting("light"):
        mpl.rcParams["svg.hashsalt"] = "content-balance"  # the same numbers, the same bytes
        figure = Figure(figsize=(7.0, 2.6), layout="constrained")
        axes = figure.subplots()
        for marker, (kind, contents) in zip("os", found.items(), strict=True):
            names = [name.replace("-", " ") for name in contents]
            label = f"{kind} weights, spread {_spread(contents)}"
            axes.plot(list(contents.values()), names, marker, label=label)
        axes.set_xlim(left=0)
        axes.invert_yaxis()
        axes.set_xlabel("content loss")
        figure.legend(loc="outside upper center", ncols=2)
        figure.savefig(path, format="svg", metadata={"Date": None})


def _spread(contents: Mapping[str, float]) -> str:
    values = list(contents.values())
    return f"{statistics.stdev(values) / statistics.mean(values):.1%}"


def _square(photo: str) -> Pixels:
    path = next(path for path in sample_photos() if path.stem == photo)
    return centre_square(read_picture(path).rgb, SIZE)


def _optimized(
    painting: Path, photo: str, size: int, output: Path, recipe: OptimizeRecipe
) -> tuple[Path, float]:
    """The optimised picture of a square and the seconds that it took; kept from an earlier run."""
    output.mkdir(parents=True, exist_ok=True)
    source, target = output / f"{photo}.png", output / f"{painting.stem}-{photo}-{size}.png"
    record = target.with_suffix(".json")
    if not record.is_file():
        write_picture(source, Picture(rgb=_square(photo)))
        started = time.monotonic()
        nstc.optimize(source, painting, target, recipe=recipe)
        write_text(record, json.dumps({"seconds": time.monotonic() - started}))
    return target, json.loads(record.read_text())["seconds"]


def _losses(
    rgb: Pixels, square: Pixels, grams: StyleStatistics | None, vgg: VggFeatures
) -> tuple[float, float]:
    """Style and content loss of a picture, as `nstc bench` takes them."""
    assert grams is not None  # noqa: S101  (the zoo's teachers all have a painting)
    size = rgb.shape[0]
    photograph = centre_square(square, size)
    with torch.no_grad():
        features = vgg(images_to_tensor([rgb]), STYLE_LAYERS)
        target = vgg(images_to_tensor([photograph]), CONTENT_LAYERS)
    return float(StyleLoss(grams.at(size))(features)), float(ContentLoss()(features, target))


if __name__ == "__main__":
    main()
