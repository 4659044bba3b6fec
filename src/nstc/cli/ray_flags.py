"""Flags of trainings that several workers on Ray share."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nstc.cli.options import flag
from nstc.core.errors import OptionError

if TYPE_CHECKING:
    from nstc.runtime.ray_jobs import OnRay


@dataclass(frozen=True, kw_only=True)
class RayFlags:
    """Where trainings run at once, and how many."""

    ray: str | None = flag(
        None,
        "Train several at once on Ray: ray://HOST:10001 or auto for a cluster, nothing for this "
        "machine. All machines need the files and the output folder by the same path.",
        metavar="[ADDRESS]",
    )
    workers: int | None = flag(
        None,
        "Number of trainings at once on Ray.",
        shown="as many as the cluster has cores for",
    )
    threads: int | None = flag(
        None, "Number of threads of each on Ray.", shown="the most with which all run at once"
    )

    def asked(self) -> "OnRay | None":
        """The same for the library; `OptionError` for what is out of range or lacks --ray."""
        from nstc.runtime.ray_jobs import OnRay

        asked = OnRay(address=self.ray or "", workers=self.workers, threads=self.threads)
        if self.ray is not None:
            return asked
        for name in ("workers", "threads"):
            if getattr(self, name) is not None:
                raise OptionError(f"--{name} is of Ray: give --ray too.")
        return None
