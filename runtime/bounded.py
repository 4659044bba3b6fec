"""Stylising within a limit of memory, in one piece or in tiles."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from nstc.core.bundle import TILES_ARTIFACT, Bundle, artifact_name, open_bundle
from nstc.core.errors import MemoryLimitError
from nstc.core.images import Picture, Pixels
from nstc.core.images.picture import with_colors
from nstc.core.images.reading import ImageFile
from nstc.core.manifest import Contract
from nstc.runtime.arrays import channel_statistics, checked
from nstc.runtime.control import PLAIN, Control, blended, controlled, sizes_of
from nstc.runtime.memory import PictureCost, Work, cost_of, in_mb, measured_work, scaled_cost
from nstc.runtime.onnx_session import OnnxSession
from nstc.runtime.resident import give_back_large_blocks
from nstc.runtime.session import DEFAULT_ARTIFACT, Session, open_session
from nstc.runtime.tiling import Paint, Tiling, halo_of, paint_in_place, tiling_of

_SIDES: Final = (64, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048)
"""Of cores. Few, so that a little more or less memory rarely changes how a picture is cut."""

Measure = Callable[[Callable[[Pixels], Pixels]], Work]


@dataclass(frozen=True, kw_only=True)
class PaintPlan:
    """How a picture will be painted."""

    tiling: Tiling  # its tiles; one if it is painted in one piece
    peak_bytes: int  # the most that the process is expected to hold

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of what is painted, in pixels."""
        return self.tiling.rows[-1].stop, self.tiling.columns[-1].stop


def bounded_painter(
    model: str | Path | Bundle,
    *,
    artifact: str = DEFAULT_ARTIFACT,
    threads: int | None = None,
    limit_bytes: int,
    approximate: bool = False,
    trust: bool = False,
) -> "BoundedPainter":
    """Open a network for painting within a limit; see `BoundedPainter` and `open_session`.

    int8 of a network that can be cut exactly is run by `TILES_ARTIFACT`.

    Raises:
        ArtifactError: there is no such file; the message says how to make it.
        OptionError: this system does not tell what a process holds.
        BundleError: and its kinds, if the bundle can't be opened or is damaged.
    """
    give_back_large_blocks()
    bundle = model if isinstance(model, Bundle) else open_bundle(model)
    contract = bundle.manifest.contract
    if contract.locality == "exact" and artifact_name(artifact) == artifact_name("int8"):
        artifact = TILES_ARTIFACT
    session = open_session(bundle, artifact=artifact, threads=threads, arena=False, trust=trust)
    return BoundedPainter(session, contract, limit_bytes=limit_bytes, approximate=approximate)


