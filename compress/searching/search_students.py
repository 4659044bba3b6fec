"""The search: trials one after another, until there are enough or the time is over."""

import dataclasses
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from nstc.benchmarks.gate.limits import LATENCY, Budget, Limit, parse_budget
from nstc.compress.distillation.loss_terms import refuse_unusable_terms
from nstc.compress.distillation.teachers import TeacherOptions, is_checkpoint, open_teacher
from nstc.compress.pipeline import split_photos
from nstc.compress.searching.front_plot import write_front
from nstc.compress.searching.outcomes import Outcome, SearchResult, finite, in_words, rank
from nstc.compress.searching.study import STUDY_FILE, StoppedEarlyError, Study, StudyTrial
from nstc.compress.searching.trials import Compressions, TrialWork
from nstc.core import Progress, Silent, errors
from nstc.core.files import one_at_a_time, own_folder, sha256_of, write_text
from nstc.core.recipe import SearchRecipe, Space, load_space
from nstc.core.recipe.space import Setting

RESULT_FILE: Final = "search.json"
FRONT_FILE: Final = "front.png"
TRIALS_FOLDER: Final = "trials"
# By which part an untrained shape must be beyond a limit to be hopeless: times vary, and the bytes
# of a file with its names.
_MARGINS: Final = {LATENCY: 0.1, "speedup": 0.1, "bytes": 0.05}
_MOST_HOPELESS: Final = 40  # in a row
_MOST_IN_VAIN: Final = 400  # trials in a row that are like others, or can't be
_THEN_NEAR: Final = 2  # of them: Optuna would go on with what is best
# What a trial may fail by, and others need not.
_OWN_FAILURES: Final = (
    errors.DivergedError,
    errors.ExportMismatchError,
    errors.MemoryLimitError,
    errors.UnusableModelError,
    errors.OptionError,
)


@one_at_a_time("output")
def search(
    teacher: str | Path,
    output: Path,
    *,
    budget: str | Budget,
    space: Space | None = None,
    recipe: SearchRecipe | None = None,
    photos: Sequence[Path] = (),
    style: Path | None = None,
    credit: str | None = None,
    options: TeacherOptions | None = None,
    vgg: str = "shipped",
    progress: Progress | None = None,
) -> SearchResult:
    """Look for the best student within a budget, by short compressions of many shapes.

    Each trial is a run of `compress_model` in `output`/trials/NNN. Shapes that break the budget
    before they have learned are not trained, and trials that are worse than others are stopped
    early. `output` also gets `search.json` and `front.png`.

    Args:
        teacher: A bundle, zoo name or ONNX file.
        output: A new folder, or that of a search with the same settings, which is continued.
        budget: What the quantized student must keep, see `parse_budget`.
        space: What is chosen from, see `load_space`; by default the included one.
        recipe: How many trials, how long, and the seed.
        photos: See `split_photos`.
        style: As the arguments after it those of `nstc.distill`.
        credit: Of the painting.
        options: For a teacher that is a foreign file.
        vgg: See `nstc.models.vgg.load_vgg`.
        progress: Receives progress updates.

    Raises:
        OptionError: the folder's search has other settings, or no trial came to its end.
        Interrupted: the run was stopped; running again resumes it.
        NstcError: bad input.
    """
    recipe, progress = recipe or SearchRecipe(), progress or Silent()
    budget = parse_budget(budget) if isinstance(budget, str) else budget
    space = dataclasses.replace(space or load_space(None), seed=recipe.seed)
    space = space if recipe.steps is None else space.with_steps(recipe.steps)
    work = Compressions(
        teacher=teacher,
        budget=budget,
        photos=tuple(photos),
        style=style,
        credit=credit,
        options=options or TeacherOptions(),
        vgg=vgg,
        progress=progress,
    )
    identity = _identity(work, space)
    own_folder(output, STUDY_FILE)
    run = Search(Study(output, space, recipe.seed, identity), work, space, budget, output, progress)
    seconds = recipe.seconds
    run.carry_out(recipe.trials, None if seconds is None else time.monotonic() + seconds)
    return run.written()


def _identity(work: Compressions, space: Space) -> dict[str, Any]:
    """What has to be as it was for a search to be continued, as JSON has it.

    What can't be the trials' teacher, or their losses, is refused here, before anything is written.
    """
    teacher, style = work.teacher, work.style
    if is_checkpoint(teacher) and Path(teacher).is_file():
        raise errors.OptionError(
            f"{teacher} is a checkpoint, which each trial would import: make a bundle of it first, "
            f"nstc import {teacher} -o BUNDLE, and give that."
        )
    refuse_unusable_terms(space.fixed_recipe().distill, style)
    _ = work.reference
    return {
        "teacher": open_teacher(teacher, work.options).key,
        "budget": [str(limit) for limit in work.budget.limits],
        "space": space.to_dict(),
        "photos": split_photos(work.photos)[0].list_sha256(),
        "style": None if style is None else sha256_of(style),
        "vgg": work.vgg,
    }


