"""Flags of the verbs that read pictures from addresses."""

import dataclasses
from typing import TYPE_CHECKING

from nstc.cli.options import flag

if TYPE_CHECKING:
    from nstc.core.remote.fetching import FetchLimits


@dataclasses.dataclass(frozen=True, kw_only=True)
class FetchFlags:
    """What an address may take; see `nstc.core.remote.fetching.FetchLimits`."""

    max_download_mb: int = flag(64, "Most MB read from an address.")
    timeout: float = flag(30.0, "Most seconds for an address.")
    allow_private: bool = flag(False, "Also fetch from this machine and from private networks.")

    def fetch_limits(self) -> "FetchLimits":
        """The same for the library; `OptionError` if one is out of range."""
        from nstc.core.remote.fetching import FetchLimits

        return FetchLimits(
            max_bytes=self.max_download_mb * 1_000_000,
            timeout_s=self.timeout,
            allow_private=self.allow_private,
        )
