"""A verb's flags, built from the settings of its recipe and from groups of flags."""

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any, Generic, TypeVar, get_args, get_origin, get_type_hints

import typer

from nstc.core.recipe import override
from nstc.core.recipe.settings import Setting

R = TypeVar("R")

Placed = Any
"""Of a parameter that only says where help lists a setting's flag."""


class Given(Generic[R]):
    """Those settings of a recipe that a command line gives; the others are None."""

    def __init__(self, **values: Any) -> None:
        self.values = values

    def over(self, recipe: R, **others: Any) -> R:
        """The recipe with them, and with those others that are not None.

        Raises:
            OptionError: a value is out of range.
        """
        return override(recipe, **(self.values | others))


def with_flags(verb: Callable[..., None]) -> Callable[..., None]:
    """Give a verb the flags of its groups: of a parameter that is a dataclass, one for each field.

    `Given[SomeRecipe]` has a flag for each setting of that recipe. Help lists them in its place,
    but for those that have a parameter, `Placed`, in another: the setting's name after a _.
    """
    parameters = inspect.signature(verb).parameters
    hints = get_type_hints(verb, include_extras=True)
    settings: dict[str, inspect.Parameter] = {}
    for hint in hints.values():
        if get_origin(hint) is Given:
            settings |= setting_flags(get_args(hint)[0])
    groups: dict[str, tuple[Callable[..., Any], list[str]]] = {}
    flags: dict[str, inspect.Parameter] = {}
    for name, parameter in parameters.items():
        kind: Any = hints[name]
        if get_origin(kind) is Given:
            groups[name] = kind, list(settings)
            flags |= {own: settings[own] for own in settings if f"_{own}" not in parameters}
        elif isinstance(kind, type) and dataclasses.is_dataclass(kind):
            fields = group_flags(kind)
            groups[name] = kind, list(fields)
            flags |= fields
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
    run.__annotations__ = {flag.name: flag.annotation for flag in flags.values()}
    return run


def group_flags(kind: Any) -> dict[str, inspect.Parameter]:
    """The flags of a group, by its fields' names."""
    hints = get_type_hints(kind, include_extras=True)
    own = [each for each in dataclasses.fields(kind) if each.init]
    return {each.name: _flag(each.name, hints[each.name], each.default) for each in own}


def setting_flags(recipe: Any) -> dict[str, inspect.Parameter]:
    """A flag for each setting that has help, by the setting's name. None is what is not given."""
    hints = get_type_hints(recipe)
    flags = {}
    for each in dataclasses.fields(recipe):
        known: Setting = each.metadata["setting"]
        if not known.help:
            continue
        flag, kind = f"--{each.name.replace('_', '-')}", hints[each.name]
        if kind is bool and (each.default or known.off):
            flag += f"/--{known.off or flag.replace('--', 'no-')}"
        option = typer.Option(
            flag,
            help=known.help,
            show_default=_shown(each, known),
            metavar=known.unit,
            callback=_number_or_word if kind == int | str else None,
        )
        typed = str if kind == int | str else kind
        flags[each.name] = _flag(each.name, Annotated[typed | None, option], None)
    return flags


def _flag(name: str, annotation: Any, default: Any) -> inspect.Parameter:
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
