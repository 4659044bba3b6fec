"""What a page is asked to do."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from nstc.benchmarks.targets.browser import ask, refuse_other_picture, site_of
from nstc.benchmarks.timing import latency
from nstc.core.bundle import open_bundle
from nstc.core.errors import OptionError, TargetError
from nstc.core.graph_form import read_inputs
from nstc.core.recipe import BenchRecipe
from nstc.runtime.foreign.networks import ForeignSession
from nstc.runtime.foreign.probing import probe_contract
from nstc.runtime.onnx_session import OnnxSession
from nstc.runtime.serving.site import PAGE, bench_content
from nstc.runtime.serving.web_runtime import WebRuntime

RUNTIME = WebRuntime(Path("installed"))
TIMING = PAGE["timing.mjs"].read_text(encoding="utf-8")
PACE = re.compile(r"export const PACE = \{[^}]*\}")


@pytest.fixture
def sessions(tmp_path, linear, negative_bytes, foreign_file):
    return [
        OnnxSession(linear(tmp_path / "model.onnx", -1, 1), "onnx", 1),
        OnnxSession(negative_bytes(tmp_path / "model.int8.onnx"), "int8.onnx", 1),
        ForeignSession(foreign_file, probe_contract(foreign_file), 1),
    ]


def test_each_file_with_its_own_input(sessions, pixels):
    asked = [ask(session, pixels) for session in sessions]
    site = site_of(asked, RUNTIME, BenchRecipe(rounds=4, seed=1), threads=2)
    job = json.loads(site["bench/job.json"])
    assert job["threads"] == 2
    floats, pixels_in, foreign = job["files"]
    assert (floats["dtype"], floats["shape"]) == ("float32", [1, 3, 37, 53])
    assert (pixels_in["dtype"], pixels_in["shape"]) == ("uint8", [1, 37, 53, 3])
    assert (pixels_in["input"], pixels_in["output"]) == ("x", None)
    assert (foreign["input"], foreign["output"]) == ("images", "stylised")
    assert site["bench/" + pixels_in["feed"]] == pixels.tobytes()
    assert np.frombuffer(site["bench/" + floats["feed"]], np.float32).max() <= 1
    assert [site["bench/" + file["model"]] for file in job["files"]] == [
        own.path for own in sessions
    ]


def test_weights_beside_a_graph_are_served_by_the_name_it_has_for_them(
    weights_beside, linear, pixels, tmp_path
):
    path = weights_beside(linear(tmp_path / "split.onnx", 1, 0))
    asked = [ask(ForeignSession(path, probe_contract(path), 1), pixels)]
    site = site_of(asked, RUNTIME, BenchRecipe(rounds=3, seed=0), threads=1)
    (file,) = json.loads(site["bench/job.json"])["files"]
    assert file["weights"] == [{"path": "split.onnx.data", "file": "weights/0/0"}]
    assert site["bench/weights/0/0"] == tmp_path / "split.onnx.data"


def test_a_graph_that_takes_more_than_a_picture_is_not_asked_for(styled, pixels, tmp_path):
    path = styled(tmp_path / "net.onnx", "index")
    session = ForeignSession(
        path, probe_contract(path, input_range=1, inputs=read_inputs(["style=1"])), 1
    )
    with pytest.raises(OptionError, match=r"net\.onnx also takes style, .*--target cpu"):
        ask(session, pixels)


def test_an_output_becomes_the_picture_it_is(sessions, pixels):
    for session in sessions:
        asked = ask(session, pixels)
        assert np.array_equal(asked.picture(asked.raw), session.run(pixels))


def test_the_rounds_are_those_of_latency(sessions, pixels):
    """The same orders and constants as on this machine's processor."""
    asked = [ask(session, pixels) for session in sessions]
    job = json.loads(
        site_of(asked, RUNTIME, BenchRecipe(rounds=5, seed=7), threads=1)["bench/job.json"]
    )
    assert job["pauseMs"] == latency.PAUSE_S * 1000
    assert (job["turnMs"], job["mostRepeats"]) == (latency.TURN_MS, latency.MOST_REPEATS)
    assert job["fewestRepeats"] == latency.FEWEST_REPEATS
    assert (job["maxWarmUps"], job["steady"]) == (latency.MAX_WARM_UPS, latency.STEADY)
    turns: list[int] = []
    clock = latency.RunClock(now_ns=lambda: len(turns) * 30_000_000, sleep=lambda _: None)
    runs = [lambda i=i: turns.append(i) for i in range(3)]
    latency.alternate(runs[0], runs[1:], rounds=5, seed=7, clock=clock)
    steady_at_once = 2
    in_rounds = turns[3 * steady_at_once :]
    assert [i for order in job["orders"] for i in order for _ in "1234"] == in_rounds


