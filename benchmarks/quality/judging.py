"""Judging stylised photographs against a teacher's, one photograph at a time."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor

from nstc.benchmarks.quality.metrics import Look, available_metrics
from nstc.benchmarks.quality.picture_metrics import flicker
from nstc.benchmarks.result import Quality, StyleSource
from nstc.benchmarks.timing.statistics import bootstrap_median
from nstc.core.images import Pixels
from nstc.core.photos import PhotoSet
from nstc.core.progress import Progress, Silent
from nstc.models.functional import gram_distance, gram_matrix
from nstc.models.perceptual import CONTENT_LAYERS, STYLE_LAYERS, ContentLoss
from nstc.models.style import StyleStatistics, statistics_of_outputs
from nstc.models.tensors import images_to_tensor
from nstc.models.vgg import VggFeatures
from nstc.runtime.session import Session

FLICKER_PHOTOS: Final = 8
"""Flicker is measured on at most so many photographs: it costs each session four more runs."""

_LAYERS: Final = tuple(dict.fromkeys(STYLE_LAYERS + CONTENT_LAYERS))


@dataclass(frozen=True, kw_only=True)
class JudgingTeacher:
    """Whom to judge by."""

    name: str  # as results name it
    session: Session  # its float graph


@dataclass(frozen=True, kw_only=True)
class StyleTarget:
    """What the style loss is measured against."""

    statistics: StyleStatistics  # Gram matrices
    source: StyleSource  # "painting", or "outputs" for the mean over the teacher's own pictures


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A session to judge, its teacher, and the style both are held to."""

    session: Session
    teacher: JudgingTeacher
    style: StyleTarget


def judge(
    candidates: Sequence[Candidate],
    photos: PhotoSet,
    *,
    size: int,
    vgg: VggFeatures,
    seed: int,
    progress: Progress | None = None,
) -> list[Quality]:
    """Judge all candidates on the same photographs.

    Each photograph is decoded, stylised and looked at before the next one, and each teacher
    stylises it once, so memory does not grow with the number of photographs. On `FLICKER_PHOTOS`
    of them, evenly spread, every session stylises four changed copies as well.

    Args:
        candidates: Those with the same `JudgingTeacher` object share its pictures.
        photos: At least one.
        size: Side in pixels of the centre squares.
        vgg: The feature network.
        seed: Of the bootstrap.
        progress: Told of every photograph.

    Returns:
        One result a candidate, in their order.
    """
    metrics, count = available_metrics(), len(photos)
    values: list[dict[str, list[float]]] = [{m.name: [] for m in metrics} for _ in candidates]
    # evenly spread, the first and the last among them
    shaken = set(np.linspace(0, count - 1, min(FLICKER_PHOTOS, count)).round().astype(int).tolist())
    progress = progress or Silent()
    progress.begin("quality", count, 0)
    with torch.inference_mode():
        for position, photo in enumerate(photos.squares(size)):
            looks = _look_at(candidates, photo, vgg, shake=position in shaken)
            for own, (look, reference) in zip(values, looks, strict=True):
                for metric in metrics:
                    if (number := metric.compute(look, reference)) is not None:
                        own[metric.name].append(number)
            progress.advance(position + 1, {})
    return [
        Quality(
            metrics={name: bootstrap_median(numbers, seed=seed) for name, numbers in own.items()},
            photos=count,
            teacher=candidate.teacher.name,
            style_source=candidate.style.source,
            sampled_photos={name: len(found) for name, found in own.items() if len(found) < count},
        )
        for candidate, own in zip(candidates, values, strict=True)
    ]


def style_of_outputs(
    teacher: JudgingTeacher, photos: PhotoSet, *, size: int, vgg: VggFeatures
) -> StyleTarget:
    """The style of a teacher without a painting: the mean Gram of its pictures of `photos`."""
    pictures = (teacher.session.run(photo) for photo in photos.squares(size))
    return StyleTarget(statistics=statistics_of_outputs({size: pictures}, vgg), source="outputs")


@dataclass(frozen=True)
class _Seen:
    """A picture through VGG: Gram matrices (1, C, C), and features (1, C, h, w) of the content."""

    pixels: Pixels
    grams: Mapping[str, Tensor]
    features: Mapping[str, Tensor]
    flicker: float | None


def _see(vgg: VggFeatures, session: Session, photo: Pixels, *, shake: bool) -> _Seen:
    pixels = session.run(photo)
    found = vgg(images_to_tensor([pixels]), _LAYERS)
    return _Seen(
        pixels,
        {name: gram_matrix(found[name]) for name in STYLE_LAYERS},
        {name: found[name] for name in CONTENT_LAYERS},
        flicker(session.run, photo, pixels) if shake else None,
    )


def _look_at(
    candidates: Sequence[Candidate], photo: Pixels, vgg: VggFeatures, *, shake: bool
) -> Iterator[tuple[Look, Look]]:
    """Of every candidate its own look and its teacher's, on one photograph."""
    content = vgg(images_to_tensor([photo]), CONTENT_LAYERS)
    by_teacher: dict[int, _Seen] = {}

    def look(seen: _Seen, style: Mapping[str, Tensor]) -> Look:
        distances = (gram_distance(seen.grams[n], style[n].unsqueeze(0)) for n in STYLE_LAYERS)
        return Look(
            photo=photo,
            pixels=seen.pixels,
            features=seen.features,
            style_loss=sum(map(float, distances)),
            content_loss=float(ContentLoss()(seen.features, content)),
            flicker=seen.flicker,
        )

    for candidate in candidates:
        teacher = candidate.teacher.session
        if id(teacher) not in by_teacher:
            by_teacher[id(teacher)] = _see(vgg, teacher, photo, shake=shake)
        own = _see(vgg, candidate.session, photo, shake=shake)
        style = candidate.style.statistics.at(photo.shape[0])
        yield look(own, style), look(by_teacher[id(teacher)], style)
