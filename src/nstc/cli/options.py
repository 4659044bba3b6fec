"""Options that several verbs share, so that a flag means the same everywhere."""

import functools
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from nstc.core.errors import OptionError
from nstc.core.graph_form import GraphForm, Statistic, form_of

Photos = Annotated[
    list[Path] | None,
    typer.Option(
        "--photos",
        help="Folder of photographs, repeatable. Default: the sample photographs.",
        show_default=False,
    ),
]
# Of the verbs that learn; those that judge take folders alone.
PhotoSets = Annotated[
    list[Path] | None,
    typer.Option(
        "--photos",
        help="Folder of photographs, or imagenette, flowers102 or oxford-pets, which are "
        "downloaded; repeatable. Default: the sample photographs.",
        show_default=False,
    ),
]
Recipe = Annotated[
    Path | None, typer.Option("--recipe", help="TOML file of settings; flags override it.")
]
Output = Annotated[
    Path, typer.Option("--output", "-o", help="The bundle to write.", resolve_path=True)
]
Teacher = Annotated[
    str | None,
    typer.Option("--teacher", help="Bundle, zoo name or file. Default: the manifest's."),
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on from the checkpoint of an interrupted run.")
]
Seed = Annotated[int | None, typer.Option("--seed", help="Of all randomness.", show_default="0")]
Name = Annotated[
    str | None, typer.Option("--name", help="Of the model. Default: the output's name.")
]
Vgg = Annotated[
    str,
    typer.Option("--vgg", help="VGG-16 features: shipped, torchvision, or a safetensors file."),
]
Style = Annotated[
    Path | None,
    typer.Option("--style", help="The painting, for a network that came without one."),
]
Credit = Annotated[str | None, typer.Option("--credit", help="Who made the painting.")]
_GRAPH_FLAGS: Final[Mapping[str, Any]] = {
    "layout": Annotated[
        str | None,
        typer.Option("--layout", help="NCHW or NHWC, if probing a foreign file is wrong."),
    ],
    "input_range": Annotated[
        int | None,
        typer.Option(
            "--input-range",
            help="Values that it takes, likewise: 1 for 0..1, 255, or -1 for -1..1.",
        ),
    ],
    "value_range": Annotated[
        int | None, typer.Option("--value-range", help="Older name of --input-range.")
    ],
    "output_range": Annotated[
        int | None, typer.Option("--output-range", help="Values that it gives, likewise.")
    ],
    "mean": Annotated[
        str | None,
        typer.Option(
            "--mean",
            metavar="A,B,C",
            help="What is taken off its input, in units of the input's range and the order of its "
            "channels; or imagenet.",
        ),
    ],
    "std": Annotated[
        str | None,
        typer.Option(
            "--std", metavar="A,B,C", help="What its input is divided by then; or imagenet."
        ),
    ],
    "output_mean": Annotated[
        str | None,
        typer.Option(
            "--output-mean",
            metavar="A,B,C",
            help="What is added to its output, in units of the output's range; or imagenet. "
            "Default: --mean, if the output shows that it was taken off.",
            show_default=False,
        ),
    ],
    "output_std": Annotated[
        str | None,
        typer.Option(
            "--output-std",
            metavar="A,B,C",
            help="What its output is multiplied by before that; or imagenet.",
        ),
    ],
    "channels": Annotated[
        str | None,
        typer.Option(
            "--channels",
            help="Order of its colours, rgb or bgr, which no probing finds.",
            show_default="rgb",
        ),
    ],
    "size_multiple": Annotated[
        int | None,
        typer.Option("--size-multiple", help="Sizes must be multiples of it, likewise."),
    ],
}
"""Flags that say how a file made by others is fed; see `nstc.core.graph_form.GraphForm`."""

_STATISTICS: Final = ("mean", "std", "output_mean", "output_std")
Trust = Annotated[
    bool,
    typer.Option("--trust", help="Load a TorchScript teacher, which is a program, all the same."),
]
Key = Annotated[
    str | None,
    typer.Option(
        "--key",
        help="Path in a checkpoint that leads to the weights, such as params_ema or "
        "state_dict.generator; . is the file itself. Default: the one part that fits.",
        show_default=False,
    ),
]
TrustBundled = Annotated[
    bool,
    typer.Option(
        "--trust",
        help="Load the TorchScript and ExecuTorch files of a bundle, which are programs, unless "
        "they came with nstc: a bundle is a stranger's until you vouch for it.",
    ),
]


def _limit_ram(context: typer.Context, size: str | None) -> str | None:
    from nstc.core.amounts import parse_bytes

    if size is not None:
        from nstc.runtime.graph_process import limited_to

        context.with_resource(limited_to(max_ram_bytes=parse_bytes(size)))
    return size


def _limit_time(context: typer.Context, seconds: float | None) -> float | None:
    if seconds is not None:
        from nstc.runtime.graph_process import limited_to

        context.with_resource(limited_to(timeout_s=seconds))
    return seconds


# For the whole verb, so that no verb has to look at them.
TrialRam = Annotated[
    str | None,
    typer.Option(
        "--max-ram",
        metavar="SIZE",
        callback=_limit_ram,
        help="Memory that an ONNX file made by others may take when it is opened and tried.",
        show_default="4GB",
    ),
]
TrialTime = Annotated[
    float | None,
    typer.Option(
        "--timeout",
        metavar="SECONDS",
        callback=_limit_time,
        help="Time that it may take, likewise.",
        show_default="120",
    ),
]

NO_FORM: Final = GraphForm()
"""Nothing is known of how a file made by others is fed."""


def with_graph_flags(verb: Callable[..., None]) -> Callable[..., None]:
    """Give a verb the flags of files made by others, in the place of its parameter `form`.

    Typer reads flags off a function's signature, so the new function has one to read.
    """

    @functools.wraps(verb)
    def with_form(*args: Any, **kwargs: Any) -> None:
        told = {name: kwargs.pop(name) for name in _GRAPH_FLAGS}
        for name in _STATISTICS:
            told[name] = _statistic(name.replace("_", "-"), told[name])
        verb(*args, form=form_of(**told), **kwargs)

    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(verb).parameters.values():
        if parameter.name == "form":
            parameters += (
                parameter.replace(name=name, default=None, annotation=flag)
                for name, flag in _GRAPH_FLAGS.items()
            )
        else:
            parameters.append(parameter)
    with_form.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    with_form.__annotations__ = {one.name: one.annotation for one in parameters}
    return with_form


def number_or_word(text: str | None) -> int | str | None:
    """A whole number if a flag's text is one, else the text, for the recipe to judge."""
    if text is None:
        return None
    return int(text) if text.removeprefix("-").isdecimal() else text


def _statistic(name: str, text: str | None) -> Statistic | None:
    """Three numbers with commas between them, or the word imagenet."""
    if text is None:
        return None
    if text == "imagenet":
        return "imagenet"
    try:
        first, second, third = (float(part) for part in text.split(","))
    except ValueError as error:
        raise OptionError(
            f"{name} is {text}: expected imagenet, or three numbers with commas between them, "
            "such as 0.485,0.456,0.406."
        ) from error
    return first, second, third
