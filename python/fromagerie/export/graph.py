"""A small ONNX graph writer: nodes by function call, constants stored once, the same bytes every time.

`onnx.helper` alone wants a name for every edge; here a call returns the edge. Names are counted, never random,
so the same inputs give the same file, and a bundle's hashes can be compared across machines.

Read next: `decoder.py`, `clip.py` and `efficientnet.py`, which are written in terms of this, and `quantise.py`.
"""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple, Union

import numpy as np
import onnx
from onnx import TensorProto, helper

from .quantise import BLOCK, MIDDLE, quantise_rows, quantise_rows_4

MICROSOFT = "com.microsoft"
OPSET = 18
IR_VERSION = 9
FLOAT, FLOAT16, INT64 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT64
EXTERNAL_OVER = 1_800_000_000  # bytes of constants; a protobuf message ends at 2 GiB
EXTERNAL_LEAST = 1024  # constants below this stay in the graph's own file
PAGE = 4096  # where a constant may begin in the file beside, so that it can be mapped

Side = Union[int, str]


class Graph:
    """One graph under construction. Edges are plain strings."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._nodes: List[onnx.NodeProto] = []
        self._constants: List[Tuple[str, np.ndarray]] = []
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
        self._constants.append((name, array))
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

        `bits` 32 keeps the weights; 16 halves them and multiplies in half precision; 8 and 4 store codes with one
        scale per 32 (MatMulNBits). Rows whose length is no multiple of 32 stay f32 instead of 8 or 4 bits.
        """
        rows, columns = weight.shape
        if bits == 16:
            half = self.op("MatMul", self.op("Cast", x, to=FLOAT16), self.constant(weight.T, np.float16, "w"))
            y = self.op("Cast", half, to=FLOAT)
        elif bits == 32 or columns % BLOCK:
            y = self.op("MatMul", x, self.constant(weight.T, np.float32, "w"))
        else:
            parts = quantise_rows(weight) if bits == 8 else quantise_rows_4(weight)
            edges = [self.constant(part, hint=hint) for part, hint in zip(parts, ("w", "scale", "zero"))]
            y = self.op(
                "MatMulNBits", x, *edges,
                domain=MICROSOFT, K=columns, N=rows, bits=bits, block_size=BLOCK, accuracy_level=4,
            )  # fmt: skip
        return y if bias is None else self.op("Add", y, self.constant(bias, np.float32, "b"))

    def rows(self, table: np.ndarray, ids: str, bits: int = 32) -> str:
        """The rows of `table` [V, width] f32 that `ids` [B, S] i64 names: [B, S, width] f32.

        `bits` as for `linear`, except that 4 stores bytes too: looking up costs nothing, and input embeddings are few.
        """
        width = table.shape[1]
        if bits == 16:
            return self.op("Cast", self.op("Gather", self.constant(table, np.float16, "table"), ids, axis=0), to=FLOAT)
        if bits == 32 or width % BLOCK:
            return self.op("Gather", self.constant(table, np.float32, "table"), ids, axis=0)
        codes, scales = quantise_rows(table)
        signed = (codes.astype(np.int16) - MIDDLE).astype(np.int8)
        values = self.op("Cast", self.op("Gather", self.constant(signed, hint="table"), ids, axis=0), to=FLOAT)
        scale = self.op("Gather", self.constant(scales.reshape(len(table), -1, 1), hint="scale"), ids, axis=0)
        return self.op("Reshape", self.op("Mul", values, scale), self.ints(0, 0, width))

    def files(self, name: str) -> Iterator[Tuple[str, Iterator[bytes]]]:
        """The finished model as the file `name`, and `name_data` beside it when its constants are too large for one file.

        Each file comes as pieces to be written one after another; the same calls give the same bytes.
        """
        if sum(array.nbytes for _, array in self._constants) <= EXTERNAL_OVER:
            yield name, iter([self.bytes()])
            return
        beside = name + "_data"
        large = [(key, array) for key, array in self._constants if array.nbytes >= EXTERNAL_LEAST]
        places, at = {}, 0
        for key, array in large:
            places[key] = (beside.rpartition("/")[2], at, array.nbytes)
            at += array.nbytes + -array.nbytes % PAGE
        yield name, iter([self._model(places).SerializeToString(deterministic=True)])
        yield beside, (piece for _, array in large for piece in (array.tobytes(), b"\0" * (-array.nbytes % PAGE)))

    def model(self) -> onnx.ModelProto:
        """The finished model, with all its constants inside."""
        return self._model({})

    def bytes(self) -> bytes:
        """The finished model as the bytes of one file, the same for the same calls."""
        return self.model().SerializeToString(deterministic=True)

    def _model(self, places: Dict[str, Tuple[str, int, int]]) -> onnx.ModelProto:
        """In the operator set that the oldest supported runtime knows; `places`: file, offset, length of what lies beside."""
        for node in self._nodes:
            node.input[:] = [self._renamed.get(edge, edge) for edge in node.input]
            node.output[:] = [self._renamed.get(edge, edge) for edge in node.output]
        constants = [_tensor(name, array, places.get(name)) for name, array in self._constants]
        graph = helper.make_graph(self._nodes, self.name, self._inputs, self._outputs, constants)
        domains = {"": OPSET}
        if any(node.domain == MICROSOFT for node in self._nodes):
            domains[MICROSOFT] = 1
        opsets = [helper.make_opsetid(domain, version) for domain, version in domains.items()]
        model = helper.make_model(graph, opset_imports=opsets, producer_name="fromagerie")
        model.ir_version = IR_VERSION
        return model

    def _name(self, hint: str) -> str:
        self._count += 1
        return f"{hint}_{self._count}"


def _tensor(name: str, array: np.ndarray, place: Optional[Tuple[str, int, int]]) -> onnx.TensorProto:
    tensor = TensorProto(name=name, dims=array.shape, data_type=helper.np_dtype_to_tensor_dtype(array.dtype))
    if place is None:
        tensor.raw_data = array.tobytes()
        return tensor
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in zip(("location", "offset", "length"), place):
        tensor.external_data.add(key=key, value=str(value))
    return tensor
