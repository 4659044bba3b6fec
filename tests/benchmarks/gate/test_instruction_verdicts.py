"""Instructions in the gate: a fact with a tolerance, of one architecture and runtime."""

import dataclasses
import json

import pytest
from gate_reports import ALL_PASS, RECIPE, explained, verdicts

from nstc.benchmarks.gate.baseline import from_result, load_baseline, save_baseline
from nstc.benchmarks.gate.check_models import check
from nstc.benchmarks.gate.keys import RowKey
from nstc.benchmarks.gate.update import update_baseline
from nstc.benchmarks.gate.verdicts import Verdict
from nstc.benchmarks.targets import parse_target
from nstc.benchmarks.timing.instruction_counts import InstructionCount
from nstc.core.errors import CorruptBaselineError, OptionError

FACTS_PASS = {name: verdict for name, verdict in ALL_PASS.items() if name != "speedup"}
COUNT = InstructionCount(
    per_picture=57_000_000,
    functions={"without a name": 56_000_000, "memcpy": 600_000},
    operators={"QLinearConv": 23, "Cast": 2},
)


def times(share: float, **operators: int) -> InstructionCount:
    """The count that many times, with other operators."""
    return dataclasses.replace(
        COUNT,
        per_picture=round(COUNT.per_picture * share),
        functions={name: round(own * share) for name, own in COUNT.functions.items()},
        operators={**COUNT.operators, **operators},
    )


@pytest.fixture(autouse=True)
def _valgrind(monkeypatch, tmp_path):
    """There is a program of that name, which is not run."""
    program = tmp_path / "bin" / "valgrind"
    program.parent.mkdir()
    program.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(program.parent))


@pytest.fixture
def counted(fake_bench, student, teacher, photos, tmp_path):
    """A baseline whose rows are on the target `instructions`."""
    fake_bench.changes = {"instructions": COUNT}
    result = fake_bench(
        [student.path],
        against=teacher.path,
        artifacts=(),
        photos=photos,
        recipe=dataclasses.replace(RECIPE, targets=("instructions",)),
        quality=True,
        teacher=None,
    )
    path = tmp_path / "ci" / "counted.json"
    save_baseline(from_result(result, path.parent), path)
    fake_bench.calls.clear()
    return path


def checked(counted, photos, **options):
    return check([], counted, photos=photos, **options)


def test_what_did_not_change_passes_and_no_time_is_judged(counted, photos, fake_bench):
    fake_bench.speeds = {"student": [1.0, 90.0, 5.0]}
    report = checked(counted, photos)
    assert verdicts(report) == {**FACTS_PASS, "instructions": "PASS"}
    assert report.exit_status == 0
    [call] = fake_bench.calls
    assert (call["recipe"].rounds, call["recipe"].targets) == (0, ("instructions",))


@pytest.mark.parametrize(
    ("share", "verdict"),
    [(1.0049, "PASS"), (0.9951, "PASS"), (1.0051, "REGRESSED"), (0.9949, "IMPROVED")],
)
def test_half_a_per_cent_is_allowed(counted, photos, fake_bench, share, verdict):
    fake_bench.changes = {"instructions": times(share)}
    report = checked(counted, photos)
    assert verdicts(report) == {**FACTS_PASS, "instructions": verdict}
    assert "0.5% is allowed" in explained(report, "instructions")


def test_a_regression_says_what_changed(counted, photos, fake_bench):
    fake_bench.changes = {"instructions": times(1.02, Cast=3)}
    assert explained(checked(counted, photos), "instructions") == (
        "+2.00%, 0.5% is allowed; operators: Cast 2 to 3; functions: without a name +1,120,000"
    )


@pytest.mark.parametrize("tools", [{"onnxruntime": "1.32.0"}, {}])
def test_another_runtime_is_not_judged_and_said(counted, photos, fake_bench, tools):
    fake_bench.machine = {**fake_bench.machine, "tools": tools}
    fake_bench.changes = {"instructions": times(3)}
    report = checked(counted, photos)
    assert verdicts(report)["instructions"] == "NOT_JUDGED"
    assert "onnxruntime-1.31.0, and here is" in explained(report, "instructions")
    assert [note for note in report.notes if "not judged: instructions" in note]
    assert report.exit_status == 0
    assert checked(counted, photos, strict=True).exit_status == 75
    assert checked(counted, photos, counts_required=True).exit_status == 71


def test_another_architecture_is_not_judged(counted, photos, fake_bench):
    fake_bench.machine = {**fake_bench.machine, "arch": "aarch64"}
    assert verdicts(checked(counted, photos))["instructions"] == "NOT_JUDGED"


