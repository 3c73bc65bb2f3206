"""A small ONNX graph writer: nodes by function call, constants stored once, the same bytes every time.

`onnx.helper` alone wants a name for every edge; here a call returns the edge. Names are counted, never random,
so the same inputs give the same file, and a bundle's hashes can be compared across machines.

Read next: `llama.py` and `efficientnet.py`, which are written in terms of this, and `quantise.py`.
"""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Sequence, Tuple, Union

import numpy as np
import onnx
from onnx import TensorProto, helper

from .quantise import BLOCK, quantise_rows

MICROSOFT = "com.microsoft"
OPSET = 18
IR_VERSION = 9
FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64

Side = Union[int, str]


class Graph:
    """One graph under construction. Edges are plain strings."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._nodes: List[onnx.NodeProto] = []
        self._constants: List[onnx.TensorProto] = []
        self._known: Dict[Tuple[str, Tuple[int, ...], bytes], str] = {}
        self._inputs: List[onnx.ValueInfoProto] = []
        self._outputs: List[onnx.ValueInfoProto] = []
        self._renamed: Dict[str, str] = {}
        self._count = 0

    def input(self, name: str, kind: int, shape: Sequence[Side]) -> str:
        """Declares a graph input; a string in `shape` is a dynamic side."""
        self._inputs.append(helper.make_tensor_value_info(name, kind, list(shape)))
        return name

    def output(self, name: str, edge: str, kind: int, shape: Sequence[Side]) -> None:
        """Declares the graph output `name`: the edge's own node is made to write it, without a copy."""
        if edge in self._renamed or any(edge == value.name for value in self._inputs):
            edge = self.op("Identity", edge)
        self._renamed[edge] = name
        self._outputs.append(helper.make_tensor_value_info(name, kind, list(shape)))

    def constant(self, value: Any, dtype: Any = None, hint: str = "c") -> str:
        """Stores an array; equal small arrays share one name."""
        array = np.ascontiguousarray(value, dtype=dtype).reshape(np.shape(value))
        key = (array.dtype.str, array.shape, array.tobytes()) if array.nbytes <= 1024 else None
        if key in self._known:
            return self._known[key]
        name = self._name(hint)
        self._constants.append(
            TensorProto(
                name=name, dims=array.shape, data_type=helper.np_dtype_to_tensor_dtype(array.dtype),
                raw_data=array.tobytes(),
            )
        )  # fmt: skip
        if key is not None:
            self._known[key] = name
        return name

    def ints(self, *values: int) -> str:
        """A one-dimensional i64 constant (shapes, axes, slice bounds)."""
        return self.constant(list(values), np.int64)

    def op(self, kind: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Adds a node with one output and returns that edge. "" is an absent optional input."""
        return self.ops(kind, *inputs, count=1, domain=domain, **attributes)[0]

    def ops(self, kind: str, *inputs: str, count: int, domain: str = "", **attributes: Any) -> List[str]:
        """Adds a node with `count` outputs."""
        outputs = [self._name(kind) for _ in range(count)]
        self._nodes.append(helper.make_node(kind, list(inputs), outputs, domain=domain, **attributes))
        return outputs

    def linear(self, x: str, weight: np.ndarray, bias: Optional[np.ndarray] = None, bits: int = 32) -> str:
        """`x @ weight.T + bias`; `weight`: [out, in] f32.

        `bits` 32 keeps the weights, 8 stores them as bytes with one scale per 32 (MatMulNBits). Rows whose
        length is no multiple of 32 stay f32.
        """
        rows, columns = weight.shape
        if bits == 32 or columns % BLOCK:
            y = self.op("MatMul", x, self.constant(weight.T, np.float32, "w"))
        else:
            codes, scales = quantise_rows(weight)
            y = self.op(
                "MatMulNBits", x, self.constant(codes, hint="w"), self.constant(scales, hint="scale"),
                domain=MICROSOFT, K=columns, N=rows, bits=8, block_size=BLOCK, accuracy_level=4,
            )  # fmt: skip
        return y if bias is None else self.op("Add", y, self.constant(bias, np.float32, "b"))

    def model(self) -> onnx.ModelProto:
        """The finished model, in the operator set that the oldest supported runtime knows."""
        for node in self._nodes:
            node.input[:] = [self._renamed.get(edge, edge) for edge in node.input]
            node.output[:] = [self._renamed.get(edge, edge) for edge in node.output]
        graph = helper.make_graph(self._nodes, self.name, self._inputs, self._outputs, self._constants)
        domains = {"": OPSET}
        if any(node.domain == MICROSOFT for node in self._nodes):
            domains[MICROSOFT] = 1
        opsets = [helper.make_opsetid(domain, version) for domain, version in domains.items()]
        model = helper.make_model(graph, opset_imports=opsets, producer_name="fromagerie")
        model.ir_version = IR_VERSION
        return model

    def bytes(self) -> bytes:
        """The finished model as file bytes, the same for the same calls."""
        return self.model().SerializeToString(deterministic=True)

    def _name(self, hint: str) -> str:
        self._count += 1
        return f"{hint}_{self._count}"
