"""What torch's exporter gave before, since most tests' networks are the same few."""

import hashlib
import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
from torch import Tensor, nn

from nstc.core.files import atomic_file

Exporter = Callable[..., onnx.ModelProto]


class _ByValue(pickle.Pickler):
    """Writes a tensor as its numbers, where torch would write the address of its storage too."""

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return _tensor, (tuple(value.shape), str(value.dtype), value.detach().numpy().tobytes())
        return NotImplemented


def _tensor(*_: Any) -> None:
    """Stands for a tensor in what is only compared, never loaded."""


def remembering(export: Exporter, folder: Path) -> Exporter:
    """The same exporter, which gives again what it gave of an equal network.

    A network is equal to another if its pickle is, in which everything stands that it computes
    with: classes, settings, weights. An export takes 1.5 s, a whole run of the tests some hundred.

    Args:
        export: `nstc.compress.float_graphs.exported`.
        folder: To keep graphs in, for all processes of a run.
    """

    def exported(module: nn.Module, example: Tensor, *args: Any, **kwargs: Any) -> onnx.ModelProto:
        equal = io.BytesIO()
        try:
            _ByValue(equal).dump((module, tuple(example.shape), args, kwargs))
        except (AttributeError, RuntimeError, TypeError, pickle.PicklingError):
            return export(module, example, *args, **kwargs)
        path = folder / f"{hashlib.sha256(equal.getbuffer()).hexdigest()}.onnx"
        if not path.is_file():
            graph = export(module, example, *args, **kwargs)
            with atomic_file(path) as draft:
                onnx.save(graph, draft)
        return onnx.load(path)

    return exported