def test_each_runtime_keeps_its_count(counted, photos, fake_bench):
    fake_bench.machine = {**fake_bench.machine, "tools": {"onnxruntime": "1.32.0"}}
    fake_bench.changes = {"instructions": times(3)}
    updated, _ = update_baseline([], counted, "a newer runtime", photos=photos)
    [row] = updated.rows
    kept = {name[-6:]: own for name, own in row.instructions.items()}
    assert kept == {"1.31.0": COUNT, "1.32.0": times(3)}
    assert updated.times == ()
    save_baseline(updated, counted)
    assert load_baseline(counted).rows == updated.rows
    assert checked(counted, photos).verdict is Verdict.PASS


def test_a_base_is_not_counted(counted, photos, fake_bench, student):
    report = checked(counted, photos, base=[student.path])
    assert verdicts(report)["instructions"] == "PASS"
    assert len(fake_bench.calls) == 1


def test_counts_that_were_taken_away_are_missed(counted, photos):
    content = json.loads(counted.read_text())
    del content["rows"][0]["instructions"]
    counted.write_text(json.dumps(content))
    report = checked(counted, photos)
    assert verdicts(report)["instructions"] == "MISSING_BASELINE"
    assert report.exit_status == 72


def test_a_run_that_did_not_count_is_no_pass(counted, photos, fake_bench):
    fake_bench.changes = {}
    assert verdicts(checked(counted, photos))["instructions"] == "INCOMPARABLE"


@pytest.mark.parametrize("count", [0, -1, 2**63, 1.5, "57", None])
def test_a_count_that_can_not_be_is_a_damaged_baseline(counted, photos, count):
    content = json.loads(counted.read_text())
    [stored] = content["rows"][0]["instructions"].values()
    stored["per_picture"] = count
    counted.write_text(json.dumps(content))
    with pytest.raises(CorruptBaselineError, match="is damaged"):
        checked(counted, photos)


def test_instructions_left_out_are_not_counted_and_that_is_said(counted, photos, fake_bench):
    report = checked(counted, photos, facts_and_quality_only=True)
    assert verdicts(report) == FACTS_PASS
    assert report.notes == ("instructions were left out, as --facts-and-quality-only asks",)
    assert [call["recipe"].targets for call in fake_bench.calls] == [("cpu:1",)]


