"""The live page in headless Chromium."""

import live_pages
import numpy as np
import pytest
from live_pages import STEPS, near, picture, png
from PIL import Image

from nstc.core.images import read_picture
from nstc.core.photos import sample_photos
from nstc.runtime.control import Control, blended
from nstc.runtime.serving.site import SiteLimits
from nstc.runtime.stylizer import Stylizer

pytestmark = pytest.mark.web

PHOTOS = {path.stem: path for path in sample_photos()}


@pytest.fixture(scope="module")
def link(runtime):
    """Of a page without a server, as a folder of some host."""
    with live_pages.served(live_pages.page_content(runtime)) as own:
        yield own


def photo_of(name) -> np.ndarray:
    return read_picture(PHOTOS[name]).rgb


class TestPhotos:
    def test_a_photo_becomes_the_picture_that_python_makes(self, play, link) -> None:
        given = play(
            """
            await open("model=the-scream&photo=chelsea", "The Scream, 451 by 300");
            return await result();
            """,
            link,
        )

        assert near(picture(given), Stylizer("zoo:the-scream")(photo_of("chelsea"))) >= 0.999

    def test_size_and_brush_are_those_of_python(self, play, link) -> None:
        given = play(
            """
            await open("model=udnie&photo=chelsea&size=256&brush=1.5", "Udnie, 256 by 170");
            return await result();
            """,
            link,
        )

        expected = Stylizer("zoo:udnie")(photo_of("chelsea"), size=256, style_scale=1.5)
        assert near(picture(given), expected) >= 0.999

    def test_strength_colours_and_a_second_style_take_no_other_run_of_a_network(
        self, play, link
    ) -> None:
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

        photo = Image.open(PHOTOS["chelsea"]).resize((256, 170), Image.Resampling.BICUBIC)
        control = Control(strength=0.6, preserve_color=True)
        mixed = blended(np.asarray(photo), picture(given["plain"]), control)
        assert np.array_equal(picture(given["mixed"]), mixed)
        assert given["same"]
        other = Stylizer("zoo:udnie")(photo_of("chelsea"), size=256)
        assert near(picture(given["second"]), other) >= 0.999
        assert given["address"].endswith(
            "#model=the-scream&second=udnie&share=1&size=256&photo=chelsea"
        )

    def test_a_style_is_chosen_by_pointer_and_by_keys(self, play, link) -> None:
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

    def test_photos_are_chosen_dropped_and_pasted(self, play, link) -> None:
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

    def test_what_was_chosen_last_is_shown_though_a_sample_comes_later(self, play, link) -> None:
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

    def test_a_photo_is_shown_though_one_that_cannot_be_follows_at_once(self, play, link) -> None:
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

    def test_transparency_is_kept(self, play, link) -> None:
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

    def test_a_photo_is_read_in_bands(self, play, link) -> None:
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

    def test_the_photo_does_not_show_through_a_transparent_result(self, play, link) -> None:
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


class TestFaults:
    def test_a_file_that_is_no_picture_leaves_the_one_on_show(self, play, link) -> None:
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

    def test_limits_of_bytes_and_pixels(self, play, runtime) -> None:
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

    def test_without_onnxruntime_web_the_page_says_how_to_get_it(self, play) -> None:
        with live_pages.served(live_pages.page_content(None)) as link:
            line = play(
                "await page.goto(value.link); await noticed('web-setup'); return notice();", link
            )

        assert line == "onnxruntime-web is not installed: run nstc web-setup."

    def test_an_engine_that_could_not_be_loaded_is_tried_again(self, play, link) -> None:
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

    def test_a_worker_that_is_missing_is_said(self, play, link) -> None:
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

    def test_a_dismissed_line_leaves_the_focus_on_a_button(self, play, link) -> None:
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

    def test_what_is_not_ready_cannot_be_downloaded(self, play, link) -> None:
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

    def test_memory_that_runs_out_asks_for_a_smaller_size(self, play, link) -> None:
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


