"""How often everything is run."""

import dataclasses
import functools
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from nstc.core.images import read_picture
from nstc.core.photos import PhotoSet

_COLORED: Final = 8
"""Levels between red and blue, on average."""

LENGTH_VARIABLE: Final = "NSTC_GATE_PROOF"
OUTPUT_VARIABLE: Final = "NSTC_GATE_PROOF_JSON"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Numbers of runs and what one of them takes.

    Attributes:
        name: "full", "short" or "instructions".
        faulty: Runs of each fault.
        unchanged: Runs of the unchanged model on a quiet machine.
        loaded: Runs of it beside a load.
        together: Unchanged copies beside the faults in one check of instructions.
        counted_size: Side in pixels of the pictures whose instructions are counted.
        counts_alone: Whether instructions are all that is tried.
        size: Side of the pictures in pixels.
        photos: How many photographs a run judges, another choice in each.
        rounds: Timed rounds to begin with.
        max_rounds: In all.
        openings: The timed baseline is pooled from so many runs, each with sessions of its own.
        baseline_rounds: Of each of them.
        counts_hold: Whether there are enough runs for the counts to mean something.
    """

    name: str
    faulty: int
    unchanged: int
    loaded: int
    size: int = 256
    photos: int = 2
    rounds: int = 20
    max_rounds: int = 240
    openings: int = 4
    baseline_rounds: int = 60
    counts_hold: bool = True
    together: int = 5
    counted_size: int = 128
    counts_alone: bool = False


FULL: Final = Plan(name="full", faulty=20, unchanged=100, loaded=100)
INSTRUCTIONS: Final = dataclasses.replace(FULL, name="instructions", counts_alone=True)
SHORT: Final = Plan(
    name="short",
    faulty=2,
    unchanged=2,
    loaded=2,
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


def output_file() -> Path:
    """Where the JSON goes."""
    return Path(os.environ.get(OUTPUT_VARIABLE, "runs/gate-proof.json"))


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
