"""Whatever mode, depth and colours an opened image has, as an array of 8-bit sRGB.

Converted in bands, a photograph takes no more than 7 bytes a pixel: the decoder's picture and the
array. Pillow gives the numbers of grey pictures of more than 8 bits as they are in the file (modes
I, I;16 and F). In TIFF (specification, revision 6, sections 3 and 19) whole numbers without a sign
go from 0 to 2**bits - 1. Where no standard says what is black and what is white, as for numbers
with a sign, a picture is refused: a guess would be a wrong picture without a warning.
"""

import io
from dataclasses import dataclass
from typing import Any, BinaryIO, Final, cast

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageCms, ImagePalette, TiffImagePlugin, TiffTags, features

from nstc.core.errors import ImageError
from nstc.core.images.picture import Picture

_BAND_PIXELS: Final = 2**18  # converted at once; up to 20 bytes of each are copies
# EXIF's orientations, and what turns them upright.
_TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ON_ITS_SIDE: Final = {5, 6, 7, 8}  # orientations whose upright rows are the file's columns

# The space that an ICC profile (bytes 16 to 20) speaks of, and Pillow's mode for it.
_MODES_OF_SPACES: Final = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK", "Lab ": "LAB"}

_ADVICE: Final = "save it as PNG, or as TIFF of 8 bits a colour"
# Formats, None for a picture without a file, whose whole numbers go up to 65535.
_FULL_SCALE: Final = frozenset({None, "PNG", "PPM", "JPEG2000", "IM"})
# Beyond black and white, that sharpening and scaling leave behind: it is clipped.
_OVERSHOOT: Final = 0.1
_SIGNED, _FLOAT = 2, 3
_WHITE_IS_ZERO: Final = 0
_LARGEST_32: Final = 2**32 - 1
_VISIBLE_OF_32: Final = 2**23  # values below it are all black as 8 bits of 32

_COLOUR_MAP: Final = 320
# Pillow reads the first byte of each big-endian colour; taken for little-endian, the second.
_HIGH_BYTES: Final = "RGB;16B"
_LOW_BYTES: Final = "RGB;16L"
# Pillow's modes of palettes with alpha, and the same without it.
_OF_ALPHA: Final = {"RGBA": "RGBX", "BGRA": "BGRX"}
# Bytes a pixel that finding the transparent colour takes: the low bytes, and alpha.
DEEP_COLOUR_BYTES: Final = 5


@dataclass(frozen=True, kw_only=True)
class Depth:
    """The numbers of a grey picture that are black, white (it may be the smaller) and clear."""

    black: float
    white: float
    transparent: int | None = None


def as_picture(image: Image.Image, name: str, depth: Depth | None) -> Picture:
    """An opened image or a part of it in 8-bit sRGB, not turned, by the depth of the whole."""
    if depth is not None:
        image = as_eight_bits(image, depth, name)
    image = to_srgb(image, name)
    if has_alpha(image):
        rgba = np.asarray(image.convert("RGBA"))
        return Picture(rgb=rgba[:, :, :3].copy(), alpha=rgba[:, :, 3].copy())
    return Picture(rgb=np.asarray(image.convert("RGB")))


def has_alpha(image: Image.Image) -> bool:
    """Whether `as_picture` gives it an alpha channel."""
    if is_deep(image):
        return isinstance(image.info.get("transparency"), int)
    return image.has_transparency_data


