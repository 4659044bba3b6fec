"""Check vectors: what the files of a bundle gave when it was made, for others to compare with.

A picture made from a seed goes into each runnable file; what came out is kept in the bundle's
`checks.json`, so that another machine, or another runtime, can compare. The picture itself is not
kept, and of a large result only every so many rows and columns:

    {"schema": "nstc.checks/1", "vectors": {"int8.onnx": {"seed": 0, "height": 45, ...}}}

In a pack of styles they are by STYLE/ARTIFACT.
"""

import hashlib
import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
import numpy as np

from nstc.core import images
from nstc.core.bundle import Bundle, artifact_file
from nstc.core.decoding import Count, DecodingError, Name, Sha256, decode, parse_json, read_file
from nstc.core.errors import CorruptBundleError
from nstc.core.files import sha256_of, write_text
from nstc.runtime.arrays import CHECK_SEED, CHECK_SIZE, check_picture, refuse_one_colour
from nstc.runtime.session import BACKENDS, Session

CHECKS_FILE: Final = "checks.json"
SCHEMA: Final = "nstc.checks/1"

_MOST_POSITIONS: Final = 4096
_MOST_PIXELS: Final = 2**24  # of the picture of a file that takes one size only

_Side = Annotated[int, msgspec.Meta(ge=1, le=16384)]


@dataclass(frozen=True, kw_only=True)
class CheckVector:
    """What one file gave for the picture of a seed."""

    file_sha256: Sha256  # of the file that ran: a file made anew has no vector
    seed: Count
    height: _Side
    width: _Side
    picture_sha256: Sha256  # of the picture that went in: whether it could be made again
    painted_sha256: Sha256  # of the result
    stride: _Side  # every so many rows and columns of the result are kept
    values: bytes  # the bytes of those, compressed by zlib; in JSON in base 64

    @property
    def kept(self) -> images.Pixels:
        """What is kept of the result, (rows, columns, 3) uint8; no more of it is unpacked.

        `DecodingError` if the numbers contradict one another.
        """
        rows, columns = -(-self.height // self.stride), -(-self.width // self.stride)
        if self.height * self.width > _MOST_PIXELS or rows * columns > _MOST_POSITIONS:
            raise DecodingError(
                f"a picture of {self.height}x{self.width} with every {self.stride}th row and "
                "column kept is more than nstc writes"
            )
        size = rows * columns * 3
        unpacked = zlib.decompressobj().decompress(self.values, size + 1)
        if len(unpacked) != size:
            raise DecodingError(f"it has {len(unpacked)} values where {size} are expected")
        return np.frombuffer(unpacked, np.uint8).reshape(rows, columns, 3)

    def picture(self) -> images.Pixels:
        """The picture that went in, made again; `CorruptBundleError` if it comes out different."""
        rgb = check_picture(self.seed, self.height, self.width)
        if digest_of(rgb) != self.picture_sha256:
            raise CorruptBundleError(
                f"the picture of {CHECKS_FILE} can't be made again by this numpy "
                f"{np.__version__}: write the vectors anew with  nstc verify BUNDLE --record."
            )
        return rgb


@dataclass(frozen=True, kw_only=True)
class _Checks:
    """The whole file."""

    schema: Literal["nstc.checks/1"]
    vectors: Annotated[Mapping[Name, CheckVector], msgspec.Meta(max_length=300)]


def check_vector(session: Session) -> CheckVector:
    """Run a file on the check picture, and keep what it gives; `NstcError` if it does not run.

    `UnusableModelError` if it gives one colour throughout, or values that are not finite.
    """
    height, width = getattr(session, "fixed_size", None) or CHECK_SIZE
    rgb = check_picture(CHECK_SEED, height, width)
    stylised = session.run(rgb)
    refuse_one_colour(stylised, session.path)
    # the least odd one that keeps few enough: an even one would meet only every other pixel of the
    # checkerboards that networks leave
    stride = 1
    while -(-height // stride) * -(-width // stride) > _MOST_POSITIONS:
        stride += 2
    return CheckVector(
        file_sha256=sha256_of(session.path),
        seed=CHECK_SEED,
        height=height,
        width=width,
        picture_sha256=digest_of(rgb),
        painted_sha256=digest_of(stylised),
        stride=stride,
        values=zlib.compress(stylised[::stride, ::stride].tobytes(), 9),
    )


def read_check_vectors(bundle: Bundle) -> Mapping[str, CheckVector]:
    """The vectors that a bundle holds, by artifact; none if it came without.

    `CorruptBundleError` if its `checks.json` was changed, or this nstc can't read it.
    """
    if CHECKS_FILE not in bundle.manifest.files:
        return {}
    path = bundle.file(CHECKS_FILE)
    try:
        content = parse_json(read_file(path), one_line_texts=True)
        checks = decode(content, _Checks, known_keys_only=False)
        for vector in checks.vectors.values():
            _ = vector.kept  # raises for what is wrong
    except (OSError, DecodingError, zlib.error) as error:
        raise CorruptBundleError(
            f"{path} can't be read: {error}. Write it anew with  nstc verify "
            f"{bundle.path} --record, or upgrade nstc."
        ) from error
    return checks.vectors


def write_check_vectors(
    folder: Path, artifacts: Iterable[str], known: Mapping[str, CheckVector]
) -> None:
    """Run files of a bundle that is being made, and write its `checks.json`.

    `known` are vectors to keep; those of files that are no longer in the folder are left out.
    `NstcError` if a file does not run, or `checks.json` can't be written.
    """
    vectors = {name: own for name, own in known.items() if (folder / artifact_file(name)).is_file()}
    for name in artifacts:
        backend = BACKENDS[name.rpartition(".")[2]]
        vectors[name] = check_vector(backend.open(folder / artifact_file(name), name, None))
    write_text(folder / CHECKS_FILE, checks_text(vectors))


def checks_text(vectors: Mapping[str, CheckVector]) -> str:
    """What a `checks.json` of some vectors holds."""
    content = {"schema": SCHEMA, "vectors": msgspec.to_builtins(vectors)}
    return json.dumps(content, indent=1, sort_keys=True) + "\n"


def digest_of(rgb: images.Pixels) -> str:
    """SHA-256 of a picture's bytes, rows first."""
    return hashlib.sha256(np.ascontiguousarray(rgb).tobytes()).hexdigest()
