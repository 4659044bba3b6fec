"""The engine of the server, as the page uses it, with a small server in its place."""

import io
import json
import re
import threading
from contextlib import ExitStack

import live_pages
import numpy as np
import pytest
from live_pages import picture
from PIL import Image

from nstc.core.images import read_picture
from nstc.core.photos import sample_photos
from nstc.runtime.control import Control, blended

pytestmark = pytest.mark.web

CHELSEA = next(path for path in sample_photos() if path.stem == "chelsea")

# A server of frames in the place of the socket: gives negatives, and keeps what it was sent.
SOCKET = """
    const heard = { texts: [], most: 0 };
    let flying = 0;
    await page.routeWebSocket("**/frames", (socket) => {
        socket.onMessage((message) => {
            if (typeof message === "string") {
                heard.texts.push(JSON.parse(message));
                socket.send(JSON.stringify({ ready: heard.texts.at(-1).model }));
                return;
            }
            flying += 1;
            heard.most = Math.max(heard.most, flying);
            setTimeout(() => {
                flying -= 1;
                const pixels = message.subarray(8).map((value) => 255 - value);
                const time = Buffer.alloc(4);
                time.writeFloatLE(7.5);
                socket.send(Buffer.concat([message.subarray(0, 8), time, pixels]));
            }, 30);
        });
    });
"""


@pytest.fixture(scope="module")
def content(runtime):
    return live_pages.page_content(runtime, server=True)


def test_a_download_is_the_servers_picture_to_the_bit(play, content) -> None:
    with live_pages.served(content, live_pages.negatives) as link:
        given = play(
            """
            await page.goto(`${value.link}#photo=chelsea&strength=0.7&colors=1`);
            await said("said", "451 by 300");
            return await result();
            """,
            link,
        )

    photo = read_picture(CHELSEA).rgb
    mixing = Control(strength=0.7, preserve_color=True)
    assert np.array_equal(picture(given), blended(photo, 255 - photo, mixing))


def test_both_engines_times_are_shown_for_one_photo(play, content) -> None:
    asked = []

    def answer(path, options, body):
        asked.append(options)
        return live_pages.negatives(path, options, body)

    with live_pages.served(content, answer) as link:
        given = play(
            """
            await page.goto(`${value.link}#photo=chelsea&size=256&brush=1.5&precision=float`);
            await said("engine-server", "13 ms");
            await said("engine-device", "WebAssembly");
            await page.click("#engine-device");
            await page.waitForFunction(
                () => /^[\\d.]+ ms$/.test(document.getElementById("time").textContent));
            return page.$$eval(".engine .where", (all) => all.map((own) => own.textContent));
            """,
            link,
        )

    assert asked == [
        {"model": "starry-night", "precision": "float", "style_scale": "1.5", "size": "256"}
    ]
    assert given[0].startswith("float · WebAssembly, ")
    assert given[1] == "float"


def test_this_device_is_measured_on_request(play, content) -> None:
    with live_pages.served(content, live_pages.negatives) as link:
        shown, after = play(
            """
            await open("model=udnie&photo=chelsea&size=256&precision=int8", "Udnie, 256 by 170");
            await page.click("#measure");
            await said("measured", "lowest");
            const shown = await page.textContent("#measured");
            await page.selectOption("#size", "384");
            const after = [await page.textContent("#measured")];
            await page.click("#camera");
            await page.waitForFunction(() => document.body.classList.contains("is-live"));
            after.push(await page.isDisabled("#measure"));
            return [shown, after];
            """,
            link,
        )

    figures = (
        r"Median ([\d.]+) ms, lowest ([\d.]+) ms \(256 × 170, int8 · WebAssembly, \d threads?\)"
    )
    found = re.fullmatch(figures, shown)
    assert found is not None, shown
    median, lowest = map(float, found.groups())
    assert 0 < lowest <= median
    assert after == ["", True]  # of another size, and not beside a camera


ENDED_BY = {
    "the same button": 'await page.click("#measure");',
    "a setting": 'await page.selectOption("#size", "384");',
    "a style": 'await page.click("#styles label:nth-of-type(2)");',
    "a photo": 'await page.click("#samples button:last-of-type");',
    "the camera": 'await page.click("#camera");',
    "the background": """await page.evaluate(() => {
        Object.defineProperty(document, "hidden", { value: true });
        document.dispatchEvent(new Event("visibilitychange"));
    });""",
}


@pytest.mark.parametrize("end", ENDED_BY)
def test_a_measurement_ends_at_once_and_the_button_measures_again(play, content, end) -> None:
    with live_pages.served(content, live_pages.negatives) as link:
        during, after = play(
            f"""
            await open("model=udnie&photo=chelsea&size=256&precision=int8", "Udnie, 256 by 170");
            const shown = () => page.$eval("#measure-row", (row) =>
                [...row.children].map((own) => own.textContent));
            await page.click("#measure");
            await said("measured", "Round 2 of 9");
            const during = await shown();
            {ENDED_BY[end]}
            const after = await shown();
            if (await page.isEnabled("#measure")) {{
                await page.click("#measure");
                await said("measured", "lowest");
            }}
            return [during, after];
            """,
            link,
        )

    assert during[0] == "Stop measuring"
    background = "Stopped: this page was in the background."
    assert after == ["Measure this device", background if end == "the background" else ""]


