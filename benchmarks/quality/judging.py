"""Judging stylised photographs against a teacher's, one photograph at a time."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from nstc.benchmarks.quality import judged_pictures
from nstc.benchmarks.quality.judged_pictures import Recorded
from nstc.benchmarks.quality.local_style import window_moments
from nstc.benchmarks.quality.metrics import StylisedPhoto, available_metrics, metric_of
from nstc.benchmarks.quality.optimized_pictures import StoredPictures
from nstc.benchmarks.quality.picture_metrics import flicker
from nstc.benchmarks.result import Quality, StyleSource
from nstc.benchmarks.timing.statistics import Tail, bootstrap_median
from nstc.core import Progress, Silent, images
from nstc.core.photos import PhotoSet
from nstc.core.terminal import printable
from nstc.models.losses import CONTENT_LAYERS, STYLE_LAYERS, ContentLoss, gram_distance, gram_matrix
from nstc.models.style import StyleStatistics, statistics_of_outputs
from nstc.models.tensors import images_to_tensor
from nstc.models.vgg import VggFeatures
from nstc.runtime.session import Session

_Values = dict[str, dict[int, float]]  # of each metric, by the photograph's position
_LAYERS: Final = tuple(dict.fromkeys(STYLE_LAYERS + CONTENT_LAYERS))


@dataclass(frozen=True, kw_only=True, eq=False)
class JudgingTeacher:
    """The model whose pictures others are compared with."""

    name: str  # as results name it
    session: Session  # its float graph


@dataclass(frozen=True, kw_only=True)
class StyleTarget:
    """What the style loss is measured against."""

    statistics: StyleStatistics  # Gram matrices
    source: StyleSource  # "painting", or "outputs" for the mean over the teacher's own pictures


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A session to judge, its teacher, and the style that both are compared with."""

    session: Session | StoredPictures
    teacher: JudgingTeacher
    style: StyleTarget
    compared_by: str | None = None  # `judged_pictures.judge_of` its model and teacher


def judge(
    candidates: Sequence[Candidate],
    photos: PhotoSet,
    *,
    size: int,
    vgg: VggFeatures,
    seed: int,
    progress: Progress | None = None,
) -> list[Quality]:
    """Judge all candidates on the same photographs, of which there is at least one.

    Each photograph's centre square of `size` pixels is decoded, stylised and measured before the
    next one, once by each `JudgingTeacher` object, so memory does not grow with their number. On
    some of them, `judged_pictures.with_flicker`, every session stylises four changed copies as
    well; stored pictures have no flicker. The seed is the bootstrap's. Gives one result a
    candidate, in their order.
    """
    metrics, count = available_metrics(), len(photos)
    values: list[_Values] = [{m.name: {} for m in metrics} for _ in candidates]
    drawn = [Recorded(candidate.session.run) for candidate in candidates]
    all_stored = all(isinstance(candidate.session, StoredPictures) for candidate in candidates)
    flickering = frozenset() if all_stored else judged_pictures.with_flicker(count)
    progress = progress or Silent()
    progress.begin("quality", count, 0)
    with torch.inference_mode():
        for position, photo in enumerate(photos.squares(size)):
            pictures = _stylised(candidates, drawn, photo, vgg, with_flicker=position in flickering)
            for own, pair in zip(values, pictures, strict=True):
                for metric in metrics:
                    if (number := metric.compute(*pair)) is not None:
                        own[metric.name][position] = number
            progress.advance(position + 1, {})
    summaries = zip(candidates, drawn, values, strict=True)
    return [_summary(candidate, own, found, photos, seed) for candidate, own, found in summaries]


def _summary(
    candidate: Candidate, drawn: Recorded, values: _Values, photos: PhotoSet, seed: int
) -> Quality:
    """What was found of a candidate's pictures of all photographs."""
    measured = {name: found for name, found in values.items() if found}
    names = [printable(path.name) for path in photos]
    tails = {
        name: Tail.of(list(found.values()), [names[own] for own in found])
        for name, found in measured.items()
        if metric_of(name).tail is not None
    }
    return Quality(
        metrics={
            name: bootstrap_median(list(found.values()), seed=seed)
            for name, found in measured.items()
        },
        photos=len(photos),
        teacher=candidate.teacher.name,
        style_source=candidate.style.source,
        sampled_photos={
            name: len(found) for name, found in measured.items() if len(found) < len(photos)
        },
        tails=tails,
        evidence=judged_pictures.evidence(candidate.compared_by, drawn.sha256),
    )


def style_of_outputs(
    teacher: JudgingTeacher, photos: PhotoSet, *, size: int, vgg: VggFeatures
) -> StyleTarget:
    """The style of a teacher without a painting: the mean Gram of its pictures of `photos`."""
    pictures = (teacher.session.run(photo) for photo in photos.squares(size))
    return StyleTarget(statistics=statistics_of_outputs({size: pictures}, vgg), source="outputs")


def _stylised(
    candidates: Sequence[Candidate],
    drawn: Sequence[Recorded],
    photo: images.Pixels,
    vgg: VggFeatures,
    *,
    with_flicker: bool,
) -> Iterator[tuple[StylisedPhoto, StylisedPhoto]]:
    """Of every candidate its own picture of one photograph and its teacher's."""
    content = vgg(images_to_tensor([photo]), CONTENT_LAYERS)

    def measured(
        session: Session | StoredPictures, drawn: Recorded | None = None
    ) -> Callable[[Mapping[str, Tensor]], StylisedPhoto]:
        """A session's picture, run once, to be compared with any style."""
        draw = session.run if drawn is None else drawn.run
        pixels = draw(photo)
        found = vgg(images_to_tensor([pixels]), _LAYERS)
        grams = {name: gram_matrix(found[name]) for name in STYLE_LAYERS}
        features = {name: found[name] for name in CONTENT_LAYERS}
        height, width, _ = pixels.shape
        moments = window_moments(found, (height, width))
        flickers = with_flicker and not isinstance(session, StoredPictures)
        own_flicker = flicker(draw, photo, pixels) if flickers else None

        def compared_with(style: Mapping[str, Tensor]) -> StylisedPhoto:
            distances = (gram_distance(grams[n], style[n].unsqueeze(0)) for n in STYLE_LAYERS)
            return StylisedPhoto(
                photo=photo,
                pixels=pixels,
                features=features,
                style_loss=sum(map(float, distances)),
                content_loss=float(ContentLoss()(features, content)),
                window_moments=moments,
                flicker=own_flicker,
            )

        return compared_with

    by_teacher: dict[int, Callable[[Mapping[str, Tensor]], StylisedPhoto]] = {}
    for candidate, own in zip(candidates, drawn, strict=True):
        teacher = candidate.teacher.session
        if id(teacher) not in by_teacher:
            by_teacher[id(teacher)] = measured(teacher)
        style = candidate.style.statistics.at(photo.shape[0])
        yield measured(candidate.session, own)(style), by_teacher[id(teacher)](style)
