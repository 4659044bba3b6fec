"""Settings in the page's address: its text in Node, and the page of it in headless Chromium."""

import pytest

pytestmark = pytest.mark.web

READ = "return module.settingsOf(value, module.initialSettings());"
AGAIN = """
    const initial = { ...module.initialSettings(), engine: value.engine };
    return module.fragmentOf(module.settingsOf(value.fragment, initial), initial);
"""


@pytest.mark.parametrize(
    "fragment",
    [
        "",
        "engine=device",
        "model=udnie&strength=0.8",
        "model=udnie&second=the-scream&share=0.25&colors=1&brush=1.5&size=512&engine=server"
        "&precision=float&photo=coffee",
        "size=0",
    ],
)
def test_an_address_says_what_was_set(in_node, fragment):
    """On each kind of page what differs from its own first settings, and nothing else."""
    engines = ["device", "server"]
    given = [
        in_node("settings.mjs", AGAIN, {"fragment": fragment, "engine": own}) for own in engines
    ]

    assert given == [fragment.removeprefix("engine=device"), fragment.replace("&engine=server", "")]


@pytest.mark.parametrize(
    ("fragment", "field", "initial"),
    [
        ("#strength=7", "strength", 1),
        ("#strength=", "strength", 1),
        ("#strength=nan", "strength", 1),
        ("#size=12345678", "size", 1024),
        ("#engine=elsewhere", "engine", "device"),
        ("#model=<script>", "model", ""),
        ("#precision=int3", "precision", "auto"),
    ],
)
def test_what_is_out_of_bounds_is_left_out(in_node, fragment, field, initial):
    assert in_node("settings.mjs", READ, fragment)[field] == initial


def test_a_link_brings_its_settings_back(play, link) -> None:
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


def test_settings_hold_where_the_address_cannot_be_written(play, link) -> None:
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
        await isPhotograph();
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


def test_an_address_that_names_another_photo_shows_it(play, link) -> None:
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
