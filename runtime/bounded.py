"""Stylising within a limit of memory, in one piece or in tiles.

What a picture will take is predicted before it is decoded. The peak of a process is what it holds
already (interpreter, libraries, network), and on top of it the most expensive of three phases:
decoding, stylising, encoding. Decoding and encoding follow from the picture's size and format. What
a network needs for a tile grows with the tile's pixels; how steeply depends on its layers and on
the kernels that this processor runs, with work space that no graph shows, so the graph itself is
run on a few small pictures and what it took is measured.
"""

import math
import operator
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from nstc.core import errors, manifest
from nstc.core.bundle import TILES_ARTIFACT, Bundle, artifact_name, open_bundle
from nstc.core.images import Picture, Pixels, converting, picture, picture_files
from nstc.runtime import arrays, footprint
from nstc.runtime.arrays import Tiling, halo_of, stylize_in_place, tiling_of
from nstc.runtime.control import PLAIN, Control, blended, blending_bytes, controlled, sizes_of
from nstc.runtime.onnx_session import OnnxSession
from nstc.runtime.session import DEFAULT_ARTIFACT, Session, open_session

# Of cores. Few, so that a little more or less memory rarely changes how a picture is cut.
_SIDES: Final = (64, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048)
LEAST_TILE: Final = 64  # pixels, of sides that are asked for
MOST_TILE: Final = 8192
MARGIN: Final = 1.15  # over what a run took when it was tried, for the holes an allocator leaves
SLACK_BYTES: Final = 10_000_000  # for tables and buffers that do not grow with the picture

_PROBE_SIDES: Final = (64, 96, 128, 192, 256, 384, 512)
_CLEAR_GROWTH_BYTES: Final = 3_000_000  # growth of the peak below this may as well be noise
# 64 rows of one colour, as bytes and as the 8-byte numbers that they are counted as.
_HISTOGRAM_BYTES_PER_COLUMN: Final = 64 * 9

_RGB: Final = 3
_PILLOW_RGB: Final = 4  # Pillow keeps a byte of padding with every colour pixel
# Of a pixel in Pillow's picture; modes not here take four.
_PILLOW_BYTES: Final = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2}
# That a decoder takes for a pixel beside Pillow's picture: formats decoded as a whole.
_DECODER_BYTES: Final = {"WEBP": 13, "AVIF": 8, "HEIF": 12, "JPEG2000": 12, "GIF": 5, "TIFF": 4}
_PROGRESSIVE_JPEG_BYTES: Final = 6  # two a coefficient, all kept until the last pass
# That an encoder takes for a pixel beside Pillow's picture, at most: that is of noise. GIF's finds
# its palette by a table of all colours that occur, HEIF's holds what it predicts blocks from.
_ENCODER_BYTES: Final = {"WEBP": 28, "GIF": 48, "HEIF": 42}
_ENCODED_BYTES: Final = 4  # of a pixel in the encoded file, at most


