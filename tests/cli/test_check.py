import json
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from nstc.benchmarks.gate.keys import RowKey
from nstc.benchmarks.gate.verdicts import (
    EXIT_STATUS,
    CheckReport,
    ComparedWith,
    Finding,
    Verdict,
)
from nstc.cli.app import app
from nstc.compress.export import export_model
from nstc.core.errors import (
    BaselineError,
    BaselineSchemaError,
    CorruptBaselineError,
    OptionError,
    OutputError,
)
from nstc.core.photos import sample_photos

KEY = RowKey(model="zoo:starry-night", artifact="int8.onnx", target="cpu:2", size=512)


def nstc(*arguments):
    return CliRunner().invoke(app, [*map(str, arguments)], catch_exceptions=True)


@pytest.fixture
def fake_check(monkeypatch):
    """Stands for the gate: gives one finding, and keeps what it was asked."""
    asked = {"verdict": Verdict.PASS}

    def check(models, baseline, **options):
        asked.update(options, models=list(models), baseline=str(baseline))
        found = Finding(
            row=KEY,
            fact=asked.get("fact", "bytes"),
            verdict=asked["verdict"],
            baseline=10,
            value=11,
            explanation="one more",
        )
        return CheckReport(
            baseline=str(baseline),
            machine_class="x86_64/avx2/onnxruntime-1.31.0",
            times_compared_with=ComparedWith.BASELINE,
            strict=options["strict"],
            findings=(found,),
            notes=(),
            results=(),
        )

    monkeypatch.setattr(export_model, "check", check)
    return asked


@pytest.mark.parametrize("verdict", list(Verdict))
def test_the_exit_status_is_that_of_the_worst_verdict(fake_check, verdict):
    fake_check["verdict"] = verdict
    done = nstc("check", "--baseline", "b.json")
    asks_for_update = verdict in (Verdict.IMPROVED, Verdict.NOT_JUDGED)
    assert done.exit_code == (0 if asks_for_update else EXIT_STATUS[verdict])
    assert str(verdict) in done.stdout
    strict = nstc("check", "--baseline", "b.json", "--strict")
    assert strict.exit_code == EXIT_STATUS[verdict]


def test_every_option_reaches_the_gate(fake_check):
    done = nstc(
        *("check", "one", "two", "--baseline", "b.json", "--base", "old/one", "--base", "old/two"),
        *("--tolerance", "8", "--rounds", "30", "--against", "ref", "--teacher", "t"),
        *("--max-rounds", "90", "--memory-cap", "120", "--trust"),
    )
    assert done.exit_code == 0, done.output
    assert fake_check["models"] == ["one", "two"]
    assert fake_check["base"] == ["old/one", "old/two"]
    assert fake_check["tolerance"] == pytest.approx(0.08)
    assert (fake_check["rounds"], fake_check["against"], fake_check["teacher"]) == (30, "ref", "t")
    assert (fake_check["max_rounds"], fake_check["memory_cap_mb"]) == (90, 120)
    assert fake_check["photos"] == sample_photos()
    assert fake_check["trust"]
    assert not fake_check["facts_and_quality_only"]
    assert not fake_check["time"]
    assert not fake_check["measure_quality"]
    nstc("check", "--baseline", "b.json", "--measure-quality")
    assert fake_check["measure_quality"]
    nstc("check", "--baseline", "b.json", "--facts-and-quality-only")
    assert fake_check["models"] == []
    assert fake_check["facts_and_quality_only"]
    assert fake_check["tolerance"] is None
    nstc("check", "--baseline", "b.json", "--time")
    assert fake_check["time"]


@pytest.mark.parametrize(
    ("value", "required"),
    [("true", True), ("1", True), ("False", False), ("0", False), (None, False)],
)
def test_in_ci_instructions_have_to_be_counted(fake_check, monkeypatch, value, required):
    monkeypatch.delenv("CI", raising=False)
    if value is not None:
        monkeypatch.setenv("CI", value)
    nstc("check", "--baseline", "b.json")
    assert fake_check["counts_required"] == required


def test_files_are_written_whatever_the_verdict(fake_check, tmp_path):
    fake_check["verdict"] = Verdict.REGRESSED
    done = nstc(
        *("check", "--baseline", "b.json", "--json", tmp_path / "c.json"),
        *("--markdown", tmp_path / "c.md", "--junit", tmp_path / "c.xml"),
    )
    assert done.exit_code == EXIT_STATUS[Verdict.REGRESSED]
    assert json.loads((tmp_path / "c.json").read_text())["verdict"] == "REGRESSED"
    assert "**REGRESSED**" in (tmp_path / "c.md").read_text()
    assert "<failure" in (tmp_path / "c.xml").read_text()


def test_json_on_standard_output_comes_alone(fake_check):
    done = nstc("check", "--baseline", "b.json", "--json", "-")
    assert json.loads(done.stdout)["verdict"] == "PASS"


