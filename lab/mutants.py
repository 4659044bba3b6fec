"""How many small changes of the source the tests notice: `make mutants`, `python -m lab.mutants`.

A seeded sample of all changes (`lab.source_changes`) is tried one by one: in a copy of the
checkout, with the tests that can see the changed module (`lab.choice_of_tests`). The checkout is
never changed. Every verdict is written down as it comes: the same command resumes what was
interrupted, and `--again` tries those that survived once more, after a test was written. A verdict
holds as long as the changed file stays as it was.
"""

import argparse
import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from lab import source_changes
from lab.choice_of_tests import chosen_tests
from lab.house import OUTSIDE, ROOT
from lab.source_changes import Change
from nstc.core.child_processes import started
from nstc.core.files import write_text
from nstc.core.terminal import plain_console

COUNT: Final = 100
TIMEOUT_S: Final = 600.0
RECORD: Final = Path("runs/mutants.jsonl")
_TREE: Final = ".typetree"  # of links, by which the copy's own nstc is imported
_OUTPUT: Final = "mutant-output.txt"
_PASSED, _FAILED, _NONE_FOUND = 0, 1, 5  # exit codes of pytest
_TEST: Final = "::"  # between the path of a test module and a test in it
_PYTEST: Final = (sys.executable, "-m", "pytest", "-q", "--no-header", "--tb=no")


class Outcome(StrEnum):
    """What became of a change."""

    KILLED = "killed"  # a test fails with it, and passes without it
    SURVIVED = "survived"  # all tests pass
    BROKEN = "broken"  # modules can't be imported with it, which says little of their tests
    TIMEOUT = "timeout"  # the tests took too long, perhaps for it
    UNSEEN = "unseen"  # none of the tests that were chosen runs here
    UNCLEAR = "unclear"  # the test that fails with it also fails without it


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A change that was tried."""

    path: str
    line: int
    change: str  # in a line
    key: str  # of this change in this text of the file
    outcome: str
    tests: tuple[str, ...]  # modules that were run, as far as the first failure
    failed: str = ""  # the test that noticed


class Copy:
    """A copy of the checkout in which changes are tried."""

    def __init__(self, folder: Path, paths: Sequence[str], root: Path = ROOT) -> None:
        """Copy files, and make sure that tests in there import the copy.

        A RuntimeError if they would import another nstc.
        """
        self.folder = folder
        for path in paths:
            if (root / path).is_file():  # else it was deleted and not committed
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(root / path, folder / path)
        self._run([sys.executable, "-m", "lab.typetree"], TIMEOUT_S)
        # Checked by what they were compiled from: a change within a second would be overlooked.
        compiling = ("-m", "compileall", "-q", "--invalidation-mode", "checked-hash", ".")
        self._run([sys.executable, *compiling], TIMEOUT_S)
        self._run([sys.executable, "-c", "import nstc; print(nstc.__file__)"], TIMEOUT_S)
        found = Path(self._output().strip().splitlines()[-1]).resolve()
        if not found.is_relative_to(folder.resolve()):
            raise RuntimeError(f"tests in {folder} would import {found}: its own was expected.")

    def judge(self, change: Change, tests: Sequence[str], timeout_s: float) -> tuple[Outcome, str]:
        """Run test modules with a change; what became of it, and the test that noticed."""
        with self._changed(change):
            status = self._run([*_PYTEST, "-x", *tests], timeout_s)
            failed = _failed_test(self._output())
        if status is None:
            return Outcome.TIMEOUT, ""
        if status in (_PASSED, _NONE_FOUND):
            return (Outcome.SURVIVED if status == _PASSED else Outcome.UNSEEN), ""
        # Without the change: the test that failed, or the import of what could not even start.
        again = ["--last-failed", *tests] if status == _FAILED else ["--collect-only", *tests]
        without = self._run([*_PYTEST, *again], timeout_s)
        if without != _PASSED:
            return Outcome.UNCLEAR, failed
        crashed = status < 0  # by a signal, before it could name a test
        return (Outcome.KILLED if crashed or _TEST in failed else Outcome.BROKEN), failed

    @contextlib.contextmanager
    def _changed(self, change: Change) -> Iterator[None]:
        file = self.folder / change.path
        before = file.read_text(encoding="utf-8")
        try:
            file.write_text(change.applied(before), encoding="utf-8")
            yield
        finally:
            file.write_text(before, encoding="utf-8")

    def _run(self, command: Sequence[str], timeout_s: float) -> int | None:
        """Run a program in the copy to its end: its exit code, or None after so many seconds."""
        env = {
            **os.environ,
            "PYTHONPATH": str(self.folder / _TREE),
            "PYTHONDONTWRITEBYTECODE": "1",
            "OMP_NUM_THREADS": "1",
        }
        if "compileall" in command:
            del env["PYTHONDONTWRITEBYTECODE"]
        with (
            (self.folder / _OUTPUT).open("wb") as output,
            started(
                command, stdout=output, stderr=subprocess.STDOUT, cwd=self.folder, env=env
            ) as process,
        ):
            try:
                return process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                return None

    def _output(self) -> str:
        return (self.folder / _OUTPUT).read_text(encoding="utf-8", errors="replace")


def _failed_test(output: str) -> str:
    """The first that a run of pytest names as failed, or that could not be imported."""
    for line in output.splitlines():
        for word in ("FAILED ", "ERROR "):
            if line.startswith(word):
                return line.removeprefix(word).partition(" - ")[0]
    return ""


class Record:
    """The verdicts so far, a line of JSON each; the last of a change holds."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.verdicts: dict[str, Verdict] = {}
        if file.exists():
            whole, _, torn = file.read_text(encoding="utf-8").rpartition("\n")
            if torn:  # the end of a run that was killed
                write_text(file, f"{whole}\n" if whole else "")
            for line in whole.splitlines():
                content = json.loads(line)
                found = Verdict(**{**content, "tests": tuple(content["tests"])})
                self.verdicts[found.key] = found

    def add(self, verdict: Verdict) -> None:
        """Keep a verdict at once."""
        self.verdicts[verdict.key] = verdict
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(asdict(verdict)) + "\n")


