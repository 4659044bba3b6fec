"""Between pictures, files and tensors."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from nstc.core.errors import CorruptBundleError
from nstc.core.images import Pixels


def images_to_tensor(images: Sequence[Pixels]) -> Tensor:
    """Equal-sized pictures (H, W, 3) uint8 to a tensor (N, 3, H, W) float32 in [0, 1]."""
    stacked = torch.from_numpy(np.stack(images))
    return stacked.permute(0, 3, 1, 2).float() / 255


def tensor_to_images(tensor: Tensor) -> list[Pixels]:
    """A tensor (N, 3, H, W), clamped to [0, 1] and rounded, to pictures (H, W, 3) uint8."""
    levels = (tensor.detach().float().clamp(0, 1) * 255).round().to(torch.uint8)
    return list(levels.permute(0, 2, 3, 1).contiguous().cpu().numpy())


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file.

    Raises:
        CorruptBundleError: it is missing or not such a file.
    """
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise CorruptBundleError(f"{path} can't be read: {error}") from error


def save_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write tensors as a safetensors file.

    Raises:
        OSError: the place is full or can't be written.
    """
    on_cpu = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    try:
        save_file(on_cpu, path)
    except SafetensorError as error:  # its name for whatever the file system said
        raise OSError(str(error)) from error
