"""Stylising within a limit of memory, in one piece or in tiles."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from nstc.core.bundle import TILES_ARTIFACT, Bundle, artifact_name, open_bundle
from nstc.core.errors import MemoryLimitError
from nstc.core.images import Pixels
from nstc.core.manifest import Contract
from nstc.runtime.arrays import checked
from nstc.runtime.bands import OnTile, Paint, paint_in_place
from nstc.runtime.channel_statistics import channel_statistics
from nstc.runtime.control import PLAIN, Control, blended, controlled, sizes_of
from nstc.runtime.memory import PictureCost, Work, in_mb, measured_work
from nstc.runtime.onnx_session import OnnxSession
from nstc.runtime.picture_costs import scaled_cost
from nstc.runtime.resident import give_back_large_blocks
from nstc.runtime.session import DEFAULT_ARTIFACT, Session, open_session
from nstc.runtime.tiling import Tiling, halo_of, tiling_of

_SIDES: Final = (64, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048)
"""Of cores. Few, so that a little more or less memory rarely changes how a picture is cut."""

Measure = Callable[[Callable[[Pixels], Pixels]], Work]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a picture will be painted.

    Attributes:
        tiling: Its tiles; one if it is painted in one piece.
        peak_bytes: The most that the process is expected to hold.
    """

    tiling: Tiling
    peak_bytes: int

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
    """Open a network for painting within a limit.

    Args:
        model: A bundle, its path or its zoo name.
        artifact: Which of its files; int8 of a network that can be cut exactly is run by
            `TILES_ARTIFACT`.
        threads: See `nstc.runtime.session.open_session`.
        limit_bytes: What the process may hold.
        approximate: See `BoundedPainter`.
        trust: See `nstc.runtime.session.open_session`.

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
        limit_bytes: As it was given.
        session: As it was given.
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
        self.last_plan: Plan | None = None
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

    def plan(self, height: int, width: int, cost: PictureCost, control: Control = PLAIN) -> Plan:
        """The cheapest way to paint a picture within the limit.

        Args:
            height: In pixels.
            width: In pixels.
            cost: Of the picture itself, before it is scaled.
            control: What is asked for.

        Raises:
            MemoryLimitError: there is none; the message says the least that would do.
        """
        scaled = scaled_cost(cost, height, width, control)
        blends = control.blends and not control.resizes
        plans = [
            Plan(tiling=tiling, peak_bytes=self._work.peak_bytes(tiling, scaled, blends=blends))
            for tiling in self._tilings(*sizes_of(height, width, control).network)
        ]
        fitting = [plan for plan in plans if plan.peak_bytes <= self.limit_bytes]
        if not fitting:
            least_bytes = min(plan.peak_bytes for plan in plans)
            raise MemoryLimitError(self._refusal(height, width, least_bytes), least_bytes)
        cheapest = min(fitting, key=lambda plan: (plan.tiling.pixels_read, plan.tiling.count))
        self.last_plan = cheapest
        return cheapest

    def painted(self, rgb: Pixels, control: Control = PLAIN) -> Pixels:
        """Stylise a picture (H, W, 3) that the caller keeps; see `plan`."""
        held = PictureCost(decoding=0, painting=2 * checked(rgb).nbytes, encoding=0)
        plan = self.plan(rgb.shape[0], rgb.shape[1], held, control)
        overwritten = plan.tiling.count > 1 and not control.resizes
        return self.paint(rgb.copy() if overwritten else rgb, plan, control)

    def paint(
        self,
        rgb: Pixels,
        plan: Plan,
        control: Control = PLAIN,
        on_tile: OnTile | None = None,
    ) -> Pixels:
        """Stylise a picture (H, W, 3), which may be overwritten, by a plan for this control."""
        if not control.resizes:
            return self._paint_in_place(rgb, plan, control, on_tile)

        def transfer(scaled: Pixels) -> Pixels:
            return self._paint_in_place(scaled.copy(), plan, PLAIN, on_tile)

        return controlled(rgb, control, transfer)

    def painter_of(
        self,
        statistics: Callable[[], npt.NDArray[np.float32]],
        control: Control = PLAIN,
    ) -> Paint:
        """What paints the tiles of one picture.

        Args:
            statistics: Gives the picture's, if need be.
            control: What is asked for; it does not scale.
        """
        if control.strength == 0:
            return lambda tile: tile
        run = self._run_of(statistics)
        return lambda tile: blended(
            tile, run(tile), strength=control.strength, preserve_color=control.preserve_color
        )

    def _run_of(self, statistics: Callable[[], npt.NDArray[np.float32]]) -> Paint:
        session = self._statistics_session
        if session is None:
            return self.session.run
        of_the_whole = statistics()
        return lambda tile: session.run_tile(tile, of_the_whole)

    def _paint_in_place(
        self, rgb: Pixels, plan: Plan, control: Control, on_tile: OnTile | None
    ) -> Pixels:
        paint = self.painter_of(lambda: channel_statistics(rgb), control)
        if plan.tiling.count == 1:
            return paint(rgb)
        paint_in_place(rgb, plan.tiling, paint, on_tile)
        return rgb

    def _tilings(self, height: int, width: int) -> list[Tiling]:
        whole = tiling_of(height, width, (height, width), self._contract)
        if not self.cuts:
            return [whole]
        sides = [side for side in _SIDES if side >= halo_of(self._contract) // 2]
        pairs = product([*sides, height], [*sides, width])
        return [whole, *(tiling_of(height, width, pair, self._contract) for pair in pairs)]

    def _refusal(self, height: int, width: int, least_bytes: int) -> str:
        least = in_mb(least_bytes)
        limit = f"--max-ram is {in_mb(self.limit_bytes)}"
        if self.cuts:
            return (
                f"a picture of {width}x{height} needs {least} even in the smallest tiles, "
                f"{limit}: give --max-ram {least.replace(' ', '')}, or scale the picture down."
            )
        return (
            f"a picture of {width}x{height} needs {least} in one piece, {limit}, and this network "
            "looks at the whole picture, so that tiles would differ from it. Give "
            f"--max-ram {least.replace(' ', '')}, a smaller picture, or --allow-approximate-tiles."
        )
