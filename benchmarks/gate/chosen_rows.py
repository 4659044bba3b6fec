"""Which rows of a baseline are measured anew, new ones too, and what each is judged by."""

from dataclasses import dataclass

from nstc.benchmarks.gate.baseline import Baseline, BaselineQuality, BaselineRow, KnownModel
from nstc.benchmarks.gate.keys import RowKey
from nstc.benchmarks.subjects import Model, Subject
from nstc.benchmarks.targets import parse_target
from nstc.core.bundle import artifact_name


@dataclass(frozen=True, kw_only=True)
class ChosenRows:
    """Rows of a baseline, by what a command says."""

    baseline: Baseline
    teacher: Model | None = None  # judges all; each row by the baseline's unless given
    targets: tuple[str, ...] = ()  # rows on these alone, also new ones; all without any
    artifacts: tuple[str, ...] = ()  # of which files; those that have rows already without any

    def of(self, known: KnownModel, model: Subject) -> list[BaselineRow]:
        """Those of a model to measure: the baseline's or new ones, on all targets or some."""
        rows = list(self.baseline.rows_of(known)) or self.new(known.place, model)
        size = self.baseline.protocol.size
        chosen: dict[RowKey, BaselineRow] = {}
        for target in map(parse_target, self.targets):
            run = target.artifacts(model, size)
            there = [row.artifact for row in rows if row.target == target.name]
            elsewhere = dict.fromkeys(row.artifact for row in rows if row.artifact in run)
            for artifact in self.artifacts or there or elsewhere or run:
                row = _blank_row(known.place, artifact_name(artifact), target.name, size)
                chosen[row.key] = next((own for own in rows if own.key == row.key), row)
        return list(chosen.values()) if self.targets else rows

    def new(self, place: str, model: Subject) -> list[BaselineRow]:
        """Rows of a model that the baseline does not have.

        On the baseline's first target they are of all its ONNX files, and on others of those files
        that other models have there.
        """
        size, artifacts = self.baseline.protocol.size, model.artifacts(self.baseline.protocol.size)
        found = [(self.baseline.rows[0].target, artifact) for artifact in artifacts]
        found += [(row.target, row.artifact) for row in self.baseline.rows]
        wanted = [own for own in dict.fromkeys(found) if own[1] in artifacts]
        return [_blank_row(place, artifact, target, size) for target, artifact in wanted]

    def teacher_of(self, row: BaselineRow, known: KnownModel, model: Subject) -> Model | None:
        """What a row is judged by; None for the teacher that the model's manifest names.

        A new row is judged as the model's other rows are: they are of the same pictures.
        """
        qualities = [own.quality for own in (row, *self.baseline.rows_of(known))]
        quality = next((own for own in qualities if own is not None), None)
        return self.teacher if quality is None else self.judge_of(quality, model)

    def judge_of(self, quality: BaselineQuality, model: Subject) -> Model:
        """What pictures of a model are judged by whose quality the baseline has."""
        if self.teacher is not None:
            return self.teacher
        # a model that was judged by itself is again
        return model if quality.teacher is None else self.baseline.locate(quality.teacher)


def _blank_row(place: str, artifact: str, target: str, size: int) -> BaselineRow:
    """One that nothing is known of yet."""
    return BaselineRow(
        model=place, artifact=artifact, target=target, size=size, facts={}, quality=None
    )
