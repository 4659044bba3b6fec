"""The web target, with a page made of Python in the place of a browser."""

import contextlib
import json
import re
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.client import HTTPException
from importlib import metadata
from typing import Any

import numpy as np
import onnxruntime
import pytest
from rich.console import Console

from nstc.benchmarks import bench as bench_module
from nstc.benchmarks.bench import bench
from nstc.benchmarks.subjects import find_subject
from nstc.benchmarks.table import result_table
from nstc.benchmarks.targets import base, browser, parse_target
from nstc.benchmarks.targets.browser import (
    WebTarget,
    opened_elsewhere,
    refuse_baseline_of_another_device,
)
from nstc.benchmarks.targets.web.exchange import Timeouts
from nstc.core import Silent
from nstc.core.errors import OptionError, TargetError
from nstc.core.recipe import BenchRecipe
from nstc.runtime.foreign.probing import probe_contract
from nstc.runtime.onnx_session import OnnxSession

RECIPE = BenchRecipe(size=32, rounds=3)
LONG = Timeouts(opening_s=30, silence_s=30)
SHORT = Timeouts(opening_s=30, silence_s=0.3)
PICTURE = np.random.default_rng(5).integers(0, 256, (32, 32, 3), dtype=np.uint8)


@dataclass
class Page:
    """Runs the job of a link.

    Attributes:
        milliseconds: Of a file in a round, made up.
        change: Told of each message, by name, before it is sent; gives what is sent instead.
        heard: Names and bodies that were sent.
    """

    milliseconds: Callable[[int, int], float] = lambda file, round_: 10.0 * (file + 1) + round_
    change: Callable[[str, bytes], bytes | None] = lambda _name, body: body
    place: dict[str, Any] = field(
        default_factory=lambda: {
            "agent": "Test/1.0",
            "secure": True,
            "isolated": True,
            "threads": 1,
            "clock_step_ms": 0.005,
        }
    )
    heard: list[str] = field(default_factory=list)
    key: str = ""

    def get(self, link: str, name: str) -> bytes:
        with urllib.request.urlopen(f"{link}bench/{name}", timeout=30) as response:  # noqa: S310
            return response.read()

    def post(self, link: str, name: str, body: bytes) -> str:
        sent = self.change(name, body)
        if sent is None:
            raise ConnectionAbortedError(f"went away before {name}")
        self.heard.append(name)
        request = urllib.request.Request(  # noqa: S310
            f"{link}bench/{name}", data=sent, headers={"Nstc-Run": self.key}, method="POST"
        )
        with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310
            return response.read().decode()

    def run(self, link: str) -> None:
        job = json.loads(self.get(link, "job.json"))
        self.key = self.post(link, "begin", json.dumps(self.place).encode())
        for i, file in enumerate(job["files"]):
            session = onnxruntime.InferenceSession(
                self.get(link, file["model"]), providers=["CPUExecutionProvider"]
            )
            values = np.frombuffer(self.get(link, file["feed"]), file["dtype"])
            feed = {file["input"]: values.reshape(file["shape"])}
            (output,) = session.run(file["output"] and [file["output"]], feed)
            self.post(link, f"output/{i}", output.tobytes())
            self.post(link, "step", b"{}")
        samples: list[list[float]] = [[] for _ in job["files"]]
        for round_, order in enumerate(job["orders"]):
            for i in order:
                samples[i].append(self.milliseconds(i, round_))
                self.post(link, "step", b"{}")
        self.post(link, "samples", json.dumps({"samples_ms": samples}).encode())

    @contextlib.contextmanager
    def engine(self, _runtime: object, link: str) -> Iterator[Callable[[], None]]:
        """As `nstc.benchmarks.targets.browser.Engine`."""

        def work() -> None:
            with contextlib.suppress(OSError, HTTPException):  # refused, or gone by its own will
                self.run(link)

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield lambda: None
        finally:
            thread.join()


