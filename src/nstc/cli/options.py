"""Options that several verbs share, so that a flag means the same everywhere."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nstc.core.errors import OptionError
from nstc.core.graph_form import GraphForm, Statistic, form_of

if TYPE_CHECKING:
    from nstc.benchmarks.subjects import Probe
    from nstc.compress.distillation.teachers import TeacherOptions

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
    str | None, typer.Option("--teacher", help="Bundle, zoo name or file. Default: the manifest's.")
]
Init = Annotated[str | None, typer.Option("--init", help="Bundle of a student to start from.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on from the checkpoint of an interrupted run.")
]
Name = Annotated[
    str | None, typer.Option("--name", help="Of the model. Default: the output's name.")
]
Vgg = Annotated[
    str, typer.Option("--vgg", help="VGG-16 features: shipped, torchvision, or a safetensors file.")
]
Style = Annotated[
    Path | None, typer.Option("--style", help="The painting, for a network that came without one.")
]
Credit = Annotated[str | None, typer.Option("--credit", help="Who made the painting.")]
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
        from nstc.runtime.foreign.trial import limited_to

        context.with_resource(limited_to(max_ram_bytes=parse_bytes(size)))
    return size


def _limit_time(context: typer.Context, seconds: float | None) -> float | None:
    if seconds is not None:
        from nstc.runtime.foreign.trial import limited_to

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


@dataclass(frozen=True, kw_only=True)
class FormFlags:
    """How a file made by others is fed, as it was typed.

    Raises:
        OptionError: it is out of range.
    """

    layout: Annotated[
        str | None, typer.Option(help="NCHW or NHWC, if probing a foreign file is wrong.")
    ] = None
    input_range: Annotated[
        int | None,
        typer.Option(help="Values that it takes, likewise: 1 for 0..1, 255, or -1 for -1..1."),
    ] = None
    value_range: Annotated[int | None, typer.Option(help="Older name of --input-range.")] = None
    output_range: Annotated[int | None, typer.Option(help="Values that it gives, likewise.")] = None
    mean: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,C",
            help="What is taken off its input, in units of the input's range and the order of its "
            "channels; or imagenet.",
        ),
    ] = None
    std: Annotated[
        str | None,
        typer.Option(metavar="A,B,C", help="What its input is divided by then; or imagenet."),
    ] = None
    output_mean: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,C",
            help="What is added to its output, in units of the output's range; or imagenet. "
            "Default: --mean, if the output shows that it was taken off.",
            show_default=False,
        ),
    ] = None
    output_std: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,C", help="What its output is multiplied by before that; or imagenet."
        ),
    ] = None
    channels: Annotated[
        str | None,
        typer.Option(
            help="Order of its colours, rgb or bgr, which no probing finds.", show_default="rgb"
        ),
    ] = None
    size_multiple: Annotated[
        int | None, typer.Option(help="Sizes must be multiples of it, likewise.")
    ] = None
    form: GraphForm = field(init=False)  # what was typed

    def __post_init__(self) -> None:
        """Read it before any work begins."""
        form = form_of(
            layout=self.layout,
            input_range=self.input_range,
            value_range=self.value_range,
            output_range=self.output_range,
            size_multiple=self.size_multiple,
            channels=self.channels,
            mean=_statistic("mean", self.mean),
            std=_statistic("std", self.std),
            output_mean=_statistic("output-mean", self.output_mean),
            output_std=_statistic("output-std", self.output_std),
        )
        object.__setattr__(self, "form", form)


@dataclass(frozen=True, kw_only=True)
class TeacherFlags(FormFlags):
    """What may be said of a teacher that is a file made by others."""

    trust: Trust = False
    _max_ram: TrialRam = None
    _timeout: TrialTime = None
    key: Key = None
    vgg: Vgg = "shipped"

    def options(self) -> "TeacherOptions":
        """The same for the library."""
        from nstc.compress.distillation.teachers import TeacherOptions

        return TeacherOptions(**self.form.told(), trust=self.trust, key=self.key)


@dataclass(frozen=True, kw_only=True)
class BundledTeacherFlags(TeacherFlags):
    """Likewise, for a verb that also runs the files of a bundle."""

    trust: TrustBundled = False


@dataclass(frozen=True, kw_only=True)
class JudgedFlags(FormFlags):
    """What may be said of files that are measured."""

    trust: TrustBundled = False
    _max_ram: TrialRam = None
    _timeout: TrialTime = None
    vgg: Vgg = "shipped"

    def probe(self) -> "Probe":
        """Finds what is not said."""
        from functools import partial

        from nstc.runtime.foreign.probing import probe_contract

        return partial(probe_contract, **self.form.told(), trust=self.trust)


@dataclass(frozen=True, kw_only=True)
class ReferenceFlags:
    """What a baseline's rows are judged beside, where it is not what the baseline says."""

    against: Annotated[
        str | None, typer.Option(help="Where the reference lies. Default: as the baseline says.")
    ] = None
    teacher: Annotated[str | None, typer.Option(help="Default: as the baseline says.")] = None
    photos: Photos = None


@dataclass(frozen=True, kw_only=True)
class AnewFlags(JudgedFlags, ReferenceFlags):
    """How a baseline's rows are measured anew."""

    def conditions(self) -> dict[str, Any]:
        """The same for the library, as keywords."""
        from nstc.core.photos import photos_in

        return {
            "photos": photos_in(self.photos or []),
            "against": self.against,
            "teacher": self.teacher,
            "vgg": self.vgg,
            "probe": self.probe(),
            "trust": self.trust,
        }


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
