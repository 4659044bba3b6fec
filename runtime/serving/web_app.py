"""The app of `nstc serve`: a page's files by exact name, pictures by POST, frames by WebSocket."""

import asyncio
import re
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final, TypeVar, cast

import numpy as np
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute

from nstc.core.images import Pixels
from nstc.core.images.picture import with_colors
from nstc.core.images.picture_files import ImageFile
from nstc.runtime.control import Control, sizes_of, unblended
from nstc.runtime.serving.frames import FrameStreams
from nstc.runtime.serving.guard import Access, Holding, ServingLimits
from nstc.runtime.serving.page_app import page_app
from nstc.runtime.serving.refusals import RefusedError, Report
from nstc.runtime.serving.served_models import ServedModels
from nstc.runtime.serving.site import Content
from nstc.runtime.stylizer import Stylizer

T = TypeVar("T")

_UPLOAD: Final = "the upload"  # in errors
_OPTIONS: Final = ("model", "precision", "size", "style_scale", "upscale")
_WHOLE_NUMBER: Final = re.compile(r"[0-9]{1,9}")
_DECIMAL: Final = re.compile(r"[0-9.]{1,20}")


@dataclass(frozen=True, kw_only=True)
class PictureOptions:
    """What a request asks for, beside the photograph."""

    model: str
    precision: str
    control: Control  # of strength 1, with the photograph's colours left out


@dataclass(frozen=True, kw_only=True)
class StylisedPicture:
    """What a request gets: all that the page needs for any strength, without another request."""

    photo: Pixels  # (h, w, 3) uint8, in the result's size
    stylised: Pixels  # (h, w, 3) uint8, at strength 1
    alpha: Pixels | None  # (h, w) uint8
    milliseconds: float  # that the network took

    def response(self, holding: Holding) -> Response:
        """The bytes of all, and what they are in headers."""
        parts = [self.photo, self.stylised, *([] if self.alpha is None else [self.alpha])]
        holding.grow(sum(part.nbytes for part in parts))
        height, width = self.photo.shape[:2]
        headers = {
            "Nstc-Width": str(width),
            "Nstc-Height": str(height),
            "Nstc-Alpha": str(int(self.alpha is not None)),
            "Nstc-Milliseconds": f"{self.milliseconds:.2f}",
        }
        content = b"".join(np.ascontiguousarray(part).tobytes() for part in parts)
        return Response(content, headers=headers, media_type="application/octet-stream")


def create_app(
    models: ServedModels,
    content: Mapping[str, Content],
    access: Access,
    limits: ServingLimits,
    *,
    report: Report = lambda _error: None,
) -> Starlette:
    """The app, as `page_app` with the models that stylise."""
    pictures = PictureEndpoint(models, limits)
    frames = FrameStreams(models, limits, report)
    routes = [
        Route("/stylize", pictures.stylize, methods=["POST"]),
        WebSocketRoute("/frames", frames.serve),
    ]
    return page_app(routes, content, access, limits, report=report)


class PictureEndpoint:
    """Photographs that are stylised."""

    def __init__(self, models: ServedModels, limits: ServingLimits) -> None:
        self._models = models
        self._limits = limits

    async def stylize(self, request: Request) -> Response:
        """A photograph's bytes to a `StylisedPicture`; the options are in the query."""
        options = self.options_of(request.query_params.multi_items())
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if not (kind.startswith("image/") or kind == "application/octet-stream"):
            raise RefusedError(
                415, f"Content-Type is {kind!r:.60}: expected image/* or application/octet-stream."
            )
        content = bytearray()
        async for part in request.stream():
            content += part
        limits, photo = self._limits, bytes(content)
        del content
        future = self._models.submit(
            options.model,
            options.precision,
            lambda stylizer: stylised_picture(stylizer, photo, options.control, limits.pixels),
        )
        made = await _unless_left(request, future)
        return made.response(cast("Holding", request.scope["nstc.holding"]))

    def options_of(self, items: Sequence[tuple[str, str]]) -> PictureOptions:
        """Read a query; `RefusedError` or `OptionError` for what is wrong in it."""
        given: dict[str, str] = {}
        for name, value in items:
            if name not in _OPTIONS:
                expected = ", ".join(_OPTIONS)
                raise RefusedError(400, f"{name!r:.60} is not an option: expected {expected}.")
            if name in given:
                raise RefusedError(400, f"{name} was given twice.")
            given[name] = value
        if "model" not in given:
            raise RefusedError(
                400, f"no model was given: add ?model={next(iter(self._models.by_name))}."
            )
        model = given["model"]
        usual = self._models.by_name[model].precisions[0] if model in self._models.by_name else ""
        precision = given.get("precision", usual)
        self._models.find(model, precision)
        size, scale = given.get("size"), given.get("style_scale", "1")
        if size is not None and not _WHOLE_NUMBER.fullmatch(size):
            raise RefusedError(400, f"size is {size!r:.60}: expected a whole number of pixels.")
        if not _DECIMAL.fullmatch(scale) or scale.count(".") > 1 or scale == ".":
            raise RefusedError(
                400, f"style_scale is {scale!r:.60}: expected a number, such as 1.5."
            )
        if given.get("upscale", "0") not in {"0", "1"}:
            raise RefusedError(400, f"upscale is {given['upscale']!r:.60}: expected 0 or 1.")
        control = Control(
            size=None if size is None else int(size),
            style_scale=float(scale),
            upscale_to_original=given.get("upscale") == "1",
        )
        return PictureOptions(model=model, precision=precision, control=control)


def stylised_picture(
    stylizer: Stylizer, content: bytes, control: Control, most_pixels: int
) -> StylisedPicture:
    """Decode and stylise a file's content as `nstc stylize` does, up to the blending.

    Raises:
        ImageError: it can't be read as a picture, or is too large.
        RefusedError: it would be too large on its way.
        NstcError: the network fails.
    """
    spent_s = 0.0

    def timed(rgb: Pixels) -> Pixels:
        nonlocal spent_s
        start = time.perf_counter()
        made = stylizer.transfer(rgb)
        spent_s = time.perf_counter() - start
        return made

    with ImageFile(content, _UPLOAD, max_pixels=most_pixels) as file:
        for height, width in sizes_of(*file.upright_size(), control):
            if height * width > most_pixels:
                raise RefusedError(
                    413,
                    f"the picture would be scaled to {width}x{height}, the limit is "
                    f"{most_pixels / 1e6:.3g} million pixels: ask for a smaller size.",
                )
        picture = file.picture()
    photo, stylised = unblended(picture.rgb, control, timed)
    alpha = with_colors(picture, stylised).alpha
    return StylisedPicture(photo=photo, stylised=stylised, alpha=alpha, milliseconds=spent_s * 1000)


async def _unless_left(request: Request, future: "Future[T]") -> T:
    """What a model's thread makes; `ClientDisconnect` if the client leaves, whose place is free."""
    made = asyncio.wrap_future(future)
    leaving = asyncio.ensure_future(_left(request))
    either: set[asyncio.Future[Any]] = {made, leaving}
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not made.done():
            raise ClientDisconnect
        if made.cancelled():
            raise RefusedError(503, "the server is ending.")
        return made.result()
    finally:
        leaving.cancel()
        made.cancel()


async def _left(request: Request) -> None:
    """Wait until a client whose request is complete leaves."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
