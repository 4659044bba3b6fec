"""Measures of a picture's style and place, on planted faults: `python -m lab.local_measure`.

Into the pictures of included students faults are planted as a person would notice them, and each
measure says how much worse it finds them than the student's own picture. A good one finds every
fault, and a large one worse than a small one. Photographs are the samples.
"""

import argparse
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor

from lab.planted_faults import FAULTS, NO_FAULT, Scene
from nstc.benchmarks.quality.local_style import (
    WINDOW,
    local_style_distance,
    power_mean,
    window_distances,
    window_moments,
)
from nstc.benchmarks.subjects import FLOAT, finder
from nstc.compress.export.export_model import made_artifact
from nstc.core.images import Pixels
from nstc.core.photos import sample_photos
from nstc.models.losses import CONTENT_LAYERS, STYLE_LAYERS, ContentLoss, gram_distance, gram_matrix
from nstc.models.style import style_of
from nstc.models.tensors import images_to_tensor
from nstc.models.vgg import VggFeatures, load_vgg

STYLES: Final = ("starry-night", "udnie", "the-scream", "great-wave")
_LAYERS: Final = tuple(dict.fromkeys(STYLE_LAYERS + CONTENT_LAYERS))


TEACHERS: Final = "the teacher's own picture"
SHOWN: Final = (
    NO_FAULT,
    "rounding",
    "2 % brighter",
    "square of 30 px",
    "square of 60 px",
    "patch of 96 px copied elsewhere",
    "blur of 2 px",
    "sky blank",
    "sky as in the photograph",
    "a quarter in another style",
    "tiles in random order",
    "all in another style",
)
"""Of the faults those that are of places, or of the whole picture's style."""


