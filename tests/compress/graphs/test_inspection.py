"""What flows through a graph, looked at in parts."""

import numpy as np
import onnx
import torch

from nstc.compress.graphs.float_forms import BODY_INPUT, body_graph
from nstc.compress.graphs.inspection import AT_ONCE, GraphIndex, observed
from nstc.models.student import Student

PICTURE = {BODY_INPUT: np.random.default_rng(0).normal(size=(1, 3, 32, 40)).astype(np.float32)}


def body_of(block: str) -> onnx.ModelProto:
    torch.manual_seed(3)
    return body_graph(Student(8, [8, 8], block).eval())  # type: ignore[arg-type]


def test_tensors_are_seen_without_running_what_lies_behind() -> None:
    model = body_of("plain")
    first = GraphIndex(model).nodes("Conv")[0].output[0]
    model.graph.node[-1].op_type = "NoSuchOperator"
    seen = next(observed(model, [first, BODY_INPUT], [PICTURE]))
    assert seen[first].shape == (1, 8, 8, 10)
    assert np.array_equal(seen[BODY_INPUT], PICTURE[BODY_INPUT])


def test_more_tensors_than_are_looked_at_together_come_in_parts_and_are_let_go() -> None:
    model = body_of("separable")
    names = [name for node in model.graph.node for name in node.output]
    assert len(names) > AT_ONCE
    shapes: dict[str, tuple[int, ...]] = {}
    parts = []
    for part in observed(model, names, [PICTURE]):
        shapes |= {name: values.shape for name, values in part.items()}
        parts.append(part)
    assert list(shapes) == names
    assert len(parts) == -(-len(names) // AT_ONCE)
    assert not any(parts)
