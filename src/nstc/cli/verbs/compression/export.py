"""nstc export."""

from pathlib import Path
from typing import Annotated

import typer

import nstc
from nstc.cli import options
from nstc.cli.output import Bar, say
from nstc.compress.export import FOLDER, FORMATS, WEB

_Models = Annotated[
    list[str],
    typer.Argument(help=f"Bundle, zoo or hf: name; several for {WEB}.", metavar="BUNDLE"),
]


@options.with_flags
def export(
    models: _Models,
    formats: str = options.flag(
        "onnx,torchscript",
        f"Some of {', '.join(FORMATS)}, with commas between; or {FOLDER}, which a board runs by "
        f"itself; or {WEB}, a page that any static host serves.",
        "--format",
    ),
    output: Path | None = options.flag(
        None, "Folder for the files. Default: into the bundle.", "--output", "-o", shown=False
    ),
    static: str | None = options.flag(
        None,
        "Fix ONNX files, int8 too, to one size such as 512x512, as phone accelerators require.",
        metavar="HEIGHTxWIDTH",
    ),
    size: str | None = options.flag(
        None, "Size of portable, coreml and litert files: 256x256, say.", metavar="HEIGHTxWIDTH"
    ),
    edges: str | None = options.flag(
        None,
        "What portable files take and give: float, which is NCHW from 0 to 1, or bytes, which is "
        "uint8 NHWC. Default: float.",
    ),
    photos: options.Photos = None,
    _max_ram: options.TrialRam = None,
    _timeout: options.TrialTime = None,
) -> None:
    """Write the network in other formats, each checked against it.

    onnx, torchscript, executorch and executorch-int8 write model.onnx, model.ts, model.pte and
    model.int8.pte, which is calibrated on photographs. ort is ONNX Runtime's own format: model.ort,
    and model.int8.ort of a quantized bundle. tiles is model.int8.tiles.onnx, which
    stylize --max-ram runs on pictures that do not fit in memory. portable is
    model.portable.HEIGHTxWIDTH.onnx, quantized too, of one --size in plain operators: for OpenCV,
    OpenVINO, ncnn and converters. coreml is model.HEIGHTxWIDTH.mlpackage.zip, a Core ML package of
    one --size with RGB pictures in and out; litert is model.HEIGHTxWIDTH.tflite, likewise with
    floats. web writes a page that stylises in the browser: onnxruntime-web in it is what nstc
    web-setup fetched, and --photos are offered to try it with.
    """
    from nstc.compress.export.export_request import parse_size

    with Bar() as bar:
        names = [name.strip() for name in formats.split(",")]
        written = nstc.export(
            models,
            formats=names,
            output=output,
            static=None if static is None else parse_size(static),
            size=None if size is None else parse_size(size, "size"),
            edges=edges,
            photos=nstc.photos_in(photos or []),
            progress=bar,
        )
    if names == [WEB]:
        say(f"wrote {output}: {len(written)} files")
        return
    for path in written:
        say(f"wrote {path}")
