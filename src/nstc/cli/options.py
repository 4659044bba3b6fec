"""Options that several verbs share, so that a flag means the same everywhere."""

from pathlib import Path
from typing import Annotated

import typer

from nstc.core.errors import OptionError

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
Layout = Annotated[
    str | None,
    typer.Option("--layout", help="NCHW or NHWC, if probing a foreign file is wrong."),
]
ValueRange = Annotated[
    int | None,
    typer.Option(
        "--value-range", help="Of its values, likewise: 1 for 0..1, 255, or -1 for -1..1."
    ),
]
SizeMultiple = Annotated[
    int | None,
    typer.Option("--size-multiple", help="Sizes must be multiples of it, likewise."),
]
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


def whole_numbers(name: str, text: str) -> tuple[int, ...]:
    """Whole numbers with commas between them, as a flag gives them: "192,256,384".

    Raises:
        OptionError: it is no such list.
    """
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise OptionError(
            f"{name} is {text}: expected whole numbers with commas between them, such as 192,256."
        ) from error


def number_or_word(text: str | None) -> int | str | None:
    """A whole number if a flag's text is one, else the text, for the recipe to judge."""
    if text is None:
        return None
    return int(text) if text.removeprefix("-").isdecimal() else text
