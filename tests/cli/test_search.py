"""`nstc search`: its flags, what it prints, and its exit code where nothing keeps the budget."""

import json
from pathlib import Path

import pytest
from recipe_flags import rows_of

pytest.importorskip("optuna", reason='not installed: pip install "nstc[search]"')

from nstc.benchmarks.gate.limits import parse_budget
from nstc.compress.searching.outcomes import Outcome, SearchResult
from nstc.core.errors import RecipeError
from nstc.core.recipe import SearchRecipe, load_space
from nstc.runtime.ray_jobs import OnRay

SEARCH = "nstc.compress.searching.search_students.search"
BUDGET = "latency<=8ms@cpu:1, style_ratio<=1.15"


def result(ms: float) -> SearchResult:
    found = Outcome(
        number=3,
        state="measured",
        chosen={"distill.width": 16, "prune.ratio": 0.25},
        numbers={"latency@cpu:1": ms, "style_ratio": 1.1},
        bundle="trials/003/student",
    )
    hopeless = Outcome(number=4, state="hopeless", chosen={"distill.width": 64}, numbers={})
    return SearchResult(budget=parse_budget(BUDGET), outcomes=(found, hopeless))


@pytest.fixture
def search(nstc, record, tmp_path):
    """Runs the verb with a stand-in for the library; gives what was asked for and what was said."""
    calls = record(SEARCH, result(7.5))

    def run(*arguments):
        done = nstc("search", "teacher", "-o", tmp_path / "out", "--budget", BUDGET, *arguments)
        assert done.code == 0, done.err
        return calls[-1], done

    return run


@pytest.mark.parametrize(("words", "field", "value"), rows_of(SearchRecipe))
def test_each_setting_arrives(search, words, field, value) -> None:
    assert search(*words)[0]["recipe"] == SearchRecipe(**{field: value})


def test_the_rest_arrives(search, photo_folder, tmp_path) -> None:
    space = tmp_path / "space.toml"
    space.write_text("[distill]\nwidth = [16, 32]\n")
    arguments = ["--space", space, "--photos", photo_folder, "--style", "p.jpg", "--vgg", "v"]
    call, _ = search(*arguments, "--credit", "Anon", "--layout", "NCHW", "--trust")
    assert (call["teacher"], call["output"]) == ("teacher", tmp_path / "out")
    assert call["budget"] == parse_budget(BUDGET)
    assert call["space"] == load_space(space)
    assert (call["photos"], call["style"]) == ([photo_folder], Path("p.jpg"))
    assert (call["credit"], call["vgg"]) == ("Anon", "v")
    assert (call["options"].layout, call["options"].trust) == ("NCHW", True)
    assert search()[0]["space"] == load_space(None)


def test_where_it_runs(search) -> None:
    assert search()[0]["ray"] is None
    asked = OnRay(address="ray://head:10001", workers=9)
    assert search("--ray", "ray://head:10001", "--workers", "9")[0]["ray"] == asked


def test_no_flag_is_forgotten_here(flags_of) -> None:
    tested = {words[0] for words, *_ in rows_of(SearchRecipe)} | flags_of("distill") & {
        "--layout", "--input-range", "--value-range", "--output-range", "--mean", "--std",
        "--output-mean", "--output-std", "--channels", "--size-multiple", "--input",
    }  # fmt: skip
    tested |= {"--trust", "--key", "--vgg", "--style", "--credit", "--photos", "--space"}
    assert flags_of("search") == tested | {
        "--output", "--budget", "--json", "--ray", "--workers", "--threads",
    }  # fmt: skip


def test_the_front_and_the_best_are_named(search, tmp_path) -> None:
    out = search()[1].out
    assert "trials/003/student" in out
    assert "width 16, prune ratio 0.25" in out
    assert "7.5" in out
    assert out.splitlines()[-2:] == [
        "1 measured, 0 stopped early, 1 not trained, 0 failed",
        f"the best within the budget: {tmp_path / 'out' / 'trials/003/student'}",
    ]


def test_json(search) -> None:
    content = json.loads(search("--json")[1].out)
    assert (content["schema"], content["best"], content["front"]) == ("nstc.search/1", 3, [3])
    assert content["keeps_budget"] is True
    assert content["trials"][0]["bundle"] == "trials/003/student"


def test_a_budget_that_nothing_keeps_has_its_exit_code(nstc, record, tmp_path) -> None:
    record(SEARCH, result(9.5))
    done = nstc("search", "teacher", "-o", tmp_path / "out", "--budget", BUDGET)
    assert done.code == 54
    assert "the nearest is trial 003" in done.error.replace("The", "the")
    assert "latency@cpu:1 9.5 (latency<=8ms@cpu:1)" in done.error
    assert "trials/003/student" in done.out


@pytest.mark.parametrize(
    ("budget", "told"),
    [
        ("speed<=3", "budget: there is no speed"),
        ("bytes<=8ms@cpu:1", "expected a size such as 100KB"),
        ("latency<=8ms@abacus", "no target 'abacus'"),
        ("bytes<=1KB, bytes>=2KB", "can't both be kept"),
    ],
)
def test_a_wrong_budget_is_refused_before_any_work(nstc, record, tmp_path, budget, told) -> None:
    calls = record(SEARCH, result(1))
    done = nstc("search", "teacher", "-o", tmp_path / "out", "--budget", budget)
    assert (done.code, calls) == (3, [])
    assert told in done.error


def test_a_wrong_space_is_refused_before_any_work(nstc, record, tmp_path) -> None:
    calls = record(SEARCH, result(1))
    space = tmp_path / "space.toml"
    space.write_text("[distill]\nwidths = [16, 32]\n")
    done = nstc("search", "t", "-o", tmp_path / "out", "--budget", BUDGET, "--space", space)
    assert (done.code, calls) == (RecipeError.exit_code, [])
    assert "unknown key distill.widths" in done.error


def test_without_optuna_the_line_that_installs_it_is_said(nstc, monkeypatch, tmp_path) -> None:
    import sys

    for name in [own for own in sys.modules if own.startswith("nstc.compress.searching")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "optuna", None)
    done = nstc("search", "zoo:udnie/teacher", "-o", tmp_path / "out", "--budget", BUDGET)
    assert done.code == 5
    assert 'optuna is not installed: run  pip install "nstc[search]"' in done.error
    assert not (tmp_path / "out").exists()
