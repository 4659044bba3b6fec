"""The application: the verbs, and the one place where errors become exit codes."""

import contextlib
import errno
import functools
import io
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple, NoReturn

import typer
from typer.core import TyperGroup

from nstc.cli import (
    analyze,
    bench,
    check,
    compress,
    distill,
    doctor,
    export,
    models,
    prune,
    quantize,
    stylize,
    train,
)
from nstc.cli.output import say, standard_streams, tell
from nstc.cli.parsing import UNREADABLE, UNREADABLE_CODE, what_is_wrong
from nstc.core.errors import (
    ArtifactError,
    Interrupted,
    MissingExtraError,
    NstcError,
    OutputError,
    out_of_memory,
)
from nstc.core.terminal import shown
from nstc.core.version import VERSION


class _Group(NamedTuple):
    """A verb with verbs of its own."""

    help: str
    verbs: dict[str, Callable[..., None]]


_VERBS: Final[dict[str, Callable[..., None] | _Group]] = {
    "compress": compress.compress,
    "train": train.train,
    "import": models.import_,
    "distill": distill.distill,
    "analyze": analyze.analyze,
    "prune": prune.prune,
    "quantize": quantize.quantize,
    "export": export.export,
    "stylize": stylize.stylize,
    "bench": bench.bench,
    "check": check.check,
    "baseline": _Group("Keep the numbers that nstc check compares with.", {"update": check.update}),
    "report": bench.report,
    "targets": doctor.targets,
    "web-setup": doctor.web_setup,
    "models": models.models,
    "verify": models.verify,
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

_EXIT_CODES: Final = (
    "Exit codes: 0 done, 1 and 3 to 5 wrong options or missing parts, 2 a command line that can't "
    "be parsed, 10 to 15 pictures and videos, 20 to 23 bundles, 30 to 36 networks of others, "
    "40 a place that can't be written, 50 to 56 limits that were not kept, 60 to 62 baselines, "
    "70 to 74 verdicts of nstc check, 130 interrupted. The README has each."
)

_DEBUG_VARIABLE: Final = "NSTC_DEBUG"

_STOPPING: Final = [
    getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)
]


class _InOrder(TyperGroup):
    """Lists verbs as they are written here, where Typer would list groups first."""

    def list_commands(self, _context: object) -> list[str]:
        return sorted(self.commands, key=[*_VERBS, *self.commands].index)


app = typer.Typer(
    name="nstc",
    cls=_InOrder,
    help="Compress neural style transfer networks for small devices, and prove it with numbers.\n\n"
    + _EXIT_CODES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Run the command line; an `NstcError` becomes one line on standard error and its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # An escape for what a terminal can't show, such as a file's name that is no UTF-8.
            stream.reconfigure(errors="backslashreplace")
    with standard_streams(), _stopped_as_by_ctrl_c():
        try:
            try:
                code = app(prog_name="nstc", standalone_mode=False)
            finally:
                sys.stdout.flush()  # what nobody can read is an error too
        except UNREADABLE as error:
            told = what_is_wrong(error, sys.argv[1:])
            if told is None:  # no verb was named: show the help
                sys.stderr.write(shown(f"{error}\n", lines=True))
            else:
                tell(f"nstc: {told}")
            sys.exit(UNREADABLE_CODE)
        except typer.Abort as error:
            _fail(Interrupted(str(error) or "stopped."))
        except NstcError as error:
            _fail(error)
        except Exception as error:
            known: NstcError | None = out_of_memory(error)  # raised by some library
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                place = error.filename or "standard output"
                known = OutputError(
                    f"cannot write {place}: {error.strerror}. Choose a place with room."
                )
            if known is None:
                raise
            _fail(known)
    sys.exit(code if isinstance(code, int) else 0)


@contextlib.contextmanager
def _stopped_as_by_ctrl_c() -> Iterator[None]:
    """Let `kill`, and a terminal that is closed, end the work as Ctrl-C does: drafts are removed.

    Signals that whoever started this process has it ignore, as nohup does, stay ignored.
    """

    def stop(_number: int, _frame: object) -> NoReturn:
        raise KeyboardInterrupt

    own = [number for number in _STOPPING if signal.getsignal(number) is signal.SIG_DFL]
    for number in own:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in own:
            signal.signal(number, signal.SIG_DFL)


def _fail(error: NstcError) -> NoReturn:
    if os.environ.get(_DEBUG_VARIABLE):
        sys.stderr.write(shown(traceback.format_exc(), lines=True))
    elif isinstance(error, ArtifactError) and error.path is not None:
        tell(f"nstc: {error.found} Make it with: {_making(error.artifact, error.path)}")
    else:
        tell(f"nstc: {error}")
    sys.exit(error.exit_code)


def _making(artifact: str, bundle: Path) -> str:
    """The command that makes a file which a bundle lacks."""
    from nstc.core.bundle import TILES_ARTIFACT
    from nstc.core.zoo import named, zoo_name_of

    modes = {
        "int8.onnx": "static",
        "dynamic.onnx": "dynamic",
        "weights-int8.onnx": "weights",
        "weights-int4.onnx": "weights --bits 4",
        "fp16.onnx": "fp16",
    }
    if artifact in modes:
        return f"nstc quantize {named(bundle)} -o OUT --mode {modes[artifact]}"
    formats = {
        "ts": "torchscript",
        "pte": "executorch",
        "int8.pte": "executorch-int8",
        "ort": "ort",
        "int8.ort": "ort",
        TILES_ARTIFACT: "tiles",
    }
    zoo = zoo_name_of(bundle)  # which is read-only: the file goes to the user's cache
    if zoo is not None and artifact in (*formats, "onnx"):
        return f"nstc stylize PHOTO -m {zoo} --artifact {artifact} -o OUT"
    folder = "" if zoo is None else " -o OUT"
    return f"nstc export {zoo or bundle}{folder} --format {formats.get(artifact, 'onnx')}"


def _show_version(wanted: bool) -> None:
    if wanted:
        say(f"nstc {VERSION}")
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_show_version, help="Show the version and exit."
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
        _group = typer.Typer(name=_name, cls=_InOrder, help=_verb.help, no_args_is_help=True)
        for _inner_name, _inner in _verb.verbs.items():
            _group.command(_inner_name)(_reporting(_inner))
        app.add_typer(_group)
    else:
        app.command(_name)(_reporting(_verb))
