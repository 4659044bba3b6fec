"""A student with one convolution more that changes no picture yet: start of a longer training.

`python -m lab.deeper_student BUNDLE OUT --channels 48` puts a convolution between the sum and the
head of a student of two scales, see `TwoScaleStudent`. What comes out of the sum is not negative,
so that a convolution which passes it on and a ReLU leave it as it is (Chen, Goodfellow and Shlens,
"Net2Net: Accelerating learning via knowledge transfer", ICLR 2016). The channels beyond those that
come in are random mixtures, which the head does not use until it learns to.
"""

import argparse
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from nstc.core.bundle import open_bundle
from nstc.core.manifest import Step
from nstc.models.architectures import load, network_bundle
from nstc.models.student import TwoScaleStudent, last_convolution_of

CHANNELS: Final = 48


def main() -> None:
    """Read, deepen, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path, help="of a separable student of two scales")
    parser.add_argument("output", type=Path)
    parser.add_argument("--channels", type=int, default=CHANNELS)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    bundle = open_bundle(arguments.bundle)
    student = load(bundle)
    if not isinstance(student, TwoScaleStudent) or student.block != "separable":
        parser.error(f"{arguments.bundle} is no separable student of two scales.")
    deeper = deepened(student, arguments.channels, arguments.seed)
    kept: dict[str, Any] = {"name": bundle.name, "stage": "distilled", "parent": bundle}
    step = Step(verb="distill", recipe={})  # what is trained from it has it as its start
    with network_bundle(arguments.output, deeper, None, step=step, **kept):
        pass


def deepened(student: TwoScaleStudent, channels: int, seed: int) -> TwoScaleStudent:
    """The same function with a separable convolution to so many `channels` in front of the head."""
    shape = student.arguments()
    before = last_convolution_of(student.head).in_channels
    if channels < before:
        raise ValueError(f"channels is {channels}: expected at least the {before} that come in")
    deeper = TwoScaleStudent(**{**shape, "details": [*shape.get("details", ()), channels]})
    state = deeper.state_dict()
    same = {key: own for key, own in student.state_dict().items() if own.shape == state[key].shape}
    deeper.load_state_dict({**state, **same})
    depthwise, pointwise = _convolutions(deeper.details[-1])
    _pass_on(depthwise.weight)
    mixing = torch.Generator().manual_seed(seed)
    nn.init.normal_(pointwise.weight, std=before**-0.5, generator=mixing)
    _pass_on(pointwise.weight[:before])
    nn.init.zeros_(_bias(pointwise))
    (old_depthwise, old_pointwise), (new_depthwise, new_pointwise) = (
        _convolutions(own.head) for own in (student, deeper)
    )
    _pass_on(new_depthwise.weight)
    nn.init.zeros_(new_pointwise.weight)
    with torch.no_grad():
        new_depthwise.weight[:before] = old_depthwise.weight
        new_pointwise.weight[:, :before] = old_pointwise.weight
    return deeper.train(student.training)


def _convolutions(separable: nn.Module) -> tuple[nn.Conv2d, nn.Conv2d]:
    depthwise, pointwise = (own for own in separable.modules() if isinstance(own, nn.Conv2d))
    return depthwise, pointwise


@torch.no_grad()
def _pass_on(weight: Tensor) -> None:
    """Make a convolution's weights (C, 1 or C, k, k) those that leave its input as it is."""
    nn.init.dirac_(weight, groups=len(weight) // weight.shape[1])


def _bias(layer: nn.Conv2d) -> Tensor:
    if layer.bias is None:
        raise ValueError("a pointwise convolution has no bias")
    return layer.bias


if __name__ == "__main__":
    main()
