"""A student as its integer file computes it, and as it can learn.

Every activation is held as bytes hold it and every weight and bias as integers do, at the places
where `nstc.compress.integer_body` puts QuantizeLinear and DequantizeLinear; sums stay in float32,
which holds them but for their last bits. Jacob et al., "Quantization and training of neural
networks for efficient integer-arithmetic-only inference", CVPR 2018, section 3.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.hooks import RemovableHandle

from nstc.compress.byte_tensors import INPUT, ByteTensor
from nstc.compress.calibrators import Range, range_of_levels, scale_and_zero_point
from nstc.compress.fake_quantization import held, in_levels, in_steps, weight_scale
from nstc.models.student import Student

_PIXELS: Final = -1
"""The last of a student's activations are its picture's levels."""


class IntegerTwin(nn.Module):
    """The student with everything rounded; its parameters and the scales of its bytes learn.

    Scales are learned as logarithms, as large and small ones then move by the same share: Jain et
    al., "Trained quantization thresholds for accurate and efficient fixed-point inference of deep
    neural networks", MLSys 2020. Zero points stay where calibration has put them. A filter's scale
    is that of its largest weight at every step, as it is in the file.

    Args:
        student: In float; it learns through this, and is not changed otherwise.
        tensors: Its `byte_tensors`.
        ranges: Of all of them but the last, by `ByteTensor.module`.

    Attributes:
        student: The student.
        tensors: Its `byte_tensors`.
    """

    def __init__(
        self, student: Student, tensors: Sequence[ByteTensor], ranges: Mapping[str, Range]
    ) -> None:
        super().__init__()
        self.student = student
        self.tensors = tuple(tensors)
        self._learned = [tensor.module for tensor in self.tensors[:_PIXELS]]
        stored = [scale_and_zero_point(ranges[name]) for name in self._learned]
        device = next(student.parameters()).device
        scales = torch.tensor([scale for scale, _ in stored], device=device)
        self.log_scales = nn.Parameter(scales.log())
        self.zero_points: Tensor
        zeros = torch.tensor([zero for _, zero in stored], dtype=torch.float32, device=device)
        self.register_buffer("zero_points", zeros)

    @property
    def scale(self) -> int:
        """The student's `scale`."""
        return self.student.scale

    def forward(self, images: Tensor, statistics: Tensor | None = None) -> Tensor:
        """As the student's, in levels of 1/255; in float32 whatever is asked for around it."""
        scales = dict(zip(self._learned, self.log_scales.exp(), strict=True))
        with torch.autocast(images.device.type, enabled=False), self._holding(scales):
            result: Tensor = functional_call(
                self.student, self._integers(scales), (images, statistics)
            )
        return result

    def ranges(self) -> dict[str, Range]:
        """What the bytes of each activation hold, by `ByteTensor.module`."""
        scales = self.log_scales.detach().exp().tolist()
        zeros = self.zero_points.tolist()
        return {
            name: range_of_levels(scale, round(zero))
            for name, scale, zero in zip(self._learned, scales, zeros, strict=True)
        }

    def _integers(self, scales: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The student's weights and biases as they are stored, by their names."""
        parameters: dict[str, Tensor] = {}
        for tensor in self.tensors:
            if tensor.reads is None:
                continue
            layer = self.student.get_submodule(tensor.module)
            step = weight_scale(layer.get_parameter("weight"))
            weight = in_steps(layer.get_parameter("weight"), step)
            parameters[f"{tensor.module}.weight"] = weight
            if layer.bias is not None:
                step = step.flatten() * scales[tensor.reads].detach()
                bias = in_steps(layer.get_parameter("bias"), step)
                parameters[f"{tensor.module}.bias"] = bias
        return parameters

    @contextmanager
    def _holding(self, scales: Mapping[str, Tensor]) -> Iterator[None]:
        """Inside the block the student's modules give what bytes hold of what they make.

        A convolution in front of a ReLU has the ReLU's zero point, 0: nothing below it is left for
        the ReLU to take away.
        """
        zeros = dict(zip(self._learned, self.zero_points, strict=True))

        def hold(name: str, values: Tensor) -> Tensor:
            return held(values, scales[name], zeros[name]) if name in scales else in_levels(values)

        handles: list[RemovableHandle] = []
        for tensor in self.tensors:

            def after(_module: Any, _given: Any, made: Tensor, name: str = tensor.module) -> Tensor:
                return hold(name, made)

            def before(_module: Any, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
                return (hold(INPUT, given[0]), *given[1:])

            if tensor.reads == INPUT:
                reader = self.student.get_submodule(tensor.module)
                handles.append(reader.register_forward_pre_hook(before))
            if tensor.module != INPUT:
                maker = self.student.get_submodule(tensor.module)
                handles.append(maker.register_forward_hook(after))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
