"""Draws a Llama decoder as an ONNX graph around its weights, with FROMAGe's additions.

The graph takes embeddings, an attention mask and past keys and values, and gives logits, present keys and values,
and `retrieval_embedding`: the mapped hidden state at every position. Positions are computed from the mask, so
rows padded on the left cost nothing but their padding. Attention is drawn from plain operators: ONNX Runtime's
GroupQueryAttention is 5% faster one token at a time, but refuses a batch that continues a cache with several tokens.

Hidden states are numbered as Hugging Face numbers `output_hidden_states`: 0 the embeddings, i after block i, the
last one after the final norm.

Read next: `maps.py` (the trained additions), `graph.py` (how nodes are added), `decoder_reference` in the tests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Tuple

import numpy as np

from .graph import FLOAT, INT64, MICROSOFT, Graph
from .maps import Maps
from .quantise import BLOCK, MIDDLE, quantise_rows

Tensors = Dict[str, np.ndarray]
HIDDEN_BY_PAST = np.float32(-1e30)  # finite: a row whose keys are all padding must not become NaN


@dataclass(frozen=True)
class Shape:
    """The sizes a decoder graph needs, from a Hugging Face `config.json`."""

    hidden: int
    inner: int
    layers: int
    heads: int
    kv_heads: int
    width: int
    positions: int
    theta: float
    epsilon: float

    @staticmethod
    def of(config: Dict[str, Any]) -> "Shape":
        """Raises `ValueError` for what the graph would compute wrongly: scaled rope, biases, another activation."""
        rope = config.get("rope_parameters") or {}
        scaling = config.get("rope_scaling") or ({} if rope.get("rope_type", "default") == "default" else rope)
        if scaling or config.get("attention_bias") or config.get("mlp_bias"):
            raise ValueError("rope scaling and biases are not supported")
        if config.get("hidden_act", "silu") != "silu":
            raise ValueError(f"activation {config['hidden_act']!r}, expected 'silu'")
        heads = config["num_attention_heads"]
        return Shape(
            hidden=config["hidden_size"],
            inner=config["intermediate_size"],
            layers=config["num_hidden_layers"],
            heads=heads,
            kv_heads=config.get("num_key_value_heads") or heads,
            width=config.get("head_dim") or config["hidden_size"] // heads,
            positions=config["max_position_embeddings"],
            theta=float(rope.get("rope_theta") or config.get("rope_theta") or 10000.0),
            epsilon=config["rms_norm_eps"],
        )


@dataclass(frozen=True)
class _Shared:
    """Edges that every block uses: computed once from the mask."""

    positions: str  # [B, S] i64
    bias: str  # [B, 1, S, P+S] f32, 0 or HIDDEN_BY_PAST
    cos: str  # [positions, D/2]
    sin: str
    by_head: str  # shape [0, heads, S, -1], to look at grouped scores one head at a time
    by_group: str  # shape [0, kv_heads, -1, P+S], and back
    heads_out: str  # shape [0, heads, S, D]


class _Decoder:
    def __init__(self, shape: Shape, tensors: Tensors, bits: int) -> None:
        self.shape, self.tensors, self.bits = shape, tensors, bits
        self.graph = Graph("decoder_model_merged")

    def shared(self, mask: str, length: str, total: str) -> _Shared:
        """`length`, `total`: [1] i64 edges holding S and P+S."""
        g, s = self.graph, self.shape
        past = g.op("Sub", total, length)
        counted = g.op("Sub", g.op("CumSum", mask, g.constant(1, np.int64)), g.ints(1))
        counted = g.op("Clip", counted, g.constant(0, np.int64), g.constant(s.positions - 1, np.int64))
        steps = g.op("Range", g.constant(0, np.int64), g.op("Squeeze", total), g.constant(1, np.int64))
        own = g.op("Unsqueeze", g.op("Slice", steps, past, total, g.ints(0)), g.ints(1))
        causal = g.op("LessOrEqual", g.op("Unsqueeze", steps, g.ints(0)), own)
        real = g.op("Unsqueeze", g.op("Greater", mask, g.ints(0)), g.ints(1, 2))
        seen = g.op("And", g.op("Unsqueeze", causal, g.ints(0, 1)), real)
        angles = np.outer(np.arange(s.positions), s.theta ** (-np.arange(0, s.width, 2, dtype=np.float64) / s.width))
        return _Shared(
            positions=g.op("Slice", counted, past, total, g.ints(1)),
            bias=g.op("Where", seen, g.constant(0, np.float32), g.constant(HIDDEN_BY_PAST)),
            cos=g.constant(np.cos(angles), np.float32, "cos"),
            sin=g.constant(np.sin(angles), np.float32, "sin"),
            by_head=g.op("Concat", g.ints(0, s.heads), length, g.ints(-1), axis=0),
            by_group=g.op("Concat", g.ints(0, s.kv_heads, -1), total, axis=0),
            heads_out=g.op("Concat", g.ints(0, s.heads), length, g.ints(s.width), axis=0),
        )

    def norm(self, x: str, skip: Optional[str], name: str) -> Tuple[str, str]:
        """RMS norm of x (+ skip). Returns the normed edge and the plain sum, which is the hidden state."""
        gain = self.graph.constant(self.tensors[name], np.float32, "gain")
        if skip is None:
            square = self.graph.op("Mul", x, x)
            mean = self.graph.op("ReduceMean", square, self.graph.ints(-1), keepdims=1)
            mean = self.graph.op("Add", mean, self.graph.constant(self.shape.epsilon, np.float32))
            return self.graph.op("Mul", self.graph.op("Div", x, self.graph.op("Sqrt", mean)), gain), x
        normed, _, _, total = self.graph.ops(
            "SkipSimplifiedLayerNormalization", x, skip, gain, count=4, domain=MICROSOFT, epsilon=self.shape.epsilon
        )
        return normed, total

    def linear(self, x: str, *names: str) -> str:
        """One product for weights side by side: their outputs lie one after the other."""
        return self.graph.linear(x, np.concatenate([self.tensors[n] for n in names]), bits=self.bits)

    def attention(self, x: str, layer: int, shared: _Shared) -> str:
        """[B, S, hidden] → [B, S, hidden]; declares the block's past inputs and present outputs."""
        g, s = self.graph, self.shape
        prefix = f"model.layers.{layer}.self_attn."
        kv = s.kv_heads * s.width
        joined = self.linear(x, *(f"{prefix}{part}_proj.weight" for part in "qkv"))
        q, k, v = g.ops("Split", joined, g.ints(s.heads * s.width, kv, kv), count=3, axis=-1)
        caches = []
        for part, edge in (("key", self._rotated(k, s.kv_heads, shared)), ("value", v)):
            past = g.input(f"past_key_values.{layer}.{part}", FLOAT, ["batch", s.kv_heads, "past", s.width])
            cache = g.op("Concat", past, self._by_head(edge, s.kv_heads), axis=2)
            g.output(f"present.{layer}.{part}", cache, FLOAT, ["batch", s.kv_heads, "total", s.width])
            caches.append(cache)
        # Heads that share keys are laid one after the other: no key is ever repeated in memory.
        query = self._by_head(self._rotated(q, s.heads, shared), s.heads)
        query = g.op("Reshape", query, g.ints(0, s.kv_heads, -1, s.width))
        query = g.op("Mul", query, g.constant(s.width**-0.5, np.float32))
        scores = g.op("MatMul", query, g.op("Transpose", caches[0], perm=[0, 1, 3, 2]))
        scores = g.op("Add", g.op("Reshape", scores, shared.by_head), shared.bias)
        weights = g.op("Reshape", g.op("Softmax", scores, axis=-1), shared.by_group)
        mixed = g.op("Reshape", g.op("MatMul", weights, caches[1]), shared.heads_out)
        mixed = g.op("Reshape", g.op("Transpose", mixed, perm=[0, 2, 1, 3]), g.ints(0, 0, s.heads * s.width))
        return self.linear(mixed, prefix + "o_proj.weight")

    def _rotated(self, x: str, heads: int, shared: _Shared) -> str:
        return self.graph.op(
            "RotaryEmbedding", x, shared.positions, shared.cos, shared.sin, domain=MICROSOFT, num_heads=heads
        )

    def _by_head(self, x: str, heads: int) -> str:
        split = self.graph.op("Reshape", x, self.graph.ints(0, 0, heads, self.shape.width))
        return self.graph.op("Transpose", split, perm=[0, 2, 1, 3])

    def mlp(self, x: str, layer: int) -> str:
        """down(silu(gate(x)) * up(x)); QuickGelu with alpha 1 is silu in one node."""
        g, prefix = self.graph, f"model.layers.{layer}.mlp."
        joined = self.linear(x, prefix + "gate_proj.weight", prefix + "up_proj.weight")
        gate, up = g.ops("Split", joined, g.ints(self.shape.inner, self.shape.inner), count=2, axis=-1)
        gate = g.op("QuickGelu", gate, domain=MICROSOFT, alpha=1.0)
        return self.linear(g.op("Mul", gate, up), prefix + "down_proj.weight")


