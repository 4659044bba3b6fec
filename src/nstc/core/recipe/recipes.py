"""The settings of every step, a recipe each."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from nstc.core import extensions
from nstc.core.errors import OptionError
from nstc.core.recipe.optimization import OptimizeRecipe
from nstc.core.recipe.settings import (
    LATENCY,
    MACS,
    SEED,
    STRENGTH,
    WEIGHTS,
    Allowed,
    Checked,
    above,
    are_different_words,
    at_least,
    choice,
    multiples,
    number_or,
    one_of,
    setting,
    switch,
    weights_in,
    within,
)
from nstc.core.recipe.strength import STRENGTH_BY, StrengthOfStyle, refuse_strength_alone
from nstc.core.recipe.students import BLOCKS, SIZES, STUDENTS

IMPORTANCES: Final = ("magnitude", "group-norm", "taylor", "activation")  # of a channel
AUTO: Final = "auto"  # found by measuring


@dataclass(frozen=True, kw_only=True)
class TrainRecipe(StrengthOfStyle, Checked):
    """Settings of `nstc train`."""

    steps: int = setting(1600, at_least(1), "Optimizer steps.")
    size: int = setting(192, within(64, 1024), "Side of the crops in px.")
    batch: int = setting(4, within(1, 64), "Crops a step.")
    learning_rate: float = setting(1.5e-3, above(0), "Peak learning rate.")  # of Adam
    style_weight: float = setting(2.0, at_least(0), "Weight of the style loss.")  # of four layers
    content_weight: float = setting(1.0, at_least(0), "Weight of the content loss.")  # of two
    tv_weight: float = setting(0.5, at_least(0), "Weight of total variation.")
    balance: float | None = setting(
        None,
        within(0.01, 1000),
        "Correct the two weights so that the style's gradient is this many times the content's.",
        shown="off",
    )
    style_strength: float | None = setting(
        None,
        STRENGTH,
        "Strength of the style, for which the weight of content is set while it trains: 0 is the "
        "photograph, 1 usual, 2 most.",
        shown="off",
    )
    strength_by: str = choice(
        "loss", STRENGTH_BY, "What the strength changes, weights or the style's targets"
    )
    terms: str | None = setting(
        None, WEIGHTS, "Weights of more losses: histogram=0.3,laplacian=0.2.", shown="none"
    )
    # Larger means coarser brush strokes.
    style_size: int = setting(512, within(128, 2048), "Long side of the painting in px.")
    # The photos' by a linear colour transfer of the painting to them all.
    color_of: str = choice("painting", ("painting", "photos"), "Source of the colours")
    # The mean is what is kept; 0 keeps the last weights.
    ema: float = setting(0.0, within(0, 0.9999), "Decay of a running mean of the weights.")
    seed: int = setting(0, SEED, "Random seed.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.balance is not None and 0 in (self.style_weight, self.content_weight):
            raise OptionError("balance needs a style-weight and a content-weight above 0.")
        if self.style_strength is not None and self.balance is not None:
            raise OptionError(
                "balance and style-strength were both given, and both set the weights while it "
                "trains: choose one."
            )
        refuse_strength_alone(self)

    @property
    def added_terms(self) -> Mapping[str, float]:
        """The weights in `terms`, by name."""
        return {} if self.terms is None else weights_in(self.terms)


@dataclass(frozen=True, kw_only=True)
class DistillRecipe(StrengthOfStyle, Checked):
    """Settings of `nstc distill`, in two stages: on pixels alone, and on VGG's features too.

    A student's settings that are None are what its name stands for.
    """

    student: str = setting(
        "separable",
        one_of(*STUDENTS, added=extensions.BLOCKS),
        f"Size: {', '.join(SIZES)}. Or kind of blocks: {', '.join(BLOCKS)}.",
    )
    width: int | None = setting(
        None, multiples(8, 8, 256), "Channels of the trunk.", shown="64, or the size's"
    )
    blocks: int | None = setting(None, within(1, 32), "Residual blocks.", shown="6, or the size's")
    inner: int | None = setting(
        None, multiples(8, 8, 1024), "Channels inside a block.", shown="usual for its kind"
    )
    scale: int | None = setting(None, one_of(4, 8), "Trunk at 1/4 or 1/8 of the size.", shown="4")
    # Instance normalisation is global, and computes in float.
    norm: str | None = choice(
        None, ("none", "instance"), "Normalisation (instance is slow in int8)", shown="none"
    )
    head: str | None = choice(
        None,
        ("plain", "separable"),
        "Output layer (separable has 1/8 of the cost)",
        shown="plain, or the size's",
    )
    pixel_steps: int = setting(3000, at_least(0), "Optimizer steps on pixels alone.")
    steps: int = setting(2500, at_least(0), "Optimizer steps on style, content and flicker too.")
    size: int = setting(256, multiples(8, 64, 1024), "Side of the crops in px.")  # teacher's too
    perceptual_size: int | None = setting(
        None, multiples(8, 32, 1024), "Side of the part given to VGG.", shown="--size"
    )
    crops: int = setting(1, within(1, 100), "Crops of each photograph.")  # they are cached
    # How far the crops' colours are changed, for sets of few photographs.
    color_jitter: float = setting(0.0, within(0, 1))
    # The share of the crops that are the flattest, the darkest or the lightest of eight.
    extreme_crops: float = setting(0.0, within(0, 1))
    batch: int = setting(4, within(1, 64), "Crops a step.")
    # In the second stage, whose cost is VGG's.
    perceptual_batch: int = setting(1, within(1, 64), "Crops a step for VGG.")
    learning_rate: float = setting(3e-3, above(0))  # peak of the first stage, of Adam
    # Peak of the second, of Muon; half of it in quantization-aware training.
    perceptual_learning_rate: float = setting(2e-3, above(0))
    # The mean absolute difference to the teacher's picture.
    pixel_weight: float = setting(0.5, at_least(0), "Weight of the pixel loss.")
    # This loss and the next are relative to the teacher's on the same picture.
    style_weight: float = setting(2.8, at_least(0), "Weight of the style loss.")
    content_weight: float = setting(2.4, at_least(0), "Weight of the content loss.")
    # A crop's gradient in both counts as its ratio to this power: above 0 the worst count more.
    focus: float = setting(0.0, within(0, 4))
    # The energy of a grid with the student's period (its scale, or 8 pixels for one of two
    # scales), relative to that of the teacher's pictures; in the second stage.
    checkerboard_weight: float = setting(0.05, at_least(0), "Weight of checkerboard artifacts.")
    # How much the picture changes with half a pixel of camera shake, a sensor's noise, and the
    # end of the photograph, relative to the teacher's change; in the second stage.
    steadiness_weight: float = setting(
        1.5, at_least(0), "Weight of flicker and edge artifacts.", flag="flicker-weight"
    )
    # In the second stage.
    terms: str | None = setting(
        None, WEIGHTS, "Weights of more losses: moments=0.5,laplacian=0.2.", shown="none"
    )
    balance: bool = switch(
        True,
        "Correct the weights of style, content and flicker so that all three come equally near to "
        "their goals; off with --style-strength.",
    )
    # In the second stage; content is not relative to the teacher's then.
    style_strength: float | None = setting(
        None,
        STRENGTH,
        "Strength of the style, for which the weight of content is set while it trains, in the "
        "place of --balance: from 0, least, to 2; 1 is usual.",
        shown="off",
    )
    strength_by: str = choice(
        "loss", STRENGTH_BY, "What the strength changes, weights or the style's targets"
    )
    style_goal: float = setting(1.15, above(0), "The style ratio to reach.")
    content_goal: float = setting(1.10, above(0), "The content ratio to reach.")
    flicker_goal: float = setting(1.0, above(0), "The flicker ratio to reach.")
    # Quantization-aware training (QAT) of weights and ranges; fine-tuning after pruning has it too.
    quantize_aware: bool = switch(
        False, "Quantization-aware training in the second stage; with --init that stage alone."
    )
    # Those steps cost half as much.
    float_share: float = setting(
        0.0, within(0, 0.99), "With --quantize-aware, the share of its steps before it quantizes."
    )
    seed: int = setting(0, SEED, "Random seed.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.perceptual_size is not None and self.perceptual_size > self.size:
            raise OptionError(
                f"perceptual-size is {self.perceptual_size}: expected at most size, {self.size}."
            )
        two_scales = "skip" in SIZES.get(self.student, {})
        if two_scales and not (self.scale is None and self.norm in (None, "none")):
            raise OptionError(
                f"student {self.student} has two scales and no normalisation: leave out scale and "
                "norm, or take another student."
            )
        if self.quantize_aware and self.norm == "instance":
            raise OptionError(
                "quantize-aware needs a graph that is integer from end to end, and instance "
                "normalisation computes in float: leave it out, or take norm none."
            )
        if self.quantize_aware and self.steps == 0:
            raise OptionError("quantize-aware belongs to the second stage: give steps above 0.")
        refuse_strength_alone(self)
        if self.style_strength is not None and self.steps == 0:
            raise OptionError("style-strength belongs to the second stage: give steps above 0.")
        if self.pixel_steps + self.steps == 0:
            raise OptionError("steps and pixel-steps are both 0: nothing would be learned.")

    @property
    def added_terms(self) -> Mapping[str, float]:
        """The weights in `terms`, by name."""
        return {} if self.terms is None else weights_in(self.terms)

    def aware_steps(self, steps: int) -> int:
        """How many of the second stage's steps, the last ones, are quantization-aware."""
        return max(1, steps - round(steps * self.float_share)) if self.quantize_aware else 0

    @property
    def goals_in_balance(self) -> Mapping[str, float]:
        """Goals of the terms that the second stage balances: two or more with a weight, or none.

        None with a style's strength, which sets the weight of content by itself.
        """
        terms = {
            "style": (self.style_weight, self.style_goal),
            "content": (self.content_weight, self.content_goal),
            "flicker": (self.steadiness_weight, self.flicker_goal),
        }
        goals = {name: goal for name, (weight, goal) in terms.items() if weight > 0}
        balanced = self.balance and self.style_strength is None
        return goals if balanced and len(goals) > 1 else {}


