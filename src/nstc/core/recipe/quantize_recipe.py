"""The recipe of quantization."""

from dataclasses import dataclass

from nstc.core.errors import OptionError
from nstc.core.recipe.settings import SWITCH, Allowed, Checked, at_least, one_of, setting, within


@dataclass(frozen=True, kw_only=True)
class QuantizeRecipe(Checked):
    """Settings of `nstc quantize`."""

    # "static" for integer convolutions calibrated on photographs, "dynamic" for what ONNX Runtime
    # calls so, "weights" for weights stored in few bits and computed with in float, "fp16" for half
    # precision.
    mode: str = setting(
        "static",
        one_of("static", "dynamic", "weights", "fp16"),
        "static, dynamic, weights or fp16.",
    )
    bits: int = setting(
        8, Allowed(lambda bits: bits in (4, 8), "4 or 8"), "Of weights, in mode weights: 8 or 4."
    )
    calibration_photos: int = setting(24, at_least(1), "How many to calibrate on.")
    calibration_size: int = setting(512, within(32, 2048), "Their side in px.")
    calibrator: str = setting(
        "percentile",
        one_of("min-max", "percentile", "mse"),
        "How activations' ranges are chosen: min-max, percentile or mse.",
    )
    # 100 is the smallest and the largest. A trunk of residual blocks adds one activation's rounding
    # to the next, and finer steps for the rest are worth more than the outliers.
    percentile: float = setting(
        99.99,
        within(90, 100),
        "Of an activation's values, how many its bytes hold; the rest saturates.",
    )
    per_channel: bool = setting(
        True, SWITCH, "A scale for each filter of a layer, or one for all.", off="per-tensor"
    )
    # "adaptive" for the side of each weight that changes a layer's output least.
    rounding: str = setting(
        "nearest",
        one_of("nearest", "adaptive"),
        "Of weights: nearest, or adaptive, by what it does to photographs.",
    )
    # In dB on the calibration photographs; None for all integers.
    quality_budget: float | None = setting(
        None,
        Allowed(lambda db: 10 <= db <= 60, "from 10 to 60 (dB)"),
        "Least PSNR to the float network; layers stay float until it is reached.",
        unit="DB",
    )
    # And is not given the ranges that it learned with.
    recalibrate: bool = setting(
        False,
        SWITCH,
        "Calibrate a student that was distilled quantize-aware as any other.",
        shown="learned ranges, if there are",
    )
    # A graph of one size is measured at that.
    size: int = setting(
        512, within(16, 4096), "Side in px of the picture that the file is measured on."
    )

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
