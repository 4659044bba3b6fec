"""Every architecture a bundle may name: built, loaded, written, counted, and run at any size."""

import contextlib
import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from nstc.core import bundle as bundles
from nstc.core import errors, recipe, zoo
from nstc.core import manifest as manifests
from nstc.core.bundle import QUANTIZATION_FILE, STYLE_FILE, WEIGHTS_FILE, Bundle
from nstc.core.decoding import DecodingError
from nstc.core.manifest import Architecture, Contract, Manifest, Origin, Stage, Step
from nstc.models import student as students
from nstc.models.student import (
    ADDED,
    ResidualBlock,
    Student,
    StudentNetwork,
    TwoScaleStudent,
)
from nstc.models.style import StyleSource
from nstc.models.tensors import load_tensors, save_tensors
from nstc.models.transformer import TransformerNet

# Key in a history step's recipe of the packages that it used, by group and name.
EXTENSIONS: Final = "extensions"
MAX_PARAMETERS: Final = 100_000_000  # of a bundle's network; full-size teachers have 1.7 million
REFERENCE_SIZE: Final = 512

ARCHITECTURES: Final[Mapping[str, type[TransformerNet] | type[StudentNetwork]]] = {
    "transformer": TransformerNet,
    "student": Student,
    "two-scale-student": TwoScaleStudent,
}


def describe(network: nn.Module) -> tuple[Architecture, Contract]:
    """A network's entries in a manifest."""
    for name, kind in ARCHITECTURES.items():
        if isinstance(network, kind) and type(network) is kind:
            return Architecture(name=name, arguments=network.arguments()), network.contract()
    raise TypeError(f"{type(network).__name__} is not in ARCHITECTURES")


def build(architecture: Architecture) -> nn.Module:
    """A network of this shape with fresh weights.

    `BundleError` if this version of nstc lacks the architecture, `CorruptBundleError` if it can't
    be built with these arguments.
    """
    _outline(architecture)
    return ARCHITECTURES[architecture.name](**architecture.arguments)


def _outline(architecture: Architecture) -> nn.Module:
    """The network on the meta device, or the errors of `build`: costs no memory for weights."""
    try:
        manifests.refuse_arguments(architecture.name, architecture.arguments)
        kind = ARCHITECTURES.get(architecture.name)
        if kind is None:
            raise errors.BundleError(
                f"unknown architecture {architecture.name!r}: "
                f"expected one of {', '.join(ARCHITECTURES)}; upgrade nstc if it is newer."
            )
        with torch.device("meta"):
            outline = kind(**architecture.arguments)
        parameters = sum(parameter.numel() for parameter in outline.parameters())
        if parameters > MAX_PARAMETERS:
            raise DecodingError(f"{parameters:,} parameters, expected at most {MAX_PARAMETERS:,}")
    except (DecodingError, TypeError, ValueError, IndexError, RuntimeError) as error:
        raise errors.CorruptBundleError(
            f"the manifest's arguments can't build a {architecture.name}: {error}. "
            "Copy the bundle again, or upgrade nstc if a newer one wrote it."
        ) from error
    return outline


