"""How many rounds a verdict on time takes on this machine: `python -m lab.time_verdicts RECORD`.

Rounds are recorded in RECORD, with the included student's teacher, its float file, and its int8
file twice, of which the second is a light reference for the first. Each run is timed by the time of
day and by processor time at once, so that both clocks see the same load; on several threads the
latter is of one of them, and left out. Given a record that is there, nothing is timed.

Then checks of the unchanged int8 file, and of one that is slower, are replayed from the record: a
baseline and a check each begin at random rounds, and the check adds rounds as `nstc check` does.
Prints a Markdown table: a line for each reference, clock and number of rounds in the baseline.
"""

import argparse
import json
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from nstc.benchmarks.gate.check_models import BOUND
from nstc.benchmarks.gate.keys import RowKey
from nstc.benchmarks.gate.more_rounds import rounds_to_add
from nstc.benchmarks.gate.verdicts import TIME_TOLERANCE, Verdict, compare_time
from nstc.benchmarks.subjects import FLOAT, find_subject
from nstc.benchmarks.targets import parse_target
from nstc.benchmarks.targets.base import Reopenable
from nstc.benchmarks.timing.latency import PAUSE_S, Run, RunClock, repeats, turn_orders, warm_up
from nstc.benchmarks.timing.machine import pinned, usable_cores
from nstc.benchmarks.timing.statistics import bootstrap_speedup, since_stored, undisturbed
from nstc.cli.output import Bar
from nstc.compress.export.checking import sample_picture
from nstc.compress.export.export_model import made_artifact
from nstc.core import Progress
from nstc.core.files import write_text
from nstc.core.recipe import BenchRecipe
from nstc.runtime.arrays import Array
from nstc.runtime.foreign.probing import probe_contract

STUDENT: Final = "zoo:starry-night"
FILES: Final[Mapping[str, tuple[str, str]]] = {
    "teacher": (f"{STUDENT}/teacher", FLOAT),
    "its float file": (STUDENT, FLOAT),
    "int8": (STUDENT, "int8"),
    "an int8 file": (STUDENT, "int8"),
}
"""Models and artifacts, by the names in the table. All but `OWN` are references."""
OWN: Final = "int8"
REFERENCES: Final = [name for name in FILES if name != OWN]
CLOCKS: Final = ("time of day", "processor time")
BLOCK: Final = 10  # rounds that stay neighbours: a disturbance lasts longer than one
TRIES: Final = 100
SLOWER: Final = 0.08
_KEY: Final = RowKey(model=STUDENT, artifact="int8.onnx", target="cpu:1", size=0)

Rounds = list[dict[str, tuple[float, float]]]
"""Of each round, by file: the lowest milliseconds of its turn by each of `CLOCKS`."""


def recorded(rounds: int, size: int, threads: int, progress: Progress) -> Rounds:
    """Time all files for so many rounds, as `nstc.benchmarks.timing.latency.alternate` does."""
    target, picture = parse_target(f"cpu:{threads}"), sample_picture(size, size)
    clock = RunClock()
    found: Rounds = []
    with pinned(usable_cores()[:threads]):
        sessions = {
            name: target.open(find_subject(model, store=made_artifact), artifact, probe_contract)
            for name, (model, artifact) in FILES.items()
        }
        runs = {name: partial(own.infer, own.prepare(picture)) for name, own in sessions.items()}
        opened = {name: warm_up(run, clock) for name, run in runs.items()}
        progress.begin("recording", rounds, 0)
        for order in turn_orders(len(FILES), rounds, seed=0):
            turn = {}
            for name in (list(FILES)[position] for position in order):
                session = sessions[name]
                if isinstance(session, Reopenable):
                    session = session.reopened()
                run = partial(session.infer, session.prepare(picture))
                clock.sleep(PAUSE_S)
                for _ in range(max(1, opened[name].runs)):
                    run()
                times = [_by_both(run) for _ in range(repeats(opened[name].warm_ms))]
                turn[name] = (min(own for own, _ in times), min(own for _, own in times))
            found.append(turn)
            progress.advance(len(found), {})
    return found


def _by_both(run: Run) -> tuple[float, float]:
    """Milliseconds of a run by each of `CLOCKS`."""
    started, computed = time.perf_counter_ns(), time.thread_time_ns()
    run()
    return (
        (time.perf_counter_ns() - started) / 1e6,
        (time.thread_time_ns() - computed) / 1e6,
    )


@dataclass(frozen=True, kw_only=True)
class Way:
    """How a check is made.

    Attributes:
        reference: Out of `FILES`.
        clock: Out of `CLOCKS`.
        stored: Rounds of the baseline.
    """

    reference: str
    clock: str
    stored: int


