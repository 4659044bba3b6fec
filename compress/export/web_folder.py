"""A page with models in a folder that any static host serves; no server computes anything.

It is no format of `FORMATS`: those give artifacts, each a file of one bundle. This is a page for
several models, made of copies of artifacts, and its folder is nobody's bundle.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec

from nstc.core import Progress, bundle, decoding, files, images, zoo
from nstc.core.bundle import Bundle
from nstc.core.errors import MissingExtraError, OutputError
from nstc.core.images.picture_files import encode_picture
from nstc.core.manifest import fault_of_name
from nstc.core.photos import PhotoSet, sample_photos
from nstc.runtime.serving.site import (
    Content,
    OfferedModel,
    bytes_of,
    included_photos,
    offered_models,
    plain_name,
    site_content,
)
from nstc.runtime.serving.web_runtime import missing_runtime, web_runtime
from nstc.runtime.session import Artifacts

RECORD: Final = "nstc-web.json"  # of the files, by which a later export may replace them
SAMPLES: Final = ("astronaut", "chelsea", "coffee", "rocket")  # a quarter of a megabyte
MOST_PHOTOS: Final = 24
PHOTO_SIDE: Final = 1024  # longest, in pixels

_INT8: Final = "int8"


@dataclass(frozen=True, kw_only=True)
class WebRecord:
    """What a folder holds, beside the record itself."""

    files: Annotated[Mapping[str, decoding.Sha256], msgspec.Meta(max_length=10_000)]
    schema: Literal["nstc.web/1"] = "nstc.web/1"


def write_web_folder(
    models: Sequence[Bundle],
    output: Path,
    *,
    photos: PhotoSet | None,
    store: Artifacts,
    progress: Progress,
) -> list[Path]:
    """Write a page with models, in one step: the folder is the old one or the whole new one.

    Args:
        models: At least one. Each gives its int8 graph, or its float one where it has no other.
        output: A new or empty folder, or one that this wrote and nobody has changed since.
        photos: To try the page with, at most `MOST_PHOTOS`, scaled down to `PHOTO_SIDE` and
            without what their files say of place and camera. The samples, and None: some of them.
        store: Where graphs come from.
        progress: Is told what the folder's parts weigh.

    Returns:
        The files, the record of them last.

    Raises:
        MissingExtraError: onnxruntime-web is not installed.
        OutputError: the folder holds anything else, or can't be written.
        ImageError: a photograph can't be read.
        NstcError: whatever `store` raises.
    """
    bundle.refuse_name_of_file(output)
    zoo.refuse_shipped(output)
    refuse_other_things(output)
    if (missing := missing_runtime()) is not None:
        raise MissingExtraError(f"{missing}.")
    content = site_content(
        _offered(models, store), server=False, runtime=web_runtime(), photos=_to_try(photos)
    )
    hashes = {}
    with files.atomic_folder(output, replaceable=RECORD) as draft:
        for name, own in sorted(content.items()):
            if any(fault_of_name(part) is not None for part in name.split("/")):
                raise OutputError(f"cannot write {name!r:.80}: it is not the name of a file.")
            path = draft / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(bytes_of(own))
            hashes[name] = files.sha256_of(path)
        record = msgspec.json.encode(WebRecord(files=hashes))
        (draft / RECORD).write_bytes(msgspec.json.format(record))
    progress.note(weights_of(content))
    return [output / name for name in (*hashes, RECORD)]


def refuse_other_things(folder: Path) -> None:
    """Raise `OutputError` for a folder with anything that `write_web_folder` did not write.

    A folder is replaced as a whole: what somebody added or changed there would be lost.
    """
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    advice = "Give another name, or empty it first."
    try:
        parsed = decoding.parse_json(decoding.read_file(folder / RECORD))
        known = decoding.decode(parsed, WebRecord).files
    except (OSError, decoding.DecodingError) as error:
        raise OutputError(
            f"will not replace {folder}: it holds files, and not a page that nstc wrote. {advice}"
        ) from error
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if (path.is_dir() and not path.is_symlink() and any(path.iterdir())) or name == RECORD:
            continue
        if path.is_symlink() or not path.is_file() or name not in known:
            raise OutputError(f"will not replace {folder}: {name} is not of the page. {advice}")
        if files.sha256_of(path) != known[name]:
            raise OutputError(f"will not replace {folder}: {name} was changed since. {advice}")


def weights_of(content: Mapping[str, Content]) -> str:
    """What a folder's parts weigh, in a line."""
    groups = {"models": 0, "runtime": 0, "photos": 0, "page": 0}
    for name, own in content.items():
        first = name.partition("/")[0]
        size = len(own) if isinstance(own, bytes) else own.stat().st_size
        groups[first if "/" in name else "page"] += size
    kilobytes = {name: f"{size / 1000:,.0f} KB" for name, size in groups.items()}
    return (
        f"{sum(groups.values()) / 1e6:.1f} MB: page {kilobytes['page']}, models "
        f"{kilobytes['models']}, photographs {kilobytes['photos']}, onnxruntime-web "
        f"{kilobytes['runtime']}"
    )


def _offered(models: Sequence[Bundle], store: Artifacts) -> Sequence[OfferedModel]:
    """The models, each with one graph at hand."""
    found = []
    for own in models:
        precision = _INT8 if bundle.artifact_name(_INT8) in own.artifacts else "float"
        store(own, precision)
        found.append((own, (precision,)))
    return offered_models(found)


def _to_try(photos: PhotoSet | None) -> Mapping[str, Content]:
    """Photographs for the page by file name."""
    if photos is None or photos == sample_photos():
        return included_photos(SAMPLES)
    chosen: dict[str, Content] = {}
    for path in photos.take(MOST_PHOTOS):
        rgb = images.read_picture(path).rgb
        if max(rgb.shape[:2]) > PHOTO_SIDE:
            rgb = images.resize_longer_side(rgb, PHOTO_SIDE)
        stream = io.BytesIO()
        encode_picture(stream, images.Picture(rgb=rgb), "JPEG")
        name, number = plain_name(path.stem, "photo"), 1
        while f"{name}.jpg" in chosen:
            number += 1
            name = f"{plain_name(path.stem, 'photo')}-{number}"
        chosen[f"{name}.jpg"] = stream.getvalue()
    return chosen
