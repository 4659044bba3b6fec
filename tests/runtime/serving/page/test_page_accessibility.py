"""The page by keys, on small screens and for assistive technology, in headless Chromium."""

import live_pages
import pytest
from live_pages import AUDIT, SCREENS, STEPS

pytestmark = pytest.mark.web


def test_the_divider_moves_by_keys_and_pointer(play, link) -> None:
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


def test_a_linked_style_is_in_view_on_a_phone(chromium, link) -> None:
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


@pytest.mark.parametrize("options", SCREENS.values(), ids=SCREENS)
def test_it_is_accessible_and_fits_its_screen(chromium, runtime, axe, options) -> None:
    content = live_pages.page_content(runtime, server=True)
    with live_pages.served(content, live_pages.negatives) as link:
        given = chromium(
            STEPS
            + AUDIT
            + """
            await page.emulateMedia({ reducedMotion: "reduce" });
            await open("size=256&second=udnie", "Starry Night");
            await page.waitForFunction(
                () => document.querySelectorAll(".tile canvas.is-made").length === 4);
            await choose("broken.png", [1, 2, 3]);
            await noticed("broken.png");
            return [await audit(), await widthOf()];
            """,
            {"link": link, "axe": str(axe)},
            **options,
        )

    assert given == [[], options["viewport"]["width"]]
