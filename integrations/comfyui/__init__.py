"""A ComfyUI node that stylises images with nstc's models; this folder goes into `custom_nodes`.

An image of ComfyUI is a tensor (batch, height, width, channels) of floats from 0 to 1.
"""

import re
from functools import lru_cache
from typing import Any, Final

import torch

from nstc import Stylizer, open_bundle
from nstc.core.bundle import MANIFEST_FILE
from nstc.core.errors import ImageError, OptionError
from nstc.core.files import sha256_of
from nstc.core.model_names import is_name
from nstc.core.zoo import PREFIX, zoo_students
from nstc.runtime.bounded import LEAST_TILE, MOST_TILE
from nstc.runtime.control import STRENGTHS
from nstc.runtime.packs.blending import Blend

_CHANNELS: Final = (3, 4)  # RGB, and with alpha
# How Windows' paths to other machines begin, in each spelling that it takes.
_OF_OTHER_MACHINES: Final = re.compile(r"[/\\]{2}|[/\\]\?\?")
_MOST_OPEN: Final = 4  # models, each of which has a network in memory


class NstcStylize:
    """The node: a batch of images in, the same images in a painting's style out."""

    DESCRIPTION = "Stylises images in the style of a painting, by a small network on the CPU."
    CATEGORY = "image/style"
    FUNCTION = "stylize"
    RETURN_TYPES = ("IMAGE",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802  (ComfyUI's name)
        """What the node shows, by ComfyUI's types."""
        low, high = STRENGTHS
        strength = {"default": 1.0, "min": low, "max": high, "step": 0.05}
        tile = {"default": 0, "min": 0, "max": MOST_TILE, "step": LEAST_TILE}
        return {
            "required": {
                "image": ("IMAGE",),
                "model": (list(zoo_students()), {"tooltip": "An included model."}),
                "strength": (
                    "FLOAT",
                    {**strength, "tooltip": "0 is the image, 1 the style; beyond, extrapolated."},
                ),
                "preserve_color": (
                    "BOOLEAN",
                    {"default": False, "tooltip": "Keep the image's colours."},
                ),
            },
            "optional": {
                "bundle": (
                    "STRING",
                    {"default": "", "tooltip": "Folder of a bundle or pack, in place of model."},
                ),
                "style": (
                    "STRING",
                    {
                        "default": "",
                        "tooltip": "Style of a pack, or a mixture: starry-night=0.6,udnie=0.4. "
                        "Empty for its first.",
                    },
                ),
                "tile": (
                    "INT",
                    {**tile, "tooltip": "Side of tiles in pixels, to save memory; 0 for none."},
                ),
            },
        }

    @classmethod
    def IS_CHANGED(  # noqa: N802
        cls, model: str | None, bundle: str | None = "", **_inputs: Any
    ) -> str | float:
        """Another value once the bundle was replaced, for which ComfyUI stylises anew.

        NaN, which equals nothing, where another node gives the input: it is None here.
        """
        if bundle is None or (model is None and not bundle.strip()):
            return float("nan")
        return _seal(_chosen(model, bundle))

    def stylize(
        self,
        image: torch.Tensor,
        model: str,
        strength: float = 1.0,
        preserve_color: bool = False,
        bundle: str = "",
        style: str = "",
        tile: int = 0,
    ) -> tuple[torch.Tensor]:
        """Stylise each image (H, W, 3) or (H, W, 4) of a batch; alpha is kept.

        Returns:
            A tensor of the same shape, type and device.

        Raises:
            ImageError: it is not such a batch.
            OptionError: an input is out of range, or `bundle` is a name and not a folder.
            BundleError: and its kinds, if the model can't be opened.
        """
        if image.ndim != 4 or image.shape[3] not in _CHANNELS:
            raise ImageError(
                f"image is a tensor {tuple(image.shape)}: expected (batch, height, width, 3), or 4 "
                "with alpha."
            )
        name = _chosen(model, bundle)
        stylizer = _opened(name, _seal(name), style.strip(), tile)
        stylised = torch.empty_like(image)
        for before, after in zip(image, stylised, strict=True):  # one at a time: bytes of one alone
            pixels = (before.clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()
            made = stylizer(pixels, strength=strength, preserve_color=preserve_color)
            after.copy_(torch.from_numpy(made) / 255)
        return (stylised,)


def _chosen(model: str | None, bundle: str) -> str:
    """The folder that was typed, else the included model; `OptionError` for an address."""
    chosen = bundle.strip() or model or ""
    is_address = is_name(chosen) and not chosen.startswith(PREFIX)
    if is_address or _OF_OTHER_MACHINES.match(chosen):
        raise OptionError(
            f"bundle is {chosen:.80}: expected a folder of this machine, so that workflows made by "
            "others lead to no address."
        )
    return chosen


def _seal(name: str) -> str:
    """What changes with the bundle."""
    return sha256_of(open_bundle(name).path / MANIFEST_FILE)


@lru_cache(maxsize=_MOST_OPEN)
def _opened(name: str, _seal: str, style: str, tile: int) -> Stylizer:
    """A model as it is now; several images, and workflows that are run again, share it."""
    blend = Blend.parsed(style).given if "=" in style else style or None
    return Stylizer(name, style=blend, tile=tile or None)


NODE_CLASS_MAPPINGS: Final = {"NstcStylize": NstcStylize}
NODE_DISPLAY_NAME_MAPPINGS: Final = {"NstcStylize": "Stylise (nstc)"}