class BoundedPainter:
    """Paints pictures within a limit that covers all that the process holds.

    Args:
        session: An opened network. One that takes the whole picture's statistics is cut exactly.
        contract: Of the network.
        limit_bytes: What the process may hold.
        approximate: Whether a network that can't be cut exactly may be cut all the same. Its tiles
            then differ in colour and contrast, and the result depends on their size.
        measure: Finds what a run takes; see `measured_work`.

    Attributes:
        last_plan: The last that was made.

    Raises:
        OptionError: this system does not tell what a process holds.
    """

    def __init__(
        self,
        session: Session,
        contract: Contract,
        *,
        limit_bytes: int,
        approximate: bool = False,
        measure: Measure = measured_work,
    ) -> None:
        self.limit_bytes = limit_bytes
        self.session = session
        self.last_plan: PaintPlan | None = None
        self._contract = contract
        self._statistics_session = (
            session if isinstance(session, OnnxSession) and session.takes_statistics else None
        )
        self._approximate = approximate
        self._work = measure(session.run)

    @property
    def cuts(self) -> bool:
        """Whether pictures that don't fit are cut."""
        return self._statistics_session is not None or self._approximate

    def plan(
        self, height: int, width: int, cost: PictureCost, control: Control = PLAIN
    ) -> PaintPlan:
        """The cheapest way to paint within the limit a picture of this cost, before it is scaled.

        Raises:
            MemoryLimitError: there is none; the message says the least that would do.
        """
        network = sizes_of(height, width, control).network
        tilings = [tiling_of(*network, network, self._contract)]
        if self.cuts:
            sides = [side for side in _SIDES if side >= halo_of(self._contract) // 2]
            pairs = product([*sides, network[0]], [*sides, network[1]])
            tilings += [tiling_of(*network, pair, self._contract) for pair in pairs]
        scaled = scaled_cost(cost, height, width, control)
        blends = control.blends and not control.resizes
        plans = [
            PaintPlan(tiling=own, peak_bytes=self._work.peak_bytes(own, scaled, blends=blends))
            for own in tilings
        ]
        fitting = [plan for plan in plans if plan.peak_bytes <= self.limit_bytes]
        if not fitting:
            least_bytes = min(plan.peak_bytes for plan in plans)
            raise MemoryLimitError(self._refusal(height, width, in_mb(least_bytes)), least_bytes)
        self.last_plan = min(fitting, key=lambda plan: (plan.tiling.pixels_read, plan.tiling.count))
        return self.last_plan

    def painted(self, rgb: Pixels, control: Control = PLAIN) -> Pixels:
        """Stylise a picture (H, W, 3) that the caller keeps; see `plan`."""
        held = PictureCost(decoding=0, painting=2 * checked(rgb).nbytes, encoding=0)
        plan = self.plan(rgb.shape[0], rgb.shape[1], held, control)
        overwritten = plan.tiling.count > 1 and not control.resizes
        return self.paint(rgb.copy() if overwritten else rgb, plan, control)

    def painted_file(
        self,
        file: ImageFile,
        control: Control = PLAIN,
        *,
        output_format: str | None = None,
        piped: bool = False,
    ) -> Picture:
        """Decode and stylise a file, which can't be read again, in the least memory.

        Args:
            file: The photograph.
            control: What is asked for.
            output_format: Pillow's name of the format that the result will be written in, if any.
            piped: Whether it is encoded in memory.

        Raises:
            MemoryLimitError: it does not fit, and nothing was decoded; the message says what would.
            ImageError: the photograph can't be read.
        """
        height, width = file.upright_size()
        cost = cost_of(file.image, output_format, piped=piped)
        cost = replace(cost, decoding=cost.decoding + file.content_bytes)
        plan = self.plan(height, width, cost, control)
        photo = file.picture(in_bands=True)
        return with_colors(photo, self.paint(photo.rgb, plan, control))

    def paint(self, rgb: Pixels, plan: PaintPlan, control: Control = PLAIN) -> Pixels:
        """Stylise a picture (H, W, 3), which may be overwritten, by a plan for this control."""
        if not control.resizes:
            return self._paint_in_place(rgb, plan, control)

        def transfer(scaled: Pixels) -> Pixels:
            return self._paint_in_place(scaled.copy(), plan, PLAIN)

        return controlled(rgb, control, transfer)

    def painter_of(
        self, statistics: Callable[[], npt.NDArray[np.float32]], control: Control = PLAIN
    ) -> Paint:
        """What paints the tiles of a picture that is not scaled; gets its statistics if need be."""
        if control.strength == 0:
            return lambda tile: tile
        run: Paint = self.session.run
        if self._statistics_session is not None:
            run = partial(self._statistics_session.run_tile, statistics=statistics())
        return lambda tile: blended(
            tile, run(tile), strength=control.strength, preserve_color=control.preserve_color
        )

    def _paint_in_place(self, rgb: Pixels, plan: PaintPlan, control: Control) -> Pixels:
        paint = self.painter_of(lambda: channel_statistics(rgb), control)
        if plan.tiling.count == 1:
            return paint(rgb)
        paint_in_place(rgb, plan.tiling, paint)
        return rgb

    def _refusal(self, height: int, width: int, least: str) -> str:
        limit = f"--max-ram is {in_mb(self.limit_bytes)}"
        enough = f"--max-ram {least.replace(' ', '')}"
        if self.cuts:
            return (
                f"a picture of {width}x{height} needs {least} even in the smallest tiles, "
                f"{limit}: give {enough}, or scale the picture down."
            )
        return (
            f"a picture of {width}x{height} needs {least} in one piece, {limit}, and this network "
            f"looks at the whole picture, so that tiles would differ from it. Give {enough}, a "
            "smaller picture, or --allow-approximate-tiles."
        )