@dataclass(frozen=True)
class Seen:
    """A picture's features, and what is computed of them once."""

    features: Mapping[str, Tensor]  # (1, C, h, w) by layer
    size: int  # side of the picture in pixels

    @functools.cached_property
    def grams(self) -> Mapping[str, Tensor]:
        """Of the whole picture, (1, C, C) by layer."""
        return {name: gram_matrix(self.features[name]) for name in STYLE_LAYERS}

    @functools.cached_property
    def window_grams(self) -> Mapping[str, Tensor]:
        """Of windows beside each other, (windows, C, C) by layer."""
        return {
            name: torch.cat([gram_matrix(own) for own in self.windows(name)])
            for name in STYLE_LAYERS
        }

    def windows(self, layer: str) -> list[Tensor]:
        """The features of windows of `WINDOW` pixels beside each other."""
        features = self.features[layer]
        side = WINDOW * features.shape[-1] // self.size
        starts = range(0, features.shape[-1] - side + 1, side)
        return [features[..., i : i + side, j : j + side] for i in starts for j in starts]

    def moments(self, window: int) -> Mapping[str, Tensor]:
        """Of windows of so many pixels, which overlap by half."""
        return window_moments(self.features, (self.size, self.size), window=window)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A picture, the teacher's, the photograph and the painting's Gram matrices (C, C)."""

    own: Seen
    teachers: Seen
    photo: Seen
    style: Mapping[str, Tensor]

    def style_ratio(self) -> float:
        """Of the whole picture, as `nstc bench` has it."""
        losses = [
            sum(float(gram_distance(one.grams[n], self.style[n][None])) for n in STYLE_LAYERS)
            for one in (self.own, self.teachers)
        ]
        return losses[0] / losses[1]

    def content_ratio(self) -> float:
        """Likewise."""
        losses = [
            float(ContentLoss()(one.features, self.photo.features))
            for one in (self.own, self.teachers)
        ]
        return losses[0] / losses[1]

    def window_grams(self) -> float:
        """Distance of windows' Gram matrices from the teacher's, 95th percentile over windows."""
        total = torch.zeros(())
        for name in STYLE_LAYERS:
            own, target = self.own.window_grams[name], self.teachers.window_grams[name]
            norm = target.square().sum(dim=(1, 2))
            distance = (own - target).square().sum(dim=(1, 2))
            total = total + distance / torch.maximum(norm, norm.mean())
        return float(total.quantile(0.95))

    def window_style_ratio(self) -> float:
        """Windows' style losses over the teacher's, at least its mean; 95th percentile."""
        losses = []
        for one in (self.own, self.teachers):
            layers = [gram_distance(one.window_grams[n], self.style[n][None]) for n in STYLE_LAYERS]
            losses.append(torch.stack(layers).sum(dim=0))
        return float((losses[0] / torch.maximum(losses[1], losses[1].mean())).quantile(0.95))

    def window_content_ratio(self) -> float:
        """Windows' content losses over the teacher's, at least its mean; power mean."""
        losses = []
        for one in (self.own, self.teachers):
            total = torch.zeros(())
            for name in CONTENT_LAYERS:
                pairs = zip(one.windows(name), self.photo.windows(name), strict=True)
                distance = torch.stack([(own - x).square().sum() for own, x in pairs])
                total = total + distance / self.photo.features[name].square().sum()
            losses.append(total)
        return power_mean(losses[0] / torch.maximum(losses[1], losses[1].mean()))

    def distances(self, window: int = WINDOW) -> Tensor:
        """Of windows' moments from the teacher's."""
        return window_distances(self.own.moments(window), self.teachers.moments(window))


MEASURES: Final[Mapping[str, Callable[[Comparison], float]]] = {
    "style_ratio": Comparison.style_ratio,
    "content_ratio": Comparison.content_ratio,
    "Gram, p95": Comparison.window_grams,
    "style loss / teacher's, p95": Comparison.window_style_ratio,
    "content loss / teacher's, power mean": Comparison.window_content_ratio,
    "moments, largest": lambda own: float(own.distances().max()),
    "moments, p95": lambda own: float(own.distances().quantile(0.95)),
    "moments, mean": lambda own: float(own.distances().mean()),
    "moments in 128 px, power mean": lambda own: power_mean(own.distances(128)),
    "local_style_distance": lambda own: local_style_distance(
        own.own.moments(WINDOW), own.teachers.moments(WINDOW)
    ),
}
"""By name; windows have 64 px where no other number stands. The last one is the power mean of those
of the moments in 64 px."""

Table = Mapping[str, Mapping[str, Sequence[float]]]
"""Of each fault and measure one number for each picture."""


def measured(
    scene: Scene, teachers: Pixels, style: Mapping[str, Tensor], vgg: VggFeatures
) -> dict[str, dict[str, float]]:
    """Every measure of the teacher's picture (H, W, 3) and of every fault in the student's."""

    def seen(pixels: Pixels) -> Seen:
        return Seen(vgg(images_to_tensor([pixels]), _LAYERS), len(pixels))

    photo, target = seen(scene.photo), seen(teachers)
    pictures = {TEACHERS: teachers} | {fault: FAULTS[fault](scene) for fault in SHOWN}
    found = {}
    for fault, picture in pictures.items():
        comparison = Comparison(own=seen(picture), teachers=target, photo=photo, style=style)
        found[fault] = {name: measure(comparison) for name, measure in MEASURES.items()}
    return found


def markdown(table: Table) -> str:
    """A row for each fault: against no fault the median of the ratios, and the smallest of them."""
    lines = [f"| fault | {' | '.join(MEASURES)} |", "|---|" + "---|" * len(MEASURES)]
    bases = table[NO_FAULT]
    for fault, own in table.items():
        cells = []
        for name in MEASURES:
            ratios = np.divide(own[name], bases[name])
            if fault in (NO_FAULT, TEACHERS):
                cells.append(f"{np.median(own[name]):.2f}")
            elif fault in ("rounding", "2 % brighter"):
                cells.append(f"± {np.abs(ratios - 1).max():.2%}")
            else:
                cells.append(f"{np.median(ratios):.2f} ({ratios.min():.2f})")
        lines.append(f"| {fault} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=512, help="side of the pictures in pixels")
    parser.add_argument("--photos", type=int, default=2, help="of the samples, evenly spread")
    parser.add_argument("--styles", nargs="+", default=STYLES, help="of included students")
    given = parser.parse_args()
    find, vgg = finder(store=made_artifact), load_vgg()
    table: dict[str, dict[str, list[float]]] = {
        fault: {name: [] for name in MEASURES} for fault in (TEACHERS, *SHOWN)
    }
    photos = list(sample_photos().take(given.photos).squares(given.size))
    students = [find(f"zoo:{name}").open("int8.onnx", None) for name in given.styles]
    for position, name in enumerate(given.styles):
        teacher = find(f"zoo:{name}/teacher")
        session = teacher.open(FLOAT, None)
        style = None if teacher.bundle is None else style_of(teacher.bundle)
        if style is None:
            raise SystemExit(f"zoo:{name}/teacher has no style.")
        for photo in photos:
            scene = Scene(
                photo=photo,
                picture=students[position].run(photo),
                other=students[(position + 1) % len(students)].run(photo),
            )
            with torch.inference_mode():
                found = measured(scene, session.run(photo), style.at(given.size), vgg)
                for fault, numbers in found.items():
                    for measure, number in numbers.items():
                        table[fault][measure].append(number)
        print(f"{name}: done\n\n{markdown(table)}\n", flush=True)


if __name__ == "__main__":
    main()