ENGINE = """
    await open("model=udnie&photo=chelsea&size=256&precision=int8", "Udnie, 256 by 170");
    return page.evaluate(async () => {
        const { DeviceEngine } = await import("./device-engine.mjs");
        const site = await (await fetch("site.json")).json();
        const engine = new DeviceEngine(site.runtime, "");
        const stop = new AbortController();
        const happened = [];
        const pixels = () => ({ data: new Uint8Array(64 * 64 * 3), height: 64, width: 64 });
        const stylised = () => engine.stylise(site.models[1], "int8", pixels());
        const told = async ({ round }) => {
            happened.push(round);
            if (round === 2) %s
        };
        try {
            await engine.measure(
                site.models[0], "int8", { height: 256, width: 256 }, told, stop.signal);
            happened.push("measured");
        } catch (error) {
            happened.push(error.name);
        }
        await stylised();
        return happened;
    });
"""


def test_an_ended_measurement_runs_no_further_round(play, content) -> None:
    with live_pages.served(content, live_pages.negatives) as link:
        happened = play(ENGINE % "stop.abort();", link)
    assert happened[:2] == [1, 2]
    assert happened[-1] == "AbortError"
    assert 9 not in happened


def test_a_picture_does_not_wait_for_all_rounds(play, content) -> None:
    with live_pages.served(content, live_pages.negatives) as link:
        happened = play(ENGINE % 'stylised().then(() => happened.push("stylised"));', link)
    assert happened.index("stylised") < happened.index(9)
    assert happened[-1] == "measured"


def test_a_page_without_a_server_measures_nothing(play, link) -> None:
    assert play('await open("size=256", "Starry"); return page.isHidden("#measure");', link)


def test_a_server_that_goes_away_is_waited_for(play, content, tmp_path) -> None:
    """It comes back at the same address, and the page goes on by itself."""
    with ExitStack() as stack:
        link = stack.enter_context(live_pages.served(content, live_pages.negatives))
        port = int(link.rsplit(":", 1)[1].strip("/"))
        control = {"answer": live_pages.negatives}

        def away_then_back() -> None:
            while not (tmp_path / "away").exists():
                if done.wait(0.05):
                    return
            stack.close()
            while not (tmp_path / "back").exists():
                if done.wait(0.05):
                    return
            stack.enter_context(live_pages.served(content, control["answer"], port))

        done = threading.Event()
        thread = threading.Thread(target=away_then_back)
        thread.start()
        try:
            given = play(
                """
                const { writeFile } = process.getBuiltinModule("node:fs/promises");
                await page.goto(`${value.link}#photo=chelsea`);
                await said("said", "451 by 300");
                await writeFile(`${value.folder}/away`, "");
                for (let isThere = true; isThere; ) {
                    isThere = await fetch(value.link).then(() => true, () => false);
                }
                await page.selectOption("#size", "256");
                await said("notice-line", "does not answer");
                const line = await page.textContent("#notice-line");
                await writeFile(`${value.folder}/back`, "");
                await said("said", "256 by 170");
                return [line, await page.isHidden("#notice")];
                """,
                link,
                folder=str(tmp_path),
            )
        finally:
            done.set()
            thread.join()

    assert given[0].startswith("The server does not answer. Trying again in ")
    assert given[1]


@pytest.mark.parametrize(
    ("status", "body", "line"),
    [
        (415, json.dumps({"error": "it is not a picture."}).encode(), "it is not a picture."),
        (500, b"<html>", "The server refused it (status 500)."),
        (200, b"short", "The server's reply can't be read: is it of the same version as the page?"),
    ],
)
def test_what_the_server_refuses_is_said(play, content, status, body, line) -> None:
    with live_pages.served(content, lambda *_: (status, {}, body)) as link:
        given = play(
            """
            await page.goto(value.link);
            await said("notice-line", value.line);
            return page.textContent("#notice-line");
            """,
            link,
            line=line,
        )

    assert given == line


def test_a_photo_that_the_server_alone_reads_is_shown(play, content) -> None:
    """As one of a format that the browser lacks; here Targa."""
    photo = np.random.default_rng(4).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(photo).save(file, "TGA")

    with live_pages.served(content, live_pages.negatives) as link:
        given = play(
            """
            await page.goto(`${value.link}#photo=chelsea`);
            await said("said", "451 by 300");
            await page.setInputFiles("#chooser", {
                name: "own.tga", mimeType: "image/x-tga", buffer: Buffer.from(value.file) });
            await said("said", "30 by 40");
            return await result();
            """,
            link,
            file=list(file.getvalue()),
        )

    assert np.array_equal(picture(given), 255 - photo)


