"""The application: its verbs, and the one place where errors become lines and exit codes.

A verb is imported when it is asked for: `nstc --help` loads none. A new verb is a file in a folder
of `verbs` and a line in that folder's `Section`.
"""

import contextlib
import errno
import importlib
import io
import keyword
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple, NoReturn, cast

import typer
from typer.core import TyperGroup

from nstc.cli.optional_values import VerbCommand
from nstc.cli.output import say, standard_streams, tell
from nstc.cli.verb_errors import reporting
from nstc.core import VERSION, errors, extensions, terminal

PROGRAM: Final = "nstc"


class Section(NamedTuple):
    """Verbs of one purpose: what help writes above them, and the folder of `verbs` they lie in."""

    title: str
    folder: str
    verbs: Mapping[str, str]  # what help says of each: the first sentence of its docstring


SECTIONS: Final = (
    Section(
        "Stylise pictures",
        "pictures",
        {
            "stylize": "Stylise photographs, a video or a camera's picture.",
            "optimize": "Stylise a photograph without a network, by optimising an image.",
            "mask": "Divide a picture into regions, for semantic style transfer.",
            "serve": "Serve a page that stylises photographs and a camera's picture.",
        },
    ),
    Section(
        "Make and compress models",
        "compression",
        {
            "compress": "Distill, prune, quantize, export and measure in one go.",
            "search": "Look for the best student within a budget of speed, size and quality.",
            "restyle": "Make a student of any painting, without a teacher.",
            "zoo": "Make folders of models.",
            "zoo build": "Make a student of each painting in a catalogue.",
            "train": "Train a full-size network from a painting and photographs.",
            "import": "Make a bundle from a fast_neural_style checkpoint.",
            "distill": "Train a tiny student network to reproduce a full-size teacher.",
            "share": "Train students of several styles that share their weights.",
            "analyze": "Show each layer's cost, and what pruning or rounding it would do to the "
            "picture.",
            "prune": "Remove channels and blocks, then fine-tune by distillation.",
            "quantize": "Write a file of fewer bits: int8 is faster, weights alone are smaller.",
            "export": "Write the network in other formats, each checked against it.",
            "pack": "Make and read packs of styles, which share one trunk.",
            "pack join": "Join quantized students that were trained with one trunk in a pack of "
            "styles.",
            "pack train-any": "Train a student of any painting, whose style is predicted.",
            "pack extract": "Write the int8 ONNX file of one style of a pack, or of a blend.",
            "pack show": "List the styles of a pack.",
            "push": "Send a bundle to a model hub such as Hugging Face.",
        },
    ),
    Section(
        "Measure and check models",
        "measuring",
        {
            "bench": "Measure speed and quality compared with a reference.",
            "check": "Measure the rows of a baseline again; the worst verdict sets the exit code.",
            "baseline": "Manage the baseline that nstc check compares with.",
            "baseline update": "Measure the rows of a baseline again and accept the new numbers.",
            "report": "Write benchmark results as one self-contained HTML page.",
            "verify": "Check a bundle's hashes and the output of its files.",
        },
    ),
    Section(
        "List models and what this machine can run",
        "inventory",
        {
            "models": "List the models that are included.",
            "targets": "List the targets that nstc bench can measure, and why others are "
            "unavailable.",
            "doctor": "Report what this machine can run, and how to install the rest.",
            "web-setup": "Fetch onnxruntime-web from npm, to run models in browsers.",
        },
    ),
)
"""In the order of the help. A verb of two words belongs to the group that its first word names."""

VERBS: Final = {verb: said for section in SECTIONS for verb, said in section.verbs.items()}

GROUPS: Final = frozenset(verb.split()[0] for verb in VERBS if " " in verb)

_EXIT_CODES: Final = (
    "Exit codes: 0 done, 1 and 3 to 6 wrong options or missing parts, 2 a command line that can't "
    "be parsed, 10 to 16 pictures, videos and what is fetched, 20 to 23 bundles, 30 to 36 networks "
    "of others, 40 to 42 places that can't be written, served on or reached, 50 to 56 limits that "
    "were not kept, 60 to 62 baselines, 70 to 74 verdicts of nstc check, 130 interrupted."
)