def output_matrix(config: Dict[str, Any], tensors: Tensors) -> np.ndarray:
    """The output embeddings [vocab, hidden]: the head, or the input embeddings when the two are tied."""
    tied = config.get("tie_word_embeddings", False)
    return tensors["model.embed_tokens.weight" if tied else "lm_head.weight"]


def decoder_graph(config: Dict[str, Any], tensors: Tensors, maps: Optional[Maps] = None, bits: int = 32) -> Graph:
    """The decoder as `decoder_model_merged.onnx`'s graph; `config` and `tensors` by Hugging Face names.

    With `maps`, `[RET]` is appended to the vocabulary and `retrieval_embedding` is an output; without, the graph
    is the plain language model. `bits`: 32, or 8 for weight-only quantisation of all projections and the head.
    """
    shape = Shape.of(config)
    decoder = _Decoder(shape, tensors, bits)
    g = decoder.graph
    x = g.input("inputs_embeds", FLOAT, ["batch", "sequence", shape.hidden])
    mask = g.input("attention_mask", INT64, ["batch", "total"])
    keep = g.input("num_logits_to_keep", INT64, [])
    length, total = g.op("Shape", x, start=1, end=2), g.op("Shape", mask, start=1, end=2)
    shared = decoder.shared(mask, length, total)

    hidden: List[str] = []
    delta: Optional[str] = None
    for layer in range(shape.layers):
        prefix = f"model.layers.{layer}."
        normed, x = decoder.norm(x, delta, prefix + "input_layernorm.weight")
        hidden.append(x)
        delta = decoder.attention(normed, layer, shared)
        normed, x = decoder.norm(x, delta, prefix + "post_attention_layernorm.weight")
        delta = decoder.mlp(normed, layer)
    normed, _ = decoder.norm(x, delta, "model.norm.weight")
    hidden.append(normed)

    # The last n positions; n = 0 keeps all of them.
    start = g.op("Max", g.op("Sub", length, keep), g.ints(0))
    start = g.op("Where", g.op("Equal", keep, g.constant(0, np.int64)), g.ints(0), start)
    kept = g.op("Slice", normed, start, length, g.ints(1))
    head, bias = output_matrix(config, tensors), None
    if maps is not None:
        head = np.concatenate([head, maps.tensors["ret_output_embedding"].reshape(1, -1)])
        bias = np.zeros(len(head), np.float32)
        bias[-1] = maps.tensors["ret_output_bias"].reshape(-1)[0]
        g.output("retrieval_embedding", maps.text(g, hidden), FLOAT, ["batch", "sequence", maps.dim])
    g.output("logits", g.linear(kept, head, bias, bits), FLOAT, ["batch", "kept", len(head)])
    return g


