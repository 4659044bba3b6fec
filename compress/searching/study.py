"""The study of a search: Optuna chooses what is tried next, and its journal says what was.

Optuna comes with nstc[search], and only this module asks for it. A study minimises `rank`. Trials
of a run that was stopped are resumed under their own numbers.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from nstc.compress.searching.outcomes import Outcome
from nstc.core import errors
from nstc.core.decoding import DecodingError, decode
from nstc.core.files import reported_as_output_error
from nstc.core.recipe import Space
from nstc.core.recipe.space import Setting

STUDY_FILE: Final = "study.journal"
_NAME: Final = "nstc"
_OUTCOME: Final = "outcome"
_CHOSEN: Final = "chosen"
_IDENTITY: Final = "identity"
_RANDOM_FIRST: Final = 6  # trials before the others decide what is tried
# Successive halving: at a quarter and at a half of the steps the worse half is stopped.
_FIRST_RUNG, _HALVING, _WHOLE = 25, 2, 100  # in per cent


def _without_torn_line(path: Path) -> None:
    """Cut off what a full disk or a lost machine left of a line, to which Optuna would add."""
    if path.exists():
        with path.open("r+b") as stream:
            content = stream.read()
            stream.truncate(content.rfind(b"\n") + 1)


class StoppedEarlyError(Exception):
    """A trial that is worse than others were at this part of their steps."""


class Study:
    """All trials of a folder."""

    def __init__(self, folder: Path, space: Space, seed: int, identity: Mapping[str, Any]) -> None:
        """Open the study of a folder, or begin it.

        `OptionError` if it is of another identity, whose values are what JSON can hold;
        `OutputError` if it can't be read or written.
        """
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._folder = folder
        self._space = space
        self._seed = seed
        path = folder / STUDY_FILE
        try:
            with reported_as_output_error(path):
                _without_torn_line(path)
                storage = JournalStorage(JournalFileBackend(str(path)))
                self._study = optuna.create_study(
                    storage=storage,
                    study_name=_NAME,
                    load_if_exists=True,
                    pruner=optuna.pruners.SuccessiveHalvingPruner(
                        min_resource=_FIRST_RUNG, reduction_factor=_HALVING
                    ),
                )
                found = dict(self._study.user_attrs)
        # whatever its reader meets: it says by an assertion that a line is of no known kind
        except (ValueError, LookupError, TypeError, AssertionError) as error:
            raise errors.OutputError(
                f"{path} is damaged ({str(error) or type(error).__name__:.80}): give another "
                "folder, or delete this one to begin anew."
            ) from error
        self._refuse_other(found.get(_IDENTITY), json.loads(json.dumps(identity)))

    def _refuse_other(self, found: Any, own: Mapping[str, Any]) -> None:
        if found is None:
            self._study.set_user_attr(_IDENTITY, own)
        elif found != own:
            known = found if isinstance(found, dict) else {}
            other = [name for name in own if known.get(name) != own[name]]
            raise errors.OptionError(
                f"{self._folder} holds a search with other settings: {', '.join(other)} differ. "
                "Repeat the command as it was, or give another folder."
            )

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """Of the trials that are over, by number; `OutputError` if the journal was changed."""
        try:
            return tuple(
                decode(own.user_attrs[_OUTCOME], Outcome)
                for own in self._study.trials
                if own.state.is_finished() and _OUTCOME in own.user_attrs
            )
        except DecodingError as error:
            raise errors.OutputError(
                f"{self._folder / STUDY_FILE} is damaged ({error}): give another folder, or delete "
                "this one to begin anew."
            ) from error

    @property
    def trained(self) -> int:
        """How many trials that are over were trained, or failed."""
        return sum(own.state != "hopeless" for own in self.outcomes)

    def tried(self, *, before: int | None = None) -> list[Mapping[str, Setting]]:
        """What was chosen in all trials, also in those that run or were left out.

        `before` is the number of one that does not count, nor do those after it.
        """
        trials = self._study.get_trials(deepcopy=False)
        return [own.user_attrs.get(_CHOSEN, {}) for own in trials[:before]]

    def begun(self) -> list["StudyTrial"]:
        """Trials that an earlier run did not end."""
        unfinished = self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        return [self._trial(optuna.trial.Trial(self._study, own._trial_id)) for own in unfinished]

    def ask(self) -> "StudyTrial":
        """A new trial. The same seed, and the same trials before it, give the same one."""
        self._study.sampler = optuna.samplers.TPESampler(
            seed=int(self.next_random().integers(2**32)),
            n_startup_trials=_RANDOM_FIRST,
            constant_liar=True,  # keeps off what is being tried, where several trials run
        )
        return self._trial(self._study.ask())

    def ask_for(self, chosen: Mapping[str, Setting]) -> "StudyTrial":
        """A new trial of these settings."""
        places = {name: own.index(chosen[name]) for name, own in self._space.choices.items()}
        self._study.enqueue_trial(places)
        return self.ask()

    def next_random(self) -> np.random.Generator:
        """Draws for the next trial, by its number and the seed."""
        number = len(self._study.get_trials(deepcopy=False))
        return np.random.default_rng([self._seed, number])

    def _trial(self, asked: Any) -> "StudyTrial":
        chosen: dict[str, Setting] = {}
        for name, values in self._space.choices.items():
            if self._space.is_ordered(name):  # from which Optuna learns
                chosen[name] = values[asked.suggest_int(name, 0, len(values) - 1)]
            else:
                chosen[name] = values[asked.suggest_categorical(name, range(len(values)))]
        asked.set_user_attr(_CHOSEN, chosen)
        return StudyTrial(self._study, asked, chosen)


class StudyTrial:
    """One trial: what was chosen, how it goes, and how it ends."""

    def __init__(self, study: Any, asked: Any, chosen: Mapping[str, Setting]) -> None:
        self._study = study
        self._asked = asked
        self.chosen = chosen
        self.number: int = asked.number

    def report(self, percent: int, value: float) -> None:
        """Record a loss after a part of the steps; `StoppedEarlyError` if others were better."""
        frozen = self._study.get_trials(deepcopy=False)[self.number]
        if percent in frozen.intermediate_values:  # by a run that was stopped
            return
        self._asked.report(value, step=percent)
        if percent < _WHOLE and self._asked.should_prune():
            raise StoppedEarlyError

    def finish(self, outcome: Outcome, rank: float | None) -> None:
        """End it: `rank` is what Optuna learns from; None if there is none."""
        self._asked.set_user_attr(_OUTCOME, outcome.to_dict())
        if outcome.state == "stopped":
            self._study.tell(self._asked, state=TrialState.PRUNED)
        elif rank is None:
            self._study.tell(self._asked, state=TrialState.FAIL)
        else:
            self._study.tell(self._asked, rank)

    def leave_out(self) -> None:
        """End a trial that was never begun, for there is one like it or its recipe can't be."""
        self._study.tell(self._asked, state=TrialState.FAIL)
