"""Every architecture a bundle may name: how to build one from its manifest, and to load it."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol, cast

import torch
from torch import Tensor, nn

from nstc.core.bundle import (
    QUANTIZATION_FILE,
    STYLE_FILE,
    WEIGHTS_FILE,
    Bundle,
    new_bundle,
    open_bundle,
)
from nstc.core.decoding import DecodingError
from nstc.core.errors import BundleError, CorruptBundleError, SchemaVersionError
from nstc.core.manifest import (
    Architecture,
    Contract,
    Manifest,
    Origin,
    Stage,
    Step,
    refuse_arguments,
)
from nstc.core.recipe import BLOCKS
from nstc.core.zoo import named
from nstc.models.blocks import ADDED, ResidualBlock, last_convolution_of
from nstc.models.student import Student
from nstc.models.style import StyleSource
from nstc.models.tensors import load_tensors, save_tensors
from nstc.models.transformer import TransformerNet

EXTENSIONS: Final = "extensions"
"""Of a history step's recipe: what it used of other packages, by group and name whose that was."""

MAX_PARAMETERS: Final = 100_000_000
"""Of a network that a bundle brings. The full-size teachers have 1.7 million."""


class StyleNetwork(Protocol):
    """What every architecture is besides an `nn.Module`: pictures to pictures of that size."""

    def __call__(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) in [0, 1] to (N, 3, H, W), not clamped."""

    def arguments(self) -> dict[str, Any]:
        """Keyword arguments that build this shape again."""

    def contract(self) -> Contract:
        """The sizes it takes, and how far an output pixel looks."""


ARCHITECTURES: Final[Mapping[str, Callable[..., nn.Module]]] = {
    "transformer": TransformerNet,
    "student": Student,
}


def describe(network: nn.Module) -> tuple[Architecture, Contract]:
    """What the manifest of a network says of it."""
    for name, kind in ARCHITECTURES.items():
        if type(network) is kind:
            described = cast("StyleNetwork", network)
            return Architecture(name=name, arguments=described.arguments()), described.contract()
    raise TypeError(f"{type(network).__name__} is not in ARCHITECTURES")


def build(architecture: Architecture) -> nn.Module:
    """A network of this shape with fresh weights.

    Raises:
        BundleError: this version of nstc knows no such architecture.
        CorruptBundleError: the architecture can't be built with these arguments.
    """
    _outline(architecture)
    return ARCHITECTURES[architecture.name](**architecture.arguments)


def _outline(architecture: Architecture) -> nn.Module:
    """The network without memory for its weights: what `build` refuses is refused for free."""
    try:
        refuse_arguments(architecture.name, architecture.arguments)
        kind = ARCHITECTURES.get(architecture.name)
        if kind is None:
            raise BundleError(
                f"unknown architecture {architecture.name!r}; "
                f"this nstc knows {', '.join(ARCHITECTURES)}."
            )
        with torch.device("meta"):
            outline = kind(**architecture.arguments)
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
        ExtensionError: another package adds its kind of blocks, and it can't be used.
    """
    bundle = model if isinstance(model, Bundle) else open_bundle(model)
    architecture = bundle.manifest.architecture
    _refuse_missing_block(bundle)
    expected = {key: value.shape for key, value in _outline(architecture).state_dict().items()}
    weights = load_tensors(bundle.file(WEIGHTS_FILE), expected)
    network = ARCHITECTURES[architecture.name](**architecture.arguments)
    network.load_state_dict({key: value.float() for key, value in weights.items()})
    return network.eval()


