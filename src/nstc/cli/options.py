"""Options that several verbs share, and how a verb gets those of its recipe and its groups."""

import dataclasses
import functools
import inspect
import typing
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Generic, TypeVar

import typer

import nstc
from nstc.core.errors import OptionError
from nstc.core.graph_form import GraphFlags, GraphForm, form_of, read_inputs, read_statistic
from nstc.core.recipe import override
from nstc.core.recipe.settings import Setting, parse_bytes

if TYPE_CHECKING:
    from nstc.benchmarks.subjects import Probe
    from nstc.compress.distillation.teachers import TeacherOptions

R = TypeVar("R")


def flag(
    default: Any, help: str, *names: str, shown: str | bool = True, metavar: str | None = None
) -> Any:
    """A verb's parameter or a group's field, with a default, for `with_flags` to make a flag of.

    Its names are those given, else its own; one that is False has no --no-NAME. In the help `shown`
    stands in the place of the default.
    """
    known = {"help": help, "show_default": shown, "metavar": metavar}
    return dataclasses.field(default=default, metadata={"flag": (names, known)})


_FOLDERS = "Folder of photographs, repeatable. Default: the sample photographs."
Photos = Annotated[list[Path] | None, typer.Option("--photos", help=_FOLDERS, show_default=False)]
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
    typer.Option(
        "--teacher",
        help="The teacher: a bundle, zoo name or file. Default: the one the manifest names.",
    ),
]
Init = Annotated[str | None, typer.Option("--init", help="Bundle of a student to start from.")]
AllMetrics = Annotated[
    bool,
    typer.Option("--all-metrics", help="Show every quality metric, not the main ones alone."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Resume = Annotated[
    bool, typer.Option("--resume", help="Resume an interrupted run from its checkpoint.")
]
Name = Annotated[
    str | None, typer.Option("--name", help="Name of the model. Default: the name of the output.")
]
Vgg = Annotated[
    str,
    typer.Option("--vgg", help="VGG features: shipped, torchvision, torchvision-vgg19 or a file."),
]
Style = Annotated[
    Path | None,
    typer.Option(
        "--style", help="The painting, where none came with the network or a loss term needs it."
    ),
]
Credit = Annotated[str | None, typer.Option("--credit", help="Who made the painting.")]
Trust = Annotated[
    bool,
    typer.Option(
        "--trust", help="Load a TorchScript teacher although it is a program that can do anything."
    ),
]
Key = Annotated[
    str | None,
    typer.Option(
        "--key",
        help="Where a checkpoint holds the weights, such as params_ema or state_dict.generator; "
        ". is the file itself. Default: the one part that fits the network.",
        show_default=False,
    ),
]
TrustBundled = Annotated[
    bool,
    typer.Option(
        "--trust",
        help="Load the TorchScript, ExecuTorch and LiteRT files of a bundle that did not come with "
        "nstc. They are programs that can do anything: trust their author first.",
    ),
]


def _limiting(name: str, read: Callable[[Any], Any]) -> Callable[[typer.Context, Any], Any]:
    """Sets a limit for the whole verb, so that no verb has to look at it."""

    def limit(context: typer.Context, typed: Any) -> Any:
        if typed is not None:
            from nstc.runtime.foreign.trial import limited_to

            context.with_resource(limited_to(**{name: read(typed)}))
        return typed

    return limit


TrialRam = Annotated[
    str | None,
    typer.Option(
        "--max-ram",
        metavar="SIZE",
        callback=_limiting("max_ram_bytes", parse_bytes),
        help="Most memory for opening and trying an ONNX file made by others.",
        show_default="4GB",
    ),
]
TrialTime = Annotated[
    float | None,
    typer.Option(
        "--timeout",
        metavar="SECONDS",
        callback=_limiting("timeout_s", float),
        help="Most seconds for opening and trying an ONNX file made by others.",
        show_default="120",
    ),
]


@dataclasses.dataclass(frozen=True, kw_only=True)
class FormFlags:
    """How a file made by others is fed, as it was typed; `OptionError` if it is out of range."""

    layout: str | None = flag(
        None, "Layout of an ONNX file made by others: NCHW or NHWC. Default: found by probing."
    )
    input_range: int | None = flag(
        None,
        "Its input values: 1 for 0..1, 255 for 0..255, -1 for -1..1. Default: found by probing.",
    )
    value_range: int | None = flag(None, "Old name of --input-range.")
    output_range: int | None = flag(
        None, "Its output values, in the same way. Default: found by probing."
    )
    mean: str | None = flag(
        None,
        "Mean subtracted from its input, in units of the input range and in its channel order; "
        "or imagenet.",
        metavar="A,B,C",
    )
    std: str | None = flag(
        None, "Standard deviation its input is then divided by; or imagenet.", metavar="A,B,C"
    )
    output_mean: str | None = flag(
        None,
        "Mean added to its output, in units of the output range; or imagenet. "
        "Default: --mean, if probing shows that the output is normalised.",
        shown=False,
        metavar="A,B,C",
    )
    output_std: str | None = flag(
        None,
        "Standard deviation its output is multiplied by before that; or imagenet.",
        metavar="A,B,C",
    )
    channels: str | None = flag(
        None, "Its channel order, rgb or bgr, which probing cannot find.", shown="rgb"
    )
    size_multiple: int | None = flag(
        None, "Number that its picture sizes must be multiples of. Default: found by probing."
    )
    inputs: list[str] | None = flag(
        None,
        "What an input besides the picture gets, repeatable: a number such as style=7, numbers "
        "with commas between them, or a picture's file.",
        "--input",
        metavar="NAME=VALUE",
    )
    form: GraphForm = dataclasses.field(init=False)  # what was typed

    def __post_init__(self) -> None:
        """Read it before any work begins."""
        typed = {name: getattr(self, name) for name in GraphFlags.__annotations__}
        for name in ("mean", "std", "output_mean", "output_std"):
            typed[name] = read_statistic(name.replace("_", "-"), typed[name])
        typed["inputs"] = read_inputs(self.inputs or [])
        object.__setattr__(self, "form", form_of(**typed))


@dataclasses.dataclass(frozen=True, kw_only=True)
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

        return TeacherOptions(**self.form.keywords(), trust=self.trust, key=self.key)


@dataclasses.dataclass(frozen=True, kw_only=True)
class BundledTeacherFlags(TeacherFlags):
    """The same for a verb that also runs the files of a bundle."""

    trust: TrustBundled = False


@dataclasses.dataclass(frozen=True, kw_only=True)
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

        return partial(probe_contract, **self.form.keywords(), trust=self.trust)


@dataclasses.dataclass(frozen=True, kw_only=True)
class AnewFlags(JudgedFlags):
    """How the rows of a baseline are measured again, where it is not as the baseline says."""

    against: str | None = flag(
        None, "The reference: a bundle or file. Default: the one the baseline names."
    )
    teacher: str | None = flag(None, "The teacher. Default: the one the baseline names.")
    photos: Photos = None

    def conditions(self) -> dict[str, Any]:
        """The same for the library, as keywords."""
        return {
            "photos": nstc.photos_in(self.photos or []),
            "against": self.against,
            "teacher": self.teacher,
            "vgg": self.vgg,
            "probe": self.probe(),
            "trust": self.trust,
        }


_ALIAS: Final = "_alias_"  # begins the parameter of a hidden flag
Placed = Any  # of a parameter that only says where help lists a setting's flag


class Given(Generic[R]):
    """Those settings of a recipe that a command line gives; the others are None."""

    def __init__(self, **values: Any) -> None:
        self.values = values

    def over(self, recipe: R, **others: Any) -> R:
        """The recipe with them, and those others that are not None; `OptionError` out of range."""
        return override(recipe, **(self.values | others))


def with_flags(verb: Callable[..., None]) -> Callable[..., None]:
    """Give a verb the flags of its groups: of a parameter that is a dataclass, one for each field.

    `Given[SomeRecipe]` has a flag for each setting of that recipe. Help lists them in its place,
    but for those that have a parameter, `Placed`, in another: the setting's name after a _.
    """
    parameters = inspect.signature(verb).parameters
    hints = typing.get_type_hints(verb, include_extras=True)
    settings: dict[str, inspect.Parameter] = {}
    for hint in hints.values():
        if typing.get_origin(hint) is Given:
            settings |= setting_flags(typing.get_args(hint)[0])
    groups: dict[str, tuple[Callable[..., Any], list[str]]] = {}
    flags: dict[str, inspect.Parameter] = {}
    for name, parameter in parameters.items():
        kind: Any = hints[name]
        if typing.get_origin(kind) is Given:
            groups[name] = functools.partial(_given, kind), list(settings)
            flags |= {own: settings[own] for own in settings if f"_{own}" not in parameters}
        elif isinstance(kind, type) and dataclasses.is_dataclass(kind):
            own_hints = typing.get_type_hints(kind, include_extras=True)
            fields = [each for each in dataclasses.fields(kind) if each.init]
            groups[name] = kind, [each.name for each in fields]
            flags |= {each.name: _flag(each.name, own_hints[each.name], each) for each in fields}
        elif name.startswith("_") and name[1:] in settings:
            flags[name[1:]] = settings[name[1:]]
        else:
            flags[name] = _flag(name, kind, parameter.default)

    @functools.wraps(verb)
    def run(**typed: Any) -> None:
        for name, (kind, names) in groups.items():
            typed[name] = kind(**{own: typed.pop(own) for own in names})
        verb(**typed)

    # Typer reads flags off a function's signature.
    run.__signature__ = inspect.Signature([*flags.values()])  # type: ignore[attr-defined]
    run.__annotations__ = {name: each.annotation for name, each in flags.items()}
    return run


def setting_flags(recipe: Any) -> dict[str, inspect.Parameter]:
    """A flag for each setting that has help, and its hidden alias; None is what is not given."""
    hints = typing.get_type_hints(recipe)
    flags = {}
    for each in dataclasses.fields(recipe):
        known: Setting = each.metadata["setting"]
        if not known.help:
            continue
        own, kind = each.name.replace("_", "-"), hints[each.name]
        name = known.flag or own
        both = kind is bool and (each.default or known.off)
        option = typer.Option(
            f"--{name}/--{known.off or f'no-{name}'}" if both else f"--{name}",
            help=known.help,
            show_default=_shown(each, known),
            metavar=known.unit,
            callback=_number_or_word if kind == int | str else None,
        )
        typed = str if kind == int | str else kind
        flags[each.name] = _flag(each.name, Annotated[typed | None, option], None)
        if known.flag:
            old, hidden = _ALIAS + each.name, typer.Option(f"--{own}", hidden=True)
            flags[old] = _flag(old, Annotated[typed | None, hidden], None)
    return flags


def _given(kind: Any, **values: Any) -> Any:
    """What was typed, with the old names of flags as their new ones."""
    fields = dataclasses.fields(typing.get_args(kind)[0])
    for each in (own for own in fields if own.metadata["setting"].flag):
        old = values.pop(_ALIAS + each.name)
        if None not in (old, values[each.name]):
            own, new = each.name.replace("_", "-"), each.metadata["setting"].flag
            raise OptionError(f"--{own} is the old name of --{new}: give one of them.")
        values[each.name] = values[each.name] if old is None else old
    return kind(**values)


def _flag(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    if isinstance(default, dataclasses.Field):
        if "flag" in default.metadata:
            names, known = default.metadata["flag"]
            if annotation is bool and not default.default:
                names = names or (f"--{name.replace('_', '-')}",)
            annotation = Annotated[annotation, typer.Option(*names, **known)]
        default = default.default
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default
    )


def _shown(setting: "dataclasses.Field[Any]", known: Setting) -> str | bool:
    """A setting's default as help shows it; False shows none."""
    if known.shown is not None:
        return known.shown or False
    if isinstance(setting.default, bool):
        return setting.name.replace("_", "-") if known.off else "yes" if setting.default else "no"
    if isinstance(setting.default, float):
        return f"{setting.default:g}"
    return str(setting.default) if setting.default is not None else False


def _number_or_word(text: str | None) -> int | str | None:
    """A whole number if it is one, else the text, for the recipe to judge."""
    if text is None:
        return None
    return int(text) if text.removeprefix("-").isdecimal() else text