def test_frames_go_to_the_server_and_come_back(play, content) -> None:
    with live_pages.served(content, live_pages.negatives) as link:
        given = play(
            SOCKET
            + """
            await page.goto(`${value.link}#photo=chelsea&size=256`);
            await said("said", "256 by 170");
            await page.click("#camera");
            await said("engine-server", "frames/s");
            const differs = await page.evaluate(() => {
                const [before, after] = ["before", "after"].map((id) => {
                    const { width, height } = document.getElementById(id);
                    return document.getElementById(id).getContext("2d")
                        .getImageData(0, 0, width, height).data;
                });
                return before.findIndex((value, i) => i % 4 !== 3 && after[i] !== 255 - value);
            });
            await page.click(".tile:nth-child(4)");
            await page.waitForTimeout(500);
            await said("engine-server", "7.5 ms"); // again, of the other model
            return { ...heard, differs, ms: await page.textContent("#engine-server .ms") };
            """,
            link,
        )

    assert given["differs"] == -1
    assert given["ms"] == "7.5 ms"
    assert given["most"] <= 2
    models = [{"model": name, "precision": "int8"} for name in ("starry-night", "udnie")]
    assert given["texts"] == models


# A server in the place of the socket that refuses the first choices of a model, at once or late.
REFUSING = """
    class Socket extends EventTarget {
        static OPEN = 1;
        static all = [];
        readyState = 0;
        sent = [];
        constructor() {
            super();
            Socket.all.push(this);
            setTimeout(() => {
                if (this.readyState !== 0) return;
                this.readyState = 1;
                this.dispatchEvent(new Event("open"));
            }, value.opening);
        }
        send(message) {
            this.sent.push(typeof message === "string" ? "choice" : "frame");
            const choices = this.sent.filter((own) => own === "choice").length;
            const isGood = choices > value.refused;
            const give = (data) => setTimeout(
                () => this.dispatchEvent(Object.assign(new Event("message"), { data })), 1);
            if (!isGood) give('{"error": "it is too much at a time."}');
            else if (typeof message !== "string") {
                const { buffer } = new Uint8Array([...message.slice(0, 8), 0, 0, 0, 0, 9, 9, 9]);
                give(buffer);
            }
        }
        close() {
            this.readyState = 3;
            this.dispatchEvent(new Event("close"));
        }
    }
    globalThis.WebSocket = Socket;
    const lines = [];
    const stream = new module.FrameStream("http://host/frames", (line) => lines.push(line));
    const stylise = () => stream.stylise(
        { model: "udnie", precision: "int8" }, { data: new Uint8Array(3), height: 1, width: 1 });
    const socket = () => Socket.all[0];
"""


def test_a_model_that_is_refused_is_chosen_again_later(in_node) -> None:
    given = in_node(
        "server-engine.mjs",
        REFUSING
        + """
        const first = await stylise();
        const second = await stylise();
        return [first, [...second.data], socket().sent, lines];
        """,
        {"opening": 1, "refused": 1},
    )

    assert given == [
        None,
        [9, 9, 9],
        ["choice", "frame", "choice", "frame"],
        ["it is too much at a time. Trying again in 1 s.", ""],
    ]


def test_a_connection_that_was_ended_before_it_opened_is_closed(in_node) -> None:
    given = in_node(
        "server-engine.mjs",
        REFUSING
        + """
        const frame = stylise();
        await new Promise((resolve) => setTimeout(resolve, 1));
        stream.end();
        return [await frame, socket().readyState, socket().sent, lines];
        """,
        {"opening": 50, "refused": 0},
    )

    assert given == [None, 3, [], [""]]


def test_a_server_that_is_away_is_not_spoken_of_once_the_device_stylises(play, content) -> None:
    with live_pages.served(content, lambda *_: (503, {}, b"")) as link:
        given = play(
            """
            await page.goto(`${value.link}#photo=chelsea&size=256`);
            await said("notice-line", "does not answer");
            await page.click("#engine-device");
            await said("said", "256 by 170");
            await page.waitForFunction(
                () => document.querySelectorAll(".tile canvas.is-made").length === 4);
            await page.waitForTimeout(300);
            return page.isHidden("#notice");
            """,
            link,
        )

    assert given


def test_a_connection_that_is_refused_is_tried_again_later(play, content) -> None:
    with live_pages.served(content, live_pages.negatives) as link:
        given = play(
            """
            let count = 0;
            await page.routeWebSocket("**/frames", async (socket) => {
                count += 1;
                socket.send(JSON.stringify({ error: "4 cameras are served already." }));
                await socket.close({ code: 1013 });
            });
            await page.goto(`${value.link}#photo=chelsea&size=256`);
            await said("said", "256 by 170");
            await page.click("#camera");
            await said("notice-line", "Trying again");
            const line = await page.textContent("#notice-line");
            await page.waitForTimeout(1000);
            return { line, count };
            """,
            link,
        )

    assert given["line"].startswith("4 cameras are served already. Trying again in ")
    assert given["count"] <= 8  # and not at once, over and over
