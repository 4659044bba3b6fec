"""Graphs as ONNX Runtime runs them on this machine's CPU."""

from pathlib import Path

from nstc.runtime.onnx_session import load_graph


def optimized(file: Path) -> Path:
    """The file of a graph's optimized form, beside it."""
    made = file.with_suffix(".optimized.onnx")
    load_graph(file, None, optimized=made)
    return made
