"""The application: the verbs, and the one place where errors become exit codes."""

import functools
import os
import sys
import traceback
from collections.abc import Callable
from typing import Annotated, Any, Final

import typer

from nstc.cli import (
    bench,
    compress,
    distill,
    export,
    import_,
    models,
    prune,
    quantize,
    stylize,
    train,
    verify,
)
from nstc.core.errors import Interrupted, MissingExtraError, NstcError
from nstc.core.version import VERSION

_VERBS: Final[dict[str, Callable[..., None]]] = {
    "compress": compress.compress,
    "train": train.train,
    "import": import_.import_,
    "distill": distill.distill,
    "prune": prune.prune,
    "quantize": quantize.quantize,
    "export": export.export,
    "stylize": stylize.stylize,
    "bench": bench.bench,
    "models": models.models,
    "verify": verify.verify,
}

_MODULES_OF_EXTRAS: Final = {
    "torch": "compress",
    "torchvision": "compress",
    "torch_pruning": "compress",
    "onnx": "compress",
    "onnxscript": "compress",
    "safetensors": "compress",
    "skimage": "compress",
}

_DEBUG_VARIABLE: Final = "NSTC_DEBUG"

app = typer.Typer(
    name="nstc",
    help="Compress neural style transfer networks for small devices, and prove it with numbers.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Run the command line; an `NstcError` becomes one line on standard error and its exit code."""
    try:
        app()
    except NstcError as error:
        if os.environ.get(_DEBUG_VARIABLE):
            traceback.print_exc()
        else:
            sys.stderr.write(f"nstc: {' '.join(str(error).splitlines())}\n")
        sys.exit(error.exit_code)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"nstc {VERSION}")
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool,
        typer.Option(
            "--version",
            is_eager=True,
            callback=_show_version,
            help="Show the version and exit.",
        ),
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
) -> None:
    if debug:
        os.environ[_DEBUG_VARIABLE] = "1"


def _reporting(verb: Callable[..., None]) -> Callable[..., None]:
    """Turn Ctrl-C and a missing optional dependency into errors of nstc."""

    @functools.wraps(verb)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            verb(*args, **kwargs)
        except KeyboardInterrupt as interrupt:
            raise Interrupted(
                "stopped; what was finished is kept. Run the same command again to go on."
            ) from interrupt
        except ModuleNotFoundError as error:
            extra = _MODULES_OF_EXTRAS.get((error.name or "").partition(".")[0])
            if extra is None:
                raise
            raise MissingExtraError(
                f'{error.name} is not installed: run  pip install "nstc[{extra}]"'
            ) from error

    return run


for _name, _verb in _VERBS.items():
    app.command(_name)(_reporting(_verb))
