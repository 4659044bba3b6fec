"""Every architecture a bundle may name, and how to build one from its manifest."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, cast

import torch
from torch import Tensor, nn

from nstc.core.bundle import STYLE_FILE, WEIGHTS_FILE, Bundle, open_bundle
from nstc.core.decoding import DecodingError
from nstc.core.errors import BundleError, CorruptBundleError
from nstc.core.manifest import Architecture, Contract
from nstc.core.network_shapes import refuse_arguments
from nstc.models import student, transformer
from nstc.models.style import StyleStatistics, load_style
from nstc.models.tensors import load_tensors

MAX_PARAMETERS: Final = 100_000_000
"""Of a network that a bundle brings. The full-size teachers have 1.7 million."""


class StyleNetwork(Protocol):
    """What every architecture is besides an `nn.Module`: pictures to pictures of that size."""

    def __call__(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) in [0, 1] to (N, 3, H, W), not clamped."""

    def arguments(self) -> dict[str, Any]:
        """Keyword arguments that build this shape again."""


@dataclass(frozen=True)
class Builder:
    """An architecture: how to build it, and the contract of what was built."""

    build: Callable[..., nn.Module]
    contract: Callable[[Mapping[str, Any]], Contract]


def _transformer_contract(arguments: Mapping[str, Any]) -> Contract:
    return Contract(
        size_multiple=transformer.SIZE_MULTIPLE,
        minimum_size=transformer.MINIMUM_SIZE,
        receptive_field=transformer.receptive_field(len(arguments["inner"])),
        locality="global",
    )


def _student_contract(arguments: Mapping[str, Any]) -> Contract:
    scale, norm = arguments.get("scale", student.SCALE), arguments.get("norm", "none")
    return Contract(
        size_multiple=scale,
        minimum_size=student.minimum_size(scale=scale, norm=norm),
        receptive_field=student.receptive_field(
            len(arguments["inner"]), arguments["block"], scale=scale
        ),
        locality="global" if norm == "instance" else "exact",
    )


ARCHITECTURES: Final[Mapping[str, Builder]] = {
    "transformer": Builder(transformer.TransformerNet, _transformer_contract),
    "student": Builder(student.Student, _student_contract),
}


def describe(network: nn.Module) -> tuple[Architecture, Contract]:
    """What the manifest of a network says of it."""
    for name, builder in ARCHITECTURES.items():
        if type(network) is builder.build:
            arguments = cast("StyleNetwork", network).arguments()
            return Architecture(name=name, arguments=arguments), builder.contract(arguments)
    raise TypeError(f"{type(network).__name__} is not in ARCHITECTURES")


def build(architecture: Architecture) -> nn.Module:
    """A network of this shape with fresh weights.

    Raises:
        BundleError: this version of nstc knows no such architecture.
        CorruptBundleError: the architecture can't be built with these arguments.
    """
    _outline(architecture)
    return ARCHITECTURES[architecture.name].build(**architecture.arguments)


def _outline(architecture: Architecture) -> nn.Module:
    """The network without memory for its weights: what `build` refuses is refused for free."""
    try:
        refuse_arguments(architecture.name, architecture.arguments)
        builder = ARCHITECTURES.get(architecture.name)
        if builder is None:
            raise BundleError(
                f"unknown architecture {architecture.name!r}; "
                f"this nstc knows {', '.join(ARCHITECTURES)}."
            )
        with torch.device("meta"):
            outline = builder.build(**architecture.arguments)
        parameters = sum(parameter.numel() for parameter in outline.parameters())
        if parameters > MAX_PARAMETERS:
            raise DecodingError(f"{parameters:,} parameters, expected at most {MAX_PARAMETERS:,}")
    except (DecodingError, TypeError, ValueError, IndexError, RuntimeError) as error:
        raise CorruptBundleError(
            f"the manifest's arguments build no {architecture.name}: {error}. "
            "Copy the bundle again, or upgrade nstc if a newer one wrote it."
        ) from error
    return outline


def load(model: str | Path | Bundle) -> nn.Module:
    """The network of a bundle, its path or zoo name, in float32 and evaluation mode.

    Raises:
        BundleError: and its kinds, if it can't be opened or is damaged.
    """
    bundle = model if isinstance(model, Bundle) else open_bundle(model)
    architecture = bundle.manifest.architecture
    expected = {key: value.shape for key, value in _outline(architecture).state_dict().items()}
    weights = load_tensors(bundle.file(WEIGHTS_FILE), expected)
    network = ARCHITECTURES[architecture.name].build(**architecture.arguments)
    network.load_state_dict({key: value.float() for key, value in weights.items()})
    return network.eval()


def style_of(bundle: Bundle) -> StyleStatistics | None:
    """A bundle's style statistics, or None if it has none."""
    if bundle.manifest.style is None:
        return None
    return load_style(bundle.file(STYLE_FILE))
