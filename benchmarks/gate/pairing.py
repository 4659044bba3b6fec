"""Which models are measured in the place of those that a baseline names."""

from collections.abc import Mapping, Sequence

from nstc.benchmarks.gate.baseline import Baseline, KnownModel, known_model
from nstc.benchmarks.subjects import Find, Model, Subject
from nstc.core.errors import OptionError

Pairs = Mapping[KnownModel, Subject]
"""Which model is measured in the place of one of the baseline's; in the baseline's order."""


def pair_models(
    models: Sequence[Model], baseline: Baseline, find: Find, *, only_one: bool = True
) -> tuple[Pairs, list[Subject]]:
    """Find for each model the one of the baseline that it stands for; `find` opens them.

    That is the one of the same zoo name or path; else the only one whose manifest has the same
    name; else, if `only_one` and the baseline has one model and one is given, that one. Without
    models they are all of the baseline's, where it says. The second value are models that stand for
    none.

    Raises:
        OptionError: two models stand for the same one.
        BundleError: one can't be opened.
    """
    if not models:
        return {known: find(baseline.locate(known)) for known in baseline.models}, []
    chosen: dict[KnownModel, Subject] = {}
    strangers = []
    for model in map(find, models):
        own = known_model(model, baseline.folder)
        candidates = (
            [known for known in baseline.models if known.place == own.place],
            [known for known in baseline.models if known.name == own.name],
            baseline.models if only_one and len(models) == 1 else (),
        )
        known = next((found[0] for found in candidates if len(found) == 1), None)
        if known is None:
            strangers.append(model)
        elif known in chosen:
            raise OptionError(
                f"{chosen[known]} and {model} both stand for {known.place}: give one of them."
            )
        else:
            chosen[known] = model
    return {known: chosen[known] for known in baseline.models if known in chosen}, strangers
