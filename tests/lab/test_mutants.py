"""Changes tried on a package and tests of a few lines, in copies of that."""

import json
from pathlib import Path

import pytest
from lab import mutants
from lab.mutants import Copy, Outcome, Record, Verdict, counts, key_of, tried
from lab.source_changes import changes, every_change

ROOT = Path(__file__).resolve().parents[2]

ROOM = """
def is_large(number):
    return number > 10

def is_even(number):
    return number % 2 == 0
"""
TESTS = """
import time
from nstc import room

def test_large():
    assert room.is_large(11) and not room.is_large(9)

def test_even():
    assert room.is_even(2) and not room.is_even(3)
"""
FILES = {
    "pyproject.toml": '[tool.setuptools.package-dir]\n"nstc" = "src/nstc"\n',
    "src/nstc/__init__.py": "",
    "src/nstc/room.py": ROOM,
    "tests/test_room.py": TESTS,
}


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small one, with what the copy needs of the lab; its tests need no plugins of pytest's."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    folder = tmp_path / "checkout"
    typetree = (ROOT / "lab" / "typetree.py").read_text(encoding="utf-8")
    for path, text in {**FILES, "lab/__init__.py": "", "lab/typetree.py": typetree}.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def copy(checkout: Path, tmp_path: Path) -> Copy:
    paths = [str(file.relative_to(checkout)) for file in checkout.rglob("*.*")]
    return Copy(tmp_path / "copy", paths, checkout)


def judged(copy: Copy, summary: str, timeout_s: float = 60) -> tuple[Outcome, str]:
    (change,) = [c for c in changes("src/nstc/room.py", ROOM) if c.summary == summary]
    found = copy.judge(change, ["tests/test_room.py"], timeout_s)
    assert (copy.folder / "src/nstc/room.py").read_text(encoding="utf-8") == ROOM
    return found


@pytest.mark.slow
def test_what_a_test_notices_is_killed_and_the_rest_survives(copy: Copy) -> None:
    assert judged(copy, "== -> !=") == (Outcome.KILLED, "tests/test_room.py::test_even")
    assert judged(copy, "> -> >=") == (Outcome.SURVIVED, "")


@pytest.mark.slow
def test_what_can_not_be_imported_is_broken(copy: Copy) -> None:
    first = "from nstc import room\nassert not room.is_large(10)\n"
    (copy.folder / "tests" / "test_room.py").write_text(first + TESTS, encoding="utf-8")
    assert judged(copy, "> -> >=") == (Outcome.BROKEN, "tests/test_room.py")


@pytest.mark.slow
def test_a_test_that_fails_anyhow_kills_nothing(copy: Copy) -> None:
    tests = copy.folder / "tests" / "test_room.py"
    tests.write_text(TESTS + "\ndef test_never():\n    assert 0\n", encoding="utf-8")
    assert judged(copy, "> -> >=") == (Outcome.UNCLEAR, "tests/test_room.py::test_never")
    tests.write_text("import nothing_of_this_name\n", encoding="utf-8")
    assert judged(copy, "> -> >=")[0] is Outcome.UNCLEAR


def test_modules_without_a_test_that_runs_are_unseen(copy: Copy) -> None:
    (copy.folder / "tests" / "test_room.py").write_text("", encoding="utf-8")
    assert judged(copy, "> -> >=") == (Outcome.UNSEEN, "")


def test_tests_that_take_too_long_are_ended(copy: Copy) -> None:
    slow = TESTS + "\ndef test_slow():\n    time.sleep(99)\n"
    (copy.folder / "tests" / "test_room.py").write_text(slow, encoding="utf-8")
    assert judged(copy, "> -> >=", timeout_s=3) == (Outcome.TIMEOUT, "")


