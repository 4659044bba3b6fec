"""The full-size teacher: the image transformation network of Johnson et al., ECCV 2016.

Layer for layer and key for key the network of pytorch/examples' `fast_neural_style`, so that its
checkpoints load as they are.
"""

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from nstc.core.manifest import Contract

RESIDUAL_BLOCKS = 5
MINIMUM_SIZE = 16
SIZE_MULTIPLE = 4


class TransformerNet(nn.Module):
    """Image to stylised image.

    Args:
        down: Output channels of the three convolutions that shrink the picture by four; the last
            is the width of the residual trunk.
        inner: Channels between the two convolutions of each residual block.
        up: Output channels of the two convolutions that enlarge it again.
    """

    def __init__(
        self,
        down: Sequence[int] = (32, 64, 128),
        inner: Sequence[int] = (128,) * RESIDUAL_BLOCKS,
        up: Sequence[int] = (64, 32),
    ) -> None:
        super().__init__()
        self.conv1 = ConvLayer(3, down[0], 9, 1)
        self.in1 = nn.InstanceNorm2d(down[0], affine=True)
        self.conv2 = ConvLayer(down[0], down[1], 3, 2)
        self.in2 = nn.InstanceNorm2d(down[1], affine=True)
        self.conv3 = ConvLayer(down[1], down[2], 3, 2)
        self.in3 = nn.InstanceNorm2d(down[2], affine=True)
        for number, width in enumerate(inner, start=1):
            self.add_module(f"res{number}", InstanceNormBlock(down[2], width))
        self.deconv1 = UpsampleConvLayer(down[2], up[0], 3, 1)
        self.in4 = nn.InstanceNorm2d(up[0], affine=True)
        self.deconv2 = UpsampleConvLayer(up[0], up[1], 3, 1)
        self.in5 = nn.InstanceNorm2d(up[1], affine=True)
        self.deconv3 = ConvLayer(up[1], 3, 9, 1)
        self._residual_blocks = len(inner)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) in [0, 1], sides multiples of 4 from 16 on, to (N, 3, H, W), not clamped.

        Inside the scale is 0 to 255, as the checkpoints have it.
        """
        x = images * 255
        x = F.relu(self.in1(self.conv1(x)))
        x = F.relu(self.in2(self.conv2(x)))
        x = F.relu(self.in3(self.conv3(x)))
        for number in range(1, self._residual_blocks + 1):
            x = self.get_submodule(f"res{number}")(x)
        x = F.relu(self.in4(self.deconv1(x)))
        x = F.relu(self.in5(self.deconv2(x)))
        result: Tensor = self.deconv3(x) / 255
        return result

    def arguments(self) -> dict[str, Any]:
        """What `TransformerNet(**arguments)` needs to build this shape again, pruned or not."""
        blocks = [block for block in self.children() if isinstance(block, InstanceNormBlock)]
        return {
            "down": [c.conv2d.out_channels for c in (self.conv1, self.conv2, self.conv3)],
            "inner": [block.conv1.conv2d.out_channels for block in blocks],
            "up": [c.conv2d.out_channels for c in (self.deconv1, self.deconv2)],
        }

    def contract(self) -> Contract:
        """Its entry in a manifest: sizes and receptive field."""
        return Contract(
            size_multiple=SIZE_MULTIPLE,
            minimum_size=MINIMUM_SIZE,
            receptive_field=receptive_field(self._residual_blocks),
            locality="global",
        )

    def prepare_for_training(self) -> None:
        """Start the last layer at mid-grey with steps as large as its 0 to 255 output needs."""
        convolution = self.deconv3.conv2d
        convolution.weight.data.mul_(40)
        if convolution.bias is not None:
            convolution.bias.data.fill_(127.5)


class ConvLayer(nn.Module):
    """Convolution over a reflected border."""

    def __init__(self, channels: int, width: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.reflection_pad = nn.ReflectionPad2d(kernel // 2)
        self.conv2d = nn.Conv2d(channels, width, kernel, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) to (N, width, H/stride, W/stride)."""
        result: Tensor = self.conv2d(self.reflection_pad(x))
        return result


class InstanceNormBlock(nn.Module):
    """Two 3x3 convolutions with instance normalisation, added to their input."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.conv1 = ConvLayer(channels, width, 3, 1)
        self.in1 = nn.InstanceNorm2d(width, affine=True)
        self.conv2 = ConvLayer(width, channels, 3, 1)
        self.in2 = nn.InstanceNorm2d(channels, affine=True)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) to the same."""
        y = F.relu(self.in1(self.conv1(x)))
        result: Tensor = self.in2(self.conv2(y)) + x
        return result


class UpsampleConvLayer(ConvLayer):
    """Nearest-neighbour enlargement by two, then a convolution: no checkerboard."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) to (N, width, 2H, 2W)."""
        return super().forward(F.interpolate(x, scale_factor=2.0, mode="nearest"))


def receptive_field(residual_blocks: int = RESIDUAL_BLOCKS) -> int:
    """Side in pixels of the square around an output pixel that it depends on, normalisation aside.

    The 4x4 pixels of a trunk position all depend on the same square around the first of them: up to
    3 pixels more on one side.
    """
    first, shrink = 8, 2 + 4
    trunk = residual_blocks * 2 * 8
    enlarge, last = 4 + 2, 8
    off_centre = 2 * (SIZE_MULTIPLE - 1)
    return 1 + first + shrink + trunk + enlarge + last + off_centre
