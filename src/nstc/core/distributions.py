"""What nstc-models holds of nstc: all that a device does without.

Both install into one folder, `nstc`, and share no file. A checkout has the files of both.
"""

from importlib import resources
from pathlib import Path, PurePosixPath
from typing import Final

from nstc.core import VERSION
from nstc.core.errors import MissingExtraError
from nstc.core.manifest import style_of_table

MODELS: Final = "nstc-models"
STAMP: Final = PurePosixPath("models", "data", "version.txt")
"""Names the version of nstc-models. It has this file in the folder `nstc`; a checkout has none."""
SAMPLE_COUNT: Final = 12
"""Of sample photographs, those of both distributions."""
_DEVICE_FILES: Final = frozenset(
    {"manifest.json", "checks.json", "model.int8.onnx", "model.int8.tiles.onnx", "styles.json"}
)
DEVICE_PHOTOS: Final = ("astronaut", "chelsea", "coffee", "retina", "rocket")
"""Of the sample photographs likewise: `nstc serve` shows them, and networks are tried on two."""


def is_of_models(path: PurePosixPath) -> bool:
    """Whether nstc-models holds a file, by its path in the installed folder `nstc`."""
    match path.parts:
        case ("models", "data", *_):
            return True
        case ("models", "zoo", *_):
            return not is_of_device(path.name)
        case ("core", "samples", _):
            return path.suffix == ".jpg" and path.stem not in DEVICE_PHOTOS
    return False


def is_of_device(name: str) -> bool:
    """Whether every install has a file of an included model, by its name in the model's folder.

    A teacher has the manifest alone.
    """
    return name in _DEVICE_FILES or style_of_table(name) is not None


def models_version() -> str | None:
    """The version of the files of nstc-models that are here; None if they are not.

    In a checkout they are of its own version.
    """
    if not _data_folder().is_dir():
        return None
    try:
        return (_data_folder() / STAMP.name).read_text(encoding="utf-8", errors="replace").strip()
    except FileNotFoundError:
        return VERSION


def has_models() -> bool:
    """Whether the files of nstc-models are here, in this version."""
    return models_version() == VERSION


def missing_models(wanted: str, verb: str = "comes") -> MissingExtraError:
    """The error for what comes with nstc-models, which begins with what was wanted."""
    found = models_version()
    lacking = "which is not installed"
    if found not in (None, VERSION):
        lacking = f"and version {found!r:.40} of it is installed, where {VERSION} is needed"
    return MissingExtraError(f"{wanted} {verb} with {MODELS}, {lacking}: run  {pip_line()}")


def pip_line() -> str:
    """What installs nstc-models, in the version that fits."""
    return f'pip install "{MODELS}=={VERSION}"'


def repair(name: str) -> str:
    """What to do where a file of an included model, by its name, is missing or damaged."""
    if _data_folder().is_dir() and not (_data_folder() / STAMP.name).exists():
        return "install nstc again, from the checkout it came from"
    package = "nstc" if is_of_device(name) else MODELS
    return f'run  pip install --force-reinstall --no-deps "{package}=={VERSION}"'


def _data_folder() -> Path:
    return Path(str(resources.files("nstc.models") / "data"))