class TestCamera:
    def test_frames_are_stylised_and_the_last_one_stays(self, play, link) -> None:
        given = play(
            """
            await open("photo=chelsea&size=256", "256 by 170");
            await page.click("#camera");
            await page.waitForFunction(() =>
                document.querySelector("#engine-device .rate").textContent.includes("frames/s"));
            const live = await page.$eval("#after", ({ width, height }) => [width, height]);
            await page.selectOption("#frame", "192");
            await page.waitForFunction(() => document.getElementById("after").width === 192);
            await page.selectOption("#second", "udnie"); // whose frames go with those of the first
            await set("strength", 0);
            await page.waitForFunction(() => {
                const [before, after] = ["before", "after"].map((id) => {
                    const { width, height } = document.getElementById(id);
                    return document.getElementById(id).getContext("2d")
                        .getImageData(0, 0, width, height).data;
                });
                return before.every((value, i) => value === after[i]);
            });
            await page.click("#camera");
            await done("192 by 144");
            await page.waitForFunction(
                () => /strength=0&size=256&frame=192$/.test(location.hash));
            return { live, address: page.url(), text: await page.textContent("#camera-text") };
            """,
            link,
        )

        assert given["live"] == [320, 240]
        assert given["address"].endswith(
            "#model=starry-night&second=udnie&strength=0&size=256&frame=192"
        )
        assert given["text"] == "Camera"

    @pytest.mark.parametrize(
        ("error", "line"),
        [
            ("NotAllowedError", "The camera was refused: allow it for this page in the"),
            ("NotFoundError", "No camera was found on this device."),
        ],
    )
    def test_a_camera_that_is_refused_or_missing(self, play, link, error, line) -> None:
        given = play(
            """
            await page.addInitScript((name) => {
                navigator.mediaDevices.getUserMedia = async () => {
                    throw new DOMException("no", name);
                };
            }, value.error);
            await open("size=256", "Starry Night");
            await page.click("#camera");
            await noticed("camera");
            return [await notice(), await page.textContent("#camera-text")];
            """,
            link,
            error=error,
        )

        assert given[0].startswith(line)
        assert given[1] == "Camera"


# A camera that takes its time, whose tracks are kept; and whether frames still come.
CAMERA = """
    await page.addInitScript(() => {
        window.tracks = [];
        window.frames = 0;
        const own = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
        navigator.mediaDevices.getUserMedia = async (wanted) => {
            await new Promise((resolve) => setTimeout(resolve, 200));
            if (window.refused) throw new DOMException("no", "NotReadableError");
            const stream = await own(wanted);
            window.tracks.push(...stream.getTracks());
            return stream;
        };
        const { putImageData } = CanvasRenderingContext2D.prototype;
        CanvasRenderingContext2D.prototype.putImageData = function (...given) {
            window.frames += this.canvas.id === "after";
            return putImageData.apply(this, given);
        };
    });
    const press = (id, times = 1) => page.evaluate(([id, times]) => {
        for (let i = 0; i < times; i++) document.getElementById(id).click();
    }, [id, times]);
    const filmed = async () => {
        const before = await page.evaluate(() => window.frames);
        await page.waitForFunction((count) => window.frames > count + 5, before);
    };
    const stopped = () => page.waitForFunction(
        () => document.getElementById("camera-text").textContent === "Camera"
            && !document.getElementById("download").disabled
            && !document.querySelector(".is-busy"));
    const live = () => page.evaluate(
        () => window.tracks.filter(({ readyState }) => readyState === "live").length);
    await open("photo=chelsea&size=256&frame=192", "256 by 170");
"""


