"""Which model stands for which of a baseline's: the candidate may lie elsewhere."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nstc.benchmarks.gate.baseline import Baseline, KnownModel, known_model
from nstc.benchmarks.subjects import Find, Model, Subject, find_subject
from nstc.core.errors import OptionError


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A baseline's model and the one that is measured in its place."""

    known: KnownModel  # the baseline's
    model: Subject  # the other


@dataclass(frozen=True, kw_only=True)
class Pairing:
    """Who stands for whom."""

    pairs: tuple[Pair, ...] = ()  # in the baseline's order
    strangers: tuple[Subject, ...] = ()  # models that stand for none of the baseline's

    def model_for(self, known: KnownModel) -> Subject | None:
        """Who stands for one of the baseline's models, if anybody does."""
        return next((pair.model for pair in self.pairs if pair.known == known), None)


def pair_models(models: Sequence[Model], baseline: Baseline, find: Find = find_subject) -> Pairing:
    """Find for each model the one of the baseline that it stands for.

    That is the one of the same zoo name or path; else the only one whose manifest has the same
    name; else, where the baseline has one model and one is given, that one.

    Args:
        models: Bundles, zoo names or ONNX files; none: all of the baseline's, where it says.
        baseline: With at least one model.
        find: Opens them.

    Raises:
        OptionError: two models stand for the same one.
        BundleError: and its kinds, for models that can't be opened.
    """
    if not models:
        pairs = [Pair(known=own, model=find(baseline.locate(own))) for own in baseline.models]
        return Pairing(pairs=tuple(pairs))
    chosen: dict[KnownModel, Subject] = {}
    strangers = []
    for model in map(find, models):
        known = _counterpart(known_model(model, baseline.folder), baseline, alone=len(models) == 1)
        if known is None:
            strangers.append(model)
        elif known in chosen:
            raise OptionError(
                f"{chosen[known]} and {model} both stand for {known.place}: give one of them."
            )
        else:
            chosen[known] = model
    return Pairing(
        pairs=tuple(
            Pair(known=known, model=chosen[known]) for known in baseline.models if known in chosen
        ),
        strangers=tuple(strangers),
    )


def _counterpart(model: KnownModel, baseline: Baseline, *, alone: bool) -> KnownModel | None:
    rules: tuple[Callable[[KnownModel], bool], ...] = (
        lambda known: known.place == model.place,
        lambda known: known.name == model.name,
        lambda _: alone and len(baseline.models) == 1,
    )
    for rule in rules:
        found = [known for known in baseline.models if rule(known)]
        if len(found) == 1:
            return found[0]
    return None
