"""What nstc-models holds of nstc: all that a device does without.

Both install into one folder, `nstc`, and share no file. A checkout has the files of both.
"""

from importlib import resources
from pathlib import PurePosixPath
from typing import Final

from nstc.core import VERSION
from nstc.core.errors import MissingExtraError

MODELS: Final = "nstc-models"
DEVICE_FILES: Final = frozenset(
    {"manifest.json", "checks.json", "model.int8.onnx", "model.int8.tiles.onnx"}
)
"""Of an included model what every install has. A teacher has the manifest alone."""
DEVICE_PHOTOS: Final = ("astronaut", "chelsea", "coffee", "retina", "rocket")
"""Of the sample photographs likewise: `nstc serve` shows them, and networks are tried on two."""


def is_of_models(path: PurePosixPath) -> bool:
    """Whether nstc-models holds a file, by its path in the installed folder `nstc`."""
    match path.parts:
        case ("models", "data", *_):
            return True
        case ("models", "zoo", *_):
            return path.name not in DEVICE_FILES
        case ("core", "samples", _):
            return path.suffix == ".jpg" and path.stem not in DEVICE_PHOTOS
    return False


def has_models() -> bool:
    """Whether the files of nstc-models are here."""
    return (resources.files("nstc.models") / "data").is_dir()


def missing_models(wanted: str) -> MissingExtraError:
    """The error for what comes with nstc-models, which begins with what was wanted."""
    return MissingExtraError(
        f"{wanted} comes with {MODELS}, which is not installed: run  {pip_line()}"
    )


def pip_line() -> str:
    """What installs nstc-models, in the version that fits."""
    return f'pip install "{MODELS}=={VERSION}"'