def load(model: str | Path | Bundle) -> nn.Module:
    """The network of a bundle, its path or zoo name, in float32 and evaluation mode.

    Raises:
        BundleError: and its kinds, if it can't be opened or is damaged.
        ExtensionError: another package adds its kind of blocks, and it can't be used.
    """
    bundle = model if isinstance(model, Bundle) else bundles.open_bundle(model)
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
    """Write a bundle of a network; the caller may write other files into the draft.

    Its history is its parent's, if that is a bundle, and the step. With `half` the weights are kept
    in half precision.

    Raises:
        OutputError: the bundle can't be written.
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
    with bundles.new_bundle(output, manifest) as draft:
        save_tensors(weights, draft / WEIGHTS_FILE)
        if style is not None:
            save_tensors(style.statistics.packed(), draft / STYLE_FILE)
        yield draft, manifest


def load_as_deployed(bundle: Bundle) -> nn.Module:
    """The network of a bundle as its float files compute it; as `load`, if it was trained in float.

    Quantization-aware training has fitted a student to the ranges that its activations saturate at.
    Its float files saturate alike, see `saturate`: otherwise its pictures differ from those that it
    was trained to give, and style loses several percent from float to int8, of which rounding costs
    one or two.

    Raises:
        BundleError: and its kinds, if it is damaged.
    """
    network = load(bundle)
    ranges = learned_ranges(bundle)
    if ranges is not None:
        if not ranges.keys() <= {"input", *(name for name, _ in network.named_modules())}:
            raise errors.CorruptBundleError(
                f"{QUANTIZATION_FILE} of {bundle.path} has the ranges of another network's layers. "
                "Copy the bundle again."
            )
        saturate(network, ranges)
    return network


def saturate(network: nn.Module, ranges: Mapping[str, tuple[float, float]]) -> None:
    """Clamp a student's convolutions to `learned_ranges`, by permanent forward hooks.

    Sums, and what is only added to another, are left as they are: runtimes fuse a convolution with
    the addition behind it, and with a clamp only where there is no addition. They exceed their
    ranges little.
    """

    def clamp(low: float, high: float, _: nn.Module, _given: object, output: Tensor) -> Tensor:
        most = torch.finfo(output.dtype).max
        return output.clamp(max(low, -most), min(high, most))

    added = {
        students.last_convolution_of(block.get_submodule("project"))
        for block in network.modules()
        if isinstance(block, ResidualBlock)
    }
    if isinstance(network, TwoScaleStudent):
        added.add(students.last_convolution_of(network.up))
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d) and name in ranges and module not in added:
            module.register_forward_hook(partial(clamp, *ranges[name]))


def learned_ranges(bundle: Bundle) -> dict[str, tuple[float, float]] | None:
    """The ranges of a bundle's quantization-aware training, None if it was trained in float.

    Returns:
        Smallest and largest value that a quantized activation can have, by the name of the module
        whose output it is; "input" is the normalised picture.

    Raises:
        CorruptBundleError: they can't be read.
        UnusableModelError: one is not finite.
    """
    if QUANTIZATION_FILE not in bundle.manifest.files:
        return None
    path = bundle.file(QUANTIZATION_FILE)
    tensors = load_tensors(path)
    if any(ends.shape != (2,) for ends in tensors.values()):
        raise errors.CorruptBundleError(f"{path} is damaged: expected ranges of two numbers.")
    return {name: (float(low), float(high)) for name, (low, high) in tensors.items()}


def _refuse_missing_block(bundle: Bundle) -> None:
    """Refuse a student with blocks of a package that is not installed, and name the package."""
    manifest = bundle.manifest
    block = manifest.architecture.arguments.get("block")
    if not manifest.architecture.name.endswith("student") or not isinstance(block, str):
        return
    if block in recipe.BLOCKS or block in ADDED.names():
        return
    used: Any = [step.recipe.get(EXTENSIONS) for step in manifest.history]
    kinds = [own.get(ADDED.group) for own in used if isinstance(own, Mapping)]
    made_with = [own.get(block) for own in kinds if isinstance(own, Mapping)]
    package = next(filter(None, made_with), f"the package that adds it to {ADDED.group}")
    raise errors.SchemaVersionError(
        f"{zoo.named(bundle.path)} is a student with blocks of the kind {block!r:.60}, which this "
        f"nstc lacks: install {package!s:.100}."
    )


class AnySize(nn.Module):
    """(1, 3, H, W) in [0, 1] to a stylised picture of that size, clamped to [0, 1].

    A picture is padded by repeating its last row and column, and the result cropped back. This is
    the one reference that every exported file is compared with.

    The core, see `Core`, takes heights and widths that are multiples of `size_multiple` and at
    least `minimum_size`, itself such a multiple.
    """

    def __init__(self, core: nn.Module, size_multiple: int, minimum_size: int) -> None:
        super().__init__()
        self.core = core
        self.size_multiple = size_multiple
        self.minimum_size = minimum_size

    def forward(self, images: Tensor) -> Tensor:
        """Pad, stylise, crop, clamp. TorchScript compiles this: it must stay plain arithmetic."""
        height, width = images.shape[2], images.shape[3]
        padded = pad(images, self.size_multiple, self.minimum_size)
        result: Tensor = self.core(padded, images)
        return result[:, :, :height, :width].clamp(0, 1)


def any_size(network: nn.Module, contract: Contract) -> AnySize:
    """A network that takes pictures of any size, in evaluation mode."""
    wrapper = AnySize(Core(network), contract.size_multiple, contract.minimum_size)
    return wrapper.eval()


class Core(nn.Module):
    """A network as a function of the padded and the unpadded picture, both (1, 3, H, W) in [0, 1].

    A student's statistics are taken of the unpadded picture: repeated edges would change them, and
    a large picture's tiles are padded one by one. Networks that normalise inside do it with the
    padding.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, padded: Tensor, images: Tensor) -> Tensor:
        """See the class."""
        given = [padded]
        if isinstance(self.network, StudentNetwork):
            given.append(self.network.statistics(images))
        result: Tensor = self.network(*given)
        return result