def test_an_interruption_leaves_the_file_as_it_was(copy: Copy, monkeypatch) -> None:
    def interrupted(*_arguments):
        assert "number >= 10" in (copy.folder / "src/nstc/room.py").read_text(encoding="utf-8")
        raise KeyboardInterrupt

    monkeypatch.setattr(copy, "_run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        judged(copy, "> -> >=")
    assert (copy.folder / "src/nstc/room.py").read_text(encoding="utf-8") == ROOM


def test_a_copy_that_would_try_another_nstc_is_refused(checkout: Path, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="its own was expected"):
        Copy(tmp_path / "copy", ["pyproject.toml"], checkout)


class Notes:
    """Stands for a copy: what survives is what it is told to, and it notes what was tried."""

    def __init__(self, *survivors: str) -> None:
        self.survivors, self.asked = survivors, []

    def judge(self, change, tests, _timeout_s):
        assert tests == ("tests/test_room.py",)
        self.asked.append(change.summary)
        return (Outcome.SURVIVED if change.summary in self.survivors else Outcome.KILLED), "t"


def all_tried(copy: Notes, file: Path, room: str = ROOM, **options: bool) -> list[Verdict]:
    sources = {"src/nstc/room.py": room}
    chosen = list(every_change(sources))[:4]
    tests = {"tests/test_room.py": TESTS}
    return list(tried(chosen, sources, tests, Record(file), copy, **options))


class TestRecord:
    def test_what_was_interrupted_resumes_where_it_was(self, tmp_path: Path) -> None:
        file = tmp_path / "runs" / "record.jsonl"
        sources, tests = {"src/nstc/room.py": ROOM}, {"tests/test_room.py": TESTS}
        chosen, first = list(every_change(sources))[:4], Notes()
        some = tried(chosen, sources, tests, Record(file), first)
        next(some), next(some)
        found = all_tried(second := Notes(), file)
        assert len(first.asked) == len(second.asked) == 2
        assert {*first.asked} | {*second.asked} == {own.change for own in found}
        assert len(file.read_text().splitlines()) == 4

    def test_survivors_are_tried_again_where_that_is_asked_for(self, tmp_path: Path) -> None:
        file = tmp_path / "record.jsonl"
        assert counts(all_tried(Notes("> -> >="), file))["survived"] == 1
        assert counts(all_tried(Notes(), file))["survived"] == 1
        found = all_tried(again := Notes(), file, again=True)
        assert again.asked == ["> -> >="]
        assert counts(found)["killed"] == counts(all_tried(Notes(), file))["killed"] == 4

    def test_another_text_of_the_file_is_tried_anew(self, tmp_path: Path) -> None:
        file = tmp_path / "record.jsonl"
        all_tried(Notes(), file)
        all_tried(anew := Notes(), file, ROOM + "\n")
        assert len(anew.asked) == 4

    def test_keys_tell_changes_apart(self) -> None:
        found = changes("a.py", "a = 1 < 1")
        assert len({key_of(change, "a = 1 < 1") for change in found}) == 3


def verdict_on(key: str, outcome: str) -> Verdict:
    return Verdict(path="a", line=1, change="", key=key, outcome=outcome, tests=())


def test_a_line_that_a_kill_cut_short_is_forgotten(tmp_path: Path) -> None:
    record = Record(tmp_path / "record.jsonl")
    record.add(verdict_on("first", "killed"))
    with record.file.open("a", encoding="utf-8") as lines:
        lines.write('{"path": "comp')
    again = Record(record.file)
    again.add(verdict_on("second", "killed"))
    assert set(Record(record.file).verdicts) == {"first", "second"}


def test_a_sample_of_none_is_refused(capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        mutants.main(["--count", "0"])
    assert ended.value.code == 2
    assert "expected a number from 1" in capsys.readouterr().err


def test_the_share_is_of_those_that_were_judged() -> None:
    outcomes = [*"kkks", "timeout", "unseen", "unclear"]
    names = {"k": "killed", "s": "survived"}
    found = counts([verdict_on(str(i), names.get(o, o)) for i, o in enumerate(outcomes)])
    assert found["killed_share"] == 0.75
    assert (found["killed"], found["survived"], found["timeout"]) == (3, 1, 1)
    assert counts([])["killed_share"] is None


class Kills:
    """Stands for a copy in which every change is noticed."""

    def judge(self, _change, _tests, _timeout_s):
        return Outcome.KILLED, "t"


class TestCommand:
    @pytest.fixture(autouse=True)
    def _quick(self, monkeypatch, tmp_path) -> None:
        monkeypatch.setattr(mutants, "Copy", lambda _folder, _paths: Kills())

    def run(self, capsys, tmp_path, *arguments: str) -> str:
        record = ("--record", str(tmp_path / "r.jsonl"))
        asked = ("--count", "3", "--only", "compress/graphs", *record, *arguments)
        assert mutants.main(asked) == 0
        return capsys.readouterr().out

    def test_a_table_names_place_and_change(self, capsys, tmp_path) -> None:
        out = self.run(capsys, tmp_path)
        assert out.count("compress/graphs/") == 3
        assert " -> " in out
        assert "3 killed: 100% of those judged killed" in out

    def test_json_has_all_of_each(self, capsys, tmp_path) -> None:
        content = json.loads(self.run(capsys, tmp_path, "--json"))
        assert (content["seed"], content["killed"], content["killed_share"]) == (0, 3, 1.0)
        for own in content["mutants"]:
            assert {"path", "line", "change", "outcome", "tests", "failed"} <= {*own}

    def test_interrupted_it_prints_what_it_has(self, capsys, monkeypatch, tmp_path) -> None:
        def interrupt(*_arguments):
            raise KeyboardInterrupt

        def judge(*_arguments):
            monkeypatch.setattr(Kills, "judge", interrupt)
            return Outcome.KILLED, "t"

        monkeypatch.setattr(Kills, "judge", judge)
        status = mutants.main(
            ["--only", "models", "--count", "3", "--record", str(tmp_path / "r.jsonl")]
        )
        assert (status, "1 killed" in capsys.readouterr().out) == (130, True)

    def test_a_path_of_nothing_is_told(self, capsys) -> None:
        assert mutants.main(["--only", "nowhere"]) == 2
        assert "nowhere: expected the path of a module" in capsys.readouterr().err
