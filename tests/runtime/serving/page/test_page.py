"""The live page in headless Chromium."""

import io

import live_pages
import numpy as np
import pytest
from PIL import Image

from nstc.core.images import read_picture
from nstc.core.photos import sample_photos
from nstc.runtime.stylizer import Stylizer

pytestmark = pytest.mark.web

PHOTOS = {path.stem: path for path in sample_photos()}

# Of scripts: the bytes of the downloaded result, and the wait for a result that is not stale.
RESULT = """
    const result = async () => {
        const [file] = await Promise.all([page.waitForEvent("download"), page.click("#download")]);
        const { readFile } = process.getBuiltinModule("node:fs/promises");
        return [...await readFile(await file.path())];
    };
    const done = (text) => page.waitForFunction(
        (text) => document.getElementById("said").textContent.includes(text), text);
"""


@pytest.fixture(scope="module")
def link(dist):
    """Of a page without a server, as a folder of some host."""
    with live_pages.served(live_pages.page_content(dist)) as own:
        yield own


def picture(values) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(bytes(values))))


def near(pixels, expected) -> float:
    """Share of values at most one level apart, as other machines' sums may be."""
    assert pixels.shape == expected.shape
    return float((np.abs(pixels.astype(int) - expected) <= 1).mean())


class TestDevice:
    def test_a_photo_becomes_the_picture_that_python_makes(self, chromium, link) -> None:
        given = chromium(
            RESULT
            + """
            await page.goto(value.link + "#model=the-scream&photo=chelsea");
            await done("The Scream, 451 by 300");
            return await result();
            """,
            {"link": link},
        )

        photo = read_picture(PHOTOS["chelsea"]).rgb
        assert near(picture(given), Stylizer("zoo:the-scream")(photo)) >= 0.999
