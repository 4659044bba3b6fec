"""Photographs on the page, in headless Chromium: chosen, stylised, shown and downloaded."""

import numpy as np
import pytest
from live_pages import PHOTO_FILES, near, photo_of, picture, png
from PIL import Image

from nstc.runtime.control import Control, blended
from nstc.runtime.stylizer import Stylizer

pytestmark = pytest.mark.web


def test_a_photo_becomes_the_picture_that_python_makes(play, link) -> None:
    given = play(
        """
        await open("model=the-scream&photo=chelsea", "The Scream, 451 by 300");
        return await result();
        """,
        link,
    )

    assert near(picture(given), Stylizer("zoo:the-scream")(photo_of("chelsea"))) >= 0.999


def test_size_and_brush_are_those_of_python(play, link) -> None:
    given = play(
        """
        await open("model=udnie&photo=chelsea&size=256&brush=1.5", "Udnie, 256 by 170");
        return await result();
        """,
        link,
    )

    expected = Stylizer("zoo:udnie")(photo_of("chelsea"), size=256, style_scale=1.5)
    assert near(picture(given), expected) >= 0.999


def test_strength_colours_and_a_second_style_take_no_other_run_of_a_network(play, link) -> None:
    given = play(
        """
        await open("model=the-scream&photo=chelsea&size=256", "The Scream");
        const plain = await result();
        const time = await page.textContent("#time");
        await set("strength", 0.6);
        await page.check("#colors");
        await page.waitForFunction(() => location.hash.includes("colors=1"));
        const mixed = await result();
        const same = time === await page.textContent("#time");
        await page.uncheck("#colors");
        await page.selectOption("#second", "udnie");
        await done("The Scream");
        await page.waitForFunction(() => !document.querySelector(".is-busy"));
        await set("strength", 1);
        await set("share", 1);
        await page.waitForFunction(() => location.hash.includes("share=1"));
        return { plain, mixed, same, second: await result(), address: page.url() };
        """,
        link,
    )

    photo = Image.open(PHOTO_FILES["chelsea"]).resize((256, 170), Image.Resampling.BICUBIC)
    control = Control(strength=0.6, preserve_color=True)
    mixed = blended(np.asarray(photo), picture(given["plain"]), control)
    assert np.array_equal(picture(given["mixed"]), mixed)
    assert given["same"]
    other = Stylizer("zoo:udnie")(photo_of("chelsea"), size=256)
    assert near(picture(given["second"]), other) >= 0.999
    assert given["address"].endswith(
        "#model=the-scream&second=udnie&share=1&size=256&photo=chelsea"
    )


def test_a_style_is_chosen_by_pointer_and_by_keys(play, link) -> None:
    assert (
        play(
            """
        await open("size=256", "Starry Night");
        await page.click(".tile:nth-child(4)");
        await done("Udnie");
        await page.keyboard.press("ArrowLeft");
        await done("The Scream");
        await page.waitForFunction(
            () => document.querySelectorAll(".tile canvas.is-made").length === 4);
        return page.textContent("#after-name");
        """,
            link,
        )
        == "The Scream"
    )


def test_photos_are_chosen_dropped_and_pasted(play, link) -> None:
    sizes = [(20, 30), (31, 21), (22, 32)]
    files = [png(np.zeros((*size, 3), np.uint8)) for size in sizes]

    play(
        """
        await open("size=256", "Starry Night");
        await choose("one.png", value.files[0]);
        await done("30 by 20");
        for (const [kind, i] of [["drop", 1], ["paste", 2]]) {
            await page.evaluate(([kind, bytes]) => {
                const data = new DataTransfer();
                data.items.add(new File([new Uint8Array(bytes)], "own.png"));
                document.dispatchEvent(kind === "paste"
                    ? new ClipboardEvent(kind, { clipboardData: data, bubbles: true })
                    : new DragEvent(kind, { dataTransfer: data, bubbles: true }));
            }, [kind, value.files[i]]);
            await done(["30 by 20", "21 by 31", "32 by 22"][i]);
        }
        """,
        link,
        files=files,
    )


