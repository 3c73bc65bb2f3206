"""What every decoder with a cache shares: its inputs and outputs, its mask, its past, and attention over both.

A decoder's graph takes embeddings, an attention mask and past keys and values, and gives logits, present keys and
values, and `retrieval_embedding`: the mapped hidden state at every position. Positions are computed from the mask, so
rows padded on the left cost nothing but their padding. Attention is drawn from plain operators: ONNX Runtime's
GroupQueryAttention is 5% faster one token at a time, but refuses a batch that continues a cache with several tokens.

Hidden states are numbered as Hugging Face numbers `output_hidden_states`: 0 the embeddings, i after block i, the
last one after everything that comes before the head.

Read next: `llama.py`, `opt.py` and `clip.py`, which draw blocks between these ends; `maps.py` (the trained additions).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping, Optional, Sequence, Tuple

import numpy as np

from .graph import FLOAT, INT64, Graph
from .maps import Maps

Tensors = Mapping[str, np.ndarray]
HIDDEN_BY_PAST = np.float32(-1e30)  # finite: a row whose keys are all padding must not become NaN


class ShapeError(ValueError):
    """A weight is missing, or of another shape than its model's configuration says."""


@dataclass(frozen=True)
class Sizes:
    """What a bundle's manifest says of a decoder."""

    embedding: int  # width of an input embedding
    layers: int
    heads: int
    kv_heads: int
    width: int  # of a head
    positions: int


def weight(tensors: Tensors, name: str, *shape: int) -> np.ndarray:
    """The tensor `name`, which must be there and have this shape (-1: any side). Raises `ShapeError`."""
    if name not in tensors:
        raise ShapeError(f"the weights have no {name!r}")
    array = tensors[name]
    if array.ndim != len(shape) or any(want not in (-1, side) for want, side in zip(shape, array.shape)):
        raise ShapeError(f"{name!r} is {list(array.shape)}; by the configuration it must be {list(shape)}")
    return array


