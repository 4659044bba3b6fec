"""The settings that ship under a name, as TOML files beside this module."""

from importlib import resources
from pathlib import Path
from typing import Final

from nstc.core.errors import OptionError
from nstc.core.recipe import Recipe, load_recipe

TRAIN_PRESETS: Final = ("draft", "good", "best")


def train_preset(name: str) -> Recipe:
    """One of the presets of `nstc train`.

    Raises:
        OptionError: there is no such preset.
    """
    if name not in TRAIN_PRESETS:
        raise OptionError(f"no preset {name}: there is {', '.join(TRAIN_PRESETS)}.")
    return load_recipe(Path(str(resources.files("nstc.core") / "presets" / f"train-{name}.toml")))
