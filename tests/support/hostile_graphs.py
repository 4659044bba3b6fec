"""ONNX files that mean harm, or were made by a fault: small ones, of the kinds that are about."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
_HUGE: Final = 5_000_000_000
"""Float32 values: 20 GB."""

Node = onnx.NodeProto


def model_of(
    nodes: Sequence[Node],
    constants: Mapping[str, Any] | None = None,
    *,
    shape: Sequence[int | str | None] = (1, 3, "H", "W"),
    functions: Sequence[onnx.FunctionProto] = (),
) -> onnx.ModelProto:
    """A graph from x to y that nobody checked."""
    tensors = [numpy_helper.from_array(np.asarray(v), n) for n, v in (constants or {}).items()]
    given = helper.make_tensor_value_info("x", FLOAT, shape)
    made = helper.make_tensor_value_info("y", FLOAT, (1, 3, "OH", "OW"))
    graph = helper.make_graph(list(nodes), "hostile", [given], [made], tensors)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    model = helper.make_model(graph, opset_imports=opsets, functions=list(functions))
    model.ir_version = 8
    return model


def _added(*nodes: Node) -> list[Node]:
    """Nodes that make a `bomb`, of which the smallest value is added to the picture."""
    return [
        *nodes,
        helper.make_node("ReduceMin", ["bomb"], ["least"], keepdims=0),
        helper.make_node("Add", ["x", "least"], ["y"]),
    ]


def constant_of_shape() -> onnx.ModelProto:
    """20 GB of zeros, of constants alone: it is computed when the file is opened."""
    node = helper.make_node("ConstantOfShape", ["s"], ["bomb"])
    return model_of(_added(node), {"s": np.array([_HUGE], np.int64)})


def constant_of_picture() -> onnx.ModelProto:
    """The same, of as many as the picture's pixels: it is computed when it runs."""
    nodes = [
        helper.make_node("Size", ["x"], ["size"]),
        helper.make_node("Mul", ["size", "many"], ["n"]),
        helper.make_node("Reshape", ["n", "one"], ["s"]),
        helper.make_node("ConstantOfShape", ["s"], ["bomb"]),
    ]
    return model_of(
        _added(*nodes), {"many": np.array(10**6, np.int64), "one": np.array([1], np.int64)}
    )


def range_without_end() -> onnx.ModelProto:
    node = helper.make_node("Range", ["zero", "end", "one"], ["bomb"])
    ends = {"zero": np.float32(0), "end": np.float32(1e12), "one": np.float32(1)}
    return model_of(_added(node), ends)


