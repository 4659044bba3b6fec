"""How near a network comes to what its machine could do.

Williams, Waterman and Patterson, "Roofline: an insightful visual performance model for multicore
architectures", Communications of the ACM 52, 2009.
"""

from dataclasses import dataclass
from typing import Final, Literal

Precision = Literal["int8", "float"]

_INT8_ARTIFACTS: Final = ("int8.", "dynamic.")
_BYTES_A_VALUE: Final = (("int8.", 1), ("fp16.", 2))


@dataclass(frozen=True, kw_only=True)
class Peaks:
    """What some cores of this machine were measured to do at most; see `machine_peaks`.

    Attributes:
        threads: That were used.
        int8_gmac_s: Billions of 8-bit multiply-accumulates a second.
        float_gmac_s: The same in float32.
        bandwidth_gb_s: Billions of bytes a second, read and written together.
    """

    threads: int
    int8_gmac_s: float
    float_gmac_s: float
    bandwidth_gb_s: float

    def of(self, precision: Precision) -> float:
        """Billions of multiply-accumulates a second."""
        return self.int8_gmac_s if precision == "int8" else self.float_gmac_s


@dataclass(frozen=True, kw_only=True)
class Roofline:
    """Where a file lies under its machine's roof.

    Attributes:
        precision: Which of the two peaks it is held to.
        intensity: Multiply-accumulates for each byte that must be moved.
        attainable_gmac_s: What the machine could do at that intensity.
        achieved_gmac_s: What it does.
        bound: Which of the two limits it, "compute" or "memory".
    """

    precision: Precision
    intensity: float
    attainable_gmac_s: float
    achieved_gmac_s: float
    bound: Literal["compute", "memory"]

    @property
    def share(self) -> float:
        """What it does of what could be done. Caches may lift a memory-bound file above 1."""
        return self.achieved_gmac_s / self.attainable_gmac_s


def roofline(
    artifact: str,
    *,
    macs: int,
    moved_values: int,
    file_bytes: int,
    latency_ms: float,
    peaks: Peaks,
) -> Roofline:
    """Place a file under the roof.

    What must be moved is the file, for its weights, and every convolution's input and output once.

    Args:
        artifact: Its name, which tells its precision: int8.onnx.
        macs: Multiply-accumulates a picture.
        moved_values: See `nstc.models.complexity.count_moved_values`.
        file_bytes: Of the file.
        latency_ms: Median milliseconds a picture.
        peaks: Of the cores that it was timed on.
    """
    precision: Precision = "int8" if artifact.startswith(_INT8_ARTIFACTS) else "float"
    moved_bytes = file_bytes + moved_values * _bytes_a_value(artifact)
    intensity = macs / moved_bytes
    peak, by_memory = peaks.of(precision), intensity * peaks.bandwidth_gb_s
    return Roofline(
        precision=precision,
        intensity=intensity,
        attainable_gmac_s=min(peak, by_memory),
        achieved_gmac_s=macs / latency_ms / 1e6,
        bound="compute" if peak <= by_memory else "memory",
    )


def _bytes_a_value(artifact: str) -> int:
    return next((size for start, size in _BYTES_A_VALUE if artifact.startswith(start)), 4)