@pytest.fixture
def page() -> Page:
    return Page()


class Notes(Silent):
    """Hands the link that is printed to a page, as a user would."""

    def __init__(self, page: Page) -> None:
        self.said = ""
        self.shown: list[str] = []  # links
        self._page = page
        self._opened: threading.Thread | None = None

    def note(self, message: str) -> None:
        self.said += message + "\n"
        link = next((word for word in message.split() if word.startswith("http:")), None)
        if link is not None:
            self._opened = threading.Thread(target=self._page.run, args=(link,))
            self._opened.start()

    def show_link(self, link: str) -> None:
        self.shown.append(link)

    def close(self) -> None:
        assert self._opened is not None
        self._opened.join()


@pytest.fixture
def sessions(tmp_path, linear, negative_bytes):
    return [
        OnnxSession(linear(tmp_path / "model.onnx", -1, 1), "onnx", 1),
        OnnxSession(negative_bytes(tmp_path / "model.int8.onnx"), "int8.onnx", 1),
    ]


@pytest.fixture
def measure(page, sessions):
    def run(threads=1, timeouts=LONG):
        target = WebTarget(name="web:test", threads=threads, engine=page.engine, timeouts=timeouts)
        return target.measure(sessions, PICTURE, RECIPE, Silent())

    return run


@pytest.fixture
def installed(monkeypatch, tmp_path):
    """A machine with two cores and everything that the targets need; the folder of its tools."""
    runtime = browser.web_runtime.web_runtime()
    for path in (runtime.node_module, runtime.driver, *runtime.page_files, *runtime.webgpu_files):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("node", "chromium", "openssl"):
        (tools / name).touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tools))
    monkeypatch.setattr(base, "usable_cores", lambda: (0, 1))
    return tools


def test_the_times_and_the_place_of_a_page(measure, page):
    reading = measure()
    assert reading.timings.reference_ms == (10.0, 11.0, 12.0)
    assert reading.timings.candidates_ms == ((20.0, 21.0, 22.0),)
    assert len(reading.rows) == 1
    assert reading.place == {
        "provider": "wasm",
        "runtime": f"onnxruntime-web {browser.web_runtime.runtime_version()}",
        "browser": "Test/1.0",
        "threads": 1,
        "secure_context": True,
        "device": "this machine",
        "address": "127.0.0.1",
        "clock_step_ms": 0.005,
        "largest_difference": 0,
    }
    assert page.heard.count("step") == 2 + 2 * 3


def test_threads_are_those_asked_for(measure, page):
    page.place["threads"] = 4
    assert measure(threads=4).place["threads"] == 4
    page.place["threads"] = 2
    with pytest.raises(TargetError, match=r"invalid message.*threads is 2, which it was not told"):
        measure(threads=4)


@pytest.mark.parametrize(
    ("name", "sent", "why"),
    [
        ("begin", b"hello", "invalid message .begin: it is not JSON"),
        ("output/1", b"\0" * (32 * 32 * 3), "another picture in web:test than in ONNX Runtime"),
        ("output/0", b"\xff" * (32 * 32 * 12), "no finite numbers"),
        ("output/0", b"short", "invalid message .output/0: 5 bytes"),
        ("output/0", b"long" * 4000, "invalid message .output/0: more than 12288 bytes"),
        ("samples", b'{"samples_ms": [[1, 2, 3]]}', "invalid message .samples"),
        ("samples", b'{"samples_ms": [[1, 2, 3], [0, 0, 0]]}', "expected a number >= 1e-06"),
    ],
)
def test_a_page_that_sends_rubbish(measure, page, name, sent, why):
    page.change = lambda said, body: sent if said == name else body
    with pytest.raises(TargetError, match=why):
        measure()