class TestCameraTurned:
    def test_frames_come_after_a_turn_to_the_other_camera(self, play, link) -> None:
        assert play(
            CAMERA
            + """
            await set("frame", "640"); // long in the network
            await press("camera");
            await filmed();
            for (let i = 0; i < 3; i++) {
                await press("flip");
                await page.waitForFunction((i) => window.tracks.length === i + 2, i);
                await filmed();
            }
            return [await live(), await page.textContent("#camera-text")];
            """,
            link,
        ) == [1, "Stop camera"]

    def test_a_turn_that_fails_leaves_the_last_frame(self, play, link) -> None:
        given = play(
            CAMERA
            + """
            await press("camera");
            await filmed();
            await page.evaluate(() => (window.refused = true));
            await press("flip");
            await stopped();
            return [await live(), await page.textContent("#result-size")];
            """,
            link,
        )

        assert given == [0, "192 × 144"]

    def test_filming_that_fails_leaves_the_last_frame_and_says_why(self, play, link) -> None:
        given = play(
            """
            await page.route("**/filming.mjs", async (route) => {
                const response = await route.fetch();
                const text = await response.text();
                const body = text.replace(
                    "if (fault) throw", "fault ??= window.fault; if (fault) throw");
                await route.fulfill({ response, body });
            });
            """
            + CAMERA
            + """
            await press("camera");
            await filmed();
            await page.evaluate(() => (window.fault = new Error("the network is odd")));
            await noticed("the network is odd");
            await stopped();
            await done("192 by 144");
            await noticed("the network is odd"); // though the last frame could be stylised
            return [await live(), await page.textContent("#result-size"), await notice()];
            """,
            link,
        )

        assert given == [0, "192 × 144", "It failed: the network is odd"]

    def test_one_press_more_while_it_opens_is_one_camera(self, play, link) -> None:
        given = play(
            CAMERA
            + """
            await press("camera", 2);
            await filmed();
            const opened = [await live(), await page.evaluate(() => window.tracks.length)];
            await press("camera");
            await stopped();
            return [opened, await live()];
            """,
            link,
        )

        assert given == [[1, 1], 0]

    def test_a_stopped_run_asks_for_no_more_frames(self, play, link) -> None:
        """Or each start would leave one more loop, each of which takes frames from the others."""
        given = play(
            CAMERA
            + """
            await page.evaluate(() => {
                window.callbacks = 0;
                const own = HTMLVideoElement.prototype.requestVideoFrameCallback;
                HTMLVideoElement.prototype.requestVideoFrameCallback = function (call) {
                    window.callbacks += 1;
                    return own.call(this, (...given) => { window.callbacks -= 1; call(...given); });
                };
            });
            let most = 0;
            for (let i = 0; i < 4; i++) {
                await press("camera");
                await filmed();
                for (let k = 0; k < 10; k++) {
                    await page.waitForTimeout(20);
                    if (i) most = Math.max(most, await page.evaluate(() => window.callbacks));
                }
                await press("camera");
                await stopped();
            }
            return most;
            """,
            link,
        )

        assert given <= 1


