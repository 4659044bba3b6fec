"""Flags that say how a network made by others is fed, which several verbs take."""

from typing import Any, Final

from nstc.core.graph_form import GivenInput

GRAPH_FLAGS: Final[list[tuple[str, str, str, Any]]] = [
    ("--layout", "NHWC", "layout", "NHWC"),
    ("--value-range", "255", "input_range", 255),
    ("--input-range", "-1", "input_range", -1),
    ("--output-range", "255", "output_range", 255),
    ("--channels", "bgr", "channels", "bgr"),
    ("--mean", "1,2.5,-3", "mean", (1.0, 2.5, -3.0)),
    ("--std", "imagenet", "std", "imagenet"),
    ("--output-mean", "0,0,0", "output_mean", (0.0, 0.0, 0.0)),
    ("--output-std", "1,2,3", "output_std", (1.0, 2.0, 3.0)),
    ("--size-multiple", "8", "size_multiple", 8),
    ("--input", "style=7", "inputs", (GivenInput(name="style", value="7"),)),
]
"""The flag, what stands behind it, the argument it becomes and its value."""
