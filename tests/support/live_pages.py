"""The live page as a folder of a host, and a small server beside it."""

import contextlib
import http.server
import io
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
from PIL import Image, UnidentifiedImageError

import nstc.runtime.serving
from nstc.core import zoo
from nstc.core.photos import sample_photos

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
HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; connect-src 'self'; style-src 'self'; "
    "img-src 'self'; manifest-src 'self'; script-src 'self' 'wasm-unsafe-eval'; "
    "worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
TITLES = {
    "starry-night": "Starry Night",
    "great-wave": "Great Wave",
    "the-scream": "The Scream",
    "udnie": "Udnie",
}

Content = Mapping[str, bytes | Path]
Reply = tuple[int, Mapping[str, str], bytes]
Answer = Callable[[str, Mapping[str, str], bytes], Reply]  # to a path, its options, and a body


def page_content(dist: Path, **changed: Any) -> Content:
    """Every file of the page by its address; `changed` are fields of site.json."""
    content: dict[str, bytes | Path] = {
        path.name: path for path in PAGE.iterdir() if path.name != "service-worker.js"
    }
    content[""] = PAGE / "index.html"
    photos = [path for path in sample_photos() if path.stem in ("astronaut", "chelsea", "coffee")]
    content |= {f"photos/{path.name}": path for path in photos}
    content |= {f"runtime/{path.name}": path for path in dist.glob("ort*") if path.is_file()}
    models = []
    for name, title in TITLES.items():
        files = []
        for precision, file, kind in (
            ("int8", "model.int8.onnx", "uint8"),
            ("float", "model.onnx", "float32"),
        ):
            path = zoo.resolve_model_path(f"zoo:{name}") / file
            address = f"models/{name}/{file}"
            content[address] = path
            files.append(
                {
                    "precision": precision,
                    "file": address,
                    "bytes": path.stat().st_size,
                    "input": "image",
                    "output": "stylized",
                    "dtype": kind,
                }
            )
        models.append(
            {"name": name, "title": title, "server": [], "browser": files, "size_multiple": 1}
        )
    site = {
        "schema": "nstc.site/1",
        "version": "0.0.0",
        "server": False,
        "photos": [{"name": path.stem, "file": f"photos/{path.name}"} for path in photos],
        "models": models,
        "runtime": {"folder": "runtime/", "version": "0.0.0", "webgpu": False},
        "limits": {"bytes": 33554432, "pixels": 50_000_000},
    }
    if changed.get("server"):
        for model in models:
            model["server"] = ["int8", "float"]
    content["site.json"] = json.dumps(site | changed).encode()
    return content


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