GOALS: Final = ("ratio", "speedup", "target_macs", "target_latency")  # of pruning: one is given


@dataclass(frozen=True, kw_only=True)
class PruneRecipe(Checked):
    """Settings of `nstc prune`. Of the first four at most one is given."""

    # 0 leaves a compression's pruning out.
    ratio: float | None = setting(
        None,
        Allowed(lambda share: 0 <= share < 1, "a number from 0 to below 1"),
        "Share of the channels to remove.",
        shown="0.25",
    )
    # Of this and the next two, the ratio is found by search.
    speedup: float | None = setting(None, above(1), "Instead: times fewer multiply-accumulates.")
    target_macs: str | None = setting(None, MACS, "Instead: MACs at 512x512, 400M or 10G.")
    target_latency: str | None = setting(
        None, LATENCY, "Instead: time of the float graph at 512x512, 8ms@cpu:1, measured."
    )
    # See `nstc.compress.pruning.channels`.
    importance: str = choice("group-norm", IMPORTANCES, "Importance of a channel")
    # The same share of each, the channels that score least in the whole network, or most where
    # that harms least.
    distribution: str = choice("uniform", ("uniform", "global", "sensitivity"), "What layers lose")
    # Those that harm least; "auto" for those that harm less than channels of as much work.
    drop_blocks: int | str = setting(
        0,
        number_or(AUTO, 0, 31),
        "Residual blocks to drop first, or auto: those that harm less than channels.",
    )
    iterations: int = setting(1, within(1, 100), "Rounds of pruning, with fine-tuning after each.")
    round_to: int | str = setting(
        8, number_or(AUTO, 1, 64), "Widths are multiples of it; auto measures which are fastest."
    )
    # With the distillation's loss.
    steps: int = setting(500, at_least(0), "Optimizer steps of fine-tuning, in all; 0 for none.")
    learning_rate: float = setting(2e-3, above(0))  # peak, of Muon; half of it in QAT
    seed: int = setting(0, SEED, "Random seed.")

    def __post_init__(self) -> None:
        super().__post_init__()
        given = [name.replace("_", "-") for name in GOALS if getattr(self, name) is not None]
        if len(given) > 1:
            raise OptionError(f"{' and '.join(given)} were both given: choose one.")
        if self.iterations > max(1, self.steps):
            raise OptionError(
                f"iterations is {self.iterations}, with fine-tuning after each, and steps is "
                f"{self.steps}: give more steps, or fewer iterations."
            )

    @property
    def removes_nothing(self) -> bool:
        """Whether pruning would change nothing."""
        return self.ratio == 0 and self.drop_blocks == 0


