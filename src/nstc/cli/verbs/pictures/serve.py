"""`nstc serve`: a page that stylises photographs and a camera's picture."""

import contextlib
import os
import sys
import threading
import webbrowser
from typing import TYPE_CHECKING, Annotated

import typer

from nstc.cli.options import flag, with_flags
from nstc.cli.output import say, tell
from nstc.core.recipe.settings import parse_bytes

if TYPE_CHECKING:
    from nstc.runtime.serving.listening import BoundAddress


@with_flags
def serve(
    *,
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODEL",
            help="Bundles by path or zoo name. Default: the included ones that have a file to run.",
            show_default=False,
        ),
    ] = None,
    host: str = flag(
        "127.0.0.1",
        "Address of this machine to serve on, or 0.0.0.0 for all. Others in its network can then "
        "use the page by a secret link.",
    ),
    port: int = flag(8765, "Port to serve on; 0 for any that is free."),
    https: bool = flag(
        False,
        "Serve by HTTPS with a self-signed certificate, which phones require for the camera.",
    ),
    open_page: bool = flag(False, "Open the page in a browser.", "--open"),
    threads: int | None = flag(None, "Number of threads. Default: one per core."),
    max_upload: str = flag("32MiB", "Largest photograph that may be sent.", metavar="SIZE"),
    timeout: float = flag(30.0, "Most seconds that sending a photograph may take."),
) -> None:
    """Serve a page that stylises photographs and a camera's picture."""
    from nstc.runtime.serving.guard import ServingLimits
    from nstc.runtime.serving.listening import listen, run
    from nstc.runtime.serving.served_models import ServedModels, find_models
    from nstc.runtime.serving.site import SiteLimits, site_content
    from nstc.runtime.serving.web_app import create_app
    from nstc.runtime.serving.web_runtime import missing_runtime, web_runtime

    limits = ServingLimits(body_bytes=parse_bytes(max_upload, "max-upload"), body_s=timeout)
    found = find_models(models or [])
    served = ServedModels(found, threads=threads)
    missing = missing_runtime()
    content = site_content(
        found,
        server=True,
        runtime=None if missing else web_runtime(),
        limits=SiteLimits(bytes=limits.body_bytes, pixels=limits.pixels),
    )
    if missing:
        tell(f"the page runs networks on this machine alone: {missing}.")
    listener = listen(host, port, https=https)
    app = create_app(served, content, listener.access, limits, report=_report)
    with contextlib.suppress(KeyboardInterrupt):  # by which it is meant to end
        _announce(listener)
        tell(f"serves {', '.join(served.by_name)}; Ctrl-C ends it.")
        if open_page:
            _open(listener.link)
        run(app, listener, limits)
    if not served.close():
        # a network at work can't be stopped, and would crash while the process is taken apart
        sys.stdout.flush()
        os._exit(0)


def _open(link: str) -> None:
    try:
        browser = webbrowser.get()
    except webbrowser.Error:
        tell("no browser was found: open the link yourself.")
    else:  # in a thread, for one in a terminal returns when it is closed
        threading.Thread(target=browser.open, args=[link], daemon=True).start()


def _report(error: BaseException) -> None:
    tell(f"nstc: a request failed: {str(error) or type(error).__name__}")


def _announce(listener: "BoundAddress") -> None:
    """Print the link, and what those who open it elsewhere have to be told."""
    from nstc.runtime.serving.link_code import terminal_code

    say(listener.link)
    if not listener.is_local:
        typer.echo(terminal_code(listener.link, sys.stdout), nl=False)
    if listener.certificate is not None:
        tell(listener.certificate.warning)
    if not listener.is_local:
        readers = ", and others in this network can read what is sent: it is not encrypted"
        tell(
            "warning: whoever has this link can use the page"
            f"{'' if listener.certificate is not None else readers}."
        )
