"""What the page says and does where something fails, in headless Chromium."""

import live_pages
import numpy as np
import pytest
from live_pages import photo_of, png

from nstc.runtime.serving.site import SiteLimits

pytestmark = pytest.mark.web


def test_a_file_that_is_no_picture_leaves_the_one_on_show(play, link) -> None:
    given = play(
        """
        await open("photo=chelsea&size=256", "256 by 170");
        await choose("broken.png", [...value.file.slice(0, 60), 1, 2, 3]);
        await noticed("broken.png");
        const line = await notice();
        await page.click(".tile:nth-child(2)");
        await done("Great Wave, 256 by 170");
        return [line, await page.isHidden("#notice")];
        """,
        link,
        file=png(photo_of("chelsea")),
    )

    assert given == [
        "broken.png can't be read as a picture: it is damaged, or of a format that this "
        "browser lacks. Choose a JPEG, PNG or WebP file.",
        True,
    ]


def test_limits_of_bytes_and_pixels(play, runtime) -> None:
    content = live_pages.page_content(runtime, limits=SiteLimits(bytes=200_000, pixels=300_000))
    wide = np.zeros((1000, 1000, 3), np.uint8)
    noise = np.random.default_rng(1).integers(0, 256, (300, 300, 3), dtype=np.uint8)

    with live_pages.served(content) as link:
        given = play(
            """
            await open("size=256", "Starry Night");
            await choose("wide.png", value.wide);
            await noticed("wide.png");
            const pixels = await notice();
            await choose("noise.png", value.noise);
            await noticed("noise.png");
            return [pixels, await notice()];
            """,
            link,
            wide=png(wide),
            noise=png(noise),
        )

    assert given == [
        "wide.png has 1000 × 1000 pixels (1 million): the limit is 0.3 million. "
        "Choose a smaller photo.",
        "noise.png has 0.3 MB: the limit is 0.2 MB. Choose a smaller photo.",
    ]


def test_without_onnxruntime_web_the_page_says_how_to_get_it(play) -> None:
    with live_pages.served(live_pages.page_content(None)) as link:
        line = play(
            "await page.goto(value.link); await noticed('web-setup'); return notice();", link
        )

    assert line == "onnxruntime-web is not installed: run nstc web-setup."


def test_an_engine_that_could_not_be_loaded_is_tried_again(play, link) -> None:
    given = play(
        """
        await page.route("**/ort.wasm*.mjs", (route) => route.abort(), { times: 1 });
        await page.goto(`${value.link}#size=256`);
        await noticed("onnxruntime-web can't be loaded");
        const line = await notice();
        await page.click(".tile:nth-child(2)");
        await done("Great Wave");
        return [line, await page.isHidden("#notice")];
        """,
        link,
    )

    assert given[0].endswith(": reload the page.")
    assert given[1]


def test_a_worker_that_is_missing_is_said(play, link) -> None:
    given = play(
        """
        await page.route("**/picture-worker.mjs", (route) => route.abort());
        await page.goto(value.link);
        await noticed("could not be started");
        await page.click("#dismiss");
        await page.click(".sample[title=coffee]");
        await noticed("could not be started");
        return notice();
        """,
        link,
    )

    assert given == ("It failed: ./picture-worker.mjs could not be started: reload the page.")


def test_a_dismissed_line_leaves_the_focus_on_a_button(play, link) -> None:
    given = play(
        """
        await open("size=256", "Starry Night");
        await choose("broken.png", [1, 2, 3]);
        await noticed("broken.png");
        await page.focus("#dismiss");
        await page.keyboard.press("Enter");
        return [await page.isHidden("#notice"),
            await page.evaluate(() => document.activeElement.id)];
        """,
        link,
    )

    assert given == [True, "choose"]


def test_what_is_not_ready_cannot_be_downloaded(play, link) -> None:
    given = play(
        """
        let release;
        await page.route("**/models/udnie/**", async (route) => {
            await new Promise((resolve) => (release = resolve));
            await route.abort();
        });
        const ready = () => page.isEnabled("#download");
        await page.goto(value.link);
        const seen = [await ready()];
        await open("size=256", "Starry Night");
        seen.push(await ready());
        await page.click(".tile:nth-child(4)");
        await page.waitForSelector(".is-busy");
        seen.push(await ready());
        while (!release) await page.waitForTimeout(20);
        release();
        await noticed("It failed");
        seen.push(await ready());
        await page.click(".tile:nth-child(1)");
        await page.waitForFunction(() => !document.getElementById("download").disabled);
        return seen;
        """,
        link,
    )

    assert given == [False, True, False, False]


def test_memory_that_runs_out_asks_for_a_smaller_size(play, link) -> None:
    given = play(
        """
        await page.route("**/engine-worker.mjs", async (route) => {
            const response = await route.fetch();
            const body = (await response.text()).replace(
                "async function timed(session, model, { data, height, width }) {",
                `async function timed(session, model, { data, height, width }) {
                if (height > 160) throw new RangeError("Array buffer allocation failed");`);
            await route.fulfill({ response, body });
        });
        await page.goto(`${value.link}#size=512`);
        await noticed("too many");
        const line = await notice();
        await page.selectOption("#size", "256");
        await choose("small.png", value.file);
        await done("60 by 50");
        return line;
        """,
        link,
        file=png(np.zeros((50, 60, 3), np.uint8)),
    )

    assert given == (
        "512 × 512 pixels are too many for this device's memory: choose a smaller size."
    )
