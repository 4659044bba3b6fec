"""Energy that processors took, where Linux tells it: Intel's and AMD's RAPL counters."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

POWERCAP: Final = Path("/sys/class/powercap")

_PACKAGES: Final = "intel-rapl:[0-9]*"
"""Whole sockets. Their parts, such as intel-rapl:0:0 for its cores, are counted in them."""


@dataclass(frozen=True, kw_only=True)
class EnergyMeter:
    """The counters of all sockets.

    Attributes:
        folder: Where they lie.
    """

    folder: Path = POWERCAP

    def read(self) -> Mapping[Path, int] | None:
        """Microjoules of each socket so far; None if there is no counter that may be read.

        Most systems let only root read them.
        """
        counters = {}
        for package in sorted(self.folder.glob(_PACKAGES)):
            if package.name.count(":") == 1:
                with contextlib.suppress(OSError, ValueError):
                    counters[package] = _number(package / "energy_uj")
        return counters or None

    def joules_since(self, before: Mapping[Path, int] | None) -> float | None:
        """What was taken since a reading, by the whole machine and not by this process alone.

        Args:
            before: What `read` gave. A counter that began anew since then is taken to have done so
                once, which on a busy server takes some minutes.

        Returns:
            None where a counter can't be read, or not any more.
        """
        now = self.read()
        if before is None or now is None or before.keys() != now.keys():
            return None
        taken = 0
        for package, end in now.items():
            step = end - before[package]
            if step < 0:
                try:
                    step += _number(package / "max_energy_range_uj")
                except (OSError, ValueError):
                    return None
            taken += step
        return taken / 1e6


def _number(file: Path) -> int:
    return int(file.read_text(encoding="ascii"))
