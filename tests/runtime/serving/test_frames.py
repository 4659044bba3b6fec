"""Frames of a camera through a WebSocket."""

import json
import struct
import threading

import numpy as np
import pytest
from noise_pictures import RGB
from websockets.exceptions import ConnectionClosed, InvalidStatus

from nstc.runtime.serving.served_models import ServedModels
from nstc.runtime.stylizer import Stylizer

CHOICE = json.dumps({"model": "negative", "precision": "int8"})


def message(number: int, rgb: np.ndarray = RGB) -> bytes:
    height, width = rgb.shape[:2]
    return struct.pack("<IHH", number, width, height) + rgb.tobytes()


def heard(camera) -> str | bytes:
    return camera.recv(timeout=60)


def number_of(reply: bytes) -> int:
    return int(struct.unpack_from("<I", reply)[0])


@pytest.fixture
def slow(monkeypatch):
    """Lets the network wait: `begun` is released when a frame is at work, `go` lets it end."""
    begun, go = threading.Semaphore(0), threading.Semaphore(0)
    transfer = Stylizer.transfer

    def waiting(self, rgb):
        begun.release()
        assert go.acquire(timeout=60)
        return transfer(self, rgb)

    monkeypatch.setattr(Stylizer, "transfer", waiting)
    yield begun, go
    for _ in range(100):  # whatever is at work still
        go.release()


class TestStylised:
    def test_a_frame(self, serve) -> None:
        with serve().camera() as camera:
            camera.send(CHOICE)
            assert json.loads(heard(camera)) == {"ready": "negative"}
            camera.send(message(7))
            reply = heard(camera)
        number, width, height, milliseconds = struct.unpack_from("<IHHf", reply)
        assert (number, width, height) == (7, 30, 20)
        assert milliseconds > 0
        assert reply[12:] == (255 - RGB).tobytes()

    def test_frames_of_several_sizes(self, serve) -> None:
        with serve().camera() as camera:
            camera.send(CHOICE)
            heard(camera)
            for number, rgb in enumerate((RGB, RGB[:1, :1], RGB[:, :7])):
                camera.send(message(number, rgb))
                reply = heard(camera)
                assert number_of(reply) == number
                assert reply[12:] == (255 - rgb).tobytes()

    def test_another_model(self, serve) -> None:
        with serve().camera() as camera:
            for precision in ("int8", "float"):
                camera.send(json.dumps({"model": "negative", "precision": precision}))
                assert json.loads(heard(camera)) == {"ready": "negative"}
                camera.send(message(1))
                assert heard(camera)[12:] == (255 - RGB).tobytes()

    def test_a_frame_right_after_the_choice(self, serve) -> None:
        with serve().camera() as camera:
            camera.send(CHOICE)
            camera.send(message(3))
            assert json.loads(heard(camera)) == {"ready": "negative"}
            assert number_of(heard(camera)) == 3

    def test_frames_that_come_while_it_is_opened_wait(self, serve, negatives, occupy) -> None:
        models = negatives()
        occupy(models)
        with serve(models).camera() as camera:
            camera.send(CHOICE)
            camera.send(message(1))
            camera.send("no choice")  # answered at once: by then the others were read
            assert "can't be read" in json.loads(heard(camera))["error"]
            camera.send(message(2))
            camera.send("no choice")
            assert "can't be read" in json.loads(heard(camera))["error"]
            occupy.end.set()
            assert json.loads(heard(camera)) == {"ready": "negative"}
            assert number_of(heard(camera)) == 2

    def test_a_frame_is_given_to_the_last_of_two_quick_choices(
        self, serve, negatives, occupy, eventually, monkeypatch
    ) -> None:
        models, used = negatives(2), []
        submit = ServedModels.submit

        def noted(self, name, precision, work):
            used.append((name, work.__name__))
            return submit(self, name, precision, work)

        monkeypatch.setattr(ServedModels, "submit", noted)
        server = serve(models)
        with server.camera() as camera:
            camera.send(CHOICE)
            heard(camera)
            occupy(models, "negative-2")
            camera.send(json.dumps({"model": "negative-2", "precision": "int8"}))
            eventually(lambda: models.waiting == 1)
            camera.send(CHOICE)
            camera.send(message(1))
            camera.send("no choice")
            assert "can't be read" in json.loads(heard(camera))["error"]
            occupy.end.set()
            assert json.loads(heard(camera)) == {"ready": "negative-2"}
            assert json.loads(heard(camera)) == {"ready": "negative"}
            assert number_of(heard(camera)) == 1
        assert used[-1] == ("negative", "stylised")


