"""Photographs by what a user names: folders, or data sets that torchvision can download."""

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from nstc.core import errors, files
from nstc.core.drafts import draft_folder, put_in_place
from nstc.core.photos import PhotoSet, photos_in


class DataSet(NamedTuple):
    """A data set of photographs in torchvision."""

    builder: str  # class in `torchvision.datasets`
    photos: str  # folder of the photographs, below the class's `root`
    arguments: Mapping[str, Any]  # of the class, beside `root` and `download`


DATA_SETS: Final = {
    "imagenette": DataSet(
        "Imagenette", "imagenette2-320/train", {"split": "train", "size": "320px"}
    ),
    "flowers102": DataSet("Flowers102", "flowers-102/jpg", {}),
    "oxford-pets": DataSet("OxfordIIITPet", "oxford-iiit-pet/images", {}),
}


def photos_of(names: Sequence[str | Path]) -> PhotoSet:
    """The photographs of folders and of data sets in `DATA_SETS`; the samples if none is named.

    A folder takes precedence over a data set of the same name. Data sets are downloaded once.
    `PhotosError` if there is no such folder or data set, it holds no photograph, or it can't be
    downloaded; `OutputError` if the cache can't be written.
    """
    if not names:
        return photos_in(())
    sets = [_set_of(Path(name)) for name in names]
    return PhotoSet(
        tuple(path for photos in sets for path in photos),
        tuple(name for photos in sets for name in photos.names),
    )


def _set_of(name: Path) -> PhotoSet:
    data_set = DATA_SETS.get(str(name))
    if name.exists() or data_set is None:
        if not name.exists() and name.parent == Path():
            raise errors.PhotosError(
                f"no folder at {name}: --photos takes a folder of photographs, or one of "
                f"{', '.join(DATA_SETS)}."
            )
        return photos_in([name])
    root = files.cached("datasets", str(name))
    if not root.is_dir():
        _fetch(str(name), data_set, root)
    return PhotoSet(photos_in([root / data_set.photos]).paths, (str(name),))


def _fetch(name: str, data_set: DataSet, root: Path) -> None:
    """Download into a folder beside `root` and rename it: what is at `root` is complete."""
    if os.environ.get("LOCAL_RANK", "0") != "0":
        while not root.is_dir():  # torchrun ends all processes when the first one fails
            time.sleep(1)
        return
    from torchvision import datasets

    with files.locked(root), files.reported_as_output_error(root):
        if root.is_dir():  # another run has downloaded it meanwhile
            return
        root.parent.mkdir(parents=True, exist_ok=True)
        with draft_folder(root) as draft:
            builder = getattr(datasets, data_set.builder)
            try:
                builder(root=draft, download=True, **data_set.arguments)
            except (OSError, RuntimeError) as error:  # no network, a full disk, a broken archive
                raise errors.PhotosError(
                    f"can't download {name}: {error}. "
                    "Give a folder of photographs, or try again with a network."
                ) from error
            put_in_place(draft, root)
