"""Requests to a real server on loopback, and what it answers."""

import io
import struct
import zlib

import numpy as np
import pytest
from noise_pictures import RGB, png
from PIL import Image

from nstc.runtime.serving.guard import SECURITY_HEADERS
from nstc.runtime.serving.served_models import ServedModels, find_models


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that announces that many pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(100_000))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        [chunk(b"IHDR", header), chunk(b"IDAT", rows), chunk(b"IEND", b"")]
    )


class TestFiles:
    def test_by_exact_name_with_its_type(self, serve, tmp_path) -> None:
        path = tmp_path / "code"
        path.write_bytes(b"1;" * 100_000)
        files = {"index.html": b"<p>", "a/app.mjs": path, "x.wasm": b"w", "m.webmanifest": b"{}"}
        files["LICENSES.md"] = b"#"
        server = serve(content=files)
        kinds = {
            "/": (b"<p>", "text/html; charset=utf-8"),
            "/index.html": (b"<p>", "text/html; charset=utf-8"),
            "/a/app.mjs": (path.read_bytes(), "text/javascript"),
            "/x.wasm": (b"w", "application/wasm"),
            "/LICENSES.md": (b"#", "text/plain; charset=utf-8"),
            "/m.webmanifest": (b"{}", "application/manifest+json"),
        }
        for name, (body, kind) in kinds.items():
            reply = server.ask("GET", name)
            assert (reply.status, reply.body, reply.headers["content-type"]) == (200, body, kind)

    @pytest.mark.parametrize(
        "path",
        ["/other", "/a", "/a/", "/../index.html", "/a/../index.html", "/%2e%2e/x", "//index.html"],
    )
    def test_nothing_else(self, serve, path) -> None:
        reply = serve(content={"index.html": b"<p>", "a/b": b""}).ask("GET", path)
        assert reply.status == 404
        assert reply.error == "there is no such page."

    def test_every_reply_has_the_headers_of_a_page_on_its_own(self, serve) -> None:
        server = serve()
        for reply in (
            server.ask("GET"),
            server.ask("GET", "/other"),
            server.stylize(png()),
            server.stylize(b""),
            server.ask("GET", headers={"Origin": "http://elsewhere"}),
        ):
            assert {name: reply.headers.get(name) for name, _value in SECURITY_HEADERS} == dict(
                SECURITY_HEADERS
            )
            assert "server" not in reply.headers

    def test_another_method(self, serve) -> None:
        reply = serve().ask("POST", "/index.html", b"")
        assert (reply.status, reply.error) == (405, "Method Not Allowed.")


class TestPictures:
    def test_both_pictures(self, serve) -> None:
        reply = serve().stylize(png())
        assert reply.status == 200
        assert reply.headers["content-type"] == "application/octet-stream"
        assert reply.headers["nstc-width"] == "30"
        assert reply.headers["nstc-height"] == "20"
        assert reply.headers["nstc-alpha"] == "0"
        assert float(reply.headers["nstc-milliseconds"]) > 0
        assert reply.body == RGB.tobytes() + (255 - RGB).tobytes()

    def test_alpha_comes_last(self, serve) -> None:
        rgba = np.dstack([RGB, RGB[:, :, 0]])
        reply = serve().stylize(png(rgba))
        assert reply.headers["nstc-alpha"] == "1"
        assert reply.body == b"".join(
            own.tobytes() for own in (RGB, 255 - RGB, np.ascontiguousarray(RGB[:, :, 0]))
        )

    def test_of_another_size(self, serve) -> None:
        reply = serve().stylize(png(), "model=negative&size=60")
        assert (reply.headers["nstc-width"], reply.headers["nstc-height"]) == ("60", "40")
        assert len(reply.body) == 2 * 60 * 40 * 3

    def test_scaled_back(self, serve) -> None:
        reply = serve().stylize(png(), "model=negative&precision=float&size=60&upscale=1")
        assert reply.headers["nstc-width"] == "30"
        assert reply.body.startswith(RGB.tobytes())

    def test_a_model_without_int8(self, serve, make_bundle, tmp_path) -> None:
        path = str(make_bundle(tmp_path / "float", artifacts=["float"]).path)
        server = serve(ServedModels(find_models([path])))
        assert server.stylize(png()).body == RGB.tobytes() + (255 - RGB).tobytes()
        assert server.stylize(png(), "model=negative&precision=int8").status == 400

    def test_an_image_type(self, serve) -> None:
        kind = {"Content-Type": "image/png; q=1"}
        assert serve().ask("POST", "/stylize?model=negative", png(), kind).status == 200