def test_the_pace_of_the_live_page_is_that_of_latency():
    given = dict(re.findall(r"(\w+): ([\d.]+)[,\s]", PACE.search(TIMING)[0]))
    assert {name: float(value) for name, value in given.items()} == {
        "pauseMs": latency.PAUSE_S * 1000,
        "turnMs": latency.TURN_MS,
        "fewestRepeats": latency.FEWEST_REPEATS,
        "mostRepeats": latency.MOST_REPEATS,
        "maxWarmUps": latency.MAX_WARM_UPS,
        "steady": latency.STEADY,
    }


def test_a_graph_of_other_numbers_is_refused(sessions, pixels, monkeypatch):
    monkeypatch.setattr(sessions[0], "prepare", lambda _: {"x": np.zeros((1, 3, 4, 4), np.float64)})
    monkeypatch.setattr(sessions[0], "infer", lambda feed: feed["x"])
    with pytest.raises(OptionError, match="takes float64"):
        ask(sessions[0], pixels)


def test_only_known_files_are_served(sessions, pixels):
    site = site_of([ask(sessions[0], pixels)], RUNTIME, BenchRecipe(rounds=3, seed=0), threads=1)
    assert set(site) == {
        *bench_content(RUNTIME),
        "bench/job.json",
        "bench/model/0",
        "bench/feed/0",
    }


def test_the_page_names_what_it_times(pixels):
    folder = open_bundle("zoo:udnie").path
    names = ("onnx", "int8.onnx")
    sessions = [OnnxSession(folder / f"model.{name}", name, 1) for name in names]
    asked = [ask(session, pixels) for session in sessions]
    site = site_of(asked, RUNTIME, BenchRecipe(rounds=3, seed=0), threads=1)
    names = [file["name"] for file in json.loads(site["bench/job.json"])["files"]]
    assert names == ["the reference", "zoo:udnie int8.onnx"]


@pytest.fixture
def of_bytes(tmp_path, negative_bytes):
    session = OnnxSession(negative_bytes(tmp_path / "model.int8.onnx"), "int8.onnx", 1)
    return ask(session, np.full((50, 40, 3), 100, np.uint8))


@pytest.fixture
def of_floats(tmp_path, linear):
    session = OnnxSession(linear(tmp_path / "model.onnx", -1, 1), "onnx", 1)
    return ask(session, np.full((50, 40, 3), 100, np.uint8))


def changed(asked, count, by):
    raw = asked.raw.copy()
    raw.reshape(-1)[:count] += raw.dtype.type(by)
    return raw.tobytes()


def test_the_same_picture_and_one_that_was_rounded_otherwise(of_bytes):
    assert refuse_other_picture(of_bytes, of_bytes.raw.tobytes(), "there") == 0
    assert refuse_other_picture(of_bytes, changed(of_bytes, 6000, 1), "there") == 1
    assert refuse_other_picture(of_bytes, changed(of_bytes, 6, 40), "there") == 40


def test_one_value_in_a_thousand_is_the_limit(of_bytes, of_floats):
    with pytest.raises(TargetError, match=r"0\.1% of its values.*worst by 2; .*not used"):
        refuse_other_picture(of_bytes, changed(of_bytes, 7, 2), "there")
    with pytest.raises(TargetError, match=r"another picture in there.*100\.0%"):
        refuse_other_picture(of_floats, changed(of_floats, 6000, 0.02), "there")


def test_no_numbers_are_no_picture(of_floats):
    with pytest.raises(TargetError, match="no finite numbers"):
        refuse_other_picture(of_floats, changed(of_floats, 1, np.nan), "there")
