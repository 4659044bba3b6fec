"""Scaling pictures."""

from dataclasses import replace

import numpy as np
from PIL import Image

from nstc.core.images.picture import Picture, Pixels


def resize(pixels: Pixels, height: int, width: int) -> Pixels:
    """Scale (H, W, 3) or (H, W) to a height and width in pixels, by bicubic interpolation."""
    if pixels.shape[:2] == (height, width):
        return pixels
    scaled = Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(scaled)


def with_colors(picture: Picture, rgb: Pixels) -> Picture:
    """A picture with other colours, its alpha channel scaled to them, and its metadata."""
    alpha = None if picture.alpha is None else resize(picture.alpha, *rgb.shape[:2])
    return replace(picture, rgb=rgb, alpha=alpha)


def resize_shorter_side(rgb: Pixels, size: int) -> Pixels:
    """Scale (H, W, 3) so that its shorter side is `size` pixels."""
    return _scaled(rgb, size / min(rgb.shape[:2]))


def resize_longer_side(rgb: Pixels, size: int) -> Pixels:
    """Scale (H, W, 3) so that its longer side is `size` pixels."""
    return _scaled(rgb, size / max(rgb.shape[:2]))


def scaled_size(height: int, width: int, scale: float) -> tuple[int, int]:
    """Height and width times `scale`, rounded; neither becomes 0."""
    return max(1, round(height * scale)), max(1, round(width * scale))


def centre_square(rgb: Pixels, size: int) -> Pixels:
    """The middle (size, size, 3) of a picture whose shorter side was scaled to `size`."""
    scaled = resize_shorter_side(rgb, size)
    top = (scaled.shape[0] - size) // 2
    left = (scaled.shape[1] - size) // 2
    return scaled[top : top + size, left : left + size]


def _scaled(rgb: Pixels, scale: float) -> Pixels:
    height, width = rgb.shape[:2]
    return resize(rgb, *scaled_size(height, width, scale))
