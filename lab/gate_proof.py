"""The proof of the gate as one command: `make test-gate-proof`, `python -m lab.gate_proof`.

Times of unchanged files are tried first, on a machine that does nothing else, and leave a baseline.
Then three parts run side by side and are each other's load: times, compared with that baseline, on
the first core and by processor time; pictures, on the last one; instructions, on all. Every part is
a process of pytest that keeps each check as it was made: the same command on the same commit goes
on with what was interrupted, and prints again what a finished proof has found; `--again` makes all
checks anew.

NSTC_GATE_PROOF=short tries whether it works, =instructions counts instructions alone.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TextIO

from lab.house import ROOT
from nstc.benchmarks.timing.machine import machine_facts
from nstc.core.child_processes import started
from nstc.core.files import write_text

FOLDER: Final = Path("runs/gate-proof")
RESULT: Final = Path("runs/gate-proof.json")
EVERY_S: Final = 30.0  # between two lines of progress
LENGTHS: Final = ("full", "short", "instructions")  # of NSTC_GATE_PROOF
_TESTS: Final = Path("tests/gate_proof")
_MODULES: Final[Mapping[str, str]] = {
    "quiet": "test_quiet_times.py",
    "times": "test_loaded_times.py",
    "pictures": "test_picture_proof.py",
    "instructions": "test_instruction_proof.py",
}
"""By part. A module is of the part that its `PART` names."""
STAGES: Final = (("quiet",), ("times", "pictures", "instructions"))  # one after another
_ONE_THREAD: Final = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")


@dataclass(frozen=True)
class Part:
    """One process of the proof."""

    name: str
    command: Sequence[str]
    folder: Path

    @contextlib.contextmanager
    def running(self) -> Iterator[subprocess.Popen[bytes]]:
        """Its process, which ends with the block; what it prints goes to its log."""
        environment = {**os.environ, **_ONE_THREAD, "NSTC_GATE_PROOF_FOLDER": str(self.folder)}
        with (
            self.log.open("wb") as log,
            started(
                self.command, cwd=ROOT, env=environment, stdout=log, stderr=log, grace_s=5
            ) as process,
        ):
            yield process

    @property
    def log(self) -> Path:
        """Where it prints to."""
        return self.folder / f"{self.name}.log"

    @property
    def checks(self) -> tuple[int, int]:
        """How many were made, and of how many; none of none before it says so."""
        try:
            head, *lines = (self.folder / f"{self.name}.jsonl").read_text("utf-8").splitlines()
            return len(lines), json.loads(head)["checks"]
        except (FileNotFoundError, ValueError):
            return 0, 0

    @property
    def cases(self) -> list[dict[str, Any]]:
        """What it found; nothing if it was stopped."""
        path = self.folder / f"{self.name}.json"
        if not path.exists():
            return []
        found: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["cases"]
        return found


def part(name: str, folder: Path) -> Part:
    """One of `_MODULES`."""
    test = str(_TESTS / _MODULES[name])
    return Part(name, (sys.executable, "-m", "pytest", "-q", "-m", "gate_proof", test), folder)


def carried_out(stages: Sequence[Sequence[Part]], out: TextIO) -> dict[str, int]:
    """Run stages one after another, the parts of each side by side; exit codes by part."""
    codes: dict[str, int] = {}
    for stage in stages:
        for own in stage:
            (own.folder / f"{own.name}.json").unlink(missing_ok=True)  # of another run
        with contextlib.ExitStack() as stack:
            running = [stack.enter_context(own.running()) for own in stage]
            begun, told = time.monotonic(), time.monotonic()
            at_first = {own.name: own.checks[0] for own in stage}
            while any(process.poll() is None for process in running):
                time.sleep(min(0.2, EVERY_S))
                if time.monotonic() - told >= EVERY_S:
                    told = time.monotonic()
                    print(progress(stage, at_first, told - begun), file=out, flush=True)
        codes |= {own.name: run.returncode for own, run in zip(stage, running, strict=True)}
    return codes


def progress(stage: Sequence[Part], at_first: Mapping[str, int], seconds: float) -> str:
    """One line: of each part the checks that were made, and about the time that is left."""
    words, left = [], 0.0
    for own in stage:
        made, of = own.checks
        words.append(f"{own.name} {made} of {of or '?'}")
        pace = (made - at_first[own.name]) / seconds
        if pace > 0:
            left = max(left, (of - made) / pace)
    told = ", ".join(words)
    return f"{told}; about {left / 60:.0f} min left of this stage" if left else told


def table(cases: Sequence[Mapping[str, Any]]) -> list[str]:
    """Lines: of each case the checks and the verdicts, and which numbers spoke up.

    A check may be of several copies, which share its reference: their verdicts are no independent
    ones, and a check is right if all of its own are.
    """
    lines = [
        f"{'case':<24}{'checks right':>14}{'verdicts right':>16}{'needed':>8}{'PASS':>6}"
        f"{'REGR.':>7}{'INCONCL.':>10}{'s':>7}"
    ]
    for case in cases:
        counts = [case["verdicts"].get(name, 0) for name in ("PASS", "REGRESSED", "INCONCLUSIVE")]
        checks = f"{case['checks_right']} of {case['checks']}"
        right = f"{case['right']} of {len(case['trials'])}"
        lines.append(
            f"{case['name']:<24}{checks:>14}{right:>16}{case['needed']:>8}{counts[0]:>6}"
            f"{counts[1]:>7}{counts[2]:>10}{case['seconds']:>7.0f}"
        )
        if case["named"]:
            lines.append("    " + ", ".join(f"{name} {n}" for name, n in case["named"].items()))
    return lines


def main(
    arguments: Sequence[str] | None = None, *, folder: Path = FOLDER, result: Path = RESULT
) -> int:
    """Run it, write all verdicts and print the counts; 1 if a part failed, else 0."""
    parser = argparse.ArgumentParser(prog="python -m lab.gate_proof", description=__doc__)
    parser.add_argument(
        "--again", action="store_true", help="forget the checks that were made, and make them anew"
    )
    asked = parser.parse_args(arguments)
    length = os.environ.get("NSTC_GATE_PROOF", "full")
    if length not in LENGTHS:
        parser.error(f"NSTC_GATE_PROOF is {length!r}: expected one of {', '.join(LENGTHS)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that its parts end with it
    folder = (folder / length).resolve()  # a trial leaves alone what a full run has kept
    if asked.again and folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    result = result.with_stem(result.stem if length == "full" else f"{result.stem}-{length}")
    stages = (("instructions",),) if length == "instructions" else STAGES
    parts = [[part(name, folder) for name in stage] for stage in stages]
    begun = time.monotonic()
    codes = carried_out(parts, sys.stderr)
    cases = [case for stage in parts for own in stage for case in own.cases]
    minutes = (time.monotonic() - begun) / 60
    content = {
        "schema": "nstc.gate-proof/3",
        "machine": machine_facts(),
        "length": length,
        "minutes": round(minutes, 1),
        "cases": cases,
    }
    write_text(result, json.dumps(content, indent=1) + "\n")
    print("\n".join(table(cases)))
    # One that skipped all of its checks has proved nothing.
    failed = [own for stage in parts for own in stage if codes[own.name] or not own.cases]
    for own in failed:
        print(f"{own.name} failed, or made no check: {own.log} says why", file=sys.stderr)
    print(f"{minutes:.0f} minutes; all verdicts are in {result}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