class TestNewestWins:
    def test_what_was_replaced_is_never_answered(self, serve, slow) -> None:
        begun, go = slow
        server = serve()
        with server.camera() as camera:
            camera.send(CHOICE)
            heard(camera)
            camera.send(message(1))
            assert begun.acquire(timeout=60)
            for number in (2, 3, 4):
                camera.send(message(number))
            camera.send("no choice")  # answered at once: by then the others were read
            assert "error" in json.loads(heard(camera))
            go.release()
            assert number_of(heard(camera)) == 1
            go.release()
            assert number_of(heard(camera)) == 4

    def test_a_frame_for_the_model_before_is_not_given_to_the_next(self, serve, slow) -> None:
        begun, go = slow
        with serve().camera() as camera:
            camera.send(CHOICE)
            heard(camera)
            camera.send(message(1))
            assert begun.acquire(timeout=60)
            camera.send(message(2))
            camera.send(json.dumps({"model": "negative", "precision": "float"}))
            camera.send("no choice")  # answered at once: by then the others were read
            assert "error" in json.loads(heard(camera))
            go.release(10)
            assert number_of(heard(camera)) == 1
            assert json.loads(heard(camera)) == {"ready": "negative"}
            camera.send(message(3))
            assert number_of(heard(camera)) == 3

    def test_a_flood_is_read_and_not_kept(self, serve, slow) -> None:
        begun, go = slow
        server = serve()
        large = np.zeros((500, 600, 3), np.uint8)
        with server.camera() as camera:
            camera.send(CHOICE)
            heard(camera)
            camera.send(message(0, RGB))
            assert begun.acquire(timeout=60)
            for number in range(1, 60):  # 54 MB, more than any buffer on the way
                camera.send(message(number, large))
            assert server.held < 2 * large.nbytes + 100_000
            go.release()
            assert number_of(heard(camera)) == 0
            go.release(100)
            answered = [number_of(heard(camera))]
            while answered[-1] < 59:
                answered.append(number_of(heard(camera)))
        assert answered == sorted(set(answered))
        assert len(answered) < 30  # some may still come while the first ones are answered

    def test_who_leaves_gives_up_its_place(self, serve, negatives, occupy, eventually) -> None:
        models = negatives()
        server = serve(models)
        occupy(models)
        with server.camera() as camera:
            camera.send(CHOICE)
            eventually(lambda: models.waiting == 1)
        eventually(lambda: models.waiting == 0)
        occupy.end.set()

    def test_also_in_the_middle_of_a_frame(self, serve, slow, eventually) -> None:
        begun, go = slow
        server = serve(streams=1)
        with server.camera() as camera:
            camera.send(CHOICE)
            heard(camera)
            camera.send(message(1))
            assert begun.acquire(timeout=60)
        eventually(lambda: server.held == 0)
        go.release(10)
        with server.camera() as other:
            other.send(CHOICE)
            assert json.loads(heard(other)) == {"ready": "negative"}
            other.send(message(2))
            assert number_of(heard(other)) == 2


WRONG_TEXTS = [
    "",
    "{",
    "[]",
    "null",
    "{}",
    '{"model": 5}',
    '{"model": "negative", "precision": "int8", "size": 5}',
    '{"model": "negative", "precision": NaN}',
    '{"model": "' + "x" * 5000 + '"}',
    "[" * 4000,
    json.dumps({"model": "positive", "precision": "int8"}),
    json.dumps({"model": "negative", "precision": "fp16"}),
]
WRONG_FRAMES = [
    b"",
    b"1234567",
    struct.pack("<IHH", 1, 0, 0),
    struct.pack("<IHH", 1, 0, 5) + bytes(15),
    struct.pack("<IHH", 1, 5, 5),
    struct.pack("<IHH", 1, 5, 5) + bytes(74),
    struct.pack("<IHH", 1, 5, 5) + bytes(76),
    struct.pack("<IHH", 1, 65535, 65535) + bytes(75),
]


