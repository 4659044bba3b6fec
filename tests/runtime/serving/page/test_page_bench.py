"""The page's bench mode in headless Chromium, and its timing in Node."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import live_pages
import pytest
from live_pages import AUDIT, SCREENS, Reply

from nstc.core.bundle import open_bundle
from nstc.runtime.serving.site import bench_content
from nstc.runtime.serving.web_runtime import WebRuntime

pytestmark = pytest.mark.web

SIDE = 32
FILE = {
    "model": "model",
    "feed": "feed",
    "input": "image",
    "output": None,
    "dtype": "uint8",
    "shape": [1, SIDE, SIDE, 3],
    "weights": [],
}
PACE = {
    "pauseMs": 1,
    "turnMs": 5,
    "fewestRepeats": 1,
    "mostRepeats": 3,
    "maxWarmUps": 2,
    "steady": 0.05,
}
NAMES = ["the reference", "zoo:udnie int8.onnx"]
DONE = """
    await page.goto(value.link);
    await page.waitForFunction(() => document.getElementById("now").textContent === "Done");
"""


@dataclass
class Run:
    """What a server asks for, and takes.

    Attributes:
        orders: Of its rounds.
        heard: Names and bodies of messages.
        refused: What is answered to the first one in the place of a key.
    """

    orders: list[list[int]] = field(default_factory=lambda: [[0, 1], [1, 0], [0, 1]])
    heard: list[tuple[str, bytes]] = field(default_factory=list)
    refused: Reply | None = None

    @property
    def names(self) -> list[str]:
        return [name for name, _body in self.heard]

    def told(self, name: str) -> Any:
        """A message of a name."""
        return json.loads(dict(self.heard)[name])

    def answer(self, path: str, _options: object, body: bytes) -> Reply:
        name = path.removeprefix("/bench/")
        self.heard.append((name, body))
        return self.refused or (200, {"Content-Type": "text/plain"}, b"key")

    @contextlib.contextmanager
    def served(self, runtime: WebRuntime) -> Iterator[str]:
        job = {**PACE, "threads": 1, "orders": self.orders}
        job |= {"files": [{**FILE, "name": name} for name in NAMES]}
        content = {
            **bench_content(runtime),
            "bench/job.json": json.dumps(job).encode(),
            "bench/model": open_bundle("zoo:udnie").path / "model.int8.onnx",
            "bench/feed": bytes(range(256)) * (SIDE * SIDE * 3 // 256),
        }
        with live_pages.served({**content, "": content["index.html"]}, self.answer) as link:
            yield link


def test_it_times_what_is_asked_for_and_shows_the_times(play, runtime) -> None:
    run = Run()
    with run.served(runtime) as link:
        rows, place, kept = play(
            DONE
            + """
            const rows = await page.$$eval("#times tr", (all) =>
                all.map((row) => [...row.cells].map((cell) => cell.textContent)));
            return [rows, await page.textContent("#place"), await page.textContent("#keep")];
            """,
            link,
        )

    assert run.names == [
        "begin",
        *("output/0", "step", "output/1", "step"),
        *["step"] * 6,
        "samples",
    ]
    began = run.told("begin")
    assert (began["threads"], began["isolated"], began["secure"]) == (1, True, True)
    assert "HeadlessChrome" in began["agent"]
    outputs = [body for name, body in run.heard if name.startswith("output/")]
    assert [len(own) for own in outputs] == [SIDE * SIDE * 3] * 2
    assert outputs[0] == outputs[1]
    samples = run.told("samples")["samples_ms"]
    assert [len(own) for own in samples] == [3, 3]
    assert [name for name, *_times in rows] == NAMES
    for own, (_name, median, lowest) in zip(samples, rows, strict=True):
        assert float(median) == pytest.approx(sorted(own)[1], rel=0.01)
        assert float(lowest) == pytest.approx(min(own), rel=0.01)
    assert place == "WebAssembly, 1 thread"
    assert kept == "The results are where nstc bench runs: this page can be closed."


def test_a_second_device_is_told_that_the_link_was_used(play, runtime) -> None:
    why = json.dumps({"error": "this link was used already"}).encode()
    run = Run(refused=(409, {"Content-Type": "application/json"}, why))
    with run.served(runtime) as link:
        line = play("await page.goto(value.link); await noticed('Stopped'); return notice();", link)

    assert line == "Stopped: this link was used already"
    assert run.names == ["begin"]


def test_a_page_in_the_background_gives_up(play, runtime) -> None:
    run = Run(orders=[[0, 1]] * 2000)
    with run.served(runtime) as link:
        line = play(
            """
            await page.goto(value.link);
            await said("now", "Round");
            await page.evaluate(() => {
                Object.defineProperty(document, "hidden", { value: true });
                document.dispatchEvent(new Event("visibilitychange"));
            });
            await noticed("Stopped");
            return notice();
            """,
            link,
        )

    assert line == "Stopped: the page was put into the background"
    assert run.told("failed") == {"message": "the page was put into the background"}
    assert "samples" not in run.names


def test_a_file_that_does_not_run_is_told_to_both(play, runtime, monkeypatch) -> None:
    run = Run()
    monkeypatch.setitem(FILE, "input", "no such input")
    with run.served(runtime) as link:
        line = play("await page.goto(value.link); await noticed('Stopped'); return notice();", link)

    message = run.told("failed")["message"]
    assert "input" in message
    assert line.startswith(f"Stopped: {message[:40]}")


@pytest.mark.parametrize("options", SCREENS.values(), ids=SCREENS)
def test_it_is_accessible_and_fits_its_screen(chromium, runtime, axe, options) -> None:
    with Run().served(runtime) as link:
        given = chromium(
            DONE
            + AUDIT
            + """
            return [await audit(), await widthOf()];
            """,
            {"link": link, "axe": str(axe)},
            **options,
        )

    assert given == [[], options["viewport"]["width"]]


@pytest.mark.parametrize(
    ("isolated", "cores", "wanted", "threads"),
    [
        (False, 8, None, 1),
        (False, 8, 4, 1),
        (True, 1, None, 1),
        (True, 3, None, 2),
        (True, 64, None, 4),
        (True, 2, 8, 8),
    ],
)
def test_threads(in_node, isolated, cores, wanted, threads) -> None:
    given = {"here": {"isolated": isolated, "cores": cores}, "wanted": wanted}
    assert in_node("timing.mjs", "return module.threadsOf(value.here, value.wanted)", given) == (
        threads
    )


# A clock that each run moves on, by times that are given.
CLOCK = """
    let now = 0;
    performance.now = () => now;
    const left = [...value.times];
    const session = { run: async () => { now += left.shift() ?? 10; return { dispose() {} }; } };
    const pace = {
        pauseMs: 0, turnMs: 50, fewestRepeats: 3, mostRepeats: 15, maxWarmUps: 10, steady: 0.05,
    };
