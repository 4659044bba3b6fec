"""What portable files are called, which `nstc export --format portable` writes for one size."""

import re
from dataclasses import dataclass
from typing import Final

EDGES: Final = ("float", "bytes")
"""What such a file takes and gives: float32 NCHW in [0, 1], or uint8 NHWC."""
LARGEST_SIDE: Final = 16_384
"""Pixels that a file for one size takes at most each way, more than any device that it is for."""
_SIDE: Final = "([1-9][0-9]{0,4})"
_NAMES: Final = re.compile(rf"(int8\.)?portable(-bytes)?\.{_SIDE}x{_SIDE}\.onnx")


@dataclass(frozen=True, kw_only=True)
class Portable:
    """One of a bundle's portable files."""

    size: tuple[int, int]  # height and width in pixels of the only pictures that it takes
    edges: str  # of `EDGES`
    quantized: bool  # whether its body is that of `model.int8.onnx`

    @property
    def artifact(self) -> str:
        """Its artifact's name: int8.portable-bytes.256x256.onnx."""
        body = "int8." if self.quantized else ""
        edges = "-bytes" if self.edges == "bytes" else ""
        return f"{body}portable{edges}.{self.size[0]}x{self.size[1]}.onnx"

    @staticmethod
    def called(artifact: str) -> "Portable | None":
        """The one of that full name; None if it is another kind of file's, or too large."""
        found = _NAMES.fullmatch(artifact)
        if found is None:
            return None
        body, edges, height, width = found.groups()
        if max(int(height), int(width)) > LARGEST_SIDE:
            return None
        return Portable(
            size=(int(height), int(width)),
            edges="bytes" if edges else "float",
            quantized=body is not None,
        )


def takes_bytes(artifact: str) -> bool:
    """Whether an ONNX file of that full name takes and gives uint8 NHWC, and not floats."""
    portable = Portable.called(artifact)
    return artifact.startswith("int8.") if portable is None else portable.edges == "bytes"