def key_of(change: Change, source: str) -> str:
    """What tells a change in a text of its file from all others."""
    told = (change.path, change.start, change.stop, change.after, source)
    return hashlib.sha256(repr(told).encode()).hexdigest()[:16]


def tried(
    chosen: Sequence[Change],
    sources: Mapping[str, str],
    tests: Mapping[str, str],
    record: Record,
    copy: Copy,
    *,
    timeout_s: float = TIMEOUT_S,
    again: bool = False,
) -> Iterator[Verdict]:
    """The verdict on each change, tried unless it is on record; survivors too if `again`."""
    for change in chosen:
        key = key_of(change, sources[change.path])
        known = record.verdicts.get(key)
        if known is None or (again and known.outcome != Outcome.KILLED):
            seeing = chosen_tests(change.path, sources, tests)
            outcome, failed = Outcome.UNSEEN, ""
            if seeing:
                outcome, failed = copy.judge(change, seeing, timeout_s)
            known = Verdict(
                path=change.path,
                line=change.line,
                change=change.summary,
                key=key,
                outcome=outcome,
                tests=seeing,
                failed=failed,
            )
            record.add(known)
        yield known


def counts(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """How many of each outcome, and the share that was killed of those that were judged."""
    found = Counter(verdict.outcome for verdict in verdicts)
    judged = found[Outcome.KILLED] + found[Outcome.SURVIVED]
    share = found[Outcome.KILLED] / judged if judged else None
    return {**{str(outcome): found[outcome] for outcome in Outcome}, "killed_share": share}


def _files(*patterns: str) -> list[str]:
    """The checkout's files of some patterns that git does not ignore, new ones too."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *patterns]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603
    return sorted(filter(None, listed.stdout.split("\0")))


def _texts(paths: Sequence[str]) -> dict[str, str]:
    return {path: (ROOT / path).read_text(encoding="utf-8") for path in paths}


def _print_table(verdicts: Sequence[Verdict]) -> None:
    from rich.table import Column, Table
    from rich.text import Text

    table = Table("outcome", Column("place", overflow="fold"), "change", box=None)
    for found in sorted(verdicts, key=lambda own: (own.outcome == Outcome.KILLED, own.path)):
        table.add_row(found.outcome, Text(f"{found.path}:{found.line}"), Text(found.change))
    counted = counts(verdicts)
    console = plain_console()
    console.print(table)
    share = counted.pop("killed_share")
    told = ", ".join(f"{number} {outcome}" for outcome, number in counted.items() if number)
    console.print(f"{told}{'' if share is None else f': {share:.0%} of those judged killed'}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Try a sample and print what became of it; 130 if it was interrupted, which loses nothing."""
    parser = _parser()
    asked = parser.parse_args(arguments)
    if asked.count < 1:
        parser.error(f"argument --count: {asked.count}: expected a number from 1")
    modules = [path for path in _files("*.py") if not path.startswith(OUTSIDE)]
    sources = _texts(modules)
    tests = _texts(_files("tests/**/test_*.py"))
    wanted = {path: text for path, text in sources.items() if path.startswith(asked.only)}
    chosen = source_changes.sample([*source_changes.every_change(wanted)], asked.count, asked.seed)
    if not chosen:
        sys.stderr.write(f"nothing to change in {asked.only}: expected the path of a module.\n")
        return 2
    done: list[Verdict] = []
    status = 0
    with tempfile.TemporaryDirectory(prefix="nstc-mutants-") as name:
        try:
            copy = Copy(Path(name), _files())
            record, begun = Record(asked.record), time.monotonic()
            for found in tried(
                chosen, sources, tests, record, copy, timeout_s=asked.timeout, again=asked.again
            ):
                done.append(found)
                place = f"{found.path}:{found.line} {found.change}"
                told = f"{len(done)}/{len(chosen)} {time.monotonic() - begun:.0f} s"
                sys.stderr.write(f"{told} {found.outcome}: {place}\n")
        except KeyboardInterrupt:
            status = 130
    if asked.json:
        content = {"seed": asked.seed, **counts(done), "mutants": [asdict(own) for own in done]}
        sys.stdout.write(json.dumps(content, indent=1) + "\n")
    else:
        _print_table(done)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m lab.mutants", description=__doc__)
    parser.add_argument("--count", type=int, default=COUNT, help="how many changes to try")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--only", default="", help="paths that begin so, such as compress/graphs")
    parser.add_argument("--timeout", type=float, default=TIMEOUT_S, help="seconds for each change")
    parser.add_argument("--again", action="store_true", help="try what was not killed once more")
    parser.add_argument("--record", type=Path, default=RECORD, help="where verdicts are kept")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
