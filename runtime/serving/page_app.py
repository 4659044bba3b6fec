"""An app around a page: its files by exact name behind the guard, and errors as JSON."""

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Message, Receive, Scope, Send

from nstc.core.errors import NstcError
from nstc.runtime.serving.guard import (
    SECURITY_HEADERS,
    Access,
    Guard,
    HeldBytes,
    ServingLimits,
    refusal_message,
)
from nstc.runtime.serving.refusals import RefusedError, Report, refusal_of
from nstc.runtime.serving.site import Content

_PART_BYTES: Final = 65_536  # of a file that are read at a time

# By the suffix of a name.
_TYPES: Final[Mapping[str, str]] = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css",
    ".jpg": "image/jpeg",
    ".json": "application/json",
    ".md": "text/plain; charset=utf-8",
    ".mjs": "text/javascript",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
}


def page_app(
    routes: Sequence[BaseRoute],
    content: Mapping[str, Content],
    access: Access,
    limits: ServingLimits,
    *,
    report: Report = lambda _error: None,
) -> Starlette:
    """The app.

    Args:
        routes: What it answers beside the page's files; a handler may raise `RefusedError`.
        content: What is served by exact name; index.html also by the empty name.
        access: Who is answered.
        limits: How much and how long.
        report: Of a damaged model, for example.
    """
    files = SiteFiles(content)

    async def refused(_request: Request, error: Exception) -> Response:
        refusal, more = refusal_of(error), {}
        if isinstance(error, HTTPException):
            refusal = RefusedError(error.status_code, f"{error.detail}.")
            more = dict(error.headers or {})
        elif refusal is not error and refusal.status >= 500:
            report(error)
        body, headers = refusal_message(refusal)
        return Response(body, refusal.status, headers={**_decoded(headers), **more})

    async def failed(request: Request, error: Exception) -> Response:
        """A fault of nstc's own, which Starlette answers outside of the guard."""
        response = await refused(request, error)
        response.headers.update(dict(SECURITY_HEADERS))
        return response

    async def left(_request: Request, _error: Exception) -> Response:
        return Response(status_code=499)  # which nobody reads

    handlers: dict[Any, Any] = dict.fromkeys((RefusedError, NstcError, HTTPException), refused)
    held = HeldBytes(limits.held_bytes)
    app = Starlette(
        routes=[*routes, Route("/{name:path}", files.get)],
        middleware=[Middleware(Guard, access=access, limits=limits, held=held)],
        exception_handlers={**handlers, ClientDisconnect: left, Exception: failed},
    )
    app.state.held = held
    return app


class SiteFiles:
    """Static files, by exact name."""

    def __init__(self, content: Mapping[str, Content]) -> None:
        self._content = content

    async def get(self, request: Request) -> Response:
        """One of them, or 404."""
        name = request.path_params["name"] or "index.html"
        found = self._content.get(name)
        if found is None:
            raise RefusedError(404, "there is no such page.")
        kind = _TYPES.get(PurePosixPath(name).suffix, "application/octet-stream")
        headers = {"Content-Type": kind}
        if isinstance(found, bytes):
            return Response(found, headers=headers)
        return StoredFile(found, headers)


class StoredFile(Response):
    """A file that is read as fast as the client takes it."""

    def __init__(self, path: Path, headers: Mapping[str, str]) -> None:
        size = {"Content-Length": str(path.stat().st_size)}
        super().__init__(None, headers={**headers, **size})
        self._path = path

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """See ASGI. `OSError` if it can't be read."""
        with self._path.open("rb") as stream:  # of this package, or the cache: a disk's file
            start: Message = {"type": "http.response.start", "status": 200}
            await send({**start, "headers": self.raw_headers})
            while part := stream.read(_PART_BYTES):
                await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body"})


def _decoded(headers: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in headers}
