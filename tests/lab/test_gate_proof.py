"""The proof's parts, here of programs that make their checks at once."""

import io
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from gate_proof.plan import FULL, INSTRUCTIONS, SHORT
from lab import gate_proof
from lab.gate_proof import _MODULES, STAGES, Part, carried_out, progress, table

CASE = {
    "name": "a fault",
    "right": 1,
    "needed": 2,
    "checks": 1,
    "checks_right": 0,
    "seconds": 3.0,
    "verdicts": {"REGRESSED": 1, "PASS": 1},
    "named": {"bytes REGRESSED": 1},
    "trials": [{}, {}],
}
PROGRAM = """
import json, os, pathlib, sys, time
name, code, order = sys.argv[1:]
folder = pathlib.Path(os.environ["NSTC_GATE_PROOF_FOLDER"])
with open(order, "a") as file:
    file.write(name + "\\n")
(folder / (name + ".jsonl")).write_text(json.dumps({"checks": 4}) + "\\n{}\\n")
time.sleep(0.5)
print("said by", name)
(folder / (name + ".json")).write_text(json.dumps({"cases": [CASE]}))
sys.exit(int(code))
""".replace("CASE", json.dumps(CASE))


@pytest.fixture
def make(tmp_path: Path):
    def part(name: str, code: int = 0) -> Part:
        command = (sys.executable, "-c", PROGRAM, name, str(code), str(tmp_path / "order"))
        return Part(name, command, tmp_path)

    return part


def test_stages_run_one_after_another_and_tell_how_far_they_are(make, tmp_path, monkeypatch):
    monkeypatch.setattr(gate_proof, "EVERY_S", 0.05)
    (tmp_path / "b.json").write_text(json.dumps({"cases": []}))  # of an earlier run
    out = io.StringIO()
    first, *others = make("a"), make("b", 1), make("c")
    assert carried_out([[first], others], out) == {"a": 0, "b": 1, "c": 0}
    assert (tmp_path / "order").read_text().split()[0] == "a"
    assert "b 1 of 4, c 1 of 4" in out.getvalue()
    assert others[0].cases == [CASE]
    assert others[0].log.read_text() == "said by b\n"


def test_time_left_is_that_of_the_slowest_part(make, tmp_path):
    (tmp_path / "a.jsonl").write_text(json.dumps({"checks": 4}) + "\n{}\n{}\n")
    (tmp_path / "b.jsonl").write_text(json.dumps({"checks": 9}) + "\n{}\n{}\n{}\n")
    stage = [make("a"), make("b"), make("c")]
    told = progress(stage, {"a": 0, "b": 2, "c": 0}, 60.0)
    assert told == "a 2 of 4, b 3 of 9, c 0 of ?; about 6 min left of this stage"
    assert progress(stage, {"a": 2, "b": 3, "c": 0}, 60.0) == "a 2 of 4, b 3 of 9, c 0 of ?"


def test_the_table_counts_verdicts_and_the_checks_that_they_are_of():
    head, line, named = table([CASE])
    assert " ".join(line.split()) == "a fault 0 of 1 1 of 2 2 1 1 0 3"
    assert named.strip() == "bytes REGRESSED 1"
    assert len(head) == len(line)


def test_every_part_is_a_module_and_of_one_stage():
    assert sorted(name for stage in STAGES for name in stage) == sorted(_MODULES)
    folder = Path(__file__).parents[1] / "gate_proof"
    for name, module in _MODULES.items():
        assert f'\nPART = "{name}"\n' in (folder / module).read_text(encoding="utf-8")


@pytest.fixture
def prove(make, monkeypatch, tmp_path):
    """Runs a proof of one part, `a`, whose program is that of `make` or another one."""
    monkeypatch.setattr(gate_proof.signal, "signal", lambda *_: None)
    monkeypatch.setattr(gate_proof, "STAGES", (("a",),))

    def run(*arguments: str, command: tuple[str, ...] | None = None) -> int:
        def part(name: str, folder: Path) -> Part:
            return replace(make(name), folder=folder, **({"command": command} if command else {}))

        monkeypatch.setattr(gate_proof, "part", part)
        kept = {"folder": tmp_path / "kept", "result": tmp_path / "found.json"}
        return gate_proof.main(arguments, **kept)

    return run


def test_a_part_that_made_no_check_has_failed(prove, capsys):
    assert prove() == 0
    assert prove(command=(sys.executable, "-c", "")) == 1
    assert "a failed, or made no check" in capsys.readouterr().err


def test_a_short_run_leaves_what_a_full_one_has_found(prove, monkeypatch, tmp_path):
    for length in ("full", "short"):
        monkeypatch.setenv("NSTC_GATE_PROOF", length)
        prove()
        assert (tmp_path / "kept" / length / "a.json").is_file()
    assert json.loads((tmp_path / "found.json").read_text())["length"] == "full"
    assert json.loads((tmp_path / "found-short.json").read_text())["length"] == "short"


def test_again_forgets_the_checks_of_its_own_length(prove, monkeypatch, tmp_path):
    monkeypatch.delenv("NSTC_GATE_PROOF", raising=False)
    assert prove("--again") == 0  # there is nothing to forget yet
    own, other = tmp_path / "kept" / "full" / "old.jsonl", tmp_path / "kept" / "short.jsonl"
    for path in (own, other):
        path.touch()
    prove()
    assert own.exists()
    prove("--again")
    assert not own.exists()
    assert other.exists()


def test_a_length_that_is_none_forgets_nothing(prove, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("NSTC_GATE_PROOF", "..")
    with pytest.raises(SystemExit):
        prove("--again")
    assert "expected one of full, short, instructions" in capsys.readouterr().err
    assert tmp_path.exists()
    assert sorted(gate_proof.LENGTHS) == sorted(own.name for own in (FULL, INSTRUCTIONS, SHORT))
