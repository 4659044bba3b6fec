"""Photographs by what a user names: folders, or data sets that torchvision can download."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from nstc.core.errors import PhotosError
from nstc.core.files import locked, reported_as_output_error
from nstc.core.files.cache import cached
from nstc.core.files.drafts import draft_folder, put_in_place
from nstc.core.photos import PhotoSet, photos_in, sample_photos

_SECONDS_BETWEEN_LOOKS: Final = 1.0


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """A data set of photographs in torchvision."""

    builder: str  # its class in `torchvision.datasets`
    arguments: dict[str, Any]  # of the class, beside `root` and `download`
    photos: str  # the folder with the photographs, below `root`


DATA_SETS: Final = {
    "imagenette": DataSet(
        builder="Imagenette",
        arguments={"split": "train", "size": "320px"},
        photos="imagenette2-320/train",
    ),
    "flowers102": DataSet(builder="Flowers102", arguments={}, photos="flowers-102/jpg"),
    "oxford-pets": DataSet(builder="OxfordIIITPet", arguments={}, photos="oxford-iiit-pet/images"),
}


def photos_of(names: Sequence[Path]) -> PhotoSet:
    """The photographs of folders and of data sets in `DATA_SETS`; the samples if none is named.

    A folder goes before a data set of the same name. Data sets are downloaded into the cache once.

    Raises:
        PhotosError: there is no such folder or data set, it holds no photograph, or it can't be
            downloaded.
        OutputError: the cache can't be written.
    """
    if not names:
        return sample_photos()
    sets = [_set_of(name) for name in names]
    return PhotoSet(
        tuple(path for photos in sets for path in photos),
        tuple(name for photos in sets for name in photos.names),
    )


def _set_of(name: Path) -> PhotoSet:
    data_set = DATA_SETS.get(str(name))
    if name.exists() or data_set is None:
        if not name.exists() and name.parent == Path():
            raise PhotosError(
                f"no folder at {name}: --photos takes a folder of photographs, or one of "
                f"{', '.join(DATA_SETS)}."
            )
        return photos_in([name])
    root = cached("datasets", str(name))
    if not root.is_dir():
        _fetch(str(name), data_set, root)
    return PhotoSet(photos_in([root / data_set.photos]).paths, (str(name),))


def _fetch(name: str, data_set: DataSet, root: Path) -> None:
    """Download into a folder beside `root` and rename it: what is at `root` is complete."""
    if os.environ.get("LOCAL_RANK", "0") != "0":
        while not root.is_dir():  # torchrun ends all processes when the first one fails
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        return
    from torchvision import datasets

    with locked(root), reported_as_output_error(root):
        if root.is_dir():  # another run has downloaded it meanwhile
            return
        root.parent.mkdir(parents=True, exist_ok=True)
        with draft_folder(root) as draft:
            builder = getattr(datasets, data_set.builder)
            try:
                builder(root=draft, download=True, **data_set.arguments)
            except (OSError, RuntimeError) as error:  # no network, a full disk, a broken archive
                raise PhotosError(
                    f"can't download {name}: {error}. "
                    "Give a folder of photographs, or try again with a network."
                ) from error
            put_in_place(draft, root)