def replayed(
    rounds: Rounds, way: Way, *, slower: float, seed: int, most: int | None = None
) -> tuple[Verdict, int]:
    """The verdict of one check and the rounds that it took.

    Args:
        rounds: That were recorded.
        way: To check.
        slower: Share by which the file takes longer than for the baseline.
        seed: Of the rounds that are drawn.
        most: Rounds of the check; `BOUND` times the first ones by default.
    """
    which = CLOCKS.index(way.clock)
    reference, own = (
        np.array([turn[name][which] for turn in rounds]) for name in (way.reference, OWN)
    )
    rng, first = np.random.default_rng(seed), BenchRecipe().rounds
    most = most or BOUND * first
    before, after = (_drawn(len(rounds), count, rng) for count in (way.stored, most))
    earlier, own_earlier = reference[before].tolist(), own[before].tolist()
    stored = bootstrap_speedup(earlier, own_earlier, seed=seed)
    stored_ms = undisturbed(own_earlier) * stored.median  # as `BaselineTime.reference_ms`
    taken = first
    while True:
        now = reference[after[:taken]].tolist()
        times = (own[after[:taken]] * (1 + slower)).tolist()
        speedup = bootstrap_speedup(now, times, seed=seed)
        change = since_stored(
            speedup,
            stored,
            rounds=taken,
            stored_rounds=way.stored,
            reference_ratio=undisturbed(now) / stored_ms,
        )
        finding = compare_time(_KEY, baseline=stored.median, value=speedup.median, change=change)
        more = rounds_to_add([finding], first=first, taken=taken, at_most=most)
        if not more:
            return finding.verdict, taken
        taken += more


def _drawn(of: int, count: int, rng: np.random.Generator) -> Array:
    """Positions of so many rounds, in blocks of neighbours."""
    starts = rng.integers(0, of - BLOCK + 1, -(-count // BLOCK))
    return (starts[:, None] + np.arange(BLOCK)).reshape(-1)[:count]


def row(rounds: Rounds, way: Way, tries: int) -> str:
    """A line of the table: of as many checks, the verdicts and the rounds of nine in ten."""
    found = [replayed(rounds, way, slower=0.0, seed=seed) for seed in range(tries)]
    slow = [replayed(rounds, way, slower=SLOWER, seed=seed) for seed in range(tries)]
    verdicts = Counter(verdict for verdict, _ in found)
    wrong = verdicts[Verdict.REGRESSED] + verdicts[Verdict.IMPROVED]
    caught = sum(verdict is Verdict.REGRESSED for verdict, _ in slow)
    settled = sorted(taken for verdict, taken in found if verdict is Verdict.PASS)
    enough = -(-9 * tries // 10)
    needed = f"{settled[enough - 1]}" if len(settled) >= enough else "more"
    cells = (way.reference, way.clock, way.stored, verdicts[Verdict.PASS], wrong, needed, caught)
    return f"| {' | '.join(map(str, cells))} |"


def heads(tries: int) -> str:
    """The two lines above the table's others."""
    names = (
        *("timed beside", "clock", "rounds of the baseline", f"PASS of {tries}"),
        *("REGRESSED or IMPROVED", "rounds that settle 9 of 10", f"{SLOWER:.0%} slower, REGRESSED"),
    )
    return f"| {' | '.join(names)} |\n{'|---' * len(names)}|"


def main() -> None:
    """Record unless that was done, replay, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("record", type=Path)
    parser.add_argument("--rounds", type=int, default=100, help="to record")
    parser.add_argument("--size", type=int, default=256, help="side of the picture in pixels")
    parser.add_argument("--threads", type=int, default=1, help="of each session")
    parser.add_argument("--beside", nargs="+", choices=REFERENCES, default=REFERENCES)
    parser.add_argument("--tries", type=int, default=TRIES, help="checks to replay of each kind")
    parser.add_argument("--stored", type=int, nargs="+", default=[15, 60], help="rounds")
    given = parser.parse_args()
    if not given.record.is_file():
        with Bar() as bar:
            write_text(
                given.record, json.dumps(recorded(given.rounds, given.size, given.threads, bar))
            )
    rounds = json.loads(given.record.read_text(encoding="utf-8"))
    ways = [
        Way(reference=reference, clock=clock, stored=stored)
        for reference in given.beside
        for clock in CLOCKS[: 2 if given.threads == 1 else 1]
        for stored in given.stored
    ]
    print(f"{len(rounds)} rounds, at most {TIME_TOLERANCE:.0%} slower\n")
    print(heads(given.tries))
    for way in ways:
        print(row(rounds, way, given.tries), flush=True)


if __name__ == "__main__":
    main()
