"""Rows whose pictures are those that the baseline's quality is of, so that nothing is judged."""

from collections.abc import Callable

from nstc.benchmarks.gate.baseline import BaselineRow
from nstc.benchmarks.gate.chosen_rows import ChosenRows
from nstc.benchmarks.gate.keys import RowKey
from nstc.benchmarks.gate.pairing import Pairs
from nstc.benchmarks.quality.judged_pictures import drawn_pictures, evidence, judge_of
from nstc.benchmarks.subjects import Find, Probe, find_teacher
from nstc.benchmarks.targets.base import Target
from nstc.core import Progress
from nstc.core.photos import PhotoSet


def rows_of_same_pictures(
    chosen: ChosenRows,
    pairs: Pairs,
    photos: PhotoSet,
    *,
    vgg: str,
    target_of: Callable[[BaselineRow], Target],
    find: Find,
    probe: Probe,
    progress: Progress,
) -> frozenset[RowKey]:
    """Draw the pictures of files again, and say which rows' quality they leave as it is.

    Those are rows whose pictures of all photographs that are judged are the baseline's, byte for
    byte, as are the photographs, and whatever the pictures are compared with: see
    `BaselineQuality.pictures_of`. The runtime draws them: a hash of the file would not tell that it
    draws otherwise now. Of the teacher's pictures network and file are known to be the same, as
    float ones differ by rounding between processors. A file is drawn once for all of its rows.

    Args:
        chosen: The rows.
        pairs: The models that they are of.
        photos: Those that are judged.
        vgg: `nstc.models.vgg.vgg_identity` of the feature network.
        target_of: Where a row's file is opened.
        find: Opens teachers.
        probe: See `Target.open`.
        progress: Receives progress updates of files.

    Raises:
        TeacherError: a teacher can't be found.
        NstcError: what `Target.open`, `Session.run` and reading a photograph raise.
    """
    asked = [
        (known, model, row, row.quality)
        for known, model in pairs.items()
        for row in chosen.of(known, model)
        if row.quality is not None and row.quality.pictures is not None
    ]
    same = set()
    drawn: dict[tuple[str, str, int, str], str] = {}
    progress.begin("pictures", len(asked), 0)
    for number, (known, model, row, quality) in enumerate(asked, start=1):
        judge = chosen.judge_of(quality, model)
        compared_by = judge_of(model, find_teacher(judge, find), vgg)
        if compared_by is not None:
            target = target_of(row)
            place = (known.place, row.artifact, row.size, target.draws_on)
            if place not in drawn:
                session = target.open(model, row.artifact, probe)
                drawn[place] = drawn_pictures(session, photos, row.size)
            if quality.pictures == quality.pictures_of(evidence(compared_by, drawn[place])):
                same.add(row.key)
        progress.advance(number, {})
    return frozenset(same)
