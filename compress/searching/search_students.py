"""The search: trials one after another, or several at once, until there are enough."""

import dataclasses
import json
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from nstc.benchmarks.gate.limits import Budget, Limit, parse_budget
from nstc.compress.distillation.loss_terms import refuse_unusable_terms
from nstc.compress.distillation.teachers import TeacherOptions, is_checkpoint, open_teacher
from nstc.compress.pipeline import split_photos
from nstc.compress.searching.front_plot import write_front
from nstc.compress.searching.outcomes import Outcome, SearchResult, State, finite, in_words, rank
from nstc.compress.searching.study import STUDY_FILE, StoppedEarlyError, Study, StudyTrial
from nstc.compress.searching.trials import (
    TIMES,
    Compressions,
    TrialJob,
    TrialResult,
    TrialWork,
)
from nstc.core import Progress, Silent, errors
from nstc.core.files import one_at_a_time, own_folder, path_or_none, sha256_of, write_text
from nstc.core.model_names import local_path
from nstc.core.recipe import Recipe, SearchRecipe, Space, load_space
from nstc.core.recipe.space import Setting
from nstc.runtime.jobs import JobEnd, Jobs
from nstc.runtime.ray_jobs import OnRay, opened_jobs

RESULT_FILE: Final = "search.json"
FRONT_FILE: Final = "front.png"
TRIALS_FOLDER: Final = "trials"
# By which part an untrained shape must be beyond a limit to be hopeless: times vary, and the bytes
# of a file with its names.
_MARGINS: Final = {**dict.fromkeys(TIMES, 0.1), "bytes": 0.05}
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
    output: str | Path,
    *,
    budget: str | Budget,
    space: Space | None = None,
    recipe: SearchRecipe | None = None,
    photos: Sequence[str | Path] = (),
    style: str | Path | None = None,
    credit: str | None = None,
    options: TeacherOptions | None = None,
    vgg: str = "shipped",
    ray: OnRay | None = None,
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
        ray: Where several trials run at once; without it they run one after another.
        progress: Receives progress updates.

    Raises:
        OptionError: the folder's search has other settings, or no trial came to its end.
        Interrupted: the run was stopped; running again resumes it.
        NstcError: bad input, or a Ray cluster that does not answer or breaks down.
    """
    output, recipe, progress = Path(output), recipe or SearchRecipe(), progress or Silent()
    budget = parse_budget(budget) if isinstance(budget, str) else budget
    space = dataclasses.replace(space or load_space(None), seed=recipe.seed)
    space = space if recipe.steps is None else space.with_steps(recipe.steps)
    work = Compressions(
        teacher=local_path(teacher),
        budget=budget,
        photos=tuple(map(Path, photos)),
        style=path_or_none(style),
        credit=credit,
        options=options or TeacherOptions(),
        vgg=vgg,
    )
    identity = _identity(work, space)
    own_folder(output, STUDY_FILE)
    study = Study(output, space, recipe.seed, identity)
    with opened_jobs(ray, output, progress, "trials", recipe.trials, study.trained) as jobs:
        run = Search(study, work, space, budget, output, progress, jobs)
        run.carry_out(recipe.trials, recipe.seconds)
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
    jobs: Jobs
    # Trials that are to be trained, those that are trained now, and those that wait for the end of
    # their round, by the name of their job.
    _ready: dict[str, "_Begun"] = dataclasses.field(default_factory=dict)
    _running: dict[str, "_Begun"] = dataclasses.field(default_factory=dict)
    _held: list[tuple["_Begun", JobEnd]] = dataclasses.field(default_factory=list)
    _in_vain: int = 0
    _hopeless: int = 0
    _is_over: bool = False  # nothing new is tried

    @property
    def in_rounds(self) -> bool:
        """Whether trials begin and end together, so that times are measured while none is trained.

        Then this process measures them: a training beside it makes whatever is timed slower, and
        another machine is another number.
        """
        return self.jobs.are_elsewhere and any(own.name in TIMES for own in self.budget.limits)

    def carry_out(self, trials: int, seconds: float | None) -> None:
        """Resume what was begun, then try new settings until so many are trained.

        None begins after so many `seconds`. `OptionError` if no recipe of the space can be.
        """
        deadline = None if seconds is None else time.monotonic() + seconds
        begun = deque(self.study.begun())
        while True:
            while self._has_room():
                trial = begun.popleft() if begun else self._next(trials, deadline)
                if trial is None:
                    break
                self._prepare(trial)
                if not self.in_rounds:
                    self._start()
            self._start()
            if not self._running:
                return
            self._end()

    def _has_room(self) -> bool:
        if self.in_rounds and self._running:
            return False
        return len(self._ready) + len(self._running) < self.jobs.size

    def _next(self, trials: int, deadline: float | None) -> StudyTrial | None:
        """A new trial; None if there are enough, or nothing is left to try."""
        late = deadline is not None and time.monotonic() >= deadline
        if self._is_over or late or self._trained() >= trials:
            return None
        why = ""
        if self._is_exhausted() or self._in_vain >= _MOST_IN_VAIN:
            why = "the space holds nothing more that was not tried"
        elif self._hopeless >= _MOST_HOPELESS:
            why = (
                f"{self._hopeless} shapes one after another break the budget untrained: no more "
                "are tried. Ask for less, or give a space with smaller ones."
            )
        if why:
            self._is_over = True
            self.progress.note(why)
            return None
        near = self._near_the_best() if self._in_vain >= _THEN_NEAR else None
        return self.study.ask_for(near) if near else self.study.ask()

    def _near_the_best(self) -> Mapping[str, Setting] | None:
        """What was not tried and differs in one setting from the best, or else from the others."""
        tried, rng = self.study.tried(), self.study.next_random()
        known = [own for own in self.study.outcomes if own.numbers]
        for outcome in sorted(known, key=lambda own: rank(self.budget, own.numbers)):
            fresh = [own for own in self.space.near(outcome.chosen) if own not in tried]
            if fresh:
                return fresh[int(rng.integers(len(fresh)))]
        return None

    def _is_exhausted(self) -> bool:
        return len({tuple(own.items()) for own in self.study.tried()}) >= self.space.size

    def _trained(self) -> int:
        return self.study.trained + len(self._ready) + len(self._running) + len(self._held)

    def _prepare(self, trial: StudyTrial) -> None:
        """Make it ready to be trained, unless it is hopeless, like another or can't be."""
        try:
            is_new = trial.chosen not in self.study.tried(before=trial.number)
            recipe = self.space.recipe(trial.chosen) if is_new else None
        except errors.OptionError:
            recipe = None
        if recipe is None:
            trial.leave_out()
            self._in_vain += 1
            return
        self._in_vain = 0
        folder = self.output / TRIALS_FOLDER / f"{trial.number:03}"
        begun = _Begun(trial, recipe, folder)
        self.progress.note(f"{begun.name}: {in_words(trial.chosen)}")
        try:
            with errors.memory_reported():
                costs = None if folder.exists() else self.work.costs(recipe)
        except _OWN_FAILURES as error:
            self._finish(begun, state="failed", reason=str(error))
            return
        if costs is not None and hopeless_by(self.budget, costs):
            self._hopeless += 1
            self._finish(begun, state="hopeless", numbers=finite(costs))
            return
        self._hopeless = 0
        self._ready[begun.name] = begun

    def _start(self) -> None:
        """Train what is ready."""
        for name, begun in self._ready.items():
            times = not self.jobs.are_elsewhere
            job = TrialJob(self.work, begun.recipe, begun.folder, times)
            self._running[name] = begun
            self.jobs.begin(name, job, begun.trial.report)
        self._ready = {}

    def _end(self) -> None:
        """Wait for a trial that ends; of a round all are told together, in their order."""
        ended = self.jobs.next()
        self._held.append((self._running.pop(ended.name), ended))
        if self.in_rounds and self._running:
            return
        held, self._held = sorted(self._held, key=lambda own: own[0].name), []
        for begun, end in held:
            try:
                made: TrialResult = end.result()
                with errors.memory_reported():
                    times = self.work.timed(begun.recipe, made.bundle) if self.in_rounds else {}
            except StoppedEarlyError:
                self._finish(begun, state="stopped")
            except _OWN_FAILURES as error:
                self._finish(begun, state="failed", reason=str(error))
            else:
                place = made.bundle.relative_to(self.output).as_posix()
                numbers = finite({**made.numbers, **times})
                self._finish(begun, state="measured", numbers=numbers, bundle=place)

    def _finish(self, begun: "_Begun", *, state: State, **known: Any) -> None:
        outcome = Outcome(
            **{
                "number": begun.trial.number,
                "state": state,
                "chosen": begun.trial.chosen,
                "numbers": {},
                **known,
            }
        )
        self.progress.note(f"{begun.name}: {self._told(outcome)}")
        is_known = state in ("measured", "hopeless")
        begun.trial.finish(outcome, rank(self.budget, outcome.numbers) if is_known else None)

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


@dataclasses.dataclass(frozen=True)
class _Begun:
    """A trial that is trained, or will be."""

    trial: StudyTrial
    recipe: Recipe
    folder: Path

    @property
    def name(self) -> str:
        """In notes, and of its job."""
        return f"trial {self.trial.number:03}"


def hopeless_by(budget: Budget, costs: Mapping[str, float]) -> list[Limit]:
    """The limits that an untrained shape is clearly beyond."""
    return [
        limit
        for limit in budget.limits
        if limit.measure in costs and limit.excess(costs) > _MARGINS.get(limit.name, 0.0)
    ]