class TestUse:
    def test_the_divider_moves_by_keys_and_pointer(self, play, link) -> None:
        given = play(
            """
            await page.emulateMedia({ reducedMotion: "reduce" });
            await open("size=256", "Starry Night");
            const now = () => page.getAttribute("#split", "aria-valuenow").then(Number);
            const seen = [await now()];
            await page.focus("#split");
            for (const key of ["ArrowRight", "PageDown", "Home", "End"]) {
                await page.keyboard.press(key);
                seen.push(await now());
            }
            const { x, y, width, height } = await page.locator("#picture").boundingBox();
            await page.mouse.move(x + width - 5, y + height / 2);
            await page.mouse.down();
            await page.mouse.move(x + width / 4, y + height / 2, { steps: 3 });
            await page.mouse.up();
            await page.mouse.move(x + width / 2, y + height / 2);
            seen.push(await now());
            return [seen, await page.getAttribute("#split", "aria-valuetext")];
            """,
            link,
        )

        assert given == [[50, 52, 42, 0, 100, 25], "25 % photograph, 75 % result"]

    def test_a_link_brings_its_settings_back(self, play, link) -> None:
        given = play(
            """
            await context.grantPermissions(["clipboard-read", "clipboard-write"]);
            await open("model=udnie&photo=coffee&size=256", "Udnie, 256 by 171");
            await set("strength", 1.25);
            await set("brush", 2);
            await page.check("#colors");
            await page.waitForFunction(() => !document.querySelector(".is-busy"));
            await page.click("#copy");
            await done("copied");
            const address = await page.evaluate(() => navigator.clipboard.readText());
            await page.goto("about:blank");
            await page.goto(address);
            await done("Udnie, 256 by 171");
            return [
                await page.inputValue("#strength"), await page.inputValue("#brush"),
                await page.isChecked("#colors"), await page.inputValue("#size"),
                await page.getAttribute(".sample[title=coffee]", "aria-pressed"),
            ];
            """,
            link,
        )

        assert given == ["1.25", "2", True, "256", "true"]

    def test_settings_hold_where_the_address_cannot_be_written(self, play, link) -> None:
        """As in browsers that refuse it after a hundred times in half a minute."""
        given = play(
            """
            await context.grantPermissions(["clipboard-read", "clipboard-write"]);
            await page.addInitScript(() => {
                window.written = 0;
                history.replaceState = () => {
                    window.written += 1;
                    throw new DOMException("The operation is insecure.", "SecurityError");
                };
            });
            await open("model=udnie&photo=chelsea&size=256", "Udnie, 256 by 170");
            await page.evaluate(() => {
                const control = document.getElementById("strength");
                for (let i = 200; i >= 0; i--) {
                    control.value = i / 200;
                    control.dispatchEvent(new Event("input", { bubbles: true }));
                }
            });
            await page.waitForFunction(() => {
                const [before, after] = ["before", "after"].map((id) => {
                    const { width, height } = document.getElementById(id);
                    return document.getElementById(id).getContext("2d")
                        .getImageData(0, 0, width, height).data;
                });
                return before.every((value, i) => value === after[i]);
            });
            await page.click("#copy");
            await done("copied");
            return [
                await page.textContent("#strength-now"),
                await page.evaluate(() => navigator.clipboard.readText()),
                await page.evaluate(() => window.written < 100),
                await page.isHidden("#notice"),
            ];
            """,
            link,
        )

        copied = f"{link}#model=udnie&strength=0&size=256&photo=chelsea"
        assert given == ["0 %", copied, True, True]

    def test_an_address_that_names_another_photo_shows_it(self, play, link) -> None:
        given = play(
            """
            await open("photo=chelsea&size=256", "256 by 170");
            await page.evaluate(() => (location.hash = "#photo=coffee&size=384"));
            await done("384 by 256");
            await page.waitForSelector(".sample[title=coffee][aria-pressed=true]");
            return [await page.inputValue("#size"), await notice()];
            """,
            link,
        )

        assert given == ["384", ""]

    def test_a_linked_style_is_in_view_on_a_phone(self, chromium, link) -> None:
        left, right, scrolled = chromium(
            STEPS
            + """
            await open("model=udnie&size=256", "Udnie");
            const { left, right } = await page.$eval(
                ".tile:nth-child(4)", (tile) => tile.getBoundingClientRect().toJSON());
            return [left, right, await page.evaluate(() => scrollY)];
            """,
            {"link": link},
            viewport={"width": 360, "height": 740},
        )

        assert 0 <= left < right <= 360
        assert scrolled == 0

    def test_nothing_is_asked_of_another_host(self, play, link) -> None:
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


@pytest.mark.parametrize(
    "options",
    [
        {"viewport": {"width": 360, "height": 740}, "colorScheme": "light"},
        {"viewport": {"width": 1280, "height": 800}, "colorScheme": "dark"},
    ],
    ids=["phone", "laptop"],
)
def test_it_is_accessible_and_fits_its_screen(chromium, runtime, axe, options) -> None:
    content = live_pages.page_content(runtime, server=True)
    with live_pages.served(content, live_pages.negatives) as link:
        given = chromium(
            STEPS
            + """
            await page.emulateMedia({ reducedMotion: "reduce" });
            await open("size=256&second=udnie", "Starry Night");
            await page.waitForFunction(
                () => document.querySelectorAll(".tile canvas.is-made").length === 4);
            await choose("broken.png", [1, 2, 3]);
            await noticed("broken.png");
            const { readFile } = process.getBuiltinModule("node:fs/promises");
            await page.evaluate(await readFile(value.axe, "utf8"));
            const { violations } = await page.evaluate(() => axe.run());
            const width = await page.evaluate(() => document.documentElement.scrollWidth);
            return [violations.map(({ id, nodes }) => [id, nodes.map(({ html }) => html)]), width];
            """,
            {"link": link, "axe": str(axe)},
            **options,
        )

    assert given == [[], options["viewport"]["width"]]