def test_what_was_chosen_last_is_shown_though_a_sample_comes_later(play, link) -> None:
    given = play(
        """
        await open("photo=chelsea&size=256&frame=192", "256 by 170");
        let release;
        await page.route("**/photos/coffee.jpg", async (route) => {
            await new Promise((resolve) => (release = resolve));
            await route.continue();
        });
        const late = async () => {
            const arrived = page.waitForResponse("**/photos/coffee.jpg");
            release();
            await (await arrived).finished();
            await page.waitForTimeout(200);
        };
        await page.click(".sample[title=coffee]");
        await choose("own.png", value.file);
        await done("30 by 20");
        await late();
        const seen = [await page.textContent("#result-size")];
        await page.click(".sample[title=coffee]");
        await page.click("#camera");
        await page.waitForFunction(() => document.getElementById("after").width === 192);
        await late();
        seen.push(await page.textContent("#camera-text"));
        seen.push(await page.$$eval(".sample[aria-pressed=true]", (all) => all.length));
        return seen;
        """,
        link,
        file=png(np.zeros((20, 30, 3), np.uint8)),
    )

    assert given == ["30 × 20", "Stop camera", 0]


def test_a_photo_is_shown_though_one_that_cannot_be_follows_at_once(play, link) -> None:
    given = play(
        """
        await open("photo=chelsea&size=256", "256 by 170");
        await page.evaluate((files) => {
            for (const bytes of files) {
                const data = new DataTransfer();
                data.items.add(new File([new Uint8Array(bytes)], "own.png"));
                document.dispatchEvent(
                    new DragEvent("drop", { dataTransfer: data, bubbles: true }));
            }
        }, [value.file, [1, 2, 3]]);
        await done("30 by 20");
        await page.click(".tile:nth-child(2)");
        await done("Great Wave, 30 by 20");
        return await result();
        """,
        link,
        file=png(np.zeros((20, 30, 3), np.uint8)),
    )

    assert picture(given).shape == (20, 30, 3)


def test_transparency_is_kept(play, link) -> None:
    photo = np.full((24, 24, 4), 200, np.uint8)
    photo[:12, :, 3] = 0

    given = play(
        """
        await open("size=256", "Starry Night");
        await choose("own.png", value.file);
        await done("24 by 24");
        return await result();
        """,
        link,
        file=png(photo),
    )

    assert np.array_equal(picture(given)[:, :, 3], photo[:, :, 3])


def test_a_photo_is_read_in_bands(play, link) -> None:
    """As one of many pixels, for which a phone has no canvas."""
    photo = np.random.default_rng(3).integers(0, 256, (37, 50, 4), dtype=np.uint8)
    photo[:, :, 3] = 255
    photo[9:12, 5:, 3] = 0
    photo[9:12, 5:, :3] = 0

    given = play(
        """
        let count = 0;
        await page.route("**/picture-worker.mjs", async (route) => {
            const response = await route.fetch();
            const text = await response.text();
            const body = text.replace("MOST_CANVAS = 2 ** 22", "MOST_CANVAS = 500");
            count += body !== text;
            await route.fulfill({ response, body });
        });
        await open("size=256&strength=0", "Starry Night");
        await choose("own.png", value.file);
        await done("50 by 37");
        return [count, await result()];
        """,
        link,
        file=png(photo),
    )

    assert given[0] == 1
    assert np.array_equal(picture(given[1]), photo)


def test_the_photo_does_not_show_through_a_transparent_result(play, link) -> None:
    given = play(
        """
        await page.emulateMedia({ reducedMotion: "reduce" });
        await open("photo=chelsea&size=256", "256 by 170");
        await choose("own.png", value.file);
        await done("24 by 24");
        const { x, y, width, height } = await page.locator("#picture").boundingBox();
        const clip = { x: x + 0.8 * width, y: y + height / 2, width: 4, height: 4 };
        const shot = async () => [...await page.screenshot({ clip })];
        const both = await shot();
        await page.$eval("#before", (canvas) => (canvas.style.visibility = "hidden"));
        return [both, await shot()];
        """,
        link,
        file=png(np.full((24, 24, 4), (220, 30, 40, 100), np.uint8)),
    )

    assert np.array_equal(picture(given[0]), picture(given[1]))


def test_nothing_is_asked_of_another_host(play, link) -> None:
    asked = play(
        """
        const asked = [];
        page.on("request", (request) => asked.push(request.url()));
        await open("size=256", "Starry Night");
        return asked;
        """,
        link,
    )

    assert len(asked) > 10
    assert all(address.startswith(link) for address in asked)