@pytest.fixture
def _no_valgrind(counted, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")


@pytest.mark.usefixtures("_no_valgrind")
def test_without_valgrind_all_else_is_judged_and_what_to_install_is_said(
    counted, photos, fake_bench
):
    report = checked(counted, photos)
    assert verdicts(report) == {**FACTS_PASS, "instructions": "NOT_JUDGED"}
    assert "apt install valgrind" in explained(report, "instructions")
    [note] = report.notes
    assert note.startswith("not judged: instructions, since there is no valgrind on the PATH")
    assert report.exit_status == 0
    assert [call["recipe"].targets for call in fake_bench.calls] == [("cpu:1",)]
    assert checked(counted, photos, strict=True).exit_status == 75
    with pytest.raises(OptionError, match="can't run here"):
        parse_target("instructions")


@pytest.mark.usefixtures("_no_valgrind")
def test_where_counts_are_required_a_missing_valgrind_is_an_error(counted, photos, fake_bench):
    with pytest.raises(OptionError, match=r"apt install valgrind.*--facts-and-quality-only"):
        checked(counted, photos, counts_required=True)
    assert not fake_bench.calls
    report = checked(counted, photos, counts_required=True, facts_and_quality_only=True)
    assert verdicts(report) == FACTS_PASS


@pytest.mark.usefixtures("_no_valgrind")
def test_where_counts_are_required_a_baseline_without_them_is_checked(baseline, photos):
    assert checked(baseline, photos, counts_required=True).verdict is Verdict.PASS


@pytest.mark.usefixtures("_no_valgrind")
def test_an_update_without_valgrind_is_refused(counted, photos):
    """The counts of the files before would stay."""
    with pytest.raises(OptionError, match="apt install valgrind"):
        update_baseline([], counted, "in vain", photos=photos)


@pytest.fixture
def both(baseline, photos, fake_bench):
    """A baseline of times, to which an update added instructions."""
    fake_bench.changes = {"instructions": COUNT}
    updated, result = update_baseline(
        [], baseline, "counted too", photos=photos, targets=["instructions"]
    )
    assert [row.target for row in result.rows] == ["instructions"]
    save_baseline(updated, baseline)
    fake_bench.calls.clear()
    return baseline


def test_an_update_on_a_target_measures_that_alone_and_adds_what_is_missing(
    both, photos, fake_bench
):
    known = load_baseline(both)
    assert [(row.artifact, row.target) for row in known.rows] == [
        ("int8.onnx", "cpu:1"),
        ("int8.onnx", "instructions"),
    ]
    timed, counted = known.rows
    assert list(counted.instructions.values()) == [COUNT]
    assert counted.quality == timed.quality
    assert [(time.target, time.rounds) for time in known.times] == [("cpu:1", 5)]
    assert known.protocol.rounds == 5
    fake_bench.changes = {"instructions": times(1.1)}
    again, _ = update_baseline([], both, "again", photos=photos, targets=["instructions"])
    assert [call["artifacts"] for call in fake_bench.calls] == [("int8.onnx",)]
    assert list(again.rows[1].instructions.values()) == [times(1.1)]
    assert (again.rows[0], again.times) == (known.rows[0], known.times)


@pytest.mark.parametrize("part", ["models", "files"])
def test_an_update_on_a_target_does_not_accept_another_model(both, photos, part):
    """Facts, quality and pictures of its rows on other targets would stay those of the old one."""
    content = json.loads(both.read_text(encoding="utf-8"))
    if part == "models":
        content["models"][0]["sha256"] = "0" * 64
    else:
        [size, *_] = content["files"][0]["pictures"]
        content["files"][0]["pictures"][size] = "0" * 64
    both.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(OptionError, match="student is not as the baseline has it"):
        update_baseline([], both, "again", photos=photos, targets=["instructions"])
    accepted, _ = update_baseline([], both, "another model", photos=photos)
    assert "0" * 64 not in str(accepted)


def test_an_update_counts_the_files_that_it_is_told_to(both, photos, fake_bench):
    told = {"targets": ["instructions"], "artifacts": ["onnx"]}
    updated, _ = update_baseline([], both, "in float too", photos=photos, **told)
    assert [call["artifacts"] for call in fake_bench.calls] == [("onnx",)]
    counted = [row.artifact for row in updated.rows if row.target == "instructions"]
    assert counted == ["int8.onnx", "onnx"]


def test_an_update_of_all_targets_measures_each(both, photos, fake_bench):
    fake_bench.changes = {"instructions": times(1.1), "params": 900}
    updated, _ = update_baseline([], both, "narrower", photos=photos)
    assert [row.facts["params"] for row in updated.rows] == [900, 900]
    assert list(updated.rows[1].instructions.values()) == [times(1.1)]
    assert (len(updated.times), updated.protocol.rounds) == (1, 5)


def test_a_new_model_gets_the_rows_that_others_have(both, photos, make_bundle):
    other = make_bundle("other", {"int8.onnx": 0.8, "onnx": 0.8}, width=24)
    [float_row, int8, counted] = [
        (own.row.artifact, own.row.target)
        for own in check([other.path, both.parent.parent / "student"], both, photos=photos).findings
        if own.verdict is Verdict.MISSING_BASELINE
    ]
    updated, _ = update_baseline([other.path], both, "a second style", photos=photos)
    added = [(row.artifact, row.target) for row in updated.rows if row.model == "../other"]
    assert sorted(added) == sorted([float_row, int8, counted])
    assert counted == ("int8.onnx", "instructions")


def test_each_file_is_judged_once_and_no_time_is(both, photos, fake_bench):
    fake_bench.speeds = {"student": [1.0, 90.0, 5.0]}
    report = check([], both, photos=photos)
    assert report.verdict is Verdict.PASS
    facts = [finding.fact for finding in report.findings if isinstance(finding.row, RowKey)]
    assert (facts.count("ssim"), facts.count("instructions"), facts.count("speedup")) == (2, 1, 0)
    assert report.notes == ("not judged: time, which --time judges on an idle machine",)
    told = [
        (call["recipe"].targets, call["quality"], call["recipe"].rounds)
        for call in fake_bench.calls
    ]
    assert told == [(("cpu:1",), True, 0), (("instructions",), False, 0)]
    fake_bench.metrics["ssim"] = 0.7
    found = check([], both, photos=photos).findings
    assert [own.verdict for own in found if own.fact == "ssim"] == [Verdict.REGRESSED] * 2


def test_a_time_on_request_is_judged_beside_instructions(both, photos, fake_bench):
    fake_bench.speeds = {"student": 5.0}
    report = check([], both, photos=photos, time=True)
    assert (report.verdict, report.notes) == (Verdict.REGRESSED, ())
    assert verdicts(report)["instructions"] == "PASS"
    assert explained(report, "speedup")


def test_a_file_without_a_target_to_add_is_refused(baseline, photos, fake_bench):
    with pytest.raises(OptionError, match=r"--artifact int8 .* --target"):
        update_baseline([], baseline, "because", photos=photos, artifacts=["int8"])
    assert not fake_bench.calls
