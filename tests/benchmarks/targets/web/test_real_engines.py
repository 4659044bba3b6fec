"""Node and Chromium run the rounds for real, with onnxruntime-web as npm gives it."""

import os
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from nstc.benchmarks.targets import parse_target
from nstc.benchmarks.targets.base import Measurement
from nstc.benchmarks.targets.web import setup
from nstc.core import Silent
from nstc.core.errors import TargetError
from nstc.core.recipe import BenchRecipe
from nstc.runtime.onnx_session import OnnxSession
from nstc.runtime.serving.web_runtime import install

pytestmark = pytest.mark.web

RECIPE = BenchRecipe(size=32, rounds=3)
PICTURE = np.random.default_rng(5).integers(0, 256, (32, 32, 3), dtype=np.uint8)


@pytest.fixture(scope="module", autouse=True)
def _installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """From npm once, also for the tests, each of which has a cache of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NSTC_CACHE", str(tmp_path_factory.mktemp("web")))
        install()
        yield


@pytest.fixture(autouse=True)
def _own_cache(_installed):
    """In the place of the one that gives each test an empty cache."""


@pytest.fixture
def sessions(tmp_path, linear, negative_bytes):
    return [
        OnnxSession(linear(tmp_path / "model.onnx", -1, 1), "onnx", 1),
        OnnxSession(negative_bytes(tmp_path / "model.int8.onnx"), "int8.onnx", 1),
    ]


def measure(name, sessions, progress=None) -> Measurement:
    target = parse_target(name)
    return target.measure(sessions, PICTURE, RECIPE, progress or Silent())


@pytest.mark.parametrize(("name", "agent"), [("web:node", "Node.js v"), ("web:chromium", "Chrome")])
@pytest.mark.parametrize("threads", [1, 2])
def test_each_engine_on_one_thread_and_two(name, agent, threads, sessions):
    reading = measure(f"{name}:{threads}", sessions)
    assert [len(own) for own in (reading.timings.reference_ms, *reading.timings.candidates_ms)] == [
        3,
        3,
    ]
    assert agent in str(reading.place["browser"])
    assert reading.place["threads"] == threads
    assert reading.place["device"] == "this machine"
    assert reading.place["largest_difference"] == 0


class Phone(Silent):
    """Opens the link that is printed with a Chromium of its own, as a phone would."""

    def __init__(self, folder, *flags) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self._folder = folder
        self._flags = flags

    def note(self, message) -> None:
        link = next((word for word in message.split() if "://" in word), None)
        if link is None:
            return
        root = ["--no-sandbox"] if os.geteuid() == 0 else []
        self.process = subprocess.Popen(
            [
                setup.find_chromium() or "chromium",
                *("--headless", "--disable-gpu", "--disable-quic", "--no-first-run"),
                *("--disable-background-networking", "--disable-component-update"),
                *("--disable-sync", "--no-proxy-server", "--remote-debugging-port=0"),
                *(*root, f"--user-data-dir={self._folder}", *self._flags, link),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_error) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(20)


def test_a_browser_elsewhere_over_http_has_one_thread(sessions, tmp_path):
    """And a coarse clock, by which one run of so small a network may take no time at all.

    Times of 0 would be refused, so that this also shows that several runs are timed in one stretch.
    """
    with Phone(tmp_path / "profile") as phone:
        reading = measure("web:open", sessions, phone)
    place = reading.place
    assert float(place["clock_step_ms"]) > 0.05
    assert (place["threads"], place["secure_context"]) == (1, False)
    assert "HeadlessChrome" in str(place["browser"])
    assert place["device"] == "this machine"


def test_over_https_it_has_threads(sessions, tmp_path):
    with Phone(tmp_path / "profile", "--ignore-certificate-errors") as phone:
        place = measure("web:open-https:2", sessions, phone).place
    assert (place["threads"], place["secure_context"]) == (2, True)


@pytest.mark.parametrize("name", ["web:node", "web:chromium"])
def test_a_network_that_does_not_run_there_says_why(name, sessions, tmp_path):
    """Its file is another one than was opened here."""
    sessions[1].path.write_bytes(b"no network")
    with pytest.raises(TargetError, match=r"failed there: .*(parse|load|protobuf)"):
        measure(name, sessions)


@pytest.mark.parametrize("name", ["web:node", "web:chromium"])
def test_another_picture_is_no_result(name, sessions, linear):
    linear(sessions[0].path, -1, 0.9)
    with pytest.raises(TargetError, match="another picture"):
        measure(name, sessions)


@pytest.fixture
def scratch(monkeypatch):
    """Where processes put what they need: a short path, or Chromium's socket does not fit."""
    with tempfile.TemporaryDirectory() as folder:
        monkeypatch.setattr("tempfile.tempdir", folder)
        yield Path(folder)


def test_a_browser_whose_driver_is_killed(sessions, scratch, monkeypatch):
    """Nothing is left of it."""
    started = []
    running = setup.subprocess.Popen

    def remembered(*args, **options):
        started.append(running(*args, **options))
        return started[-1]

    monkeypatch.setattr(setup.subprocess, "Popen", remembered)

    class Ending(Silent):
        def advance(self, step, losses) -> None:
            for child in started:
                threading.Thread(target=child.kill).start()

    with pytest.raises(TargetError, match="chromium ended with status -9"):
        measure("web:chromium", sessions, Ending())
    assert not list(scratch.iterdir())


def test_a_browser_that_is_given_up(sessions, scratch):
    """As by Ctrl-C, with its page at work."""

    class GivingUp(Silent):
        def advance(self, step, losses) -> None:
            if step:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure("web:chromium", sessions, GivingUp())
    assert not list(scratch.iterdir())
    running = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    assert str(scratch) not in running.stdout
