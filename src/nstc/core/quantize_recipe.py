"""The recipe of quantization."""

from dataclasses import dataclass

from nstc.core.errors import OptionError
from nstc.core.settings import Checked, at_least, flag, one_of, setting, within


@dataclass(frozen=True, kw_only=True)
class QuantizeRecipe(Checked):
    """Settings of `nstc quantize`.

    Attributes:
        mode: "static" for integer convolutions calibrated on photographs, "dynamic" for what
            ONNX Runtime calls so, "weights" for weights stored in few bits and computed with in
            float, "fp16" for half precision.
        bits: Of stored weights, in mode "weights": 8 or 4.
        calibration_photos: How many photographs to calibrate on.
        calibration_size: Their side in pixels.
        calibrator: How the range that an activation's bytes cover is chosen: "min-max",
            "percentile" or "mse".
        percentile: Of the values of each activation on the photographs, how many its bytes must
            hold; the rest saturates. 100 is the smallest and the largest. A trunk of residual
            blocks adds one activation's rounding to the next, and finer steps for the rest are
            worth more than the outliers.
        per_channel: Whether weights have a scale for each output channel, or one a layer.
        rounding: "nearest", or "adaptive" for the side of each weight that changes a layer's output
            least on the photographs.
        quality_budget: Least peak signal-to-noise ratio to the float network, in dB on the
            calibration photographs; layers stay float until it is reached. None for all integers.
        size: Side in pixels of the picture on which the file's speed and quality are measured. A
            graph of one size is measured at that.
        recalibrate: Whether a student that was distilled quantize-aware is calibrated as any other,
            and not given the ranges that it learned with.
    """

    mode: str = one_of(("static", "dynamic", "weights", "fp16"), "static")
    bits: int = setting(8, lambda v: v in (4, 8), "4 or 8")
    calibration_photos: int = at_least(1, 24)
    calibration_size: int = within(32, 2048, 512)
    calibrator: str = one_of(("min-max", "percentile", "mse"), "percentile")
    percentile: float = setting(99.99, lambda v: 90 <= v <= 100, "from 90 to 100")
    per_channel: bool = flag(default=True)
    rounding: str = one_of(("nearest", "adaptive"), "nearest")
    quality_budget: float | None = setting(
        None, lambda v: v is None or 10 <= v <= 60, "from 10 to 60 (dB)"
    )
    size: int = within(16, 4096, 512)
    recalibrate: bool = flag(default=False)

    def __post_init__(self) -> None:
        """Refuse values out of range, or that contradict."""
        super().__post_init__()
        elsewhere = {
            "bits": (self.bits != 8, ("weights",)),
            "per-tensor": (not self.per_channel, ("static",)),
            "rounding adaptive": (self.rounding == "adaptive", ("static", "weights")),
            "quality-budget": (self.quality_budget is not None, ("static",)),
            "recalibrate": (self.recalibrate, ("static",)),
        }
        problems = [
            f"{name} is given, which mode {self.mode} does not have: it belongs to mode "
            f"{' or '.join(modes)}."
            for name, (given, modes) in elsewhere.items()
            if given and self.mode not in modes
        ]
        if problems:
            raise OptionError(" ".join(problems))

    @property
    def needs_photos(self) -> bool:
        """Whether photographs have a part in it."""
        return self.mode == "static" or self.rounding == "adaptive"

    @property
    def against_learned_ranges(self) -> tuple[str, ...]:
        """What is set that weights which learned to be rounded have not learned with."""
        if self.mode != "static" or self.recalibrate:
            return ()
        settings = {
            "per-tensor": not self.per_channel,
            "rounding adaptive": self.rounding == "adaptive",
            "quality-budget": self.quality_budget is not None,
        }
        return tuple(name for name, given in settings.items() if given)