@dataclass(frozen=True, kw_only=True)
class PictureCost:
    """Bytes that a picture takes in each phase, the network aside."""

    decoding: int  # the decoder's own picture, and the array
    stylizing: int  # the array
    encoding: int  # the array, and the encoder's own picture


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a process with an opened network takes."""

    held_bytes: int  # before any picture
    bytes_per_pixel: float  # of a run, for each pixel it is given; input and output included

    def peak_bytes(self, tiling: Tiling, cost: PictureCost, *, blends: bool = False) -> int:
        """The most that the process will hold; `blends` if tiles are mixed with the photograph."""
        height, width = tiling.largest
        picture_width = tiling.columns[-1].stop
        run = height * width * self.bytes_per_pixel * MARGIN
        if blends:
            run = max(run, blending_bytes(height, width))
        stylizing = cost.stylizing + run
        if tiling.count > 1:
            # twice the window of rows that a band is cut from: the stylised band, and kept rows
            stylizing += 2 * height * picture_width * _RGB
        counting = cost.stylizing + picture_width * _HISTOGRAM_BYTES_PER_COLUMN
        most = max(cost.decoding, stylizing, counting, cost.encoding)
        return int(self.held_bytes + most + SLACK_BYTES)


def measured_work(transfer: arrays.Transfer) -> Work:
    """Run a network on pictures of growing size until the peak of this process follows them.

    `OptionError` if this system does not report a process's memory.
    """
    if not footprint.tells_peak_memory():
        raise errors.OptionError(
            "--max-ram needs to know what this process holds, as only Linux reports: leave it out."
        )
    slopes: list[float] = []
    for side in _PROBE_SIDES:
        before, held = footprint.peak_bytes(), footprint.resident_bytes()
        transfer(np.full((side, side, 3), 128, np.uint8))
        grown = footprint.peak_bytes()
        slopes.append((grown - held) / side**2)
        if grown - before > _CLEAR_GROWTH_BYTES and len(slopes) > 1:
            break
    transfer(np.full((side, side, 3), 128, np.uint8))
    return Work(held_bytes=footprint.resident_bytes(), bytes_per_pixel=slopes[-1])


def cost_of(image: Image.Image, output_format: str | None, *, piped: bool = False) -> PictureCost:
    """What an opened picture, whose header alone is read, will take where it is read in bands.

    `output_format` is Pillow's name of what the result is written in, if it is; where that is
    `piped`, the encoded picture is held before it is sent on.
    """
    pixels = image.width * image.height
    alpha = converting.has_alpha(image)
    array = _RGB + alpha
    decoder = _DECODER_BYTES.get(image.format or "", 0)
    if image.info.get("progressive") or image.info.get("progression"):
        decoder += _PROGRESSIVE_JPEG_BYTES
    if converting.has_deep_colour(image):
        decoder += converting.DEEP_COLOUR_BYTES
    pillow = _PILLOW_BYTES.get(image.mode, _PILLOW_RGB)
    encoder = _ENCODER_BYTES.get(output_format or "", 0) + (_ENCODED_BYTES if piped else 0)
    encoder += _PILLOW_RGB + (alpha and output_format not in picture_files.WITHOUT_ALPHA)
    return PictureCost(
        decoding=pixels * (pillow + max(decoder, array)),
        stylizing=pixels * array,
        encoding=pixels * (array + encoder),
    )


def scaled_cost(cost: PictureCost, height: int, width: int, control: Control) -> PictureCost:
    """What a picture of this upright size and cost takes that `controlled` scales on its way."""
    if not control.resizes:
        return cost
    original, sizes = (height, width), sizes_of(height, width, control)

    def array_bytes(before: tuple[int, int], after: tuple[int, int]) -> int:
        return 0 if before == after else _RGB * math.prod(after)

    def resize_bytes(before: tuple[int, int], after: tuple[int, int]) -> int:
        """Of Pillow's picture before, after, and scaled along its rows alone; then of the array."""
        if before == after:
            return 0
        scaling = math.prod(before) + before[0] * after[1] + math.prod(after)
        return max(_PILLOW_RGB * scaling, (_PILLOW_RGB + 2 * _RGB) * math.prod(after))

    scaled = array_bytes(original, sizes.photo)
    stylised = _RGB * math.prod(sizes.network)
    result = _RGB * math.prod(sizes.result)
    mixing = blending_bytes(*sizes.result) - 2 * result if control.blends else 0
    scaling = max(  # the most that scaling and mixing take, beside the photograph
        resize_bytes(original, sizes.photo),
        scaled + resize_bytes(sizes.photo, sizes.network),
        scaled + stylised + resize_bytes(sizes.network, sizes.result),
        scaled + stylised + array_bytes(sizes.network, sizes.result) + mixing,
    )
    return PictureCost(
        decoding=max(cost.decoding, cost.stylizing + scaling),
        stylizing=cost.stylizing + scaled + array_bytes(sizes.photo, sizes.network) + stylised,
        encoding=round(cost.encoding * math.prod(sizes.result) / (height * width)),
    )