"""


@pytest.mark.parametrize(
    ("times", "step", "plan"),
    [
        ([30, 20, 10, 10], 0.005, {"repeats": 5, "warmUps": 2, "stretch": 1}),
        ([10, 10], 1, {"repeats": 5, "warmUps": 1, "stretch": 10}),
        ([100, 100], 0.1, {"repeats": 3, "warmUps": 1, "stretch": 1}),
        ([1, 1], 0.005, {"repeats": 15, "warmUps": 1, "stretch": 1}),
        ([0, 0], 1, {"repeats": 15, "warmUps": 1, "stretch": 100}),
    ],
)
def test_how_a_turn_is_planned(in_node, times, step, plan) -> None:
    body = CLOCK + "return module.planOf(session, pace, value.step);"
    assert in_node("timing.mjs", body, {"times": times, "step": step}) == plan


def test_a_turn_gives_its_lowest_time_after_warm_ups(in_node) -> None:
    body = CLOCK + "return module.turn(session, value.plan, pace);"
    times = [1, 1, *(9, 7), *(6, 8), *(8, 8)]  # two warm-ups, and three stretches of two runs
    plan = {"repeats": 3, "warmUps": 2, "stretch": 2}
    assert in_node("timing.mjs", body, {"times": times, "plan": plan}) == 7
