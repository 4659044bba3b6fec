"""What a check judges besides facts and quality: instructions, and times if it is asked to."""

from dataclasses import dataclass
from typing import Final

from nstc.benchmarks.gate.baseline import Baseline
from nstc.benchmarks.gate.verdicts import ComparedWith
from nstc.benchmarks.targets import cpu, instructions, parse_target
from nstc.benchmarks.timing.machine import usable_cores
from nstc.core.errors import OptionError
from nstc.core.recipe import BenchRecipe
from nstc.core.recipe.settings import setting, within

COUNTED: Final = instructions.NAME  # the target of rows that have a count in the place of a time
ADD_COUNTS: Final = (
    f"nstc baseline update FILE --target {COUNTED} --artifact int8 --reason TEXT adds them"
)
FEWEST_ROUNDS: Final = 3  # what `bench` takes at least
_UNCOUNTED: Final = "cpu:1"  # runs the files of such rows where instructions are not counted
_OF_THREADS: Final = ("cpu", "torchscript")  # targets whose name ends in a number of threads


@dataclass(frozen=True, kw_only=True)
class UntimedRecipe(BenchRecipe):
    """Settings of a run that takes no times."""

    rounds: int = setting(0, within(0, 0))


def least_rounds(target: str) -> int:
    """Rounds of a run on such a target whose times are not compared.

    None on this machine's processor. A device, or a target of another package, may report its
    facts with times alone.
    """
    takes_none = isinstance(parse_target(target), cpu.CpuTarget | cpu.ProgramTarget)
    return 0 if takes_none else FEWEST_ROUNDS


@dataclass(frozen=True, kw_only=True)
class Scope:
    """Which figures are judged or, of an update, measured."""

    times: ComparedWith = ComparedWith.NOTHING  # what they are compared with
    facts_and_quality_only: bool = False  # whether the caller leaves out all others
    uncounted: str | None = None  # why instructions can't be counted here; None if they can
    counts_required: bool = False  # whether counts that say nothing of this machine are a failure

    @property
    def counts(self) -> bool:
        """Whether instructions are counted."""
        return self.uncounted is None and not self.facts_and_quality_only

    def target_here(self, target: str) -> str:
        """A row's target as it is measured: of no more threads than there are cores.

        Facts and quality hold on any number of them. `OptionError` if it can't run here.
        """
        kind, _, count = target.partition(":")
        if target == COUNTED and not self.counts:
            target = _UNCOUNTED
        elif kind in _OF_THREADS and count.isascii() and count.isdigit():
            target = f"{kind}:{min(int(count), len(usable_cores()))}"
        try:
            return parse_target(target).name
        except OptionError as error:
            raise OptionError(
                f"the baseline has a row on {target!r}, which can't be measured: {error}"
            ) from error

    def note(self, known: Baseline) -> str | None:
        """What is not judged and how to ask for it, in one line; None if everything is."""
        on_targets = {row.target == COUNTED for row in known.rows}
        is_timed, is_counted = False in on_targets, True in on_targets
        if self.facts_and_quality_only:
            left = " and ".join(["time"] * is_timed + ["instructions"] * is_counted)
            verb = "were" if is_counted else "was"
            return f"{left} {verb} left out, as --facts-and-quality-only asks"
        without_times = self.times is ComparedWith.NOTHING
        parts = []
        if is_timed and without_times:
            parts.append("time, which --time judges on an idle machine")
        if self.uncounted is not None:
            parts.append(f"instructions, since {self.uncounted}")
        elif not is_counted and without_times:
            parts.append(f"instructions, which the baseline has no counts of: {ADD_COUNTS}")
        return f"not judged: {'; '.join(parts)}" if parts else None


def chosen_scope(
    known: Baseline,
    *,
    time: bool,
    base: bool,
    facts_and_quality_only: bool,
    counts_required: bool,
    tolerance: float | None,
    rounds: int | None,
    max_rounds: int | None,
) -> Scope:
    """What the options of `nstc.benchmarks.gate.check_models.check` ask for.

    Raises:
        OptionError: one is out of range, or they contradict each other, or say how to judge times
            that are not judged; or instructions can't be counted here, and have to be.
    """
    if tolerance is not None and not 0 < tolerance < 1:
        raise OptionError(f"a tolerance of {tolerance:.0%}: expected between 0 % and 100 %.")
    if max_rounds is not None and max_rounds < FEWEST_ROUNDS:
        raise OptionError(f"--max-rounds is {max_rounds}: expected at least {FEWEST_ROUNDS}.")
    asks = "--base" if base else "--time" if time else None
    if facts_and_quality_only and asks is not None:
        raise OptionError(f"{asks} judges time, which --facts-and-quality-only leaves out.")
    of_times = {"--tolerance": tolerance, "--rounds": rounds, "--max-rounds": max_rounds}
    given = next((flag for flag, value in of_times.items() if value is not None), None)
    if asks is None and given is not None:
        raise OptionError(
            f"{given} says how times are judged, and without --time they are not: add --time, or "
            f"leave {given} out."
        )
    uncounted = None
    if not facts_and_quality_only and any(row.target == COUNTED for row in known.rows):
        uncounted = instructions.INSTRUCTIONS.availability()
    if uncounted is not None and counts_required:
        raise OptionError(
            f"the baseline has instructions, which can't be counted here: {uncounted}. In CI, "
            "where CI is set, this is an error; --facts-and-quality-only leaves them out."
        )
    times = ComparedWith.BASE if base else ComparedWith.BASELINE
    return Scope(
        times=ComparedWith.NOTHING if asks is None else times,
        facts_and_quality_only=facts_and_quality_only,
        uncounted=uncounted,
        counts_required=counts_required,
    )