@pytest.mark.parametrize("name", ["output/0", "step", "samples"])
def test_a_page_that_drops(measure, page, name):
    page.change = lambda said, body: None if said == name else body
    with pytest.raises(TargetError, match=r"Test/1\.0 fell silent.*Run nstc bench again"):
        measure(timeouts=SHORT)


def test_another_device_opens_a_link(page, sessions, monkeypatch):
    monkeypatch.setattr(browser.network, "network_address", lambda: "127.0.0.1")
    monkeypatch.setattr(browser.network, "LOOPBACK", "127.0.0.2")
    page.place |= {"secure": False, "isolated": False}
    notes = Notes(page)
    target = WebTarget(name="web:open", threads=None, engine=None, timeouts=LONG)
    reading = target.measure(sessions, PICTURE, RECIPE, notes)
    notes.close()
    assert "network address 127.0.0.1" in notes.said
    (shown,) = notes.shown
    assert f"\n  {shown}\n" in notes.said
    assert "one thread; --https" in notes.said
    assert (reading.place["threads"], reading.place["secure_context"]) == (1, False)
    # a figure from this host is never called another device's
    assert reading.place["device"] == "this machine"


def test_a_machine_without_a_network(sessions, monkeypatch):
    def nowhere(*_args):
        raise OSError("Network is unreachable")

    monkeypatch.setattr("socket.socket.connect", nowhere)
    target = WebTarget(name="web:open", threads=None, engine=None, timeouts=LONG)
    with pytest.raises(TargetError, match="in no network"):
        target.measure(sessions, PICTURE, RECIPE, Silent())


def test_a_device_with_another_address_is_another_device(page, sessions, monkeypatch):
    monkeypatch.setattr(browser.network, "LOOPBACK", "127.0.0.2")
    monkeypatch.setattr(browser.network, "network_address", lambda: "127.0.0.1")
    target = WebTarget(name="web:open", threads=None, engine=None, timeouts=LONG)
    monkeypatch.setattr(
        browser.Exchange,
        "take",
        _from_elsewhere(browser.Exchange.take, "192.168.1.7"),
        raising=True,
    )
    notes = Notes(page)
    place = target.measure(sessions, PICTURE, RECIPE, notes).place
    notes.close()
    assert (place["device"], place["address"]) == ("another device", "192.168.1.7")


def _from_elsewhere(take, address):
    return lambda self, name, key, body, _: take(self, name, key, body, address)


def test_rows_of_a_bench(make_bundle, page, photo_set, monkeypatch):
    """Through `bench`, with the deployed file and the float one of a bundle."""
    bundle = make_bundle("student", {"onnx": 0.5, "int8.onnx": 0.8, "dynamic.onnx": 0.7})
    target = WebTarget(name="web:chromium:1", threads=1, engine=page.engine, timeouts=LONG)
    monkeypatch.setattr(bench_module, "parse_target", lambda _: target)
    result = bench(
        [bundle.path],
        against=bundle.path,
        photos=photo_set(2),
        recipe=BenchRecipe(size=32, rounds=3, targets=("web",)),
        quality=False,
    )
    assert [(row.target, row.artifact) for row in result.rows] == [
        ("web:chromium:1", "int8.onnx"),
        ("web:chromium:1", "onnx"),
    ]
    assert [row.latency_ms.samples[0] for row in result.rows] == [20.0, 30.0]
    assert result.rows[0].speedup.median == pytest.approx(11 / 21, rel=0.1)
    assert json.loads(result.to_json())["references"][0]["place"]["browser"] == "Test/1.0"
    console = Console(width=120)
    with console.capture() as printed:
        console.print(result_table(result))
    assert "on this machine, one thread, a secure context: Test/1.0" in printed.get()


def test_only_onnx_files_run_there(tmp_path, make_bundle, page):
    bundle = make_bundle("teacher", {"onnx": 0.5})
    target = WebTarget(name="web:test", threads=1, engine=page.engine)
    subject = find_subject(bundle.path)
    assert target.artifacts(subject, 32) == ("onnx",)
    assert target.open(subject, "onnx", probe_contract).artifact == "onnx"