def pad(images: Tensor, multiple: int, minimum: int) -> Tensor:
    """(N, 3, H, W) enlarged downwards and to the right by repeating its last row and column."""
    height, width = images.shape[2], images.shape[3]
    below = padded_length(height, multiple, minimum) - height
    right = padded_length(width, multiple, minimum) - width
    return F.pad(images, [0, right, 0, below], mode="replicate")


def padded_length(length: int, multiple: int, minimum: int) -> int:
    """The length rounded up to a multiple, and at least the minimum."""
    rounded_up = (length + multiple - 1) // multiple * multiple
    if torch.jit.is_scripting():  # type: ignore[attr-defined]
        return max(rounded_up, minimum)
    # The export to ONNX carries the length as a symbol, which max would fix to a number.
    return torch.sym_max(rounded_up, minimum)  # type: ignore[return-value]


def count_parameters(network: nn.Module) -> int:
    """Number of learned values."""
    return sum(parameter.numel() for parameter in network.parameters())


def count_macs(network: nn.Module, size: int = REFERENCE_SIZE) -> int:
    """Multiply-accumulates of the convolutions for one picture of `size` x `size` pixels."""
    on_paper = copy.deepcopy(network).to("meta")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        on_paper(torch.empty(1, 3, size, size, device="meta"))
    return int(counter.get_total_flops()) // 2


def count_moved_values(network: nn.Module, size: int = REFERENCE_SIZE) -> int:
    """Values that convolutions read and write for one picture of `size` x `size` pixels.

    Each input and output counts once, as without a cache; weights do not.
    """
    shapes = convolution_shapes(network, size).values()
    return sum(read.numel() + written.numel() for read, written in shapes)


def convolution_shapes(network: nn.Module, size: int) -> dict[str, tuple[torch.Size, torch.Size]]:
    """Input and output shape of each convolution for a picture of `size` squared, by its name."""
    on_paper = copy.deepcopy(network).to("meta")
    found: dict[str, tuple[torch.Size, torch.Size]] = {}
    for name, module in on_paper.named_modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):

            def record(_: nn.Module, read: tuple[Tensor], written: Tensor, of: str = name) -> None:
                found[of] = (read[0].shape, written.shape)

            module.register_forward_hook(record)
    with torch.no_grad():
        on_paper(torch.empty(1, 3, size, size, device="meta"))
    return found


@dataclass(frozen=True, kw_only=True)
class Complexity:
    """Exact facts of a network, the same for every file exported from it."""

    params: int
    macs: int  # of its convolutions for one picture, without biases
    moved_values: int  # that these read and write, without weights


def complexity(bundle: Bundle, size: int) -> Complexity:
    """Count for a picture of size x size pixels, padded as the network needs it.

    Computes shapes only, on torch's meta device: a large picture costs no memory. Raises what
    `load` raises.
    """
    network = load(bundle)
    contract = bundle.manifest.contract
    side = padded_length(size, contract.size_multiple, contract.minimum_size)
    return Complexity(
        params=count_parameters(network),
        macs=count_macs(network, side),
        moved_values=count_moved_values(network, side),
    )
