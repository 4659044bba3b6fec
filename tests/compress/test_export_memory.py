"""The tests' own memory of exports gives nothing that torch's exporter would not have given."""

from types import SimpleNamespace

import pytest
import torch
from export_memory import remembering
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn


class Scaled(nn.Module):
    """x · weight + offset, whose offset is no part of its state."""

    def __init__(self, weight: float, offset: float = 0.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([float(weight)]))
        self.offset = torch.tensor([offset])

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight + self.offset


@pytest.fixture
def export(tmp_path):
    """Exports a `Scaled` with the memory before it, and counts how often it had to."""
    made = []

    def exporter(module, example):
        made.append(module)
        shape = list(example[0].shape)
        values = {"weight": module.weight, "offset": module.offset}
        graph = helper.make_graph(
            [
                helper.make_node("Mul", ["x", "weight"], ["m"]),
                helper.make_node("Add", ["m", "offset"], ["y"]),
            ],
            "scaled",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
            [numpy_helper.from_array(v.detach().numpy(), name) for name, v in values.items()],
        )
        opset = helper.make_opsetid("", 17)
        return SimpleNamespace(model_proto=helper.make_model(graph, opset_imports=[opset]))

    remembered = remembering(exporter, tmp_path)

    def export(module):
        graph = remembered(module, (torch.rand(1, 3),)).model_proto
        values = {own.name: numpy_helper.to_array(own) for own in graph.graph.initializer}
        assert (values["weight"], values["offset"]) == (module.weight.item(), module.offset.item())
        return len(made)

    return export


def test_an_equal_network_and_one_of_other_weights_are_not_exported_again(export) -> None:
    assert [export(Scaled(2)), export(Scaled(2)), export(Scaled(3))] == [1, 1, 1]


def test_one_that_differs_in_more_than_its_weights_is(export) -> None:
    assert [export(Scaled(2)), export(Scaled(2, offset=0.1))] == [1, 2]
