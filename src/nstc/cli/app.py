"""The application: the verbs, and the one place where errors become exit codes."""

import errno
import functools
import io
import os
import sys
import traceback
from collections.abc import Callable
from typing import Annotated, Any, Final, NamedTuple, NoReturn

import typer
from typer.core import TyperGroup

from nstc.cli import (
    analyze,
    baseline,
    bench,
    check,
    compress,
    distill,
    doctor,
    export,
    import_,
    models,
    prune,
    quantize,
    report,
    stylize,
    targets,
    train,
    verify,
    web_setup,
)
from nstc.core.errors import Interrupted, MissingExtraError, NstcError, OutputError
from nstc.core.version import VERSION


class _Group(NamedTuple):
    """A verb with verbs of its own."""

    help: str
    verbs: dict[str, Callable[..., None]]


_VERBS: Final[dict[str, Callable[..., None] | _Group]] = {
    "compress": compress.compress,
    "train": train.train,
    "import": import_.import_,
    "distill": distill.distill,
    "analyze": analyze.analyze,
    "prune": prune.prune,
    "quantize": quantize.quantize,
    "export": export.export,
    "stylize": stylize.stylize,
    "bench": bench.bench,
    "check": check.check,
    "baseline": _Group(
        "Keep the numbers that nstc check compares with.", {"update": baseline.update}
    ),
    "report": report.report,
    "targets": targets.targets,
    "web-setup": web_setup.web_setup,
    "models": models.models,
    "verify": verify.verify,
    "doctor": doctor.doctor,
}

_MODULES_OF_EXTRAS: Final = {
    "torch": "compress",
    "torchvision": "compress",
    "torch_pruning": "compress",
    "onnx": "compress",
    "onnxscript": "compress",
    "safetensors": "compress",
    "skimage": "compress",
    "matplotlib": "report",
    "jinja2": "report",
    "av": "video",
}

_DEBUG_VARIABLE: Final = "NSTC_DEBUG"


class _InOrder(TyperGroup):
    """Lists verbs as they are written here, where Typer would list groups first."""

    def list_commands(self, _context: object) -> list[str]:
        return list(_VERBS)


app = typer.Typer(
    name="nstc",
    cls=_InOrder,
    help="Compress neural style transfer networks for small devices, and prove it with numbers.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Run the command line; an `NstcError` becomes one line on standard error and its exit code."""
    _print_whatever_names_hold()
    try:
        app()
    except NstcError as error:
        _fail(error)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        place = error.filename or "standard output"
        _fail(OutputError(f"cannot write {place}: {error.strerror}. Choose a place with room."))


def _print_whatever_names_hold() -> None:
    """Print as an escape what a terminal can't show, such as a file's name that is no UTF-8."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _fail(error: NstcError) -> NoReturn:
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
    if isinstance(_verb, _Group):
        _group = typer.Typer(name=_name, help=_verb.help, no_args_is_help=True)
        for _inner_name, _inner in _verb.verbs.items():
            _group.command(_inner_name)(_reporting(_inner))
        app.add_typer(_group)
    else:
        app.command(_name)(_reporting(_verb))
