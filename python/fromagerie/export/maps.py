"""The trained part of the model: small maps between the two frozen ones, read from `maps.safetensors`.

Training writes this file, export reads it; the two meet nowhere else. The names are FROMAGe's: `text_hidden_fcs`
(hidden state to retrieval space), `visual_fc` (image features to retrieval space), `visual_embeddings` (image
features to the language model's embeddings), and the embeddings of `[RET]`.

Read next: `llama.py` and `efficientnet.py`, which draw these maps behind their own graphs.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

import numpy as np

from .graph import FLOAT, MICROSOFT, Graph

MAX_HEADER = 1 << 26
LAYER_NORM_EPSILON = 1e-5
_DTYPES = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "F64": np.dtype("<f8"), "I64": np.dtype("<i8")}


class MapsError(ValueError):
    """The maps file is damaged, or its tensors do not fit its own config or the frozen models."""


def read_safetensors(path: Path) -> Tuple[Dict[str, np.ndarray], Dict[str, str]]:
    """Reads `(tensors in f32, metadata)`; every offset is checked against the file's size."""
    data = Path(path).read_bytes()
    if len(data) < 8:
        raise MapsError(f"{len(data)} bytes is no safetensors file")
    (size,) = struct.unpack("<Q", data[:8])
    if size > min(MAX_HEADER, len(data) - 8):
        raise MapsError(f"header of {size} bytes in a file of {len(data)}")
    try:
        header = json.loads(data[8 : 8 + size])
        metadata = header.pop("__metadata__", {})
        body, tensors = memoryview(data)[8 + size :], {}
        for name, entry in header.items():
            dtype, shape, (start, end) = _DTYPES[entry["dtype"]], entry["shape"], entry["data_offsets"]
            count = int(np.prod([int(side) for side in shape], dtype=np.int64))
            if not 0 <= start <= end <= len(body) or end - start != count * dtype.itemsize:
                raise MapsError(f"tensor {name!r}: bytes {start} to {end} for shape {shape}")
            tensors[name] = np.frombuffer(body[start:end], dtype).astype(np.float32).reshape(shape)
    except (KeyError, TypeError, AttributeError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise MapsError(f"bad header: {error!r}") from None
    return tensors, metadata


def write_safetensors(path: Path, tensors: Dict[str, np.ndarray], metadata: Dict[str, str]) -> None:
    """Writes f32 and f16 tensors, sorted by name, so that equal contents give equal files."""
    names = {np.dtype(np.float32): "F32", np.dtype(np.float16): "F16"}
    header: Dict[str, Any] = {"__metadata__": metadata}
    pieces: List[bytes] = []
    at = 0
    for name in sorted(tensors):
        piece = np.ascontiguousarray(tensors[name]).tobytes()
        shape = list(tensors[name].shape)
        header[name] = {"dtype": names[tensors[name].dtype], "shape": shape, "data_offsets": [at, at + len(piece)]}
        pieces.append(piece)
        at += len(piece)
    text = json.dumps(header, sort_keys=True).encode()
    text += b" " * (-len(text) % 8)
    Path(path).write_bytes(struct.pack("<Q", len(text)) + text + b"".join(pieces))


def _names(ops: Sequence[Any]) -> List[str]:
    """Accepts ["linear", "gelu"] and [["linear"], ["gelu"]]."""
    return [op if isinstance(op, str) else op[0] for op in ops]


@dataclass(frozen=True)
class Maps:
    """The maps and their config; `tensors` are f32 by their FROMAGe names."""

    config: Dict[str, Any]
    tensors: Dict[str, np.ndarray]

    @staticmethod
    def read(path: Path) -> "Maps":
        """Reads `maps.safetensors`. Raises `MapsError`."""
        tensors, metadata = read_safetensors(path)
        try:
            return Maps(json.loads(metadata["config"]), tensors)
        except (KeyError, TypeError, json.JSONDecodeError) as error:
            raise MapsError(f"no config in the metadata: {error!r}") from None

    @property
    def dim(self) -> int:
        """Dimensions of the retrieval space."""
        return int(self.config["dim"])

    @property
    def visual_tokens(self) -> int:
        """How many embeddings an image becomes in a prompt."""
        return int(self.config["num_visual_tokens"])

    @property
    def encoders(self) -> List[str]:
        """The vision encoders, in the order in which their features are concatenated."""
        return list(self.config["encoders"])

    def check(self, hidden: int, layers: int, features: int) -> None:
        """Raises `MapsError` unless every map, and the rows of `[RET]`, fit a model of these sizes."""
        for name, count in (("ret_input_embedding", hidden), ("ret_output_embedding", hidden), ("ret_output_bias", 1)):
            if name not in self.tensors or self.tensors[name].size != count:
                raise MapsError(f"{name!r} must hold {count} numbers")
        self.check_maps([hidden] * (layers + 1), features, hidden)

    def check_maps(self, states: Sequence[int], features: int, hidden: int) -> None:
        """Raises `MapsError` unless every map fits hidden states of these widths (layer 0 to the last), features of the
        vision encoder, and input embeddings of `hidden`."""
        for key in ("text_emb_layers", "text_hidden_fcs", "visual_fc", "visual_embeddings"):
            if not isinstance(self.config.get(key), list):
                raise MapsError(f"the config has no list {key!r}")
        for i, layer in enumerate(self.config["text_emb_layers"]):
            if not -len(states) <= layer < len(states):
                raise MapsError(f"text_emb_layers[{i}] is {layer}, the model has {len(states) - 1} layers")
            self._check(f"text_hidden_fcs.{i}", self._text_ops(i), states[layer], self.dim)
        self._check("visual_fc", _names(self.config["visual_fc"]), features, self.dim)
        self._check("visual_embeddings", _names(self.config["visual_embeddings"]), features, self.visual_tokens * hidden)
        for name in ("feature_mean", "feature_std"):
            if name in self.tensors and self.tensors[name].size != features:
                raise MapsError(f"{name!r} has {self.tensors[name].size} numbers, expected {features}")

    def text(self, graph: Graph, hidden: Sequence[str]) -> str:
        """The retrieval embedding [B, S, dim], not normalised: the sum of all configured layers' maps."""
        edges = [
            self._draw(graph, hidden[layer], f"text_hidden_fcs.{i}", self._text_ops(i))
            for i, layer in enumerate(self.config["text_emb_layers"])
        ]
        return edges[0] if len(edges) == 1 else graph.op("Sum", *edges)

    def vision(self, graph: Graph, features: str, hidden: int) -> Tuple[str, str]:
        """`(retrieval [B, dim], visual tokens [B, k, hidden])` from `features` [B, F]."""
        x = self._prepared(graph, features)
        retrieval = self._draw(graph, x, "visual_fc", _names(self.config["visual_fc"]))
        tokens = self._draw(graph, x, "visual_embeddings", _names(self.config["visual_embeddings"]))
        return retrieval, graph.op("Reshape", tokens, graph.ints(-1, self.visual_tokens, hidden))

    def retrieval_graph(self, features: int) -> Graph:
        """`retrieval_map.onnx`: `features` [B, F] → `retrieval_embedding` [B, dim], as in the vision graph."""
        graph = Graph("retrieval_map")
        x = self._prepared(graph, graph.input("features", FLOAT, ["batch", features]))
        edge = self._draw(graph, x, "visual_fc", _names(self.config["visual_fc"]))
        graph.output("retrieval_embedding", edge, FLOAT, ["batch", self.dim])
        return graph

    def _prepared(self, graph: Graph, x: str) -> str:
        """The features as the maps read them."""
        if "feature_mean" in self.tensors:
            x = graph.op("Sub", x, graph.constant(self.tensors["feature_mean"].reshape(-1), np.float32, "mean"))
        if "feature_std" in self.tensors:
            x = graph.op("Div", x, graph.constant(self.tensors["feature_std"].reshape(-1), np.float32, "std"))
        if self.config.get("normalize_features", False):
            norm = graph.op("ReduceL2", x, graph.ints(-1), keepdims=1)
            x = graph.op("Div", x, graph.op("Max", norm, graph.constant(1e-12, np.float32)))
        return x

    def _text_ops(self, index: int) -> List[str]:
        """One list of ops for all layers, or one list per layer."""
        ops = self.config["text_hidden_fcs"]
        nested = ops and isinstance(ops[0], list) and ops[0] and isinstance(ops[0][0], list)
        return _names(ops[index] if nested else ops)

    def _check(self, prefix: str, ops: Sequence[str], width: int, expected: int) -> None:
        for j, op in enumerate(ops):
            weight = self.tensors.get(f"{prefix}.{j}.weight")
            if op == "linear":
                if weight is None or weight.ndim != 2 or weight.shape[1] != width:
                    found = "absent" if weight is None else f"{list(weight.shape)}"
                    raise MapsError(f"{prefix}.{j}.weight is {found}; it must be [*, {width}]")
                width = weight.shape[0]
            elif op == "layernorm":
                if weight is None or weight.shape != (width,):
                    raise MapsError(f"{prefix}.{j}.weight must be [{width}]")
            elif op not in ("gelu", "relu", "dropout", "identity"):
                raise MapsError(f"{prefix}.{j}: unknown op {op!r}")
        if width != expected:
            raise MapsError(f"{prefix} gives {width} numbers, expected {expected}")

    def _draw(self, graph: Graph, x: str, prefix: str, ops: Sequence[str]) -> str:
        for j, op in enumerate(ops):
            weight, bias = (self.tensors.get(f"{prefix}.{j}.{part}") for part in ("weight", "bias"))
            if op == "linear":
                x = graph.linear(x, weight, bias)
            elif op == "layernorm":
                shift = np.zeros_like(weight) if bias is None else bias
                gain, shift = graph.constant(weight, np.float32), graph.constant(shift, np.float32)
                x = graph.op("LayerNormalization", x, gain, shift, axis=-1, epsilon=LAYER_NORM_EPSILON)
            elif op == "gelu":
                x = graph.op("Gelu", x, domain=MICROSOFT)
            elif op == "relu":
                x = graph.op("Relu", x)
        return x
