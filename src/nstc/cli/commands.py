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
    "import": "Make a bundle of a fast_neural_style checkpoint.",
    "distill": "Teach a small network to paint what a full-size one paints.",
    "analyze": "Show layer by layer what a network costs and could lose.",
    "prune": "Remove channels and blocks, then fine-tune by distillation.",
    "quantize": "Make a file of fewer bits: faster, or smaller alone.",
    "export": "Write files that run elsewhere, each compared with the network.",
    "stylize": "Paint photographs, a video or a camera's view in a style.",
    "bench": "Measure speed and quality beside a reference.",
    "check": "Measure a baseline's rows anew and exit by the worst verdict.",
    "baseline": "Keep the numbers that nstc check compares with.",
    "baseline update": "Measure a baseline's rows anew and agree to what is found.",
    "report": "Make one self-contained HTML page of benchmark results.",
    "targets": "List where nstc bench can measure, and why not where it can't.",
    "web-setup": "Fetch onnxruntime-web from npm, for nstc bench --target web.",
    "models": "List the models that ship with nstc.",
    "verify": "Check a bundle's hashes, and what its files paint.",
    "doctor": "Say what this machine can run, and how to get the rest.",
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