@contextlib.contextmanager
def network_bundle(
    output: Path,
    network: nn.Module,
    style: StyleSource | None,
    *,
    name: str,
    stage: Stage,
    step: Step,
    parent: Bundle | Origin | None = None,
    teacher: Origin | None = None,
    half: bool = False,
) -> Iterator[tuple[Path, Manifest]]:
    """Write a bundle of a network; what else it holds is the caller's to write into the draft.

    Its history is its parent's, if that is a bundle, and the step. With `half` the weights are kept
    in half precision.

    Raises:
        OutputError: the place can't be written.
        UnusableModelError: weights or statistics are not finite.
    """
    architecture, contract = describe(network)
    origin = parent.origin() if isinstance(parent, Bundle) else parent
    history = parent.manifest.history if isinstance(parent, Bundle) else ()
    manifest = Manifest(
        name=name,
        stage=stage,
        architecture=architecture,
        contract=contract,
        style=None if style is None else style.record,
        parent=origin,
        teacher=teacher,
        history=(*history, step),
    )
    weights = network.state_dict()
    if half:
        weights = {key: value.half() for key, value in weights.items()}
    with new_bundle(output, manifest) as draft:
        save_tensors(weights, draft / WEIGHTS_FILE)
        if style is not None:
            save_tensors(style.statistics.packed(), draft / STYLE_FILE)
        yield draft, manifest


def load_as_deployed(bundle: Bundle) -> nn.Module:
    """The network of a bundle as its float files compute it; as `load`, if it learned in float.

    A student that has learned to be rounded has learned what its bytes hold and what they cut off.
    Its float files cut off the same, see `saturate`: without, it paints other pictures than those
    it has learned to, and style loses several percent from float to int8 of which rounding costs
    one or two.

    Raises:
        BundleError: and its kinds, if it is damaged.
    """
    network = load(bundle)
    ranges = learned_ranges(bundle)
    if ranges is not None:
        if not ranges.keys() <= {"input", *(name for name, _ in network.named_modules())}:
            raise CorruptBundleError(
                f"{QUANTIZATION_FILE} of {bundle.path} has the ranges of another network's layers. "
                "Copy the bundle again."
            )
        saturate(network, ranges)
    return network


def saturate(network: nn.Module, ranges: Mapping[str, tuple[float, float]]) -> None:
    """Let convolutions hold what their bytes hold and no more: a forward hook on each, to stay.

    Sums, and what is only added to another, are left as they are: runtimes compute a convolution
    and the addition behind it in one go, and its clamp only where there is no addition. They cut
    off little. The network is a student, the ranges are those of `learned_ranges`.
    """

    def hold(low: float, high: float, _: nn.Module, _given: object, made: Tensor) -> Tensor:
        most = torch.finfo(made.dtype).max
        return made.clamp(max(low, -most), min(high, most))

    added = {
        last_convolution_of(block.get_submodule("project"))
        for block in network.modules()
        if isinstance(block, ResidualBlock)
    }
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d) and name in ranges and module not in added:
            module.register_forward_hook(partial(hold, *ranges[name]))


def learned_ranges(bundle: Bundle) -> dict[str, tuple[float, float]] | None:
    """The ranges that a bundle's weights have learned with, None if they have learned in float.

    Returns:
        The smallest and largest real value that the bytes of an activation hold, by the name of the
        module that makes it; "input" is the normalised picture.

    Raises:
        CorruptBundleError: they can't be read.
        UnusableModelError: one is not finite.
    """
    if QUANTIZATION_FILE not in bundle.manifest.files:
        return None
    path = bundle.file(QUANTIZATION_FILE)
    tensors = load_tensors(path)
    if any(ends.shape != (2,) for ends in tensors.values()):
        raise CorruptBundleError(f"{path} holds something else than ranges of two numbers.")
    return {name: (float(low), float(high)) for name, (low, high) in tensors.items()}


def _refuse_missing_block(bundle: Bundle) -> None:
    """Refuse a student whose blocks are of a package that is not installed, and name that."""
    manifest = bundle.manifest
    block = manifest.architecture.arguments.get("block")
    if manifest.architecture.name != "student" or not isinstance(block, str):
        return
    if block in BLOCKS or block in ADDED.names():
        return
    used: Any = [step.recipe.get(EXTENSIONS) for step in manifest.history]
    kinds = [own.get(ADDED.group) for own in used if isinstance(own, Mapping)]
    made_with = [own.get(block) for own in kinds if isinstance(own, Mapping)]
    package = next(filter(None, made_with), f"the package that adds it to {ADDED.group}")
    raise SchemaVersionError(
        f"{named(bundle.path)} is of a student with blocks of the kind {block!r:.60}, which this "
        f"nstc has not: install {package!s:.100}."
    )