def loop_without_end() -> onnx.ModelProto:
    """2^62 turns that each add one."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["go_on"]),
            helper.make_node("Add", ["before", "one"], ["after"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("turn", INT64, []),
            helper.make_tensor_value_info("go", BOOL, []),
            helper.make_tensor_value_info("before", FLOAT, []),
        ],
        [
            helper.make_tensor_value_info("go_on", BOOL, []),
            helper.make_tensor_value_info("after", FLOAT, []),
        ],
    )
    nodes = [
        helper.make_node("ReduceMin", ["x"], ["start"], keepdims=0),
        helper.make_node("Loop", ["turns", "yes", "start"], ["bomb"], body=body),
    ]
    constants = {
        "turns": np.array(2**62, np.int64),
        "yes": np.array(True),
        "one": np.float32(1),
    }
    return model_of(_added(*nodes), constants)


def expanded() -> onnx.ModelProto:
    nodes = [
        helper.make_node("ReduceMin", ["x"], ["start"], keepdims=0),
        helper.make_node("Expand", ["start", "s"], ["bomb"]),
    ]
    return model_of(_added(*nodes), {"s": np.array([_HUGE], np.int64)})


def tiled() -> onnx.ModelProto:
    node = helper.make_node("Tile", ["x", "times"], ["bomb"])
    return model_of(_added(node), {"times": np.array([1, 1, 300, 300], np.int64)})


def resized() -> onnx.ModelProto:
    node = helper.make_node("Resize", ["x", "", "scales"], ["bomb"], mode="nearest")
    return model_of(_added(node), {"scales": np.array([1, 1, 500, 500], np.float32)})


def padded() -> onnx.ModelProto:
    node = helper.make_node("Pad", ["x", "pads"], ["bomb"])
    return model_of(_added(node), {"pads": np.array([0, 0, 0, 0, 0, 0, 60000, 60000], np.int64)})


def squares_of_squares() -> onnx.ModelProto:
    """Products of matrices that grow: time, not memory."""
    nodes = [helper.make_node("ConstantOfShape", ["s"], ["m0"])]
    nodes += [helper.make_node("MatMul", [f"m{i}", f"m{i}"], [f"m{i + 1}"]) for i in range(400)]
    nodes.append(helper.make_node("Identity", ["m400"], ["bomb"]))
    return model_of(_added(*nodes), {"s": np.array([4096, 4096], np.int64)})


def many_nodes(count: int = 100_000) -> onnx.ModelProto:
    """Each adds a little: there is nothing to fold."""
    names = ["x", *(f"n{i}" for i in range(count - 1)), "y"]
    nodes = [
        helper.make_node("Add", [before, "little"], [after])
        for before, after in itertools.pairwise(names)
    ]
    return model_of(nodes, {"little": np.float32(1e-9)})


def function_of_itself() -> onnx.ModelProto:
    again = helper.make_function(
        "local", "again", ["a"], ["b"], [helper.make_node("again", ["a"], ["b"], domain="local")],
        [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)],
    )  # fmt: skip
    return model_of([helper.make_node("again", ["x"], ["y"], domain="local")], functions=[again])


def functions_that_double(levels: int = 40) -> onnx.ModelProto:
    """Each calls the next twice: a trillion nodes when they are written out."""
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    functions = [
        helper.make_function(
            "local", "f0", ["a"], ["b"], [helper.make_node("Neg", ["a"], ["b"])], opsets
        )
    ]
    for level in range(1, levels):
        calls = [
            helper.make_node(f"f{level - 1}", ["a"], ["c"], domain="local"),
            helper.make_node(f"f{level - 1}", ["c"], ["b"], domain="local"),
        ]
        functions.append(helper.make_function("local", f"f{level}", ["a"], ["b"], calls, opsets))
    call = helper.make_node(f"f{levels - 1}", ["x"], ["y"], domain="local")
    return model_of([call], functions=functions)


def fixed(*shape: int) -> onnx.ModelProto:
    """A picture of one size only."""
    return model_of([helper.make_node("Identity", ["x"], ["y"])], shape=shape)


def tensor_of(dims: Sequence[int]) -> onnx.ModelProto:
    """An initializer that says it is that large, with a few bytes of data."""
    model = model_of(_added(helper.make_node("Identity", ["w"], ["bomb"])))
    model.graph.initializer.add(name="w", data_type=FLOAT, dims=dims, raw_data=b"\0" * 16)
    return model


def a_cycle() -> onnx.ModelProto:
    nodes = [helper.make_node("Add", ["x", "b"], ["a"]), helper.make_node("Neg", ["a"], ["b"])]
    return model_of([*nodes, helper.make_node("Identity", ["b"], ["y"])])


def without_nodes() -> onnx.ModelProto:
    return model_of([])


LIMITED: Final[Mapping[str, Callable[[], onnx.ModelProto]]] = {
    "constant": constant_of_shape,
    "constant-of-picture": constant_of_picture,
    "range": range_without_end,
    "loop": loop_without_end,
    "expand": expanded,
    "tile": tiled,
    "resize": resized,
    "pad": padded,
    "matmul": squares_of_squares,
    "doubling-functions": functions_that_double,
}
"""What takes more memory or time than there is."""

REFUSED: Final[Mapping[str, Callable[[], onnx.ModelProto]]] = {
    "60000px": lambda: fixed(1, 3, 60000, 60000),
    "0px": lambda: fixed(1, 3, 0, 0),
    "2^31px": lambda: fixed(1, 3, 2**31, 64),
    "2^40px": lambda: fixed(1, 3, 2**40, 2**40),
    "negative": lambda: fixed(1, 3, -5, -64),
    "minus-one": lambda: fixed(1, 3, -1, -1),
    "16384px": lambda: fixed(1, 3, 16384, 16384),
    "recursion": function_of_itself,
    "tensor-of-2^62": lambda: tensor_of([2**31, 2**31]),
    "tensor-of-2^33": lambda: tensor_of([2**33]),
    "tensor-negative": lambda: tensor_of([-4]),
    "cycle": a_cycle,
    "no-nodes": without_nodes,
}
"""What can't be, or is no picture."""


def written(model: onnx.ModelProto, path: Path) -> Path:
    """The model as a file."""
    path.write_bytes(model.SerializeToString())
    return path