def picture_in_bands(image: Image.Image, name: str) -> Picture:
    """What `nstc.core.images.picture_of` gives of an opened file, decoded here in less memory."""
    image.load()
    depth = depth_of(image, name)
    turn = image.getexif().get(ExifTags.Base.Orientation, 1)
    width, height = upright_size(image)
    rgb = np.empty((height, width, 3), np.uint8)
    alpha = np.empty((height, width), np.uint8) if has_alpha(image) else None
    rows = max(1, _BAND_PIXELS // width)
    for top in range(0, height, rows):
        start, stop = top, min(height, top + rows)
        if turn in {3, 4, 7, 8}:  # the first upright rows are the file's last rows or columns
            start, stop = height - stop, height - start
        on_its_side = turn in _ON_ITS_SIDE
        box = (start, 0, stop, image.height) if on_its_side else (0, start, image.width, stop)
        part = image.crop(box)
        band = as_picture(part.transpose(_TURNS[turn]) if turn in _TURNS else part, name, depth)
        rgb[top : top + rows] = band.rgb
        if alpha is not None:
            alpha[top : top + rows] = 255 if band.alpha is None else band.alpha
    return Picture(rgb=rgb, alpha=alpha)


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Width and height as EXIF's orientation turns it."""
    turn = image.getexif().get(ExifTags.Base.Orientation, 1)
    return (image.height, image.width) if turn in _ON_ITS_SIDE else image.size


def to_srgb(image: Image.Image, name: str) -> Image.Image:
    """An opened image in sRGB, by its embedded ICC profile; the same one if it is sRGB already.

    Colours are matched relative to white, with black point compensation. A profile that is damaged
    or for another kind of picture is ignored; both as in browsers. Without one the image is taken
    for sRGB, except CIELAB. `ImageError` if Pillow can't convert, or for damaged CIELAB.
    """
    content = image.info.get("icc_profile")
    if image.mode == "LAB":
        try:
            return _converted(image, ImageCms.createProfile("LAB"), name)
        except ImageCms.PyCMSError as error:
            raise ImageError(f"{name} is CIELAB that can't be converted: {error}") from error
    if not isinstance(content, bytes) or content[36:40] != b"acsp":
        return image
    space, start = content[16:20].decode("latin-1"), content[:4096]
    if space == "RGB " and (b"sRGB" in start or "sRGB".encode("utf-16-be") in start):
        return image  # one of the many profiles that say sRGB
    colors, mode = image, _MODES_OF_SPACES.get(space)
    if mode == "RGB" and image.mode not in {"RGB", "CMYK"}:
        colors = (image.convert("RGBA") if image.mode == "P" else image).convert("RGB")
    elif mode == "L" and image.mode in {"LA", "1"}:
        colors = image.convert("L")
    if colors.mode != mode:  # the profile is for another kind of picture
        return image
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(content))
        converted = _converted(colors, profile, name)
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image
    if image.has_transparency_data:
        converted.putalpha(image.convert("RGBA").getchannel("A"))
    return converted


def _converted(image: Image.Image, profile: Any, name: str) -> Image.Image:
    if not features.check("littlecms2"):
        raise ImageError(
            f"{name} has a colour profile, and this Pillow was built without LittleCMS: "
            "install Pillow's own wheel, or convert the picture to sRGB."
        )
    result = ImageCms.profileToProfile(
        image,
        profile,
        ImageCms.createProfile("sRGB"),
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        outputMode="RGB",
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    if result is None:
        raise ValueError("no image")
    return result


def is_deep(image: Image.Image) -> bool:
    """Whether an opened image is grey of more than 8 bits, as whole numbers or floats."""
    return image.mode.startswith("I") or image.mode == "F"


def depth_of(image: Image.Image, name: str) -> Depth | None:
    """What a whole file's numbers mean; None for 8 bits, `ImageError` where nothing says it."""
    tags = image.tag_v2 if isinstance(image, TiffImagePlugin.TiffImageFile) else None
    bits, kind, photometry = ([], 0, 0) if tags is None else _tiff_facts(tags)
    if kind == _SIGNED:
        raise ImageError(
            f"{name} holds {_named_depth(bits, kind)}, which don't say what is black and what is "
            f"white: {_ADVICE}."
        )
    if not is_deep(image):
        return None
    if tags is not None:
        white = 1.0 if image.mode == "F" else float(2 ** bits[0] - 1)
        if white == _LARGEST_32:
            lowest, highest = cast("tuple[int, int]", image.getextrema())
            if lowest >= 0 and 0 < highest < _VISIBLE_OF_32:  # it would come out black throughout
                raise ImageError(
                    f"{name} holds 32-bit numbers up to {highest} only, where white is "
                    f"{_LARGEST_32}: {_ADVICE}."
                )
        inverted = photometry == _WHITE_IS_ZERO
        return Depth(black=white, white=0.0) if inverted else Depth(black=0.0, white=white)
    if image.mode == "F":
        return Depth(black=0.0, white=1.0)
    if image.format not in _FULL_SCALE:
        raise ImageError(
            f"{name} is {image.format} of more than 8 bits, which does not say what is black and "
            f"what is white: {_ADVICE}."
        )
    clear = image.info.get("transparency")  # the one number of a PNG that is
    return Depth(black=0.0, white=65535.0, transparent=clear if isinstance(clear, int) else None)


def as_eight_bits(image: Image.Image, depth: Depth, name: str) -> Image.Image:
    """A picture of mode I, I;16 or F as L or LA; `ImageError` if numbers are out of its range."""
    values: npt.NDArray[Any] = np.asarray(image)
    if _LARGEST_32 in {depth.white, depth.black}:
        values = values.view(np.uint32)  # Pillow holds 32 bits with a sign, whatever they mean
    levels = (values.astype(np.float64) - depth.black) / (depth.white - depth.black)
    if not np.isfinite(levels).all():
        raise ImageError(f"{name} holds pixels that are NaN or infinite: replace them first.")
    if values.size and (levels.min() < -_OVERSHOOT or levels.max() > 1 + _OVERSHOOT):
        floats = values.dtype.kind == "f"
        kind, white = ("floats", "1") if floats else ("whole numbers", "65535")
        raise ImageError(
            f"{name} holds {kind} from {values.min():g} to {values.max():g}, where 0 is black and "
            f"{white} is white: scale them to that, or {_ADVICE}."
        )
    grey = Image.fromarray(np.rint(np.clip(levels, 0, 1) * 255).astype(np.uint8))
    if depth.transparent is not None:
        opaque = np.where(values == depth.transparent, 0, 255).astype(np.uint8)
        grey.putalpha(Image.fromarray(opaque))
    if "icc_profile" in image.info:
        grey.info["icc_profile"] = image.info["icc_profile"]
    return grey


def _tiff_facts(tags: TiffImagePlugin.ImageFileDirectory_v2) -> tuple[list[int], int, int]:
    """Bits of each colour, the kind of number (1 unsigned, 2 signed, 3 float) and photometry."""

    def numbers(tag: int) -> list[int]:
        value = tags.get(tag, 1)
        return [int(each) for each in (value if isinstance(value, tuple) else (value,))]

    photometry = tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION, _WHITE_IS_ZERO)
    kinds = numbers(TiffImagePlugin.SAMPLEFORMAT)
    return numbers(TiffImagePlugin.BITSPERSAMPLE), max(kinds, default=1), int(photometry)