def embed_graph(tensors: Tensors, maps: Optional[Maps] = None, bits: int = 32) -> Graph:
    """`embed_tokens.onnx`: `input_ids` [B, S] → `inputs_embeds` [B, S, hidden]; `[RET]` is the last row."""
    table = tensors["model.embed_tokens.weight"]
    if maps is not None:
        table = np.concatenate([table, maps.tensors["ret_input_embedding"].reshape(1, -1)])
    hidden = table.shape[1]
    g = Graph("embed_tokens")
    ids = g.input("input_ids", INT64, ["batch", "sequence"])
    if bits == 32 or hidden % BLOCK:
        rows = g.op("Gather", g.constant(table, np.float32, "table"), ids, axis=0)
    else:
        codes, scales = quantise_rows(table)
        signed = (codes.astype(np.int16) - MIDDLE).astype(np.int8)
        values = g.op("Cast", g.op("Gather", g.constant(signed, hint="table"), ids, axis=0), to=FLOAT)
        scale = g.op("Gather", g.constant(scales.reshape(len(table), -1, 1), hint="scale"), ids, axis=0)
        rows = g.op("Reshape", g.op("Mul", values, scale), g.ints(0, 0, hidden))
    g.output("inputs_embeds", rows, FLOAT, ["batch", "sequence", hidden])
    return g
