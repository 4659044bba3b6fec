"""What torch's exporter gave before, since most tests' networks are the same few."""

import functools
import hashlib
import io
import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from torch import Tensor, nn
from torch.onnx._internal.exporter._registration import ONNXRegistry

from nstc.core.files import atomic_file

Example = tuple[Tensor, ...]


@dataclass(frozen=True)
class Exported:
    """As much of torch's program as nstc asks for."""

    model_proto: onnx.ModelProto


Exporter = Callable[..., Any]


@pytest.fixture(autouse=True, scope="session")
def exported_once(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator[None]:
    """Like networks are exported once in a run of the tests, by whichever process comes first.

    The exporter's table of operators, which it makes anew for each network out of the source of
    five hundred functions in a third of an export's time, is made once in a process.

    For a conftest.py to import.
    """
    folder = tmp_path_factory.getbasetemp()
    folder = (folder if worker_id == "master" else folder.parent) / "exports"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.onnx, "export", remembering(torch.onnx.export, folder))
        table = functools.cache(ONNXRegistry.from_torchlib)
        patch.setattr(ONNXRegistry, "from_torchlib", staticmethod(table))
        yield


def remembering(export: Exporter, folder: Path) -> Exporter:
    """The same exporter, which gives again what it gave of a network like this one.

    A network is equal to another if its pickle is, in which everything stands that it computes
    with: classes, settings, weights. One that differs in its weights alone gets the other's graph
    with its own weights, if that graph has each of them under its name and computes what the
    network does. An export takes 1.5 s, a whole run of the tests some hundred.

    Args:
        export: `torch.onnx.export`.
        folder: To keep graphs in, for all processes of a run.
    """

    def exported(module: nn.Module, example: Example, *args: Any, **settings: Any) -> Any:
        try:
            kept = [folder / f"{own}.onnx" for own in _keys(module, example, args, settings)]
        except (AttributeError, RuntimeError, TypeError, pickle.PicklingError):
            return export(module, example, *args, **settings)
        equal, alike = kept
        if equal.is_file():
            return Exported(onnx.load(equal))
        graph = _refilled(onnx.load(alike), module, example) if alike.is_file() else None
        if graph is None:
            graph = export(module, example, *args, **settings).model_proto
            if _named(graph).keys() >= module.state_dict().keys():
                _keep(graph, alike)
        _keep(graph, equal)
        return Exported(graph)

    return exported


class _ByValue(pickle.Pickler):
    """Writes a tensor as its numbers, where torch would write the address of its storage too."""

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return _tensor, (tuple(value.shape), str(value.dtype), self.values_of(value))
        return NotImplemented

    def values_of(self, value: Tensor) -> bytes:
        return value.detach().numpy().tobytes()


class _ByForm(_ByValue):
    """Writes no numbers of a tensor."""

    def values_of(self, value: Tensor) -> bytes:
        return b""


def _tensor(*_: Any) -> None:
    """Stands for a tensor in what is only compared, never loaded."""


def _keys(module: nn.Module, example: Example, *settings: Any) -> Iterator[str]:
    """A hash that equal networks share, and one that networks of equal form do."""
    for pickler in (_ByValue, _ByForm):
        content = io.BytesIO()
        pickler(content).dump((module, [tuple(each.shape) for each in example], settings))
        yield hashlib.sha256(content.getbuffer()).hexdigest()


def _keep(graph: onnx.ModelProto, path: Path) -> None:
    with atomic_file(path) as draft:
        onnx.save(graph, draft)


def _named(graph: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    return {own.name: own for own in graph.graph.initializer}


def _refilled(
    graph: onnx.ModelProto, module: nn.Module, example: Example
) -> onnx.ModelProto | None:
    """Another network's graph with a network's weights; None if it computes something else."""
    weights = _named(graph)
    for name, value in module.state_dict().items():
        weights[name].CopyFrom(numpy_helper.from_array(value.detach().numpy(), name))
    session = onnxruntime.InferenceSession(
        graph.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    feed = dict(zip((own.name for own in session.get_inputs()), example, strict=True))
    (found,) = session.run(None, {name: value.numpy() for name, value in feed.items()})
    with torch.no_grad():
        expected = module(*example).numpy()
    return graph if np.allclose(found, expected, atol=1e-5 * np.ptp(expected)) else None
