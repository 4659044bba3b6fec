"""How many frames a second the live page stylises: `python -m lab.live_rates`.

`nstc serve` gives the page to a headless Chromium, whose camera is an artificial one of 60 frames a
second. After a warm-up the page's own figures are read ten times a second, first with the server's
engine and then with this device's. Server and browser share the machine. Needs `nstc web-setup`.
"""

import argparse
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lab.live_page import driven
from nstc.benchmarks.timing.statistics import median

MODEL: Final = "zoo:starry-night"
SIZE: Final = 384
SECONDS: Final = 10.0
WARM_UP: Final = 4.0
NAMES: Final = {"server": "server", "device": "this device"}  # as the page has them
SCRIPT: Final = Path(__file__).with_suffix(".mjs")
FLAGS: Final = (
    "--use-fake-device-for-media-stream=fps=60",
    "--use-fake-ui-for-media-stream",
)


@dataclass(frozen=True, kw_only=True)
class LiveRate:
    """What the page showed for one engine.

    Attributes:
        engine: `server` or `device`.
        where: What ran the network, as the page says it.
        rates: Frames a second.
        milliseconds: The network's time for a frame.
    """

    engine: str
    where: str
    rates: Sequence[float]
    milliseconds: Sequence[float]


def live_rates(
    *, size: int = SIZE, seconds: float = SECONDS, warm_up: float = WARM_UP, threads: int
) -> list[LiveRate]:
    """Measure both engines, one after the other.

    Args:
        size: Long side of a frame in pixels: one that the page offers.
        seconds: How long each is measured.
        warm_up: Seconds before that with the camera on.
        threads: Of the server's network.

    Raises:
        NstcError: whatever `driven` raises.
    """
    given = {"size": size, "warmUp": warm_up, "seconds": seconds}
    printed = driven(SCRIPT, given, models=[MODEL], threads=threads, flags=FLAGS)
    return [LiveRate(**own) for own in json.loads(printed)]


def table(rates: Sequence[LiveRate], *, threads: int) -> str:
    """Medians as a table in Markdown; `threads` are the server's."""
    counted = f"{threads} thread{'s' if threads > 1 else ''}"
    lines = ["| engine | runs | frames/s | network, ms |", "|---|---|---|---|"]
    for own in rates:
        where = f"{own.where} · ONNX Runtime, {counted}" if own.engine == "server" else own.where
        rate, ms = median(own.rates), median(own.milliseconds)
        lines.append(f"| {NAMES[own.engine]} | {where} | {rate:.3g} | {ms:.3g} |")
    return "\n".join(lines)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m lab.live_rates", description=__doc__)
    parser.add_argument("--size", type=int, default=SIZE, help="long side of a frame in pixels")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="for each engine")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of the server")
    asked = parser.parse_args()
    rates = live_rates(size=asked.size, seconds=asked.seconds, threads=asked.threads)
    print(table(rates, threads=asked.threads))


if __name__ == "__main__":
    main()
