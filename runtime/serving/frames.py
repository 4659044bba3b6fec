"""Frames of a camera through a model, over a WebSocket; the newest frame wins.

A client sends {"model": NAME, "precision": "int8"} and gets {"ready": NAME}, then sends frames:
number, width and height as little-endian uint32, uint16, uint16, and RGB bytes, rows first. Each
reply has the same eight bytes, the network's time in ms as float32, and the stylised RGB. While one
frame is at work one more may wait; a frame that comes then takes its place, and the replaced one is
never answered. What is wrong is told as {"error": "..."}, and the connection stays.
"""

import asyncio
import contextlib
import json
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Final, NamedTuple, TypeVar

import msgspec
import numpy as np
from starlette.websockets import WebSocket, WebSocketDisconnect

from nstc.core import decoding
from nstc.core.images import Pixels
from nstc.runtime.serving.guard import QUIET_S, Holding, ServingLimits
from nstc.runtime.serving.refusals import RefusedError, Report, refusal_of
from nstc.runtime.serving.served_models import ServedModels
from nstc.runtime.stylizer import Stylizer

HEADER: Final = struct.Struct("<IHH")  # number, width, height
TIME: Final = struct.Struct("<f")  # ms
_MOST_TEXT: Final = 4096  # bytes of a message in JSON
_BUSY: Final = 1013  # of RFC 6455's registry: try again later

T = TypeVar("T")


class CameraFrame(NamedTuple):
    """One picture of a camera."""

    header: bytes
    rgb: Pixels  # (H, W, 3) uint8


@dataclass(frozen=True, kw_only=True)
class ModelChoice:
    """The message that chooses a model."""

    model: decoding.Name
    precision: Annotated[str, msgspec.Meta(max_length=16)] = "int8"


