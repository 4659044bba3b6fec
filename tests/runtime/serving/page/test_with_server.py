"""The page and the server that gives it to a browser: `nstc serve` in a process of its own.

Set NSTC_PAGE_PICTURES to a folder to keep the page's pictures that these tests take.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import live_pages
import numpy as np
import pytest
from live_pages import near, picture, png

from nstc.core.photos import sample_photos
from nstc.runtime.stylizer import Stylizer

pytestmark = pytest.mark.web

CHELSEA = next(path for path in sample_photos() if path.stem == "chelsea")
NSTC = [sys.executable, "-m", "nstc"]
SERVE = [*NSTC, "serve", "zoo:starry-night", "zoo:udnie", "--max-upload", "1MB"]
STEPS = """
    const faults = []; // of the console
    page.on("console", (said) => { if (said.type() === "error") faults.push(said.text()); });
    const anew = async (act, text) => {
        await page.$eval("#said", (own) => (own.textContent = ""));
        await act();
        await done(text);
    };
    const canvases = () => page.evaluate(() => ["before", "after"].map((id) => {
        const { width, height } = document.getElementById(id);
        const { data } = document.getElementById(id).getContext("2d")
            .getImageData(0, 0, width, height);
        return { shape: [height, width, 4], data: [...data] };
    }));
