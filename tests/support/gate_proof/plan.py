"""How often everything is run."""

import dataclasses
import functools
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from nstc.benchmarks.gate.check_models import BOUND
from nstc.core.images import read_picture
from nstc.core.photos import PhotoSet

_COLORED: Final = 8
"""Levels between red and blue, on average."""

LENGTH_VARIABLE: Final = "NSTC_GATE_PROOF"
FOLDER_VARIABLE: Final = "NSTC_GATE_PROOF_FOLDER"
LOWEST_PRIORITY: Final = 19


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Numbers of checks and what one of them takes.

    Attributes:
        name: "full", "short" or "instructions".
        faulty: Checks of each fault.
        slower_loaded: Checks of a slower copy on loaded cores, which take the most rounds.
        timed: Unchanged copies in one check of times: each takes a turn of every round.
        counted: Those in one check of instructions.
        size: Side of the pictures in pixels.
        photos: How many photographs a check judges, another choice in each.
        rounds: Timed rounds to begin with.
        max_rounds: In all: those of `nstc check` by default.
        openings: The timed baseline is pooled from so many runs, each with sessions of its own.
        baseline_rounds: Of each of them.
        counts_hold: Whether there are enough checks for the counts to mean something.
        counted_size: Side in pixels of the pictures whose instructions are counted.
        niceness: Of the load: 19 takes what the proof's own parts leave of the cores.
    """

    name: str
    faulty: int
    slower_loaded: int = 6
    timed: int = 3
    counted: int = 5
    size: int = 256
    photos: int = 2
    rounds: int = 20
    max_rounds: int = BOUND * rounds
    openings: int = 4
    baseline_rounds: int = 60
    counts_hold: bool = True
    counted_size: int = 128
    niceness: int = LOWEST_PRIORITY

    @property
    def timed_copies(self) -> list[str]:
        """Names of the copies that are as the student is, in a check of times."""
        return _unchanged(self.timed)

    @property
    def counted_copies(self) -> list[str]:
        """Those in a check of instructions."""
        return _unchanged(self.counted)


def _unchanged(count: int) -> list[str]:
    return [f"unchanged-{number}" for number in range(count)]


FULL: Final = Plan(name="full", faulty=20)
INSTRUCTIONS: Final = dataclasses.replace(FULL, name="instructions", niceness=0)
SHORT: Final = Plan(
    name="short",
    faulty=2,
    slower_loaded=2,
    timed=2,
    counted=2,
    rounds=10,
    max_rounds=40,
    openings=2,
    baseline_rounds=20,
    counts_hold=False,
)


def chosen_plan() -> Plan:
    """The one that `NSTC_GATE_PROOF` names; full unless it does."""
    plans = {plan.name: plan for plan in (FULL, INSTRUCTIONS, SHORT)}
    return plans[os.environ.get(LENGTH_VARIABLE, FULL.name)]


def output_folder() -> Path:
    """Where `lab.gate_proof` looks for what each part found."""
    return Path(os.environ.get(FOLDER_VARIABLE, "runs/gate-proof"))


def photos_of_run(run: int, photos: PhotoSet, count: int) -> PhotoSet:
    """So many photographs, another choice for each run, with one in colour among them.

    To a grey one some faults do nothing: its channels can be swapped as often as one likes.
    """
    rng = np.random.default_rng(run)
    colored = rng.choice([place for place, path in enumerate(photos.paths) if _is_colored(path)])
    others = [place for place in range(len(photos)) if place != colored]
    chosen = [colored, *rng.choice(others, count - 1, replace=False)]
    return PhotoSet(tuple(photos.paths[place] for place in sorted(chosen)), photos.names)


@functools.cache
def _is_colored(path: Path) -> bool:
    rgb = read_picture(path).rgb.astype(np.int16)
    return bool(np.abs(rgb[..., 0] - rgb[..., 2]).mean() > _COLORED)