_DEBUG_VARIABLE: Final = "NSTC_DEBUG"

UNREADABLE: Final = cast("type[Exception]", typer.BadParameter.__mro__[1])
"""What Typer raises of a command line that can't be parsed: the base of all its kinds, an exception
of click, or of its own copy of click since 0.22. Typer exports one of its kinds alone."""

UNREADABLE_CODE: Final = 2

_NUMBERS: Final = {"integer": "a whole number", "number": "a number", "float": "a number"}
"""What is expected, by the word that Typer's message has."""


def verb_function(verb: str) -> Callable[..., None]:
    """Import what does a verb: `update` of `verbs/measuring/baseline.py` for `baseline update`."""
    folder = next(section.folder for section in SECTIONS if verb in section.verbs)
    words = [
        f"{word}_" if keyword.iskeyword(word) else word for word in verb.replace("-", "_").split()
    ]
    module = importlib.import_module(f"nstc.cli.verbs.{folder}.{words[0]}")
    function: Callable[..., None] = getattr(module, words[-1])
    return function


def verb_command(verb: str) -> Any:
    """Import a verb and read its flags: Typer's command, which is of click or of its own copy."""
    alone = typer.Typer(add_completion=False, rich_markup_mode=None)
    alone.command(verb.split()[-1], cls=VerbCommand)(reporting(verb, verb_function(verb)))
    return typer.main.get_command(alone)


class VerbGroup(TyperGroup):
    """Commands of which one is imported when it is asked for; help lists them from `VERBS`."""

    @property
    def help_lines(self) -> dict[str, str]:
        """What help says of each of its verbs and groups, by the word that calls it."""
        prefix = "" if self.name == PROGRAM else f"{self.name} "
        own = {verb.removeprefix(prefix): verb for verb in VERBS if verb.startswith(prefix)}
        return {word: VERBS[verb] for word, verb in own.items() if " " not in word}

    def list_commands(self, _context: Any) -> list[str]:
        """The words that call them."""
        return [*self.help_lines]

    def get_command(self, _context: Any, name: str) -> Any:
        """Import a verb and read its flags; None if there is no such verb."""
        if name not in self.commands and name in self.help_lines:
            verb = name if self.name == PROGRAM else f"{self.name} {name}"
            self.commands[name] = verb_command(verb)
        return self.commands.get(name)

    def format_commands(self, _context: Any, formatter: Any) -> None:
        """Write what help lists, in the sections of `SECTIONS`."""
        own = self.help_lines
        for section in SECTIONS:
            lines = [(word, said) for word, said in own.items() if said in section.verbs.values()]
            if lines:
                with formatter.section(section.title):
                    formatter.write_dl(lines)