def _named_depth(bits: list[int], kind: int) -> str:
    """Such as `3 x 32-bit floats`."""
    words = {_SIGNED: "numbers with a sign", _FLOAT: "floats"}.get(kind, "numbers")
    count = f"{len(bits)} x " if len(bits) > 1 else ""
    return f"{count}{bits[0] if bits else 0}-bit {words}"


def unread_tiff(name: str, tags: TiffImagePlugin.ImageFileDirectory_v2) -> ImageError:
    """The error for a TIFF file that Pillow has no reader for."""
    bits, kind, photometry = _tiff_facts(tags)
    colours = TiffTags.lookup(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION).enum
    named = {number: word for word, number in colours.items()}.get(photometry, str(photometry))
    return ImageError(
        f"{name} is a TIFF file whose pixels, {named} of {_named_depth(bits, kind)}, Pillow "
        f"can't read: {_ADVICE}."
    )


def mend_palette(image: Image.Image) -> None:
    """Give a palette just opened the alpha and the colours that are in its file.

    Pillow drops the alpha of some palettes, such as TGA's; an alpha of 0 throughout was never
    filled in. A TIFF palette without a number above 255 holds bytes, as libtiff reads it.
    """
    palette: Any = image.palette
    if image.mode != "P" or palette is None:
        return
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        numbers = image.tag_v2.get(_COLOUR_MAP, ())
        if numbers and max(numbers) < 256:
            image.palette = ImagePalette.raw("RGB;L", bytes(numbers))
    elif palette.rawmode in _OF_ALPHA:
        if any(palette.palette[3::4]):
            palette.mode = "RGBA"
        else:
            palette.mode, palette.rawmode = "RGB", _OF_ALPHA[palette.rawmode]


def has_deep_colour(image: Image.Image) -> bool:
    """Whether an opened PNG, not decoded yet, has 16-bit colours of which one is transparent."""
    key = image.info.get("transparency")
    return isinstance(key, tuple) and any(tile[3] == _HIGH_BYTES for tile in image.tile)  # type: ignore[attr-defined]


def apply_deep_colour(image: Image.Image, stream: BinaryIO, name: str) -> None:
    """Make the transparent colour of a 16-bit PNG an alpha channel; Pillow compares 8 of its bits.

    An image that `has_deep_colour` is decoded here from its stream and becomes RGBA; `ImageError`
    if it is an animation.
    """
    if not has_deep_colour(image):
        return
    if getattr(image, "n_frames", 1) > 1:
        raise ImageError(
            f"{name} is an animation in 16-bit colours with a transparent one, which Pillow can't "
            "read: save it with 8 bits a colour."
        )
    key = np.array(image.info["transparency"])
    image.load()
    stream.seek(0)
    low: Any = Image.open(stream)
    low.tile = [(*tile[:3], _LOW_BYTES) for tile in low.tile]
    low.load()
    alpha = Image.new("L", image.size, 255)
    rows = max(1, _BAND_PIXELS // image.width)
    for top in range(0, image.height, rows):
        box = (0, top, image.width, min(image.height, top + rows))
        parts = [np.asarray(each.crop(box)) for each in (image, low)]
        clear = (parts[0] == key >> 8).all(axis=2) & (parts[1] == key & 255).all(axis=2)
        alpha.paste(Image.fromarray(np.where(clear, 0, 255).astype(np.uint8)), box)
    del image.info["transparency"]
    image.putalpha(alpha)