@dataclasses.dataclass
class Search:
    """Trials of a study, done by somebody's work."""

    study: Study
    work: TrialWork
    space: Space
    budget: Budget
    output: Path
    progress: Progress

    def carry_out(self, trials: int, deadline: float | None) -> None:
        """Resume what was begun, then try new settings until so many are trained.

        `deadline` is a time of `time.monotonic`. `OptionError` if no recipe of the space can be.
        """
        for trial in self.study.begun():
            self._settle(trial)
        in_vain = hopeless = 0
        while self._trained() < trials and (deadline is None or time.monotonic() < deadline):
            if self._is_exhausted() or in_vain >= _MOST_IN_VAIN:
                self.progress.note("the space holds nothing more that was not tried")
                return
            if hopeless >= _MOST_HOPELESS:
                self.progress.note(
                    f"{hopeless} shapes one after another break the budget untrained: no more are "
                    "tried. Ask for less, or give a space with smaller ones."
                )
                return
            near = self._near_the_best() if in_vain >= _THEN_NEAR else None
            outcome = self._settle(self.study.ask_for(near) if near else self.study.ask())
            in_vain = in_vain + 1 if outcome is None else 0
            if outcome is not None:
                hopeless = hopeless + 1 if outcome.state == "hopeless" else 0

    def _near_the_best(self) -> Mapping[str, Setting] | None:
        """What was not tried and differs in one setting from the best, or else from the others."""
        tried, rng = self.study.tried, self.study.next_random()
        known = [own for own in self.study.outcomes if own.numbers]
        for outcome in sorted(known, key=lambda own: rank(self.budget, own.numbers)):
            fresh = [own for own in self.space.near(outcome.chosen) if own not in tried]
            if fresh:
                return fresh[int(rng.integers(len(fresh)))]
        return None

    def _is_exhausted(self) -> bool:
        return len({tuple(own.items()) for own in self.study.tried}) >= self.space.size

    def _trained(self) -> int:
        return sum(own.state != "hopeless" for own in self.study.outcomes)

    def _settle(self, trial: StudyTrial) -> Outcome | None:
        """What comes of a trial; None if it is like another, or its settings contradict."""
        try:
            recipe = None if trial.chosen in self.study.tried else self.space.recipe(trial.chosen)
        except errors.OptionError:
            recipe = None
        if recipe is None:
            trial.leave_out()
            return None
        name = f"trial {trial.number:03}"
        folder = self.output / TRIALS_FOLDER / f"{trial.number:03}"
        self.progress.note(f"{name}: {in_words(trial.chosen)}")
        outcome = Outcome(number=trial.number, state="hopeless", chosen=trial.chosen, numbers={})
        try:
            costs = None if folder.exists() else self.work.costs(recipe)
            if costs is not None and hopeless_by(self.budget, costs):
                outcome = dataclasses.replace(outcome, numbers=finite(costs))
            else:
                made = self.work.trained(recipe, folder, trial.report)
                outcome = dataclasses.replace(
                    outcome,
                    state="measured",
                    numbers=finite(made.numbers),
                    bundle=made.bundle.relative_to(self.output).as_posix(),
                )
        except StoppedEarlyError:
            outcome = dataclasses.replace(outcome, state="stopped")
        except _OWN_FAILURES as error:
            outcome = dataclasses.replace(outcome, state="failed", reason=str(error))
        self.progress.note(f"{name}: {self._told(outcome)}")
        known = outcome.state in ("measured", "hopeless")
        trial.finish(outcome, rank(self.budget, outcome.numbers) if known else None)
        return outcome

    def _told(self, outcome: Outcome) -> str:
        """What became of a trial, in words."""
        if outcome.state == "measured":
            return self.result.reached(outcome)
        if outcome.state == "hopeless":
            broken = hopeless_by(self.budget, outcome.numbers)
            return f"not trained: {', '.join(map(str, broken))} can't be kept by this shape"
        return "stopped early" if outcome.state == "stopped" else f"failed: {outcome.reason}"

    @property
    def result(self) -> SearchResult:
        """What is known by now."""
        return SearchResult(budget=self.budget, outcomes=self.study.outcomes)

    def written(self) -> SearchResult:
        """The result, written as JSON and as a plot; `OptionError` if all trials failed."""
        result = self.result
        failed = [own for own in result.outcomes if own.state == "failed"]
        if failed and result.best is None:
            raise errors.OptionError(f"no trial came to its end. The last one: {failed[-1].reason}")
        write_text(self.output / RESULT_FILE, json.dumps(result.to_dict(), indent=1) + "\n")
        if result.front:
            write_front(self.output / FRONT_FILE, result)
        return result


def hopeless_by(budget: Budget, costs: Mapping[str, float]) -> list[Limit]:
    """The limits that an untrained shape is clearly beyond."""
    return [
        limit
        for limit in budget.limits
        if limit.measure in costs and limit.excess(costs) > _MARGINS.get(limit.name, 0.0)
    ]