@dataclass(frozen=True, kw_only=True)
class TilingPlan:
    """How a picture will be stylised."""

    tiling: Tiling  # its tiles; one if it is stylised in one piece
    peak_bytes: int | None  # the most that the process is expected to hold; None if not predicted

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of what the network is given, in pixels."""
        return self.tiling.rows[-1].stop, self.tiling.columns[-1].stop


def bounded_stylizer(
    model: str | Path | Bundle,
    *,
    artifact: str = DEFAULT_ARTIFACT,
    threads: int | None = None,
    limit_bytes: int = sys.maxsize,
    tile: int | None = None,
    approximate: bool = False,
    trust: bool = False,
    shown: str | None = None,
) -> "BoundedStylizer":
    """Open a network for stylising within a limit; see `BoundedStylizer` and `open_session`.

    int8 of a network that can be cut exactly is run by `TILES_ARTIFACT`. With `tile` see
    `TiledStylizer`, which keeps to no limit. `OptionError` also where the system does not report a
    process's memory.
    """
    footprint.give_back_large_blocks()
    bundle = model if isinstance(model, Bundle) else open_bundle(model)
    contract = bundle.manifest.contract
    if contract.locality == "exact" and artifact_name(artifact) == artifact_name("int8"):
        artifact = TILES_ARTIFACT
    session = open_session(
        bundle, artifact=artifact, threads=threads, arena=False, trust=trust, shown=shown
    )
    if tile is not None:
        return TiledStylizer(session, contract, tile, approximate=approximate)
    return BoundedStylizer(session, contract, limit_bytes=limit_bytes, approximate=approximate)


class BoundedStylizer:
    """Stylises pictures within a limit that covers all that the process holds.

    A network that takes the whole picture's statistics is cut exactly. Another one is cut only if
    `approximate` is asked for: its tiles then differ in colour and contrast, and the result depends
    on their size. `cuts` says whether pictures that don't fit are cut; `last_plan` is the last that
    was made.
    """

    def __init__(
        self,
        session: Session,
        contract: manifest.Contract,
        *,
        limit_bytes: int,
        approximate: bool = False,
        measure: Callable[[arrays.Transfer], Work] = measured_work,
    ) -> None:
        self.limit_bytes = limit_bytes
        self.session = session
        self.last_plan: TilingPlan | None = None
        self._contract = contract
        self._statistics_session = (
            session if isinstance(session, OnnxSession) and session.takes_statistics else None
        )
        self.cuts = self._statistics_session is not None or approximate
        self._work = measure(session.run)

    def plan(
        self, height: int, width: int, cost: PictureCost, control: Control = PLAIN
    ) -> TilingPlan:
        """The cheapest way to stylise a picture of this cost, before it is scaled, in the limit.

        `MemoryLimitError`, which says the least that would do, if there is none.
        """
        network = sizes_of(height, width, control).network
        tilings = [tiling_of(*network, network, self._contract)]
        if self.cuts:
            sides = [side for side in _SIDES if side >= halo_of(self._contract) // 2]
            pairs = product([*sides, network[0]], [*sides, network[1]])
            tilings += [tiling_of(*network, pair, self._contract) for pair in pairs]
        scaled = scaled_cost(cost, height, width, control)
        blends = control.blends and not control.resizes
        peaks = {own: self._work.peak_bytes(own, scaled, blends=blends) for own in tilings}
        fitting = [own for own, peak in peaks.items() if peak <= self.limit_bytes]
        if not fitting:
            raise self._refusal(height, width, min(peaks.values()))
        tiling = min(fitting, key=lambda own: (own.pixels_read, own.count))
        self.last_plan = TilingPlan(tiling=tiling, peak_bytes=peaks[tiling])
        return self.last_plan

    def stylized(self, rgb: Pixels, control: Control = PLAIN) -> Pixels:
        """Stylise a picture (H, W, 3) that the caller keeps; see `plan`."""
        held = PictureCost(decoding=0, stylizing=2 * arrays.checked(rgb).nbytes, encoding=0)
        plan = self.plan(rgb.shape[0], rgb.shape[1], held, control)
        overwritten = plan.tiling.count > 1 and not control.resizes
        return self.stylize(rgb.copy() if overwritten else rgb, plan, control)

    def stylized_file(
        self,
        file: picture_files.ImageFile,
        control: Control = PLAIN,
        *,
        output_format: str | None = None,
        piped: bool = False,
    ) -> Picture:
        """Decode and stylise a file, which can't be read again, in the least memory; see `cost_of`.

        Raises:
            MemoryLimitError: it does not fit, and nothing was decoded; the message says what would.
            ImageError: the photograph can't be read.
        """
        cost = cost_of(file.image, output_format, piped=piped)
        cost = replace(cost, decoding=cost.decoding + file.content_bytes)
        plan = self.plan(*file.upright_size(), cost, control)
        photo = file.picture(in_bands=True)
        return picture.with_colors(photo, self.stylize(photo.rgb, plan, control))

    def stylize(self, rgb: Pixels, plan: TilingPlan, control: Control = PLAIN) -> Pixels:
        """Stylise a picture (H, W, 3), which may be overwritten, by a plan for this control."""
        if control.resizes:
            return controlled(rgb, control, lambda scaled: self.stylize(scaled.copy(), plan))
        transfer = self.transfer_of(
            lambda: arrays.channel_statistics(rgb[:: self.statistics_rows]), control
        )
        if plan.tiling.count == 1:
            return transfer(rgb)
        stylize_in_place(rgb, plan.tiling, transfer)
        return rgb

    @property
    def statistics_rows(self) -> int:
        """Statistics for `transfer_of` are of every so many-th row, from the first."""
        session = self._statistics_session
        return 1 if session is None else session.statistics_rows

    def transfer_of(
        self, statistics: Callable[[], npt.NDArray[np.float32]], control: Control = PLAIN
    ) -> arrays.Transfer:
        """What stylises tiles of a picture that is not scaled; gets its statistics if need be."""
        if control.strength == 0:
            return lambda tile: tile
        run: arrays.Transfer = self.session.run
        if self._statistics_session is not None:
            run = partial(self._statistics_session.run_tile, statistics=statistics())
        return lambda tile: blended(tile, run(tile), control)

    def _refusal(self, height: int, width: int, least_bytes: int) -> errors.MemoryLimitError:
        least, limit = in_mb(least_bytes), f"--max-ram is {in_mb(self.limit_bytes)}"
        enough = f"--max-ram {least.replace(' ', '')}"
        reason = f"even in the smallest tiles, {limit}: give {enough}, or scale the picture down."
        if not self.cuts:
            reason = (
                f"in one piece, {limit}, and this network looks at the whole picture, so that "
                f"tiles would differ from it. Give {enough}, a smaller picture, or "
                "--allow-approximate-tiles."
            )
        message = f"a picture of {width}x{height} needs {least} {reason}"
        return errors.MemoryLimitError(message, least_bytes)


class TiledStylizer(BoundedStylizer):
    """Stylises pictures in tiles of one side in pixels, whatever the process holds.

    `OptionError` if the network can't be cut exactly and `approximate` is not asked for, or the
    side is out of range.
    """

    def __init__(
        self,
        session: Session,
        contract: manifest.Contract,
        side: int,
        *,
        approximate: bool = False,
    ) -> None:
        try:
            whole = operator.index(side)
        except TypeError:
            whole = 0
        if not LEAST_TILE <= whole <= MOST_TILE:
            raise errors.OptionError(
                f"tile is {side!r:.40}: expected from {LEAST_TILE} to {MOST_TILE} pixels, a whole "
                "number."
            )
        unmeasured = Work(held_bytes=0, bytes_per_pixel=0)  # measuring is of a limit alone
        super().__init__(
            session,
            contract,
            limit_bytes=sys.maxsize,
            approximate=approximate,
            measure=lambda _: unmeasured,
        )
        if not self.cuts:
            raise errors.OptionError(
                f"tile is {side}, and {session.path} looks at the whole picture, so that tiles "
                "would differ from it: use an int8 student, leave the tiles out, or allow such "
                "tiles by approximate_tiles=True."
            )
        self._side = side

    def plan(
        self,
        height: int,
        width: int,
        cost: PictureCost,  # noqa: ARG002
        control: Control = PLAIN,
    ) -> TilingPlan:
        """Tiles of the side, of whatever cost, which is not predicted."""
        network = sizes_of(height, width, control).network
        tiling = tiling_of(*network, (self._side, self._side), self._contract)
        self.last_plan = TilingPlan(tiling=tiling, peak_bytes=None)
        return self.last_plan


def in_mb(size_bytes: float) -> str:
    """Bytes in words, rounded up so that the number is enough."""
    return f"{math.ceil(size_bytes / 1_000_000)} MB"
