import json

import pytest
from graph_flags import GRAPH_FLAGS

from nstc.benchmarks import targets
from nstc.benchmarks.quality import judging
from nstc.benchmarks.targets.web import setup
from nstc.core.recipe import BenchRecipe
from nstc.runtime.foreign.probing import probe_contract

BENCH = "nstc.compress.optimization.optimized_photos.bench"

IN_THE_RECIPE = [
    ("--size", "64", "size", 64),
    ("--threads", "1", "targets", ("cpu:1",)),
    ("--target", "cpu:1", "targets", ("cpu:1",)),
    ("--rounds", "5", "rounds", 5),
    ("--seed", "9", "seed", 9),
    ("--memory", None, "memory", True),
    ("--roofline", None, "roofline", True),
    ("--optimize-steps", "50", "optimize_steps", 50),
    ("--optimized-photos", "2", "optimized_photos", 2),
]
FOR_THE_VERB = [
    ("--teacher", "t", "teacher", "t"),
    ("--artifact", "int8", "artifacts", ["int8"]),
    ("--no-quality", None, "quality", False),
    ("--quality", None, "quality", True),
    ("--vgg", "torchvision", "vgg", "torchvision"),
    ("--trust", None, "trust", True),
]
OF_FOREIGN_FILES = [
    *GRAPH_FLAGS,
]


class _Enough(Exception):  # noqa: N818
    """Ends a run once the library was asked."""


@pytest.fixture
def bench(nstc, record):
    """What `nstc bench` asks of the library."""
    calls = record(BENCH, _Enough())

    def run(*arguments):
        with pytest.raises(_Enough):
            nstc("bench", "one", "other", "--against", "teacher", *arguments)
        return calls[-1]

    return run


def given(flag, text):
    return [flag] if text is None else [flag, text]


@pytest.mark.parametrize(("flag", "text", "field", "value"), IN_THE_RECIPE)
def test_each_setting_arrives_in_the_recipe(bench, flag, text, field, value) -> None:
    assert bench(*given(flag, text))["recipe"] == BenchRecipe(**{field: value})


@pytest.mark.parametrize(("flag", "text", "field", "value"), FOR_THE_VERB)
def test_each_other_flag_arrives(bench, flag, text, field, value) -> None:
    assert bench(*given(flag, text))[field] == value


@pytest.mark.parametrize(("flag", "text", "field", "value"), OF_FOREIGN_FILES)
def test_what_is_known_of_foreign_files_arrives(bench, flag, text, field, value) -> None:
    probe = bench(flag, text)["probe"]
    assert probe.func is probe_contract
    assert probe.keywords[field] == value


def test_models_reference_and_photographs_arrive(bench, photo_folder) -> None:
    call = bench("--photos", photo_folder)
    assert (call["models"], call["against"]) == (["one", "other"], "teacher")
    assert [path.name for path in call["photos"]] == ["a.png", "b.png"]


def test_flags_override_a_recipe_file(bench, recipe_file) -> None:
    file = recipe_file("[bench]\nsize = 64\nrounds = 5\n")
    assert bench("--recipe", file, "--rounds", "4")["recipe"] == BenchRecipe(size=64, rounds=4)


def test_no_flag_is_forgotten_here(flags_of) -> None:
    tested = {row[0] for row in IN_THE_RECIPE + FOR_THE_VERB + OF_FOREIGN_FILES}
    assert flags_of("bench") | {"--no-quality"} == tested | {
        "--against",
        "--photos",
        "--recipe",
        "--json",
        "--save-baseline",
        "--all-metrics",
        "--memory-cap",
        "--open",
        "--https",
    }


def test_open_serves_the_page_of_web_for_another_device(bench, monkeypatch) -> None:
    monkeypatch.setattr(targets, "parse_target", lambda _: None)
    served = bench("--target", "cpu:1", "--target", "web", "--open")
    assert served["recipe"].targets == ("cpu:1", "web:open")
    secured = bench("--target", "web:2", "--open", "--https")
    assert secured["recipe"].targets == ("web:open-https:2",)


def test_open_needs_web_and_keeps_no_baseline(nstc, monkeypatch, tmp_path) -> None:
    done = nstc("bench", "one", "--against", "one", "--open")
    assert (done.code, done.error) == (
        3,
        "nstc: --open serves the page of --target web: give --target web too.",
    )
    monkeypatch.setattr(setup.WebRuntime, "is_complete", True)
    done = nstc(
        *("bench", "one", "--against", "one", "--target", "web", "--open"),
        *("--save-baseline", tmp_path / "baseline.json"),
    )
    assert done.code == 3
    assert "--open measures another device" in done.error


def test_threads_and_target_contradict(nstc) -> None:
    done = nstc("bench", "one", "--against", "one", "--threads", 1, "--target", "mobile")
    assert done.code == 3
    assert "--threads 1 and --target mobile: give one of them" in done.err


