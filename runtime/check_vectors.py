"""Check vectors: what each runnable file of a bundle painted when it was made.

A picture made from a seed goes in; what came out is kept in the bundle's `checks.json`, so that
another machine, or another runtime, can tell whether it paints the same. The picture itself is not
kept, and of a large result only every so many rows and columns:

    {"schema": "nstc.checks/1", "vectors": {"int8.onnx": {"seed": 0, "height": 45, ...}}}
"""

import base64
import hashlib
import json
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import numpy.typing as npt
from msgspec import Meta

from nstc.core.bundle import Bundle, artifact_file
from nstc.core.decoding import Count, DecodingError, Name, Sha256, decode, parse_json, read_file
from nstc.core.errors import CorruptBundleError
from nstc.core.files import atomic_file, sha256_of
from nstc.core.images import Pixels
from nstc.runtime.arrays import refuse_one_colour
from nstc.runtime.session import BACKENDS, Session

CHECKS_FILE: Final = "checks.json"
SCHEMA: Final = "nstc.checks/1"

SIZE: Final = (45, 59)
"""Height and width of the picture, both odd, so that padding and cropping are looked at too. A file
that takes one size only is given that."""

_SEED: Final = 0
_BLOCK: Final = 9
_GRAIN: Final = 24
_MOST_POSITIONS: Final = 4096
_MOST_PIXELS: Final = 2**24
"""Of the picture of a file that takes one size only."""

_Side = Annotated[int, Meta(ge=1, le=16384)]


@dataclass(frozen=True, kw_only=True)
class CheckVector:
    """What one file painted of the picture of a seed."""

    file_sha256: Sha256  # of the file that painted it: a file made anew has no vector
    seed: Count
    height: _Side
    width: _Side
    picture_sha256: Sha256  # of the picture that went in: tells whether it could be made again
    painted_sha256: Sha256  # of the result
    stride: _Side  # every so many rows and columns of the result are kept
    values: bytes  # the bytes of those, compressed by zlib

    @property
    def kept(self) -> Pixels:
        """What is kept of the result, (rows, columns, 3) uint8; no more of it is unpacked.

        Raises:
            DecodingError: the numbers contradict one another.
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

    def picture(self) -> Pixels:
        """The picture that went in, made again.

        Raises:
            CorruptBundleError: it comes out another one.
        """
        rgb = check_picture(self.seed, self.height, self.width)
        if digest_of(rgb) != self.picture_sha256:
            raise CorruptBundleError(
                f"the picture of {CHECKS_FILE} can't be made again by this numpy "
                f"{np.__version__}: write the vectors anew with  nstc verify BUNDLE --record."
            )
        return rgb

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; `values` in base 64."""
        return {**vars(self), "values": base64.b64encode(self.values).decode("ascii")}


@dataclass(frozen=True, kw_only=True)
class _Checks:
    """The whole file."""

    schema: Name
    vectors: Annotated[Mapping[Name, CheckVector], Meta(max_length=100)]


def check_picture(seed: int, height: int, width: int) -> Pixels:
    """Blocks of colour with grain on them, (height, width, 3) uint8, the same on every machine.

    Of PCG64's raw bits and integers alone, which NumPy keeps as they are between versions.
    """
    bits = np.random.PCG64(seed)

    def raw(height: int, width: int) -> npt.NDArray[np.int64]:
        drawn = bits.random_raw(height * width * 3) >> np.uint64(32)
        return drawn.astype(np.int64).reshape(height, width, 3)

    blocks = raw(-(-height // _BLOCK), -(-width // _BLOCK)) % 256
    spread = blocks.repeat(_BLOCK, 0).repeat(_BLOCK, 1)[:height, :width]
    grain = raw(height, width) % (2 * _GRAIN) - _GRAIN
    rgb: Pixels = np.clip(spread + grain, 0, 255).astype(np.uint8)
    return rgb


def refuse_without_picture(
    run: Callable[[Pixels], Pixels], of: str | Path, size: tuple[int, int] | None = None
) -> None:
    """Refuse a model in file `of` that makes no picture of the check picture of many colours.

    `run` is the model, from (H, W, 3) uint8 to the same; `size` the only height and width it takes.

    Raises:
        UnusableModelError: what it gives is one colour throughout, or not finite.
    """
    refuse_one_colour(run(check_picture(_SEED, *(size or SIZE))), of)


def check_vector(session: Session) -> CheckVector:
    """Let a file paint, and keep what it painted.

    Raises:
        UnusableModelError: it gives one colour throughout, or values that are not finite.
        NstcError: it does not run.
    """
    height, width = getattr(session, "fixed_size", None) or SIZE
    rgb = check_picture(_SEED, height, width)
    painted = session.run(rgb)
    refuse_one_colour(painted, session.path)
    # the least odd one that keeps few enough: an even one would meet only every other pixel of the
    # grids that networks leave
    stride = 1
    while -(-height // stride) * -(-width // stride) > _MOST_POSITIONS:
        stride += 2
    return CheckVector(
        file_sha256=sha256_of(session.path),
        seed=_SEED,
        height=height,
        width=width,
        picture_sha256=digest_of(rgb),
        painted_sha256=digest_of(painted),
        stride=stride,
        values=zlib.compress(painted[::stride, ::stride].tobytes(), 9),
    )


def read_check_vectors(bundle: Bundle) -> Mapping[str, CheckVector]:
    """The vectors that a bundle holds, by artifact; none if it came without.

    Raises:
        CorruptBundleError: its `checks.json` was changed, or is none that this nstc reads.
    """
    if CHECKS_FILE not in bundle.manifest.files:
        return {}
    path = bundle.file(CHECKS_FILE)
    try:
        content = parse_json(read_file(path), one_line_texts=True)
        checks = decode(content, _Checks, known_keys_only=False)
        if checks.schema != SCHEMA:
            raise DecodingError(f"it is {checks.schema!r:.60}, expected {SCHEMA}")
        for vector in checks.vectors.values():
            _ = vector.kept  # which says what is wrong
    except (OSError, DecodingError, zlib.error) as error:
        raise CorruptBundleError(
            f"{path} can't be read: {error}. Write it anew with  nstc verify "
            f"{bundle.path} --record, or upgrade nstc."
        ) from error
    return checks.vectors


def write_check_vectors(
    folder: Path, artifacts: Iterable[str], known: Mapping[str, CheckVector]
) -> None:
    """Let files of a bundle that is being made paint, and write its `checks.json`.

    `known` are vectors to keep; those of files that are no longer in the folder are left out.

    Raises:
        OutputError: the place can't be written.
        NstcError: a file does not run.
    """
    vectors = {name: own for name, own in known.items() if (folder / artifact_file(name)).is_file()}
    for name in artifacts:
        backend = BACKENDS[name.rpartition(".")[2]]
        vectors[name] = check_vector(backend.open(folder / artifact_file(name), name, None))
    records = {name: vector.to_dict() for name, vector in vectors.items()}
    with atomic_file(folder / CHECKS_FILE) as draft:
        text = json.dumps({"schema": SCHEMA, "vectors": records}, indent=1, sort_keys=True)
        draft.write_text(text + "\n", encoding="utf-8")


def digest_of(rgb: Pixels) -> str:
    """SHA-256 of a picture's bytes, rows first."""
    return hashlib.sha256(np.ascontiguousarray(rgb).tobytes()).hexdigest()