"""


class Serving(NamedTuple):
    """A server of a test."""

    link: str
    pid: int
    cache: Path


@contextmanager
def serving(cache: Path) -> Iterator[Serving]:
    """A server on any free port."""
    with subprocess.Popen(
        [*SERVE, "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "NSTC_CACHE": str(cache)},
    ) as process:
        assert process.stdout is not None
        link = process.stdout.readline().strip()
        try:
            yield Serving(link, process.pid, cache)
        finally:
            process.kill()


@pytest.fixture(scope="module")
def cache(runtime, tmp_path_factory) -> Path:
    """A cache of these tests' own, in which onnxruntime-web is the user's."""
    folder = tmp_path_factory.mktemp("cache")
    (folder / "web").symlink_to(runtime.folder.parent)
    return folder


@pytest.fixture(scope="module")
def link(cache) -> Iterator[str]:
    with serving(cache) as server:
        yield server.link


def stylized(model: str, target: Path, *options: object) -> np.ndarray:
    """The file of `nstc stylize`."""
    command = [*NSTC, "stylize", CHELSEA, "-o", target, "-m", f"zoo:{model}", *options]
    subprocess.run([str(word) for word in command], check=True, capture_output=True, timeout=300)
    return picture(target.read_bytes())


def pixels(canvas) -> np.ndarray:
    return np.array(canvas["data"], np.uint8).reshape(canvas["shape"])[:, :, :3]


def test_pictures_are_those_of_stylize(play, link, tmp_path) -> None:
    given = play(
        STEPS
        + """
        await open("model=udnie&photo=chelsea&size=256&strength=0.7&colors=1", "Udnie, 256 by 170");
        const server = await result();
        await anew(() => page.click("#engine-device"), "Udnie, 256 by 170");
        const device = await result();
        await anew(() => page.click(".tile:nth-child(1)"), "Starry Night, 256 by 170");
        await set("strength", 1);
        await page.uncheck("#colors");
        const otherDevice = await result();
        await anew(() => page.click("#engine-server"), "Starry Night, 256 by 170");
        const otherServer = await result();
        return {
            server, device, otherServer, otherDevice, faults,
            isIsolated: await page.evaluate(() => crossOriginIsolated),
        };
        """,
        link,
    )

    mixing = ("--strength", 0.7, "--preserve-color")
    mixed = stylized("udnie", tmp_path / "mixed.png", "--size", 256, *mixing)
    assert np.array_equal(picture(given["server"]), mixed)
    assert near(picture(given["device"]), mixed) >= 0.999
    plain = stylized("starry-night", tmp_path / "plain.png", "--size", 256)
    assert np.array_equal(picture(given["otherServer"]), plain)
    assert near(picture(given["otherDevice"]), plain) >= 0.999
    assert given["isIsolated"]
    assert given["faults"] == []  # such as what its Content-Security-Policy forbids


def test_a_cameras_frames_are_stylised_by_either_engine(play, link) -> None:
    given = play(
        STEPS
        + """
        let isReady = false;
        let count = 0; // of frames from the network that was chosen last
        page.on("websocket", (socket) => socket.on("framereceived", ({ payload }) => {
            if (typeof payload === "string") isReady = JSON.parse(payload).ready === "udnie";
            else count += isReady;
        }));
        await open("photo=chelsea&size=256&frame=192", "256 by 170");
        await said("engine-device", " ms"); // of the photo
        await page.click("#camera");
        await said("engine-server", "frames/s");
        const ofPhoto = await page.textContent("#engine-device .ms");
        await page.click(".tile:nth-child(2)");
        while (count < 4) await page.waitForTimeout(50);
        const server = await canvases();
        const shown = await page.textContent("#engine-server");
        await page.click("#engine-device");
        await said("engine-device", "frames/s");
        const device = await canvases();
        await anew(() => page.click("#camera"), "Udnie, 192 by 144");
        return { server, device, shown, ofPhoto, faults };
        """,
        link,
    )

    udnie = Stylizer("zoo:udnie")
    before, after = map(pixels, given["server"])
    assert np.array_equal(after, udnie(before))
    before, after = map(pixels, given["device"])
    assert near(after, udnie(before)) >= 0.999
    ms, rate = (float(text.split()[-1]) for text in given["shown"].split("frames/s")[0].split("ms"))
    assert given["ofPhoto"] == "–"  # no time of another picture beside it
    assert ms > 0
    assert rate > 0
    assert given["faults"] == []


def test_a_file_that_is_refused_says_why_and_the_next_one_works(play, link) -> None:
    given = play(
        STEPS
        + """
        await open("photo=chelsea&size=256", "256 by 170");
        const lines = [];
        await choose("large.png", Buffer.alloc(1_500_000));
        await noticed("large.png");
        lines.push(await notice());
        await choose("broken.png", value.file.slice(0, 60));
        await noticed("broken.png");
        lines.push(await notice());
        await choose("small.png", value.file);
        await done("60 by 50");
        return { lines, isOver: await page.isHidden("#notice"), faults };
        """,
        link,
        file=png(np.random.default_rng(5).integers(0, 256, (50, 60, 3), dtype=np.uint8)),
    )

    assert given["lines"] == [
        "large.png has 1.5 MB: the limit is 1 MB. Choose a smaller photo.",
        "broken.png can't be read as a picture: it is damaged, or of a format that this browser "
        "lacks. Choose a JPEG, PNG or WebP file.",
    ]
    assert given["isOver"]
    assert len(given["faults"]) == 1  # Chromium's own, of the server's answer
    assert "415" in given["faults"][0]


def test_the_page_goes_on_when_the_server_was_killed_and_is_back(play, cache) -> None:
    with serving(cache) as server:
        command = [*SERVE, "--port", str(urlsplit(server.link).port)]
        line = play(
            STEPS
            + """
            const { spawn } = process.getBuiltinModule("node:child_process");
            const { once } = process.getBuiltinModule("node:events");
            await open("photo=chelsea&size=256&frame=192", "256 by 170");
            await page.click("#camera");
            await said("engine-server", "frames/s");
            process.kill(value.pid, "SIGKILL");
            await noticed("does not answer");
            const line = await notice();
            const [program, ...words] = value.command;
            const env = { ...process.env, NSTC_CACHE: value.cache };
            const another = spawn(program, words, { env, stdio: ["ignore", "pipe", "ignore"] });
            try {
                await once(another.stdout, "data");
                await page.waitForSelector("#notice", { state: "hidden" });
                await anew(() => page.click("#camera"), "Starry Night, 192 by 144");
                await anew(() => page.click(".sample[title=coffee]"), "256 by 171");
            } finally {
                another.kill("SIGKILL");
            }
            return line;
            """,
            server.link,
            pid=server.pid,
            cache=str(cache),
            command=command,
        )

    assert line.startswith("The server does not answer. Trying again in ")


@pytest.mark.parametrize(("name", "options"), live_pages.SCREENS.items(), ids=live_pages.SCREENS)
def test_it_is_accessible_with_both_engines(chromium, link, axe, name, options, tmp_path) -> None:
    folder = Path(os.environ.get("NSTC_PAGE_PICTURES", tmp_path))
    given = chromium(
        live_pages.STEPS
        + STEPS
        + live_pages.AUDIT
        + """
        const picture = (what, fullPage = false) =>
            page.screenshot({ path: `${value.folder}/${value.name}-${what}.png`, fullPage });
        await page.emulateMedia({ reducedMotion: "reduce" });
        await open("", "Starry Night, 512 by 512");
        await said("engine-device", "WebAssembly");
        await page.waitForFunction(
            () => document.querySelectorAll(".tile canvas.is-made").length === 2);
        const found = await audit();
        await picture("photo");
        await picture("whole", true);
        await page.click("#camera");
        await said("engine-server", "frames/s");
        found.push(...await audit());
        await picture("camera");
        await choose("large.png", Buffer.alloc(1_500_000));
        await noticed("large.png");
        await picture("fault");
        return found;
        """,
        {"link": link, "axe": str(axe), "folder": str(folder), "name": name},
        **options,
    )

    assert given == []