@dataclass(frozen=True, kw_only=True)
class QuantizeRecipe(Checked):
    """Settings of `nstc quantize`."""

    # "static" for integer convolutions calibrated on photographs, "dynamic" for what ONNX Runtime
    # calls so, "weights" for weights stored in few bits and computed with in float, "fp16" for half
    # precision.
    mode: str = choice("static", ("static", "dynamic", "weights", "fp16"), "Quantization")
    bits: int = setting(
        8,
        one_of(4, 8, 16),
        "Bits of a weight, in mode weights: 8 or 4. In mode static: 8, or 16 for activations.",
    )
    calibration_photos: int = setting(24, at_least(1), "Number of photographs to calibrate on.")
    calibration_size: int = setting(512, within(32, 2048), "Side of these photographs in px.")
    calibrator: str = choice("percentile", ("min-max", "percentile", "mse"), "Activation ranges")
    # 100 is the smallest and the largest. A trunk of residual blocks adds one activation's rounding
    # to the next, and finer steps for the rest are worth more than the outliers.
    percentile: float = setting(
        99.99,
        within(90, 100),
        "Percentage of an activation's values within its range; the others saturate.",
    )
    per_channel: bool = switch(True, "One scale per filter, or per layer.", off="per-tensor")
    # "adaptive" rounds each weight up or down, whichever changes a layer's output on photographs
    # less.
    rounding: str = choice("nearest", ("nearest", "adaptive"), "Rounding of weights")
    # In dB on the calibration photographs; None for all integers.
    quality_budget: float | None = setting(
        None,
        within(10, 60),
        "Least PSNR to the float network; layers stay float, or get --bits 16, to reach it.",
        unit="DB",
    )
    recalibrate: bool = switch(
        False,
        "Calibrate a student of quantization-aware training as any other.",
        shown="learned ranges, if there are",
    )
    # A graph of one size is measured at that.
    size: int = setting(512, within(16, 4096), "Side in px of the picture for measuring.")

    def __post_init__(self) -> None:
        super().__post_init__()
        problems = [
            f"{name} is given, which mode {self.mode} does not have: it belongs to mode "
            f"{' or '.join(modes)}."
            for name, modes in self._modes_of_given().items()
            if self.mode not in modes
        ]
        if problems:
            raise OptionError(" ".join(problems))

    @property
    def needs_photos(self) -> bool:
        """Whether it calibrates or rounds on photographs."""
        return self.mode == "static" or self.rounding == "adaptive"

    @property
    def against_learned_ranges(self) -> tuple[str, ...]:
        """What is set that quantization-aware training did not train with."""
        return () if self.mode != "static" or self.recalibrate else tuple(self._modes_of_given())

    def _modes_of_given(self) -> Mapping[str, tuple[str, ...]]:
        """What is set other than by default, and the modes that have it."""
        settings = {
            f"bits {self.bits}": (self.bits != 8, ("static" if self.bits == 16 else "weights",)),
            "per-tensor": (not self.per_channel, ("static",)),
            "rounding adaptive": (self.rounding == "adaptive", ("static", "weights")),
            "quality-budget": (self.quality_budget is not None, ("static",)),
            "recalibrate": (self.recalibrate, ("static",)),
        }
        return {name: modes for name, (given, modes) in settings.items() if given}


