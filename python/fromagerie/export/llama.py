"""Draws a Llama decoder as an ONNX graph around its weights, with FROMAGe's additions.

The same blocks serve models that differ from a Llama by biases of their projections (Qwen2) or by nothing that a
graph would show (Mistral without a window).

Read next: `decoder.py` (inputs, outputs, cache), `maps.py` (the trained additions), `decoder_reference` in the tests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Tuple

import numpy as np

from .decoder import Decoder, Sizes, Tensors, table_graph, weight, with_ret
from .graph import MICROSOFT, Graph
from .maps import Maps

EMBEDDINGS = "model.embed_tokens.weight"


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
        """Raises `ValueError` for what the graph would compute wrongly: scaled rope, a window, another activation."""
        rope = config.get("rope_parameters") or {}
        scaling = config.get("rope_scaling") or ({} if rope.get("rope_type", "default") == "default" else rope)
        if scaling:
            raise ValueError(f"rope scaling {scaling} is not supported")
        if config.get("hidden_act", "silu") != "silu":
            raise ValueError(f"activation {config['hidden_act']!r}, expected 'silu'")
        window = config.get("sliding_window")
        if window and config.get("use_sliding_window", True) and window < config["max_position_embeddings"]:
            raise ValueError(f"a sliding window of {window} positions is not supported")
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

    def sizes(self) -> Sizes:
        """What a manifest says of the decoder."""
        return Sizes(self.hidden, self.layers, self.heads, self.kv_heads, self.width, self.positions)


class _Llama(Decoder):
    def __init__(self, shape: Shape, tensors: Tensors, bits: int) -> None:
        super().__init__(shape.sizes(), tensors, bits)
        self.shape = shape
        angles = np.outer(
            np.arange(shape.positions), shape.theta ** (-np.arange(0, shape.width, 2, dtype=np.float64) / shape.width)
        )
        self.cos = self.graph.constant(np.cos(angles), np.float32, "cos")
        self.sin = self.graph.constant(np.sin(angles), np.float32, "sin")

    def norm(self, x: str, skip: Optional[str], name: str) -> Tuple[str, str]:
        """RMS norm of x (+ skip). Returns the normed edge and the plain sum, which is the hidden state."""
        gain = self.graph.constant(weight(self.tensors, name, self.shape.hidden), np.float32, "gain")
        if skip is None:
            square = self.graph.op("Mul", x, x)
            mean = self.graph.op("ReduceMean", square, self.graph.ints(-1), keepdims=1)
            mean = self.graph.op("Add", mean, self.graph.constant(self.shape.epsilon, np.float32))
            return self.graph.op("Mul", self.graph.op("Div", x, self.graph.op("Sqrt", mean)), gain), x
        normed, _, _, total = self.graph.ops(
            "SkipSimplifiedLayerNormalization", x, skip, gain, count=4, domain=MICROSOFT, epsilon=self.shape.epsilon
        )
        return normed, total

    def attention(self, x: str, layer: int) -> str:
        """[B, S, hidden] → [B, S, hidden]."""
        g, s = self.graph, self.shape
        prefix = f"model.layers.{layer}.self_attn."
        kv = s.kv_heads * s.width
        joined = self.linear(x, [f"{prefix}{part}_proj" for part in "qkv"], s.hidden)
        q, k, v = g.ops("Split", joined, g.ints(s.heads * s.width, kv, kv), count=3, axis=-1)
        mixed = self.attend(layer, self._rotated(q, s.heads), self._rotated(k, s.kv_heads), v)
        return self.linear(mixed, [prefix + "o_proj"], s.heads * s.width)

    def _rotated(self, x: str, heads: int) -> str:
        return self.graph.op(
            "RotaryEmbedding", x, self.positions, self.cos, self.sin, domain=MICROSOFT, num_heads=heads
        )

    def mlp(self, x: str, layer: int) -> str:
        """down(silu(gate(x)) * up(x)); QuickGelu with alpha 1 is silu in one node."""
        g, prefix = self.graph, f"model.layers.{layer}.mlp."
        joined = self.linear(x, [prefix + "gate_proj", prefix + "up_proj"], self.shape.hidden)
        gate, up = g.ops("Split", joined, g.ints(self.shape.inner, self.shape.inner), count=2, axis=-1)
        gate = g.op("QuickGelu", gate, domain=MICROSOFT, alpha=1.0)
        return self.linear(g.op("Mul", gate, up), [prefix + "down_proj"], self.shape.inner)


def output_matrix(config: Dict[str, Any], tensors: Tensors) -> np.ndarray:
    """The output embeddings [vocab, hidden]: the head, or the input embeddings when the two are tied."""
    return tensors[EMBEDDINGS if config.get("tie_word_embeddings", False) else "lm_head.weight"]


def decoder_graph(config: Dict[str, Any], tensors: Tensors, maps: Optional[Maps] = None, bits: int = 32) -> Graph:
    """The decoder as `decoder_model_merged.onnx`'s graph; `config` and `tensors` by Hugging Face names.

    With `maps`, `retrieval_embedding` is an output, and a `[RET]` row that they bring is appended to the vocabulary;
    without, the graph is the plain language model. `bits`: as `Graph.linear` has it, for all projections and the head.
    """
    shape = Shape.of(config)
    decoder = _Llama(shape, tensors, bits)
    hidden: List[str] = []
    x, delta = decoder.embeds, None
    for layer in range(shape.layers):
        prefix = f"model.layers.{layer}."
        normed, x = decoder.norm(x, delta, prefix + "input_layernorm.weight")
        hidden.append(x)
        delta = decoder.attention(normed, layer)
        normed, x = decoder.norm(x, delta, prefix + "post_attention_layernorm.weight")
        delta = decoder.mlp(normed, layer)
    normed, _ = decoder.norm(x, delta, "model.norm.weight")
    hidden.append(normed)
    if maps is not None:
        decoder.retrieval(maps, hidden)
    decoder.logits(normed, *with_ret(output_matrix(config, tensors), maps))
    return decoder.graph


def embed_graph(tensors: Tensors, maps: Optional[Maps] = None, bits: int = 32) -> Graph:
    """`embed_tokens.onnx`: `input_ids` [B, S] → `inputs_embeds` [B, S, hidden]; a `[RET]` of the maps is the last row."""
    table = tensors[EMBEDDINGS]
    if maps is not None and "ret_input_embedding" in maps.tensors:
        table = np.concatenate([table, maps.tensors["ret_input_embedding"].reshape(1, -1)])
    return table_graph(table, bits)