def measure(nstc, model, *arguments):
    short = ["--size", 64, "--rounds", 3, "--threads", 1, "--no-quality"]
    done = nstc("bench", model, "--against", model, *short, *arguments)
    assert done.code == 0, done.err
    return done


def test_a_network_that_was_not_exported_as_table_file_and_stream(
    nstc, student_bundle, tmp_path
) -> None:
    file = tmp_path / "new" / "result.json"
    done = measure(nstc, student_bundle.path, "--json", file)
    assert "times faster" in done.out
    (row,) = json.loads(file.read_text())["rows"]
    assert row["artifact"] == "onnx"
    assert len(row["latency_ms"]["samples"]) == 3
    assert not (student_bundle.path / "model.onnx").exists(), "it was made in the cache"

    streamed = json.loads(measure(nstc, student_bundle.path, "--json", "-").out)
    assert streamed["schema"].startswith("nstc.bench/")
    assert [row["artifact"] for row in streamed["rows"]] == ["onnx"]


def beside_itself(nstc, model, *arguments):
    short = ["--size", 32, "--rounds", 3, "--threads", 1]
    return nstc("bench", model, "--against", model, *short, *arguments)


def test_a_folder_of_one_photograph_will_do_and_is_said_to_be_few(
    nstc, teacher_bundle, save_picture, pixels, tmp_path
) -> None:
    save_picture(pixels, "one/only.png")
    file = tmp_path / "result.json"
    done = beside_itself(nstc, teacher_bundle.path, "--photos", tmp_path / "one", "--json", file)
    assert done.code == 0, done.err
    assert "quality on 1 photographs (fewer than 20" in done.out
    assert "worst photograph, style ratio: only.png, 1.00 by " in done.out
    assert "color drift" not in done.out  # which is not among the metrics that are shown
    quality = json.loads(file.read_text())["rows"][0]["quality"]
    assert (quality["photos"], quality["few_photos"]) == (1, True)
    assert quality["intervals"]["ssim"] == {"low": quality["ssim"], "high": quality["ssim"]}


def test_all_metrics_are_in_the_table_if_they_are_asked_for(
    nstc, teacher_bundle, save_picture, pixels, tmp_path
) -> None:
    save_picture(pixels, "one/only.png")
    photos = ("--photos", tmp_path / "one")
    done = beside_itself(nstc, teacher_bundle.path, *photos, "--all-metrics")
    assert done.code == 0, done.err
    assert all(word in done.out for word in ("drift", "histogram", "p90"))


def test_a_broken_photograph_is_named(nstc, student_bundle, photo_folder, tmp_path) -> None:
    whole = (photo_folder / "a.png").read_bytes()
    (photo_folder / "broken.png").write_bytes(whole[: len(whole) // 2])
    done = beside_itself(
        nstc, student_bundle.path, "--photos", photo_folder, "--teacher", student_bundle.path
    )
    assert done.code not in (0, 1)
    assert "broken.png" in done.error


def test_what_was_timed_is_kept_when_judging_is_stopped(
    nstc, teacher_bundle, photo_folder, tmp_path, monkeypatch
) -> None:
    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(judging, "judge", stopped)
    file = tmp_path / "result.json"
    done = beside_itself(nstc, teacher_bundle.path, "--photos", photo_folder, "--json", file)
    assert done.code == 130
    assert done.error == (
        f"nstc: stopped: {file} has what was measured until then. The same command begins anew."
    )
    content = json.loads(file.read_text())
    (row,) = content["rows"]
    assert len(row["latency_ms"]["samples"]) == 3
    assert row["quality"] is None
    assert content["unfinished"] == ["cpu:1"]


def test_what_was_measured_is_kept_when_the_baseline_is_stopped(
    nstc, teacher_bundle, tmp_path, monkeypatch
) -> None:
    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("nstc.benchmarks.gate.baseline.save_baseline", stopped)
    file, new = tmp_path / "result.json", tmp_path / "baseline.json"
    told = ("--no-quality", "--json", file, "--save-baseline", new)
    done = beside_itself(nstc, teacher_bundle.path, *told)
    assert done.code == 130
    assert f"stopped: {file} has what was measured until then" in done.error
    assert len(json.loads(file.read_text())["rows"]) == 1


def test_a_size_below_what_is_taken_is_refused(nstc, student_bundle) -> None:
    done = nstc("bench", student_bundle.path, "--against", student_bundle.path, "--size", 8)
    assert done.code == 3
    assert "size is 8: expected a whole number from 16" in done.error


def test_the_smallest_size_runs_on_a_network_that_wants_more(nstc, teacher_bundle) -> None:
    done = nstc(
        *("bench", teacher_bundle.path, "--against", teacher_bundle.path, "--size", 16),
        *("--rounds", 3, "--threads", 1, "--no-quality"),
    )
    assert done.code == 0, done.err


def test_without_against_the_library_takes_the_manifests_teacher(nstc, record) -> None:
    calls = record(BENCH, _Enough())
    with pytest.raises(_Enough):
        nstc("bench", "zoo:udnie")
    assert calls[0]["against"] is None
