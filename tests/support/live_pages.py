"""The live page as a folder of a host, and a small server beside it."""

import contextlib
import http.server
import io
import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
from PIL import Image, UnidentifiedImageError

import nstc.runtime.serving
from nstc.core.bundle import open_bundle
from nstc.core.images import Pixels, read_picture
from nstc.core.photos import sample_photos
from nstc.runtime.serving import guard
from nstc.runtime.serving.site import (
    INDEX,
    SERVICE_WORKER,
    USUAL_LIMITS,
    SiteLimits,
    included_photos,
    offered_models,
    site_content,
)
from nstc.runtime.serving.web_runtime import WebRuntime

PAGE = Path(nstc.runtime.serving.__file__).parent / "page"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css",
    ".mjs": "text/javascript",
    ".js": "text/javascript",
    ".json": "application/json",
    ".wasm": "application/wasm",
    ".svg": "image/svg+xml",
    ".jpg": "image/jpeg",
    ".webmanifest": "application/manifest+json",
}
HEADERS = {name.title(): value for name, value in guard.SECURITY_HEADERS}
STYLES = ("starry-night", "great-wave", "the-scream", "udnie")
PHOTOS = ("astronaut", "chelsea", "coffee")
PHOTO_FILES = {path.stem: path for path in sample_photos()}

# Of scripts: the bytes of the downloaded result, waits, some of them for a result that is the
# photograph, and a setting by its control.
STEPS = """
    const result = async () => {
        const [file] = await Promise.all([page.waitForEvent("download"), page.click("#download")]);
        const { readFile } = process.getBuiltinModule("node:fs/promises");
        return [...await readFile(await file.path())];
    };
    const said = (id, text) => page.waitForFunction(
        ([id, text]) => document.getElementById(id).textContent.includes(text), [id, text]);
    const done = (text) => said("said", text);
    const noticed = (text) => said("notice-line", text);
    const notice = () => page.textContent("#notice-line");
    const set = (id, to) => page.$eval(`#${id}`, (control, to) => {
        control.value = to;
        control.dispatchEvent(new Event("input", { bubbles: true }));
        control.dispatchEvent(new Event("change", { bubbles: true }));
    }, to);
    const choose = (name, bytes) => page.setInputFiles("#chooser", {
        name, mimeType: "image/png", buffer: Buffer.from(bytes) });
    const open = async (settings, text) => {
        await page.goto(`${value.link}#${settings}`);
        await done(text);
    };
    const isPhotograph = () => page.waitForFunction(() => {
        const [before, after] = ["before", "after"].map((id) => {
            const { width, height } = document.getElementById(id);
            return document.getElementById(id).getContext("2d")
                .getImageData(0, 0, width, height).data;
        });
        return before.every((value, i) => value === after[i]);
    });
"""

# Of scripts with axe-core's file as `value.axe`: what it finds on the page.
AUDIT = """
    const { readFile } = process.getBuiltinModule("node:fs/promises");
    const axeCore = await readFile(value.axe, "utf8");
    const audit = async () => {
        await page.evaluate(axeCore);
        const { violations } = await page.evaluate(() => axe.run());
        return violations.map(({ id, nodes }) => [id, nodes.map(({ html }) => html)]);
    };
    const widthOf = () => page.evaluate(() => document.documentElement.scrollWidth);
"""

SCREENS = {
    "phone": {"viewport": {"width": 360, "height": 740}, "colorScheme": "light"},
    "laptop": {"viewport": {"width": 1280, "height": 800}, "colorScheme": "dark"},
}

Content = Mapping[str, bytes | Path]
Reply = tuple[int, Mapping[str, str], bytes]
Answer = Callable[[str, Mapping[str, str], bytes], Reply]  # to a path, its options, and a body


def page_content(
    runtime: WebRuntime | None, *, server: bool = False, limits: SiteLimits = USUAL_LIMITS
) -> Content:
    """Every file of the page by its address, without the service worker, which keeps them."""
    models = offered_models((open_bundle(f"zoo:{style}"), ("int8", "float")) for style in STYLES)
    photos = included_photos(PHOTOS)
    own = site_content(models, server=server, runtime=runtime, photos=photos, limits=limits)
    content = {name: file for name, file in own.items() if name != SERVICE_WORKER}
    return content | {"": content[INDEX]}


def photo_of(name: str) -> Pixels:
    """The pixels of a sample photograph."""
    return read_picture(PHOTO_FILES[name]).rgb


def picture(values: Sequence[int]) -> Pixels:
    """The pixels of an image file's bytes."""
    return np.asarray(Image.open(io.BytesIO(bytes(values))))


def png(pixels: Pixels) -> list[int]:
    """The bytes of an image file of pixels."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return list(file.getvalue())


def near(pixels: Pixels, expected: Pixels) -> float:
    """Share of values at most one level apart, as other machines' sums may be."""
    assert pixels.shape == expected.shape
    return float((np.abs(pixels.astype(int) - expected) <= 1).mean())


@contextlib.contextmanager
def served(content: Content, answer: Answer | None = None, port: int = 0) -> Iterator[str]:
    """Serve files by their exact addresses, and requests that `answer` answers; yields the link."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            own = content.get(self.path.removeprefix("/").partition("?")[0])
            if own is None:
                self.give(404, {}, b"there is no such page")
                return
            body = own if isinstance(own, bytes) else own.read_bytes()
            suffix = Path(self.path.partition("?")[0]).suffix or ".html"
            self.give(200, {"Content-Type": TYPES.get(suffix, "application/octet-stream")}, body)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            split = urlsplit(self.path)
            options = {name: values[0] for name, values in parse_qs(split.query).items()}
            reply = (404, {}, b"") if answer is None else answer(split.path, options, body)
            self.give(*reply)

        def give(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
            self.send_response_only(status)
            for name, value in {**HEADERS, **headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Keeps the test's output clean."""

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

        def handle_error(self, *_: object) -> None:
            """A browser drops connections when a page is closed."""

    with Server(("127.0.0.1", port), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


def negatives(path: str, options: Mapping[str, str], body: bytes) -> Reply:
    """What a server's `stylize` gives for a network by which a picture becomes its negative."""
    try:
        photo = np.asarray(Image.open(io.BytesIO(body)).convert("RGB"))
    except UnidentifiedImageError:
        return 415, {}, json.dumps({"error": "it is not a picture."}).encode()
    if "size" in options:
        size = int(options["size"])
        scale = size / max(photo.shape[:2])
        height, width = (max(1, round(side * scale)) for side in photo.shape[:2])
        image = Image.fromarray(photo).resize((width, height), Image.Resampling.BICUBIC)
        photo = np.asarray(image)
    headers = {
        "Nstc-Width": str(photo.shape[1]),
        "Nstc-Height": str(photo.shape[0]),
        "Nstc-Alpha": "0",
        "Nstc-Milliseconds": "12.5",
    }
    return 200, headers, photo.tobytes() + (255 - photo).tobytes()
