"""Draws CLIP's two encoders as ONNX graphs around their weights.

The vision encoder serves FROMAGe: its pooled output is what the maps read. Both together are a dual encoder: text and
pictures are mapped into one space by a projection each. CLIP's text encoder is causal and its answer is read at the
end-of-text token; so it is drawn as a decoder with a cache whose `[RET]` is that token, and whatever reads a FROMAGe
bundle's query reads this one's.

Source: Radford et al. 2021 (arXiv:2103.00020). Read next: `decoder.py`, `maps.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict

import numpy as np

from .decoder import Decoder, ShapeError, Sizes, Tensors, weight
from .graph import FLOAT, MICROSOFT, Graph
from .maps import Maps

TOKENS = "text_model.embeddings.token_embedding.weight"
ACTIVATIONS = ("quick_gelu", "gelu")


@dataclass(frozen=True)
class Tower:
    """The sizes of either encoder, from its part of a Hugging Face `config.json`."""

    hidden: int
    inner: int
    layers: int
    heads: int
    epsilon: float
    activation: str

    @staticmethod
    def of(config: Dict[str, Any]) -> "Tower":
        """Raises `ValueError` for an activation that is not known here, or heads that do not divide the width."""
        activation = config.get("hidden_act", "quick_gelu")
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation {activation!r}, expected one of {', '.join(ACTIVATIONS)}")
        hidden, heads = config["hidden_size"], config["num_attention_heads"]
        if hidden % heads:
            raise ValueError(f"a hidden size of {hidden} does not divide into {heads} heads")
        inner, layers = config["intermediate_size"], config["num_hidden_layers"]
        return Tower(hidden, inner, layers, heads, config.get("layer_norm_eps", 1e-5), activation)


class _Blocks:
    """The blocks of either encoder: norms first, attention with biases, two linear maps."""

    def __init__(self, graph: Graph, tower: Tower, tensors: Tensors, prefix: str) -> None:
        self.graph, self.tower, self.tensors, self.prefix = graph, tower, tensors, prefix

    def norm(self, x: str, name: str) -> str:
        width = self.tower.hidden
        edges = [self.graph.constant(weight(self.tensors, f"{name}.{p}", width), np.float32) for p in ("weight", "bias")]
        return self.graph.op("LayerNormalization", x, *edges, axis=-1, epsilon=self.tower.epsilon)

    def linear(self, x: str, name: str, rows: int, columns: int) -> str:
        bias = weight(self.tensors, name + ".bias", rows)
        return self.graph.linear(x, weight(self.tensors, name + ".weight", rows, columns), bias)

    def block(self, x: str, layer: int, attend: Any) -> str:
        """`attend`: from query, key and value edges [B, S, hidden] to the mixture [B, S, hidden]."""
        g, t, p = self.graph, self.tower, f"{self.prefix}encoder.layers.{layer}."
        y = self.norm(x, p + "layer_norm1")
        parts = [self.linear(y, f"{p}self_attn.{part}_proj", t.hidden, t.hidden) for part in "qkv"]
        x = g.op("Add", x, self.linear(attend(*parts), p + "self_attn.out_proj", t.hidden, t.hidden))
        y = self.linear(self.norm(x, p + "layer_norm2"), p + "mlp.fc1", t.inner, t.hidden)
        y = g.op("QuickGelu", y, domain=MICROSOFT, alpha=1.702) if t.activation == "quick_gelu" else g.op(
            "Gelu", y, domain=MICROSOFT
        )
        return g.op("Add", x, self.linear(y, p + "mlp.fc2", t.hidden, t.inner))


def _everything(graph: Graph, tower: Tower) -> Any:
    """Attention of every position to every other."""
    width = tower.hidden // tower.heads

    def by_head(x: str) -> str:
        split = graph.op("Reshape", x, graph.ints(0, 0, tower.heads, width))
        return graph.op("Transpose", split, perm=[0, 2, 1, 3])

    def attend(query: str, key: str, value: str) -> str:
        query = graph.op("Mul", by_head(query), graph.constant(width**-0.5, np.float32))
        scores = graph.op("MatMul", query, graph.op("Transpose", by_head(key), perm=[0, 1, 3, 2]))
        mixed = graph.op("MatMul", graph.op("Softmax", scores, axis=-1), by_head(value))
        return graph.op("Reshape", graph.op("Transpose", mixed, perm=[0, 2, 1, 3]), graph.ints(0, 0, tower.hidden))

    return attend


def _pooled(g: Graph, config: Dict[str, Any], tensors: Tensors, pixels: str) -> str:
    """[B, 3, side, side] → the normed state of the class position [B, hidden]: Hugging Face's `pooler_output`."""
    tower, patch, side = Tower.of(config), config["patch_size"], config["image_size"]
    if config.get("num_channels", 3) != 3 or side % patch:
        raise ShapeError(f"pictures of {side} pixels in patches of {patch}, {config.get('num_channels', 3)} channels")
    prefix = "vision_model."
    blocks = _Blocks(g, tower, tensors, prefix)
    kernel = weight(tensors, prefix + "embeddings.patch_embedding.weight", tower.hidden, 3, patch, patch)
    first = weight(tensors, prefix + "embeddings.class_embedding", tower.hidden)
    places = weight(tensors, prefix + "embeddings.position_embedding.weight", (side // patch) ** 2 + 1, tower.hidden)
    x = g.op("Conv", pixels, g.constant(kernel, np.float32, "w"), kernel_shape=[patch, patch], strides=[patch, patch])
    x = g.op("Transpose", g.op("Reshape", x, g.ints(0, tower.hidden, -1)), perm=[0, 2, 1])
    batch = g.op("Concat", g.op("Shape", x, start=0, end=1), g.ints(1, tower.hidden), axis=0)
    x = g.op("Concat", g.op("Expand", g.constant(first.reshape(1, 1, -1), np.float32), batch), x, axis=1)
    x = g.op("Add", x, g.constant(places, np.float32, "positions"))
    x = blocks.norm(x, prefix + "pre_layrnorm")  # spelt so in every checkpoint
    for layer in range(tower.layers):
        x = blocks.block(x, layer, _everything(g, tower))
    first_state = g.op("Gather", x, g.constant(0, np.int64), axis=1)
    return blocks.norm(first_state, prefix + "post_layernorm")


def vision_graph(config: Dict[str, Any], tensors: Tensors, maps: Maps, hidden: int) -> Graph:
    """`vision_encoder.onnx` of a FROMAGe bundle: `pixel_values` → retrieval, visual tokens and features.

    `config`: the vision part of CLIP's; `hidden`: width of the language model's input embeddings.
    """
    g, side = Graph("vision_encoder"), config["image_size"]
    features = _pooled(g, config, tensors, g.input("pixel_values", FLOAT, ["batch", 3, side, side]))
    retrieval, tokens = maps.vision(g, features, hidden)
    g.output("retrieval_embedding", retrieval, FLOAT, ["batch", maps.dim])
    g.output("visual_tokens", tokens, FLOAT, ["batch", maps.visual_tokens, hidden])
    g.output("features", features, FLOAT, ["batch", config["hidden_size"]])
    return g


def dual_vision_graph(config: Dict[str, Any], tensors: Tensors, dim: int) -> Graph:
    """`vision_encoder.onnx` of a dual encoder: `pixel_values` → the projected, unnormalised embedding, and features."""
    g, side, hidden = Graph("vision_encoder"), config["image_size"], config["hidden_size"]
    features = _pooled(g, config, tensors, g.input("pixel_values", FLOAT, ["batch", 3, side, side]))
    projected = g.linear(features, weight(tensors, "visual_projection.weight", dim, hidden))
    g.output("retrieval_embedding", projected, FLOAT, ["batch", dim])
    g.output("features", features, FLOAT, ["batch", hidden])
    return g


def text_sizes(config: Dict[str, Any]) -> Sizes:
    """What a manifest says of the text encoder, from the text part of CLIP's configuration."""
    tower, positions = Tower.of(config), config["max_position_embeddings"]
    return Sizes(tower.hidden, tower.layers, tower.heads, tower.heads, tower.hidden // tower.heads, positions)


def dual_text_graph(config: Dict[str, Any], tensors: Tensors, dim: int) -> Graph:
    """`decoder_model_merged.onnx` of a dual encoder: the projected state at every position, and no logits."""
    tower = Tower.of(config)
    decoder = Decoder(text_sizes(config), tensors, bits=32)
    g = decoder.graph
    places = weight(tensors, "text_model.embeddings.position_embedding.weight", decoder.sizes.positions, tower.hidden)
    x = g.op("Add", decoder.embeds, g.op("Gather", g.constant(places, np.float32), decoder.positions, axis=0))
    blocks = _Blocks(g, tower, tensors, "text_model.")
    for layer in range(tower.layers):
        x = blocks.block(x, layer, lambda q, k, v, layer=layer: decoder.attend(layer, q, k, v))
    x = blocks.norm(x, "text_model.final_layer_norm")
    projected = g.linear(x, weight(tensors, "text_projection.weight", dim, tower.hidden))
    g.output("retrieval_embedding", projected, FLOAT, ["batch", "sequence", dim])
    return g