class Decoder:
    """A decoder graph under construction, with the edges that every block uses."""

    def __init__(self, sizes: Sizes, tensors: Tensors, bits: int) -> None:
        self.sizes, self.tensors, self.bits = sizes, tensors, bits
        g = self.graph = Graph("decoder_model_merged")
        self.embeds = g.input("inputs_embeds", FLOAT, ["batch", "sequence", sizes.embedding])
        mask = g.input("attention_mask", INT64, ["batch", "total"])
        self.keep = g.input("num_logits_to_keep", INT64, [])
        # [1] i64 edges holding S, P + S and P.
        self.length, total = g.op("Shape", self.embeds, start=1, end=2), g.op("Shape", mask, start=1, end=2)
        past = g.op("Sub", total, self.length)
        counted = g.op("Sub", g.op("CumSum", mask, g.constant(1, np.int64)), g.ints(1))
        counted = g.op("Clip", counted, g.constant(0, np.int64), g.constant(sizes.positions - 1, np.int64))
        steps = g.op("Range", g.constant(0, np.int64), g.op("Squeeze", total), g.constant(1, np.int64))
        own = g.op("Unsqueeze", g.op("Slice", steps, past, total, g.ints(0)), g.ints(1))
        causal = g.op("LessOrEqual", g.op("Unsqueeze", steps, g.ints(0)), own)
        real = g.op("Unsqueeze", g.op("Greater", mask, g.ints(0)), g.ints(1, 2))
        seen = g.op("And", g.op("Unsqueeze", causal, g.ints(0, 1)), real)
        #: [B, S] i64: where each new position stands in its row.
        self.positions = g.op("Slice", counted, past, total, g.ints(1))
        # [B, 1, S, P+S] f32, 0 or HIDDEN_BY_PAST
        self._bias = g.op("Where", seen, g.constant(0, np.float32), g.constant(HIDDEN_BY_PAST))
        # Shapes: grouped scores looked at one head at a time, and back; and what comes out of the heads.
        self._by_each = g.op("Concat", g.ints(0, sizes.heads), self.length, g.ints(-1), axis=0)
        self._by_group = g.op("Concat", g.ints(0, sizes.kv_heads, -1), total, axis=0)
        self._heads_out = g.op("Concat", g.ints(0, sizes.heads), self.length, g.ints(sizes.width), axis=0)

    def linear(self, x: str, names: Sequence[str], columns: int) -> str:
        """One product for the weights `NAME.weight` [*, columns] side by side, with their biases where they have any."""
        weights = [weight(self.tensors, f"{name}.weight", -1, columns) for name in names]
        bias = None
        if any(f"{name}.bias" in self.tensors for name in names):
            bias = np.concatenate([
                weight(self.tensors, f"{name}.bias", len(w)) if f"{name}.bias" in self.tensors else np.zeros(len(w))
                for name, w in zip(names, weights)
            ])  # fmt: skip
        return self.graph.linear(x, weights[0] if len(weights) == 1 else np.concatenate(weights), bias, self.bits)

    def layer_norm(self, x: str, name: str, width: int, epsilon: float = 1e-5) -> str:
        """Layer norm with `NAME.weight` and `NAME.bias`, or without them where the model has none."""
        gain, shift = (
            weight(self.tensors, f"{name}.{part}", width) if f"{name}.{part}" in self.tensors else np.full(width, plain)
            for part, plain in (("weight", 1.0), ("bias", 0.0))
        )
        edges = (self.graph.constant(gain, np.float32, "gain"), self.graph.constant(shift, np.float32, "shift"))
        return self.graph.op("LayerNormalization", x, *edges, axis=-1, epsilon=epsilon)

    def attend(self, layer: int, query: str, key: str, value: str) -> str:
        """Attention of `query` [B, S, heads * width] over the past and `key`, `value` [B, S, kv_heads * width].

        Returns [B, S, heads * width]; declares the block's past inputs and present outputs.
        """
        g, s = self.graph, self.sizes
        caches = []
        for part, edge in (("key", key), ("value", value)):
            past = g.input(f"past_key_values.{layer}.{part}", FLOAT, ["batch", s.kv_heads, "past", s.width])
            cache = g.op("Concat", past, self._by_head(edge, s.kv_heads), axis=2)
            g.output(f"present.{layer}.{part}", cache, FLOAT, ["batch", s.kv_heads, "total", s.width])
            caches.append(cache)
        # Heads that share keys are laid one after the other: no key is ever repeated in memory.
        query = g.op("Reshape", self._by_head(query, s.heads), g.ints(0, s.kv_heads, -1, s.width))
        query = g.op("Mul", query, g.constant(s.width**-0.5, np.float32))
        scores = g.op("MatMul", query, g.op("Transpose", caches[0], perm=[0, 1, 3, 2]))
        scores = g.op("Add", g.op("Reshape", scores, self._by_each), self._bias)
        weights = g.op("Reshape", g.op("Softmax", scores, axis=-1), self._by_group)
        mixed = g.op("Reshape", g.op("MatMul", weights, caches[1]), self._heads_out)
        return g.op("Reshape", g.op("Transpose", mixed, perm=[0, 2, 1, 3]), g.ints(0, 0, s.heads * s.width))

    def _by_head(self, x: str, heads: int) -> str:
        split = self.graph.op("Reshape", x, self.graph.ints(0, 0, heads, self.sizes.width))
        return self.graph.op("Transpose", split, perm=[0, 2, 1, 3])

    def retrieval(self, maps: Maps, hidden: Sequence[str]) -> None:
        """Declares `retrieval_embedding`, from the hidden states."""
        self.graph.output("retrieval_embedding", maps.text(self.graph, hidden), FLOAT, ["batch", "sequence", maps.dim])

    def logits(self, last: str, head: np.ndarray, bias: Optional[np.ndarray] = None) -> None:
        """Declares `logits` of the last `num_logits_to_keep` positions (0: of all); `head` [V, width of `last`]."""
        g = self.graph
        start = g.op("Max", g.op("Sub", self.length, self.keep), g.ints(0))
        start = g.op("Where", g.op("Equal", self.keep, g.constant(0, np.int64)), g.ints(0), start)
        kept = g.op("Slice", last, start, self.length, g.ints(1))
        g.output("logits", g.linear(kept, head, bias, self.bits), FLOAT, ["batch", "kept", len(head)])


def with_ret(head: np.ndarray, maps: Optional[Maps]) -> Tuple[np.ndarray, Optional[np.ndarray]]:
    """The output embeddings and their bias, with a row for `[RET]` where the maps bring one."""
    if maps is None or "ret_output_embedding" not in maps.tensors:
        return head, None
    head = np.concatenate([head, maps.tensors["ret_output_embedding"].reshape(1, -1)])
    bias = np.zeros(len(head), np.float32)
    bias[-1] = maps.tensors["ret_output_bias"].reshape(-1)[0]
    return head, bias


def table_graph(table: np.ndarray, bits: int = 32) -> Graph:
    """`embed_tokens.onnx` around `table` [V, hidden]: `input_ids` [B, S] → `inputs_embeds` [B, S, hidden]."""
    g = Graph("embed_tokens")
    ids = g.input("input_ids", INT64, ["batch", "sequence"])
    g.output("inputs_embeds", g.rows(table, ids, bits), FLOAT, ["batch", "sequence", table.shape[1]])
    return g


