"""Stylise a photograph with the network beside this file: python stylize.py photo.jpg out.png.

It needs Python 3.8 with numpy, pillow and onnxruntime (`pip install -r requirements.txt`) and
nothing else. The file that runs must have the hash that manifest.json gives for it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy
from PIL import Image, ImageOps

MODELS = ("model.int8.onnx", "model.onnx")
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


class StopError(Exception):
    """What went wrong and what to do, in one line."""


def main(arguments: list[str]) -> int:
    """Stylise one photograph; 1 with one line on standard error where that fails."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("photo", type=Path)
    parser.add_argument("output", type=Path, help="picture to write; its ending gives the format")
    parser.add_argument("--model", choices=MODELS, help="default: the first that is here")
    parser.add_argument("--threads", type=int, default=0, help="default: one a core")
    options = parser.parse_args(arguments)
    try:
        network = opened(checked(options.model), max(0, options.threads))
        rgb, alpha = read(options.photo)
        write(stylised(network, rgb), alpha, options.output)
    except StopError as error:
        # in one line, without control characters, which a file's name may hold
        words = " ".join(str(error).split())
        shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in words)
        sys.stderr.write(f"stylize: {shown}\n")
        return 1
    return 0


def checked(name: str | None) -> Path:
    """The path of the network, whose content is what the manifest says."""
    folder = Path(__file__).resolve().parent
    files = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["files"]
    name = name or next(own for own in MODELS if own in files)
    path = folder / name
    if name not in files or not path.is_file():
        raise StopError(f"this folder holds no {name}: copy it again, or choose another --model")
    if hashlib.sha256(path.read_bytes()).hexdigest() != files[name]["sha256"]:
        raise StopError(f"{path} is damaged: copy the folder again")
    return path


def opened(path: Path, threads: int) -> Any:
    """An ONNX Runtime session."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # fatal errors alone
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def read(path: Path) -> tuple[Any, Any]:
    """A photograph the right way up as (H, W, 3) uint8, and its alpha or None."""
    try:
        with Image.open(path) as photo:
            upright = ImageOps.exif_transpose(photo)
            clear = "A" in upright.getbands() or "transparency" in upright.info
            whole = upright.convert("RGBA" if clear else "RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise StopError(f"{path} can't be read as a picture: {error}") from error
    pixels = numpy.asarray(whole)
    return numpy.ascontiguousarray(pixels[..., :3]), pixels[..., 3] if clear else None


def stylised(network: Any, rgb: Any) -> Any:
    """(H, W, 3) uint8 in the network's style; floats are NCHW in [0, 1]."""
    given = network.get_inputs()[0]
    if given.type == "tensor(uint8)":
        return network.run(None, {given.name: rgb[None]})[0][0]
    unit = (rgb.astype(numpy.float32) / 255).transpose(2, 0, 1)[None]
    result = network.run(None, {given.name: unit})[0][0].transpose(1, 2, 0)
    return numpy.rint(numpy.clip(result, 0, 1) * 255).astype(numpy.uint8)


def write(rgb: Any, alpha: Any, path: Path) -> None:
    """Beside the path first, then in its place: never half a picture."""
    draft = Path(f"{path.parent / path.stem}.part{path.suffix}")
    keeps_alpha = alpha is not None and path.suffix.lower() in (".png", ".webp", ".tif", ".tiff")
    pixels = numpy.dstack([rgb, alpha]) if keeps_alpha else rgb
    try:
        Image.fromarray(pixels).save(draft)
        draft.replace(path)
    except (OSError, ValueError) as error:
        if draft.exists():
            draft.unlink()
        raise StopError(f"cannot write {path}: {error}") from error


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
