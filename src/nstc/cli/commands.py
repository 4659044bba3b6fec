"""The verbs, and the group of commands that imports one when it is asked for.

`nstc --help` therefore loads none of them. A new verb is a file in `verbs` and a line here.
"""

import functools
import importlib
import keyword
from collections.abc import Callable
from typing import Any, Final

import typer
from typer.core import TyperGroup

from nstc.core.errors import Interrupted, MissingExtraError

PROGRAM: Final = "nstc"

VERBS: Final = {
    "compress": "Distill, prune, quantize, export and measure in one go.",
    "train": "Train a full-size network from a painting and photographs.",
    "import": "Make a bundle from a fast_neural_style checkpoint.",
    "distill": "Train a tiny student network to reproduce a full-size teacher.",
    "analyze": "Show each layer's cost, and what pruning or rounding it would do to the picture.",
    "prune": "Remove channels and blocks, then fine-tune by distillation.",
    "quantize": "Write a file of fewer bits: int8 is faster, weights alone are smaller.",
    "export": "Write the network in other formats, each checked against it.",
    "stylize": "Stylise photographs, a video or a camera's picture.",
    "bench": "Measure speed and quality compared with a reference.",
    "check": "Measure the rows of a baseline again; the worst verdict sets the exit code.",
    "baseline": "Manage the baseline that nstc check compares with.",
    "baseline update": "Measure the rows of a baseline again and accept the new numbers.",
    "report": "Write benchmark results as one self-contained HTML page.",
    "targets": "List the targets that nstc bench can measure, and why others are unavailable.",
    "web-setup": "Fetch onnxruntime-web from npm, for nstc bench --target web.",
    "models": "List the models that are included.",
    "verify": "Check a bundle's hashes and the output of its files.",
    "doctor": "Report what this machine can run, and how to install the rest.",
}
"""What help says of each, which is the first sentence of its docstring, in the order of the help.

A verb of two words belongs to the group that its first word names.
"""

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


def verb_function(verb: str) -> Callable[..., None]:
    """Import what does a verb: `update` of `verbs/baseline.py` for `baseline update`."""
    words = [
        f"{word}_" if keyword.iskeyword(word) else word for word in verb.replace("-", "_").split()
    ]
    module = importlib.import_module(f"nstc.cli.verbs.{words[0]}")
    function: Callable[..., None] = getattr(module, words[-1])
    return function


def verb_command(verb: str) -> Any:
    """Import a verb and read its flags: Typer's command, which is of click or of its own copy."""
    alone = typer.Typer(add_completion=False, rich_markup_mode=None)
    alone.command(verb.split()[-1])(_reporting(verb_function(verb)))
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
        """Write what help lists."""
        with formatter.section("Commands"):
            formatter.write_dl([*self.help_lines.items()])


def _reporting(verb: Callable[..., None]) -> Callable[..., None]:
    """Turn Ctrl-C and a missing optional dependency into errors of nstc."""

    @functools.wraps(verb)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            verb(*args, **kwargs)
        except KeyboardInterrupt as interrupt:
            raise Interrupted(
                "stopped; what was finished is kept. Run the same command again to resume."
            ) from interrupt
        except ModuleNotFoundError as error:
            extra = _MODULES_OF_EXTRAS.get((error.name or "").partition(".")[0])
            if extra is None:
                raise
            raise MissingExtraError(
                f'{error.name} is not installed: run  pip install "nstc[{extra}]"'
            ) from error

    return run
