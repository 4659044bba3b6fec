"""The page and a camera, in headless Chromium with an artificial one."""

import pytest

pytestmark = pytest.mark.web


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
            await isPhotograph();
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
