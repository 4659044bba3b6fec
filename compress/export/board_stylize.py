"""Stylise a photograph with the network beside this file: python stylize.py photo.jpg out.png.

It needs Python 3.8 with numpy, pillow and onnxruntime (`pip install -r requirements.txt`) and
nothing else. The file that runs is held to the hash that manifest.json gives for it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
from typing import Any

HERE = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120  (as old Pythons have it)
MODELS = ("model.int8.onnx", "model.onnx")
FATAL = 4
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


class StopError(Exception):
    """What went wrong and what to do, in one line."""


def main(arguments: list[str]) -> int:
    """Stylise one photograph; 1 with one line on standard error where that fails."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("photo")
    parser.add_argument("output", help="picture to write; its ending says as what")
    parser.add_argument("--model", choices=MODELS, help="default: the first that is here")
    parser.add_argument("--threads", type=int, default=0, help="default: one a core")
    options = parser.parse_args(arguments)
    try:
        network = opened(chosen(options.model), max(0, options.threads))
        rgb, alpha = read(options.photo)
        write(painted(network, rgb), alpha, options.output)
    except StopError as error:
        sys.stderr.write(f"stylize: {shown(str(error))}\n")
        return 1
    return 0


def shown(message: str) -> str:
    """In one line, without what a terminal would obey: a file's name may hold anything."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in " ".join(message.split()))


def chosen(name: str | None) -> str:
    """The path of the network, whose content is what the manifest says."""
    with open(os.path.join(HERE, "manifest.json"), encoding="utf-8") as file:  # noqa: PTH118, PTH123
        files = json.load(file)["files"]
    name = name or next(own for own in MODELS if own in files)
    path = os.path.join(HERE, name)  # noqa: PTH118
    if name not in files or not os.path.isfile(path):  # noqa: PTH113
        raise StopError(f"this folder holds no {name}: copy it again, or choose another --model")
    with open(path, "rb") as file:  # noqa: PTH123
        found = hashlib.sha256(file.read()).hexdigest()
    if found != files[name]["sha256"]:
        raise StopError(f"{path} is damaged: copy the folder again")
    return path


def opened(path: str, threads: int) -> Any:
    """An ONNX Runtime session."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = FATAL
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def read(path: str) -> tuple[Any, Any]:
    """A photograph the right way up as (H, W, 3) uint8, and its alpha or None."""
    import numpy
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as photo:
            upright = ImageOps.exif_transpose(photo)
            clear = "A" in upright.getbands() or "transparency" in upright.info
            whole = upright.convert("RGBA" if clear else "RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise StopError(f"{path} can't be read as a picture: {error}") from error
    pixels = numpy.asarray(whole)
    return numpy.ascontiguousarray(pixels[..., :3]), pixels[..., 3] if clear else None


def painted(network: Any, rgb: Any) -> Any:
    """(H, W, 3) uint8 in the network's style; floats are NCHW in [0, 1]."""
    import numpy

    name = network.get_inputs()[0].name
    if network.get_inputs()[0].type == "tensor(uint8)":
        return network.run(None, {name: rgb[None]})[0][0]
    unit = (rgb.astype(numpy.float32) / 255).transpose(2, 0, 1)[None]
    result = network.run(None, {name: unit})[0][0].transpose(1, 2, 0)
    return numpy.rint(numpy.clip(result, 0, 1) * 255).astype(numpy.uint8)


def write(rgb: Any, alpha: Any, path: str) -> None:
    """Beside the target first, then in its place: never half a picture."""
    import numpy
    from PIL import Image

    stem, ending = os.path.splitext(path)  # noqa: PTH122
    draft = f"{stem}.part{ending}"
    keeps_alpha = alpha is not None and ending.lower() in (".png", ".webp", ".tif", ".tiff")
    pixels = numpy.dstack([rgb, alpha]) if keeps_alpha else rgb
    try:
        Image.fromarray(pixels).save(draft)
        os.replace(draft, path)  # noqa: PTH105
    except (OSError, ValueError) as error:
        if os.path.exists(draft):  # noqa: PTH110
            os.remove(draft)  # noqa: PTH107
        raise StopError(f"cannot write {path}: {error}") from error


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
