"""From the form in which a student learns to the one that ships: one convolution a layer."""

from collections.abc import Iterator

from torch import Tensor, nn

from nstc.models.blocks import convolution_of
from nstc.models.student import Student

_Affine = tuple[Tensor, Tensor]
"""Weight (out, in, k, k) and bias (out,) of a convolution."""


def fold(student: Student) -> Student:
    """The same function without batch normalisation: running statistics go into the weights.

    Instance normalisation depends on the picture: it stays.
    """
    folded = Student(**student.arguments()).to(student.to_pixels.weight)
    for (weight, bias), target in zip(_affine(student), _convolutions(folded), strict=True):
        target.weight.data.copy_(weight)
        if target.bias is not None:
            target.bias.data.copy_(bias)
    for norm, same in zip(_instance_norms(student), _instance_norms(folded), strict=True):
        same.load_state_dict(norm.state_dict())
    return folded.train(student.training)


def _affine(module: nn.Module) -> Iterator[_Affine]:
    """What each layer computes as one convolution, in order."""
    if isinstance(module, nn.Conv2d):
        yield _bare(module)
        return
    children = list(module.children())
    if len(children) == 2 and isinstance(children[1], nn.BatchNorm2d):
        yield _normalised(_bare(convolution_of(module)), children[1])
        return
    for child in children:
        yield from _affine(child)


def _bare(convolution: nn.Conv2d) -> _Affine:
    weight, bias = convolution.weight.data, convolution.bias
    return weight, weight.new_zeros(weight.shape[0]) if bias is None else bias.data


def _normalised(affine: _Affine, norm: nn.BatchNorm2d) -> _Affine:
    weight, bias = affine
    mean, variance = norm.get_buffer("running_mean"), norm.get_buffer("running_var")
    scale = norm.weight.data / (variance + norm.eps).sqrt()
    return weight * scale[:, None, None, None], (bias - mean) * scale + norm.bias.data


def _convolutions(folded: Student) -> list[nn.Conv2d]:
    return [module for module in folded.modules() if isinstance(module, nn.Conv2d)]


def _instance_norms(student: Student) -> list[nn.InstanceNorm2d]:
    return [module for module in student.modules() if isinstance(module, nn.InstanceNorm2d)]