@dataclass(frozen=True, kw_only=True)
class BenchRecipe(Checked):
    """Settings of `nstc bench`."""

    size: int = setting(512, within(16, 4096), "Side of the pictures in px.")
    # Each round is one run of the reference and of every candidate.
    rounds: int = setting(15, within(3, 10_000), "Timed rounds.")
    # As `nstc targets` lists them. Their flag is the verb's, next to --threads.
    targets: tuple[str, ...] = setting(
        ("cpu:2",), Allowed(are_different_words, 'different targets, such as "cpu:2" and "mobile"')
    )
    quality_photos: int = setting(32, at_least(1))  # at most so many judge the quality
    # Against optimised pictures, each of which takes minutes.
    optimized_photos: int = setting(
        4, at_least(1), "With --against optimized: the most photographs to judge on."
    )
    optimize_steps: int = setting(
        OptimizeRecipe.steps,
        within(1, 100_000),
        "With --against optimized: optimizer steps for each picture.",
    )
    memory: bool = switch(
        False,
        "Measure the peak memory and cold start of a new process on cpu targets too.",
        shown="",
    )
    roofline: bool = switch(
        False,
        "Measure the cores' peak throughput, and the share of it that each file reaches.",
        shown="",
    )
    seed: int = setting(0, SEED, "Random seed.")  # order within rounds, bootstrap