class TestWrong:
    @pytest.mark.parametrize("wrong", [*WRONG_TEXTS, *WRONG_FRAMES])
    def test_it_is_told_and_the_connection_stays(self, serve, wrong) -> None:
        with serve().camera() as camera:
            if isinstance(wrong, bytes):
                camera.send(CHOICE)
                heard(camera)
            camera.send(wrong)
            (told,) = json.loads(heard(camera)).items()
            assert told[0] == "error"
            assert told[1].endswith((".", "]", "}"))
            camera.send(CHOICE)
            assert json.loads(heard(camera)) == {"ready": "negative"}
            camera.send(message(2))
            assert number_of(heard(camera)) == 2

    def test_a_frame_before_the_choice(self, serve) -> None:
        with serve().camera() as camera:
            camera.send(message(1))
            assert "choose a model first" in json.loads(heard(camera))["error"]

    def test_more_than_any_frame_has(self, serve) -> None:
        server = serve(frame_pixels=1000)
        with server.camera() as camera:
            camera.send(bytes(5000))
            with pytest.raises(ConnectionClosed) as closed:
                heard(camera)
        assert closed.value.sent is not None
        assert closed.value.sent.code == 1009  # message too big
        with server.camera() as camera:
            camera.send(CHOICE)
            assert json.loads(heard(camera)) == {"ready": "negative"}

    @pytest.mark.parametrize("origin", ["http://elsewhere.example", "null"])
    def test_a_page_of_another_site(self, serve, origin) -> None:
        with pytest.raises(InvalidStatus) as refused, serve().camera(origin=origin):
            pass
        assert refused.value.response.status_code == 403

    def test_a_forged_address(self, serve) -> None:
        server = serve()
        client = server.raw(
            b"GET /frames HTTP/1.1\r\nHost: elsewhere\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        assert client.recv(100).startswith(b"HTTP/1.1 403 ")

    def test_a_model_that_fails(self, serve, negatives) -> None:
        models = negatives()
        (models.by_name["negative"].bundle.path / "model.int8.onnx").write_bytes(b"nothing")
        server = serve(models)
        with server.camera() as camera:
            camera.send(CHOICE)
            told = json.loads(heard(camera))["error"]
            assert told == "the server failed: see what nstc printed where it runs."
            assert len(server.reported) == 1
            camera.send(json.dumps({"model": "negative", "precision": "float"}))
            assert json.loads(heard(camera)) == {"ready": "negative"}


class TestHowMany:
    def test_one_too_many_is_told_so(self, serve) -> None:
        server = serve(streams=1)
        with server.camera() as first:
            first.send(CHOICE)
            heard(first)
            with server.camera() as second:
                assert "1 cameras are served already" in json.loads(heard(second))["error"]
                with pytest.raises(ConnectionClosed) as closed:
                    heard(second)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1013  # try again later
            first.send(message(1))
            assert number_of(heard(first)) == 1

    def test_one_that_waits_for_its_answer_stays(self, serve, slow, monkeypatch) -> None:
        monkeypatch.setattr("nstc.runtime.serving.frames.QUIET_S", 1e-9)
        begun, go = slow
        server = serve(streams=1)
        with server.camera() as first:
            first.send(CHOICE)
            heard(first)
            first.send(message(1))
            assert begun.acquire(timeout=60)
            with server.camera() as second:
                assert "1 cameras are served already" in json.loads(heard(second))["error"]
            go.release()
            assert number_of(heard(first)) == 1

    def test_one_that_says_nothing_goes(self, serve, monkeypatch) -> None:
        monkeypatch.setattr("nstc.runtime.serving.frames.QUIET_S", 0.0)
        server = serve(streams=1)
        with server.camera() as first:
            first.send(CHOICE)
            heard(first)
            with server.camera() as second:
                second.send(CHOICE)
                assert json.loads(heard(second)) == {"ready": "negative"}
            with pytest.raises(ConnectionClosed):
                heard(first)