REFUSED = [
    ("", 400, "no model was given: add ?model=negative."),
    ("model=", 404, "there is no model ''"),
    ("model=zoo:udnie", 404, "there is no model 'zoo:udnie': expected one of negative."),
    ("model=../../etc/passwd", 404, "there is no model"),
    ("model=" + "x" * 5000, 404, "there is no model"),
    ("model=negative&precision=fp16", 400, "precision is 'fp16': negative has int8 or float."),
    ("model=negative&precision=", 400, "precision is ''"),
    ("model=negative&size=0", 400, "size is 0: expected from 16"),
    ("model=negative&size=-5", 400, "size is '-5': expected a whole number"),
    ("model=negative&size=1e3", 400, "size is '1e3': expected a whole number"),
    ("model=negative&size=" + "9" * 5000, 400, "expected a whole number"),
    ("model=negative&size=65536", 413, "would be scaled to 65536x43691"),
    ("model=negative&size=65536&upscale=1", 413, "would be scaled to"),
    ("model=negative&style_scale=nan", 400, "style_scale is 'nan': expected a number"),
    ("model=negative&style_scale=inf", 400, "style_scale is 'inf': expected a number"),
    ("model=negative&style_scale=0", 400, "style-scale is 0: expected from 0.125 to 8."),
    ("model=negative&style_scale=1.2.3", 400, "expected a number"),
    ("model=negative&style_scale=.", 400, "expected a number"),
    ("model=negative&upscale=yes", 400, "upscale is 'yes': expected 0 or 1."),
    ("model=negative&strength=1", 400, "'strength' is not an option"),
    ("model=negative&model=negative", 400, "model was given twice."),
    ("model=negative&size=%ff%fe", 400, "expected a whole number"),
]


@pytest.mark.parametrize(("query", "status", "told"), REFUSED)
def test_options_that_can_not_be(serve, query, status, told) -> None:
    server = serve()
    reply = server.stylize(png(), query)
    assert reply.status == status
    assert told in reply.error
    assert server.stylize(png()).status == 200


NO_PICTURES = [
    (b"", 415, "the upload is empty"),
    (b"<svg/>", 415, "is not a picture that Pillow can read"),
    (b"\xff\xd8\xff" + bytes(100), 415, "the upload"),
    (png()[:200], 415, "may be truncated"),
    (bomb(60_000, 60_000), 413, "too large for this server: scale it down first."),
    (bomb(10_000, 10_000), 413, "too large for this server: scale it down first."),
    (bomb(5_000, 5_000), 415, "may be truncated"),
]


@pytest.mark.parametrize(("content", "status", "told"), NO_PICTURES)
def test_what_is_no_picture(serve, content, status, told) -> None:
    server = serve()
    reply = server.stylize(content)
    assert reply.status == status
    assert told in reply.error
    assert server.stylize(png()).status == 200


def test_many_frames_count_together(serve) -> None:
    frames = [Image.fromarray(np.full((100, 100), level, np.uint8)) for level in range(20)]
    stream = io.BytesIO()
    frames[0].save(stream, "GIF", save_all=True, append_images=frames[1:])
    assert serve(pixels=199_999).stylize(stream.getvalue()).status == 413
    assert serve(pixels=200_000).stylize(stream.getvalue()).status == 200


@pytest.mark.parametrize("kind", ["", "text/plain", "multipart/form-data; boundary=x", "imagex/y"])
def test_what_a_form_can_send(serve, kind) -> None:
    reply = serve().ask("POST", "/stylize?model=negative", png(), {"Content-Type": kind})
    assert reply.status == 415
    assert "expected image/* or application/octet-stream" in reply.error


class TestFaults:
    def test_a_damaged_model_is_reported_here_and_not_shown_there(self, serve, negatives) -> None:
        models = negatives()
        path = models.by_name["negative"].bundle.path / "model.int8.onnx"
        path.write_bytes(b"nothing")
        server = serve(models)
        reply = server.stylize(png())
        assert reply.status == 500
        assert reply.error == "the server failed: see what nstc printed where it runs."
        assert str(path.parent) in str(server.reported[0])

    def test_a_fault_of_nstc(self, serve, monkeypatch) -> None:
        def fail(*_args: object) -> None:
            raise ValueError("a fault")

        server = serve()
        monkeypatch.setattr("nstc.runtime.serving.web_app.stylised_picture", fail)
        reply = server.stylize(png())
        assert (reply.status, reply.error[:10]) == (500, "the server")
        assert [str(error) for error in server.reported] == ["a fault"]
        assert reply.headers["x-content-type-options"] == "nosniff"
        monkeypatch.undo()
        assert server.stylize(png()).status == 200

    def test_a_full_queue(self, serve, negatives, occupy) -> None:
        models = negatives(most_waiting=1)
        occupy(models)
        models.submit("negative", "int8", lambda _stylizer: None)
        reply = serve(models).stylize(png())
        assert (reply.status, reply.headers["retry-after"]) == (429, "1")
        assert "1 pictures wait" in reply.error
        occupy.end.set()

    def test_more_than_can_be_held(self, serve) -> None:
        server = serve(held_bytes=16_384, body_bytes=4096)
        large = np.random.default_rng(1).integers(0, 2, (64, 64, 3), dtype=np.uint8)
        small = png(np.ascontiguousarray(large[:16, :16]))
        assert server.stylize(png(large)).status in {413, 429}
        assert server.stylize(small).status == 200
        assert server.stylize(small, "model=negative&size=512").status == 429
        assert server.stylize(small).status == 200  # what was held is free again