app = typer.Typer(
    name=PROGRAM,
    cls=VerbGroup,
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
                code = app(prog_name=PROGRAM, standalone_mode=False)
            finally:
                sys.stdout.flush()  # what nobody can read is an error too
        except UNREADABLE as error:
            told = what_is_wrong(error, sys.argv[1:])
            if told is None:  # no verb was named: show the help
                sys.stderr.write(terminal.shown(f"{error}\n", lines=True))
            else:
                tell(f"nstc: {told}")
            sys.exit(UNREADABLE_CODE)
        except typer.Abort as error:
            _fail(errors.Interrupted(str(error) or "stopped."))
        except errors.NstcError as error:
            _fail(error)
        except Exception as error:
            known: errors.NstcError | None = errors.out_of_memory(error)  # raised by some library
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                place = error.filename or "standard output"
                known = errors.OutputError(
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

    known = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    own = [number for number in known if signal.getsignal(number) is signal.SIG_DFL]
    for number in own:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in own:
            signal.signal(number, signal.SIG_DFL)


def _fail(error: errors.NstcError) -> NoReturn:
    if os.environ.get(_DEBUG_VARIABLE):
        sys.stderr.write(terminal.shown(traceback.format_exc(), lines=True))
    elif isinstance(error, errors.ArtifactError) and error.path is not None:
        tell(f"nstc: {error.found} Make it with: {_making(error.artifact, error.path)}")
    else:
        tell(f"nstc: {error}")
    sys.exit(error.exit_code)


def _making(artifact: str, bundle: Path) -> str:
    """The command that makes a file which a bundle lacks."""
    from nstc.compress.export import FORMATS, options_of_size
    from nstc.core.portable_names import Portable
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
    formats = {own.artifact: name for name, own in FORMATS.items()} | {"int8.ort": "ort"}
    if (portable := Portable.called(artifact)) is not None and portable.quantized:
        # which an export makes where there is an int8 file
        return f"nstc quantize {named(bundle)} -o OUT --mode static"
    zoo = zoo_name_of(bundle)  # which is read-only: the file goes to the user's cache
    sized = options_of_size(artifact)
    if zoo is not None and artifact in formats and sized is None:
        return f"nstc stylize PHOTO -m {zoo} --artifact {artifact} -o OUT"
    folder, ending = "" if zoo is None else " -o OUT", artifact.rpartition(".")[2]
    other = ending if ending in extensions.names_in(extensions.FORMATS) else "onnx"
    options = sized or f"--format {formats.get(artifact, other)}"
    return f"nstc export {zoo or bundle}{folder} {options}"


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


for _group in GROUPS:
    app.add_typer(typer.Typer(name=_group, cls=VerbGroup, help=VERBS[_group], no_args_is_help=True))


def what_is_wrong(error: Any, arguments: Sequence[str]) -> str | None:
    """What an `UNREADABLE` says, in one line: what was given, expected, and where it is explained.

    None for a command line, `arguments` after the program's name, that names no verb: it is
    answered by its help.
    """
    kind = type(error).__name__
    context: Any = getattr(error, "ctx", None)
    words = [argument for argument in arguments if not argument.startswith("-")]
    # What was called; some errors don't know it.
    command = " ".join(["nstc", *words[:1]]) if context is None else context.command_path
    parameter = getattr(error, "param", None)
    if kind == "NoArgsIsHelpError":
        return None
    if kind == "NoSuchOption":
        given = error.option_name
        known = [
            name for own in context.command.params for name in (*own.opts, *own.secondary_opts)
        ]
        told = f"{command} has no option {given}.{_nearest(given, known)}"
    elif kind == "BadOptionUsage":
        told = _lower(error.message)
    elif kind == "MissingParameter" and parameter is not None:
        meaning = str(parameter.help or "").strip()
        meaning = _lower(meaning) if meaning[1:2].islower() else meaning.rstrip(".") + "."
        told = f"{command} needs {_name_of(parameter)}: {meaning}"
    elif parameter is not None:
        return _bad_value(error, parameter, arguments)
    elif context is not None and hasattr(context.command, "commands"):
        given = next(iter(words[len(command.split()) - 1 :]), "")  # after those understood
        nearest = _nearest(given, context.command.list_commands(context))
        told = f"{command} has no verb {given}.{nearest}"
    else:
        told = _lower(error.format_message())
    return f"{told} See {command} --help."


def _bad_value(error: Any, parameter: Any, arguments: Sequence[str]) -> str:
    given = None  # by the command line: Typer's error holds only that it is wrong
    for position, argument in enumerate(arguments):
        for name in parameter.opts:
            if argument == name and position + 1 < len(arguments):
                given = arguments[position + 1]
            elif argument.startswith(f"{name}=" if name.startswith("--") else name):
                given = argument[len(name) :].removeprefix("=")
    words = error.message.lower()
    expected = next((number for word, number in _NUMBERS.items() if word in words), None)
    what = f"expected {expected}." if expected else _lower(error.message)
    named = _name_of(parameter)
    return f"{named} is {given}: {what}" if given is not None else f"{named}: {what}"


def _name_of(parameter: Any) -> str:
    """A flag as it is typed, or an argument as help calls it."""
    if parameter.param_type_name == "argument":
        return str(parameter.metavar or parameter.name.upper()).strip("[]{}.")
    return str(max(parameter.opts, key=len))


def _nearest(given: str, known: Iterable[str]) -> str:
    return errors.did_you_mean(given.lstrip("-"), {name.lstrip("-"): name for name in known})


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:].rstrip(".") + "."
