"""Tensors: on which device, how precise, from pictures and to them, and in files."""

import contextlib
import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from nstc.core import files, unusable_models
from nstc.core.decoding import DecodingError, printable, refuse_irregular
from nstc.core.errors import CorruptBundleError
from nstc.core.images import Pixels

MAX_HEADER_BYTES: Final = 4 * 1024 * 1024  # of a safetensors file; 60 layers have some 6 KB
_MOST_DIMENSIONS: Final = 8  # networks have 4; NumPy holds no more than 64
_FLOATS: Final = ("F16", "BF16", "F32", "F64")


def use_threads(count: int | None) -> None:
    """Let torch compute with so many threads from now on; None leaves it as it is."""
    if count is not None:
        torch.set_num_threads(count)


def best_device() -> torch.device:
    """CUDA where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def mixed_precision(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """bf16 autocast where the hardware is faster in it, full precision elsewhere."""
    if device.type == "cuda":
        return torch.autocast("cuda", dtype=torch.bfloat16)
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=faster_in_bf16())


@functools.cache
def faster_in_bf16() -> bool:
    """Whether this machine's processor computes convolutions faster in bf16 than in float32.

    Intel's without AMX issue half as many bf16 products a cycle as float32 ones, and convert
    besides: VGG-16 there and back takes half as long again (Xeon with AVX512_BF16 alone, torch
    2.14).
    """
    # torch 2.9 tells nothing
    known: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    if "Intel" in known.get("cpu_name", "") and not known["amx_bf16"]:
        return False
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def at_least_float32(tensor: Tensor) -> Tensor:
    """A tensor of half precision in float32; float32 and float64 as they are."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def images_to_tensor(images: Sequence[Pixels]) -> Tensor:
    """Equal-sized pictures (H, W, 3) uint8 to a tensor (N, 3, H, W) float32 in [0, 1]."""
    stacked = torch.from_numpy(np.stack(images))
    return stacked.permute(0, 3, 1, 2).float() / 255


def tensor_to_images(tensor: Tensor) -> list[Pixels]:
    """A tensor (N, 3, H, W), clamped to [0, 1] and rounded, to pictures (H, W, 3) uint8."""
    levels = (tensor.detach().float().clamp(0, 1) * 255).round().to(torch.uint8)
    return list(levels.permute(0, 2, 3, 1).contiguous().cpu().numpy())


def refuse_unusable(tensors: Mapping[str, Tensor], where: str | Path) -> None:
    """Raise `UnusableModelError` for floats that are not finite in float32."""
    unusable_models.refuse_not_finite(as_arrays(tensors), where)


def as_arrays(tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, unusable_models.Values]]:
    """Names and values of the floating-point ones, as float32."""
    for name, value in tensors.items():
        if value.is_floating_point():
            yield name, value.detach().to("cpu", torch.float32).numpy()


def load_tensors(
    path: Path, expected: Mapping[str, Sequence[int]] | None = None
) -> dict[str, Tensor]:
    """Floating-point tensors of a safetensors file, checked before memory is allocated.

    `expected` are all names and shapes of a network's tensors.

    Raises:
        CorruptBundleError: it is missing, not such a file, or of another network.
        UnusableModelError: values are not finite.
    """
    try:
        refuse_unsafe_header(path)
        with files.as_utf8(path) as file, safe_open(file, framework="pt") as stored:
            shapes: dict[str, Sequence[int]] = {}
            for name in stored.keys():  # noqa: SIM118  (it is not a mapping)
                part = stored.get_slice(name)
                shapes[name] = part.get_shape()
                if part.get_dtype() not in _FLOATS:
                    raise DecodingError(f"{name:.80} is of {part.get_dtype()}, expected floats")
                if len(shapes[name]) > _MOST_DIMENSIONS:
                    raise DecodingError(
                        f"{name:.80} has {len(shapes[name])} dimensions, expected at most "
                        f"{_MOST_DIMENSIONS}"
                    )
            faults = [] if expected is None else faults_of_shapes(shapes, expected)
            if faults:
                others = f", and {len(faults) - 1} more" if len(faults) > 1 else ""
                raise DecodingError(
                    f"the weights do not fit the architecture of the manifest: {faults[0]}{others}"
                )
            tensors = {name: stored.get_tensor(name) for name in shapes}
    except (SafetensorError, OSError, DecodingError) as error:
        raise CorruptBundleError(f"{path} can't be read: {printable(str(error))[:300]}") from error
    refuse_unusable(tensors, path)
    return tensors


def refuse_unsafe_header(path: Path) -> None:
    """Refuse a safetensors file whose header is longer than any network's, before it is read.

    `OSError` if it is not there or can't be read, `DecodingError` if it is not a regular file, or
    has no such header.
    """
    refuse_irregular(path.stat())
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
    if not 2 <= length <= min(MAX_HEADER_BYTES, path.stat().st_size - 8):
        raise DecodingError("it does not begin with the header of a safetensors file")


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a file made by others; raises as `refuse_unsafe_header`.

    `SafetensorError` if it is damaged.
    """
    refuse_unsafe_header(path)
    with files.as_utf8(path) as name:
        return load_file(name)


def faults_of_shapes(
    found: Mapping[str, Sequence[int]], expected: Mapping[str, Sequence[int]]
) -> list[str]:
    """Each name or shape that is not as expected, in words; none if there is no fault."""

    def size(shape: Sequence[int]) -> str:
        return "x".join(map(str, shape)) or "one number"

    faults = [f"{name} is missing" for name in expected if name not in found]
    faults += [f"{name:.80} is not expected" for name in found if name not in expected]
    for name, shape in expected.items():
        if name in found and tuple(found[name]) != tuple(shape):
            faults.append(f"{name} is {size(found[name])}, expected {size(shape)}")
    return faults


def save_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """As `save_state` for weights, statistics or ranges; `UnusableModelError` if not finite."""
    refuse_unusable(tensors, path.name)
    save_state(tensors, path)


def save_state(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write tensors, finite or not, as a safetensors file; `OSError` if it can't be written."""
    on_cpu = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    path.write_bytes(save(on_cpu))  # its save_file puts another file there, which has no lock
