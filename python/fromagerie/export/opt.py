"""Draws an OPT decoder as an ONNX graph around its weights, with FROMAGe's additions.

OPT comes in shapes that a graph must tell apart: norms before the sublayers (most) or after them (350M, which has no
final norm either), embeddings narrower than the hidden states with a projection on both ends (350M again),
learned positions that begin at row 2 of their table, and a head that is the input embeddings. Galactica is an OPT
without biases and with GELU.

Source: Zhang et al. 2022 (arXiv:2205.01068). Read next: `decoder.py` (inputs, outputs, cache), `maps.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, List, Optional

import numpy as np

from .decoder import Decoder, Sizes, Tensors, weight
from .graph import MICROSOFT, Graph
from .maps import Maps

PREFIX = "model.decoder."
EMBEDDINGS = PREFIX + "embed_tokens.weight"
OFFSET = 2  # the first position's row


@dataclass(frozen=True)
class Shape:
    """The sizes a decoder graph needs, from a Hugging Face `config.json`."""

    hidden: int
    embedding: int
    inner: int
    layers: int
    heads: int
    positions: int
    norm_first: bool
    final_norm: bool
    activation: str

    @staticmethod
    def of(config: Dict[str, Any]) -> "Shape":
        """Raises `ValueError` for an activation that is not known here, or heads that do not divide the width."""
        activation = config.get("activation_function", "relu")
        if activation not in ("relu", "gelu"):
            raise ValueError(f"activation {activation!r}, expected 'relu' or 'gelu'")
        hidden, heads = config["hidden_size"], config["num_attention_heads"]
        if hidden % heads:
            raise ValueError(f"a hidden size of {hidden} does not divide into {heads} heads")
        norm_first = config.get("do_layer_norm_before", True)
        return Shape(
            hidden=hidden,
            embedding=config.get("word_embed_proj_dim") or hidden,
            inner=config["ffn_dim"],
            layers=config["num_hidden_layers"],
            heads=heads,
            positions=config["max_position_embeddings"],
            norm_first=norm_first,
            final_norm=norm_first and not config.get("_remove_final_layer_norm", False),
            activation=activation,
        )

    def sizes(self) -> Sizes:
        """What a manifest says of the decoder."""
        return Sizes(self.embedding, self.layers, self.heads, self.heads, self.hidden // self.heads, self.positions)


class _Opt(Decoder):
    def __init__(self, shape: Shape, tensors: Tensors, bits: int) -> None:
        super().__init__(shape.sizes(), tensors, bits)
        self.shape = shape

    def opening(self) -> str:
        """The embeddings, widened where they are narrow, plus each position's own."""
        g, s = self.graph, self.shape
        table = weight(self.tensors, PREFIX + "embed_positions.weight", s.positions + OFFSET, s.hidden)
        x = self.embeds
        if s.embedding != s.hidden:
            x = self.linear(x, [PREFIX + "project_in"], s.embedding)
        place = g.constant(table[OFFSET:], np.float32, "positions")
        return g.op("Add", x, g.op("Gather", place, self.positions, axis=0))

    def block(self, x: str, layer: int) -> str:
        """Attention and two linear maps, each with a shortcut and a norm before or after it."""
        s, prefix = self.shape, f"{PREFIX}layers.{layer}."
        x = self._sublayer(x, prefix + "self_attn_layer_norm", lambda y: self._attention(y, layer, prefix + "self_attn."))

        def inner(y: str) -> str:
            y = self._active(self.linear(y, [prefix + "fc1"], s.hidden))
            return self.linear(y, [prefix + "fc2"], s.inner)

        return self._sublayer(x, prefix + "final_layer_norm", inner)

    def _sublayer(self, x: str, norm: str, inside: Any) -> str:
        if self.shape.norm_first:
            return self.graph.op("Add", x, inside(self.layer_norm(x, norm, self.shape.hidden)))
        return self.layer_norm(self.graph.op("Add", x, inside(x)), norm, self.shape.hidden)

    def _attention(self, x: str, layer: int, prefix: str) -> str:
        width = self.shape.hidden
        joined = self.linear(x, [f"{prefix}{part}_proj" for part in "qkv"], width)
        q, k, v = self.graph.ops("Split", joined, self.graph.ints(width, width, width), count=3, axis=-1)
        return self.linear(self.attend(layer, q, k, v), [prefix + "out_proj"], width)

    def _active(self, x: str) -> str:
        return self.graph.op("Relu", x) if self.shape.activation == "relu" else self.graph.op("Gelu", x, domain=MICROSOFT)

    def closing(self, x: str) -> str:
        """The final norm and the projection back to the embeddings' width, where the model has them."""
        if self.shape.final_norm:
            x = self.layer_norm(x, PREFIX + "final_layer_norm", self.shape.hidden)
        if self.shape.embedding != self.shape.hidden:
            x = self.linear(x, [PREFIX + "project_out"], self.shape.hidden)
        return x


def output_matrix(config: Dict[str, Any], tensors: Tensors) -> np.ndarray:
    """The output embeddings [vocab, embedding]: the input embeddings, unless the configuration unties them."""
    return tensors[EMBEDDINGS if config.get("tie_word_embeddings", True) else "lm_head.weight"]


def decoder_graph(config: Dict[str, Any], tensors: Tensors, maps: Optional[Maps] = None, bits: int = 32) -> Graph:
    """The decoder as `decoder_model_merged.onnx`'s graph; `config` and `tensors` by Hugging Face names.

    With `maps`, `retrieval_embedding` is an output. `bits`: as `Graph.linear` has it, for all projections and the head.
    """
    shape = Shape.of(config)
    decoder = _Opt(shape, tensors, bits)
    x = decoder.opening()
    hidden: List[str] = [x]
    for layer in range(shape.layers):
        x = decoder.block(x, layer)
        hidden.append(x)
    hidden[-1] = decoder.closing(x)
    if maps is not None:
        decoder.retrieval(maps, hidden)
    decoder.logits(hidden[-1], output_matrix(config, tensors))
    return decoder.graph