class FrameStream:
    """One client and its camera."""

    def __init__(
        self, socket: WebSocket, models: ServedModels, limits: ServingLimits, report: Report
    ) -> None:
        self._socket = socket
        self._models = models
        self._limits = limits
        self._report = report
        self._holding: Holding = socket.scope["nstc.holding"]
        self._heard_at = asyncio.get_running_loop().time()
        self._arrived = asyncio.Event()
        self._asked: ModelChoice | None = None  # the newest choice, which nothing is done for yet
        self._opening: ModelChoice | None = None
        self._chosen: ModelChoice | None = None
        self._frame: CameraFrame | None = None  # the newest that is not at work
        self._is_at_work = False

    @property
    def silent_s(self) -> float:
        """How long the client has sent nothing, while it waited for no answer."""
        if self._is_at_work or self._asked is not None or self._frame is not None:
            return 0.0
        return asyncio.get_running_loop().time() - self._heard_at

    async def run(self) -> None:
        """Answer until the client leaves."""
        stylising = asyncio.create_task(self._stylise_newest())
        try:
            while True:
                message = await self._socket.receive()
                if message["type"] == "websocket.disconnect":
                    return
                self._heard_at = asyncio.get_running_loop().time()
                await self._take(message.get("bytes"), message.get("text") or "")
        except WebSocketDisconnect:
            return
        finally:
            stylising.cancel()  # also what waits in the model's queue
            await asyncio.wait([stylising])

    async def drop(self) -> None:
        """Send the client away."""
        with contextlib.suppress(RuntimeError, WebSocketDisconnect):  # it is leaving already
            await self._socket.close(_BUSY)

    async def _take(self, content: bytes | None, text: str) -> None:
        """Keep what arrived for the other task, which is at the frame before."""
        try:
            if content is None:
                self._asked = choice_of(text)
                self._frame = None  # was meant for the model before
            elif self._chosen is None and self._opening is None and self._asked is None:
                raise RefusedError(400, 'choose a model first: {"model": NAME, "precision": ...}.')
            else:
                self._frame = frame_of(content, self._limits.frame_pixels)
        except RefusedError as error:
            await self._tell_error(error)
        else:
            self._arrived.set()

    async def _stylise_newest(self) -> None:
        """Open models and stylise frames, one after the other."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            asked, self._asked = self._asked, None
            self._is_at_work = True
            try:
                if asked is not None:
                    await self._open(asked)
                if self._asked is None:  # otherwise the frame is meant for another model
                    frame, self._frame = self._frame, None
                    if frame is not None and self._chosen is not None:
                        await self._answer(frame, self._chosen)
            except WebSocketDisconnect:
                return  # the other task ends by it too
            except Exception as error:  # noqa: BLE001 (told to the client, and reported)
                refusal = refusal_of(error)
                if refusal.status >= 500:
                    self._report(error)
                await self._tell_error(refusal)
            finally:
                self._is_at_work = False
                self._heard_at = asyncio.get_running_loop().time()  # it waited until now

    async def _open(self, asked: ModelChoice) -> None:
        """Make a choice; frames that come meanwhile wait for it."""
        self._chosen, self._opening = None, asked
        try:
            await self._done(asked, lambda _stylizer: None)
            self._chosen = asked
        finally:
            self._opening = None
        await self._socket.send_text(json.dumps({"ready": asked.model}))

    async def _answer(self, frame: CameraFrame, chosen: ModelChoice) -> None:
        def stylised(stylizer: Stylizer) -> tuple[Pixels, float]:
            start = time.perf_counter()
            made = stylizer.transfer(frame.rgb)
            return made, (time.perf_counter() - start) * 1000

        before = self._holding.held
        self._holding.grow(2 * frame.rgb.nbytes)
        try:
            made, milliseconds = await self._done(chosen, stylised)
            reply = b"".join([frame.header, TIME.pack(milliseconds), made.tobytes()])
            await self._socket.send_bytes(reply)
        finally:
            self._holding.shrink(self._holding.held - before)

    async def _done(self, chosen: ModelChoice, work: Callable[[Stylizer], T]) -> T:
        future = self._models.submit(chosen.model, chosen.precision, work)
        return await asyncio.wrap_future(future)

    async def _tell_error(self, error: RefusedError) -> None:
        with contextlib.suppress(WebSocketDisconnect):
            await self._socket.send_text(json.dumps({"error": str(error)}))


class FrameStreams:
    """All clients with a camera: the endpoint of their WebSocket."""

    def __init__(self, models: ServedModels, limits: ServingLimits, report: Report) -> None:
        self._models = models
        self._limits = limits
        self._report = report
        self.open: set[FrameStream] = set()

    async def serve(self, socket: WebSocket) -> None:
        """Serve one client until it leaves; if there are too many, in the place of a silent one."""
        await socket.accept()
        stream = FrameStream(socket, self._models, self._limits, self._report)
        silent = self._silent() if len(self.open) >= self._limits.streams else None
        if len(self.open) >= self._limits.streams and silent is None:
            message = f"{len(self.open)} cameras are served already: try again later."
            await socket.send_text(json.dumps({"error": message}))
            await socket.close(_BUSY)
            return
        self.open.add(stream)
        try:
            if silent is not None:
                self.open.discard(silent)
                await silent.drop()
            await stream.run()
        finally:
            self.open.discard(stream)

    def _silent(self) -> FrameStream | None:
        """The client to drop for another: that which has been silent for longest, if for long."""
        longest = max(self.open, key=lambda own: own.silent_s)
        return None if longest.silent_s < QUIET_S else longest


def choice_of(text: str) -> ModelChoice:
    """What a text message says; `RefusedError` if it is not such a choice."""
    try:
        if len(text) > _MOST_TEXT:
            raise decoding.DecodingError(f"it has more than {_MOST_TEXT} characters")
        return decoding.decode(decoding.parse_json(text, one_line_texts=True), ModelChoice)
    except decoding.DecodingError as error:
        raise RefusedError(400, f"the message can't be read: {error}.") from error


def frame_of(content: bytes, most_pixels: int) -> CameraFrame:
    """What a binary message holds; `RefusedError` if its size is wrong."""
    if len(content) < HEADER.size:
        raise RefusedError(
            400, f"a frame begins with {HEADER.size} bytes, this has {len(content)}."
        )
    _number, width, height = HEADER.unpack_from(content)
    if not 1 <= width * height <= most_pixels:
        raise RefusedError(
            400, f"a frame has from 1 to {most_pixels} pixels, this is {width}x{height}."
        )
    expected = HEADER.size + width * height * 3
    if len(content) != expected:
        raise RefusedError(
            400, f"a frame of {width}x{height} has {expected} bytes, this has {len(content)}."
        )
    rgb = np.frombuffer(content, np.uint8, offset=HEADER.size).reshape(height, width, 3)
    return CameraFrame(content[: HEADER.size], rgb)