@pytest.mark.usefixtures("installed")
def test_names():
    assert parse_target("web").name == "web:chromium:1"
    assert parse_target("web:2").name == "web:chromium:2"
    assert parse_target("web:node").name == "web:node:1"
    assert parse_target("web:node:2").name == "web:node:2"
    assert parse_target("web:open").name == "web:open"
    assert parse_target("web:open").threads is None
    assert parse_target("web:open:8").threads == 8  # another device's cores are not ours
    assert not parse_target("web:open").https
    assert parse_target("web:open-https:2").https


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("text", ["web:", "web:firefox", "web:node:", "web:node:0", "web:open:x"])
def test_nonsense_is_an_option_error(text):
    with pytest.raises(OptionError, match="expected a number of threads"):
        parse_target(text)


@pytest.mark.usefixtures("installed")
def test_more_threads_than_cores():
    with pytest.raises(OptionError, match="web:node:2 or fewer"):
        parse_target("web:node:3")


def test_node_stands_in_where_there_is_no_chromium(installed):
    (installed / "chromium").unlink()
    assert parse_target("web").name == "web:node:1"
    with pytest.raises(OptionError, match=r"web:chromium can't run here: .*apt install chromium"):
        parse_target("web:chromium")


def test_a_link_needs_neither_node_nor_chromium(installed):
    for name in ("node", "chromium", "openssl"):
        (installed / name).unlink()
    assert parse_target("web:open").name == "web:open"
    with pytest.raises(OptionError, match=r"web:open-https can't run here: .*install openssl"):
        parse_target("web:open-https")


def test_without_the_runtime_it_says_which_line_installs_it():
    with pytest.raises(OptionError, match=r"web:node can't run here: .*nstc web-setup"):
        parse_target("web:node:2")


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("name", ["web", "web:node", "web:open"])
def test_without_a_server_it_says_what_installs_it(monkeypatch, name):
    def version(package):
        if package == "uvicorn":
            raise metadata.PackageNotFoundError
        return "999"

    monkeypatch.setattr("nstc.core.extras.metadata.version", version)
    with pytest.raises(OptionError, match=f"target {name} can't run here: its server ") as refused:
        parse_target(name)
    told = re.sub(r">=[0-9.]+", "", str(refused.value))
    assert told.endswith('needs uvicorn: pip install "nstc[serve]".')


def test_listing_targets_loads_no_server():
    program = (
        "import sys; from nstc.benchmarks.targets import all_targets\n"
        "[kind.cells() for kind in all_targets()]\n"
        "print({'starlette', 'uvicorn', 'websockets'} & {*sys.modules})"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (ran.returncode, ran.stdout.strip()) == (0, "set()"), ran.stderr


def test_open_makes_web_another_device():
    assert opened_elsewhere(["web"], page=False, https=False) == ("web",)
    assert opened_elsewhere(["cpu:1", "web"], page=True, https=False) == ("cpu:1", "web:open")
    assert opened_elsewhere(["web:4"], page=True, https=True) == ("web:open-https:4",)


@pytest.mark.parametrize("targets", [[], ["cpu:2"], ["web:node"]])
def test_open_without_web(targets):
    with pytest.raises(OptionError, match="--open serves the page of --target web"):
        opened_elsewhere(targets, page=True, https=False)


def test_https_without_open():
    with pytest.raises(OptionError, match="give --open too"):
        opened_elsewhere(["web"], page=False, https=True)


@pytest.mark.usefixtures("installed")
def test_another_devices_times_are_in_no_baseline():
    refuse_baseline_of_another_device([parse_target("web:node"), parse_target("cpu:1")])
    with pytest.raises(OptionError, match="a baseline keeps what this machine"):
        refuse_baseline_of_another_device([parse_target("cpu:1"), parse_target("web:open")])
