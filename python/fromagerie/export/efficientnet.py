"""Draws EfficientNet-Lite encoders as an ONNX graph, from their PyTorch checkpoints, up to the pooled features.

Lite means: no squeeze-and-excitation, ReLU6 everywhere, stem and head of fixed width. Batch norms are folded into
the convolutions before them. Padding is TensorFlow's SAME rule, worked out for the size the encoder was trained
at, as the checkpoints' own implementation does; at another size the same paddings are kept.

Source: Tan & Le 2019 (arXiv:1905.11946), and the Lite variants' published block table.
Read next: `checkpoint.py` (where the weights come from), `maps.py` (what follows the features).
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Dict, List, Sequence, Tuple

import numpy as np

from .graph import FLOAT, Graph
from .maps import Maps

FEATURES = 1280
EPSILON = 1e-3
STEM = 32
# repeats, kernel, stride, expansion, channels out: one row a stage, at width and depth 1
STAGES: List[Tuple[int, int, int, int, int]] = [
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
]


@dataclass(frozen=True)
class Variant:
    """How a Lite variant scales the stages, and the side in pixels it was trained at."""

    width: float
    depth: float
    size: int


VARIANTS: Dict[str, Variant] = {
    "efficientnet_lite0": Variant(1.0, 1.0, 224),
    "efficientnet_lite2": Variant(1.1, 1.2, 260),
}


def _channels(count: int, width: float) -> int:
    """Scaled and rounded to a multiple of 8, never by more than a tenth downwards."""
    scaled = count * width
    rounded = max(8, int(scaled + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * scaled else rounded + 8


class _Encoder:
    """Walks the stages once, reading weights by their checkpoint names and tracking the image's side."""

    def __init__(self, graph: Graph, weights: Dict[str, np.ndarray], variant: Variant) -> None:
        self.graph, self.weights, self.variant, self.side = graph, weights, variant, variant.size

    def conv(self, x: str, name: str, norm: str, stride: int = 1, depthwise: bool = False, clip: bool = True) -> str:
        """Convolution and batch norm in one, then ReLU6 when `clip`."""
        try:
            kernel = self.weights[f"{name}.weight"].astype(np.float64)
            gain, shift, mean, var = (
                self.weights[f"{norm}.{part}"].astype(np.float64)
                for part in ("weight", "bias", "running_mean", "running_var")
            )
        except KeyError as missing:
            raise ValueError(f"the checkpoint has no {missing}") from None
        factor = gain / np.sqrt(var + EPSILON)
        size = kernel.shape[2]
        total = max((math.ceil(self.side / stride) - 1) * stride + size - self.side, 0)
        before, after = total // 2, total - total // 2
        x = self.graph.op(
            "Conv", x,
            self.graph.constant(kernel * factor[:, None, None, None], np.float32, "w"),
            self.graph.constant(shift - mean * factor, np.float32, "b"),
            group=kernel.shape[0] if depthwise else 1,
            kernel_shape=[size, size], strides=[stride, stride], pads=[before, before, after, after],
        )  # fmt: skip
        self.side = math.ceil(self.side / stride)
        zero, six = self.graph.constant(0, np.float32), self.graph.constant(6, np.float32)
        return self.graph.op("Clip", x, zero, six) if clip else x

    def block(self, x: str, name: str, stride: int, expansion: int) -> str:
        """Inverted bottleneck: widen, convolve each channel, narrow; a shortcut when the shape is kept."""
        y = x
        if expansion != 1:
            y = self.conv(y, f"{name}._expand_conv", f"{name}._bn0")
        y = self.conv(y, f"{name}._depthwise_conv", f"{name}._bn1", stride, depthwise=True)
        y = self.conv(y, f"{name}._project_conv", f"{name}._bn2", clip=False)
        wide = self.weights[f"{name}._depthwise_conv.weight"].shape[0]
        narrow = self.weights[f"{name}._project_conv.weight"].shape[0]
        same = stride == 1 and wide == narrow * expansion
        return self.graph.op("Add", y, x) if same else y

    def features(self, x: str) -> str:
        """[B, 3, side, side] → pooled [B, 1280]."""
        x = self.conv(x, "_conv_stem", "_bn0", 2)
        index = 0
        for stage, (repeats, _, stride, expansion, channels) in enumerate(STAGES):
            ends = stage in (0, len(STAGES) - 1)
            for repeat in range(repeats if ends else math.ceil(repeats * self.variant.depth)):
                x = self.block(x, f"_blocks.{index}", stride if repeat == 0 else 1, expansion)
                found = self.weights[f"_blocks.{index}._project_conv.weight"].shape[0]
                if found != _channels(channels, self.variant.width):
                    raise ValueError(f"block {index} has {found} channels: another variant's checkpoint")
                index += 1
        x = self.conv(x, "_conv_head", "_bn1")
        return self.graph.op("Flatten", self.graph.op("GlobalAveragePool", x), axis=1)


def vision_graph(encoders: Sequence[Tuple[str, Dict[str, np.ndarray]]], maps: Maps, hidden: int, size: int) -> Graph:
    """`vision_encoder.onnx`: `pixel_values` [B, 3, size, size] → retrieval, visual tokens and features.

    `encoders`: (variant name, checkpoint) pairs; their features are laid side by side in this order.
    """
    g = Graph("vision_encoder")
    features = _features(g, encoders, size)
    retrieval, tokens = maps.vision(g, features, hidden)
    g.output("retrieval_embedding", retrieval, FLOAT, ["batch", maps.dim])
    g.output("visual_tokens", tokens, FLOAT, ["batch", maps.visual_tokens, hidden])
    g.output("features", features, FLOAT, ["batch", FEATURES * len(encoders)])
    return g


def encoder_sha256(encoders: Sequence[Tuple[str, Dict[str, np.ndarray]]], size: int) -> str:
    """What `vision.encoder_sha256` says: the digest of the graph up to the features, drawn alone."""
    g = Graph("encoder")
    g.output("features", _features(g, encoders, size), FLOAT, ["batch", FEATURES * len(encoders)])
    return hashlib.sha256(g.bytes()).hexdigest()


def _features(g: Graph, encoders: Sequence[Tuple[str, Dict[str, np.ndarray]]], size: int) -> str:
    """`pixel_values` [B, 3, size, size] → the encoders' features side by side."""
    pixels = g.input("pixel_values", FLOAT, ["batch", 3, size, size])
    parts = [_Encoder(g, weights, VARIANTS[name]).features(pixels) for name, weights in encoders]
    return parts[0] if len(parts) == 1 else g.op("Concat", *parts, axis=1)