def test_a_baseline_is_asked_for():
    done = nstc("check")
    assert done.exit_code == 2
    assert "--baseline" in done.output


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (None, BaselineError),
        ("{", CorruptBaselineError),
        ('{"schema": "nstc.baseline/0"}', BaselineSchemaError),
        ('{"schema": "nstc.baseline/2"}', BaselineSchemaError),
    ],
)
@pytest.mark.parametrize("verb", [("check", "--baseline"), ("baseline", "update")])
def test_a_baseline_that_cant_be_used_is_an_error(tmp_path, text, kind, verb):
    path = tmp_path / "baseline.json"
    if text is not None:
        path.write_text(text)
    more = ("--reason", "because") if verb[0] == "baseline" else ()
    done = nstc(*verb, path, *more)
    assert done.exit_code != 0
    assert type(done.exception) is kind


def test_an_update_wants_a_reason(tmp_path):
    done = nstc("baseline", "update", tmp_path / "baseline.json")
    assert done.exit_code == 2
    assert "--reason" in done.output
    (tmp_path / "baseline.json").write_text("{}")
    assert nstc("check", "--baseline", tmp_path / "baseline.json").exit_code != 0


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((), {"rounds": None, "targets": (), "artifacts": ()}),
        (("--rounds", 7), {"rounds": 7}),
        (
            ("--target", "instructions", "--artifact", "int8"),
            {"targets": ["instructions"], "artifacts": ["int8"]},
        ),
    ],
)
def test_an_update_measures_what_it_is_asked_to(monkeypatch, tmp_path, given, expected):
    asked = {}

    def update_baseline(*_arguments, **options):
        asked.update(options)
        raise BaselineError("enough")

    monkeypatch.setattr("nstc.benchmarks.gate.update.update_baseline", update_baseline)
    nstc("baseline", "update", tmp_path / "b.json", "--reason", "because", *given)
    assert {name: asked[name] for name in expected} == expected


def test_a_first_baseline_is_not_written_over_another(bundle, tmp_path):
    path = tmp_path / "baseline.json"
    path.write_text("precious")
    done = nstc("bench", bundle.path, "--against", bundle.path, "--save-baseline", path)
    assert isinstance(done.exception, OutputError)
    assert path.read_text() == "precious"


def test_hashes_alone_are_added_on_request(monkeypatch, tmp_path):
    asked = []

    def add_hashes(*arguments, **_options):
        asked.append(arguments)
        raise BaselineError("enough")

    monkeypatch.setattr("nstc.benchmarks.gate.update.add_hashes", add_hashes)
    path = tmp_path / "b.json"
    update = ("baseline", "update", path, "small", "--reason", "because", "--hashes-only")
    nstc(*update)
    assert asked == [(["small"], path, "because")]
    for flag, value in (("--rounds", 7), ("--target", "cpu:1"), ("--artifact", "int8")):
        refused = nstc(*update, flag, value)
        assert isinstance(refused.exception, OptionError)
        assert f"leave {flag} out" in str(refused.exception)
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("without", "said"),
    [
        ([], "b.json: 2 rows have a hash\n"),
        ([KEY], f"b.json: 1 of 2 rows have a hash, and not {KEY}: "),
    ],
)
def test_rows_that_got_no_hash_are_named(monkeypatch, tmp_path, without, said):
    found = (None, SimpleNamespace(rows=(1, 2)), without)
    monkeypatch.setattr("nstc.benchmarks.gate.update.add_hashes", lambda *_, **__: found)
    monkeypatch.setattr("nstc.benchmarks.gate.baseline.save_baseline", lambda *_: None)
    monkeypatch.setattr("nstc.cli.output.print_result", lambda *_, **__: None)
    update = ("baseline", "update", tmp_path / "b.json", "--reason", "because", "--hashes-only")
    assert said in nstc(*update).output


@pytest.mark.slow
def test_from_the_first_baseline_to_an_update(foreign, tmp_path):
    """bench --save-baseline, check and baseline update on a real file, quality and all."""
    baseline = tmp_path / "baseline.json"
    # Without the range, probing can't tell what a network takes that only makes pictures darker.
    fed = ("--input-range", 1)
    bench = ("bench", foreign, "--against", foreign, "--teacher", foreign, *fed)
    done = nstc(*bench, "--size", 32, "--rounds", 3, "--threads", 1, "--save-baseline", baseline)
    assert done.exit_code == 0, done.output
    done = nstc("check", "--baseline", baseline, "--facts-and-quality-only", *fed)
    assert done.exit_code == 0, done.output
    update = ("baseline", "update", baseline, "--reason", "a quieter machine", "--rounds", 4)
    done = nstc(*update, *fed)
    assert done.exit_code == 0, done.output
    log = json.loads(baseline.read_text())["log"]
    assert [entry["reason"] for entry in log] == ["created", "a quieter machine"]
    blank = nstc("baseline", "update", baseline, "--reason", " ")
    assert isinstance(blank.exception, OptionError)


@pytest.fixture
def foreign(linear, tmp_path):
    return linear(tmp_path / "darker.onnx", 0.8, 0.0)


def test_a_metric_that_passes_and_bench_does_not_show_is_listed_with_all_metrics(fake_check):
    fake_check["fact"] = "color_drift"
    brief = nstc("check", "--baseline", "b.json")
    assert "color_drift" not in brief.output
    assert "1 more PASS: --all-metrics lists them" in brief.output
    assert "color_drift" in nstc("check", "--baseline", "b.json", "--all-metrics").output
