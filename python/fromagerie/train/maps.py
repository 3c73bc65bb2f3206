"""The trained maps, small beside what is frozen, and the file in which they meet the export.

`text_hidden_fcs`: one map per chosen layer, summed, from the hidden state at `[RET]` to the retrieval space.
`visual_fc`: from the encoder's features to the same space. `visual_embeddings`: from features to `k` visual tokens.
Inputs are standardised for training, and the standardisation is folded into the first linear layer when the maps are
written: what ships is nothing but matrices. Names and metadata are those of the bundle's `maps.safetensors`.

Read next: `losses.py`, `retrieval.py`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, List, Optional

import torch
from torch import nn


@dataclass(frozen=True)
class Shape:
    """What the maps look like. `text_hidden` / `visual_hidden`: width of the hidden layer, 0 for a plain matrix.
    `text_direct`: a plain matrix for each layer besides."""

    encoders: tuple = ("efficientnet_lite0",)
    layers: tuple = (30,)
    dim: int = 256
    text_hidden: int = 0
    text_direct: bool = False
    visual_hidden: int = 0
    visual_tokens: int = 0
    token_hidden: int = 256
    hidden: int = 576
    features: int = 1280


class Standard(nn.Module):
    """Subtracts the mean and divides by the deviation; both fixed."""

    def __init__(self, mean: torch.Tensor, std: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean.clone())
        self.register_buffer("std", std.clone())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x - self.mean) / self.std


def stack(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """A matrix, or two with a GELU between."""
    if not hidden:
        return nn.Sequential(nn.Linear(inputs, outputs))
    return nn.Sequential(nn.Linear(inputs, hidden), nn.GELU(), nn.Linear(hidden, outputs))


class Maps(nn.Module):
    """Both sides of the retrieval space."""

    def __init__(self, shape: Shape, text_stats, feature_stats) -> None:
        super().__init__()
        self.shape = shape
        self.text_in = nn.ModuleList([Standard(mean, std) for mean, std in text_stats])
        self.text = nn.ModuleList([stack(shape.hidden, shape.text_hidden, shape.dim) for _ in shape.layers])
        self.direct = nn.ModuleList([stack(shape.hidden, 0, shape.dim) for _ in shape.layers] if shape.text_direct else [])
        self.visual_in = Standard(*feature_stats)
        self.visual = stack(shape.features, shape.visual_hidden, shape.dim)
        self.tokens = stack(shape.features, shape.token_hidden, shape.visual_tokens * shape.hidden) if shape.visual_tokens else None
        self.log_scale = nn.Parameter(torch.tensor(2.659))  # log(1 / 0.07)

    def query(self, states: torch.Tensor) -> torch.Tensor:
        """`[n, layers, hidden]` to `[n, dim]`, not normalised."""
        return sum(fc(self.text_in[i % len(self.text_in)](states[:, i % len(self.text_in)])) for i, fc in enumerate(self.text_maps()))

    def text_maps(self) -> List[nn.Sequential]:
        """All maps of the text side: one a layer, then once more one a layer where there are direct ones."""
        return [*self.text, *self.direct]

    def image(self, features: torch.Tensor, standard: bool = False) -> torch.Tensor:
        """`[n, F]` to `[n, dim]`, not normalised; `standard` when the features are standardised already."""
        return self.visual(features if standard else self.visual_in(features))

    def visual_tokens(self, features: torch.Tensor) -> torch.Tensor:
        """`[n, F]` to `[n, k, hidden]`."""
        return self.tokens(self.visual_in(features)).view(len(features), self.shape.visual_tokens, self.shape.hidden)


def folded(standard: Standard, layers: nn.Sequential) -> List[tuple]:
    """`(op, weight, bias)` in order with `standard` folded into the first matrix."""
    out, first = [], True
    for layer in layers:
        if isinstance(layer, nn.GELU):
            out.append(("gelu", None, None))
        elif isinstance(layer, nn.Linear):
            weight, bias = layer.weight.detach().double(), layer.bias.detach().double()
            if first:
                weight = weight / standard.std.double()
                bias = bias - weight @ standard.mean.double()
                first = False
            out.append(("linear", weight.float(), bias.float()))
    return out


def write(path: Path, maps: Maps, extras: Dict[str, torch.Tensor], half: bool = True, note: Optional[dict] = None) -> None:
    """Writes `maps.safetensors`. `extras`: `[RET]`'s rows. Raises when a value does not survive half precision."""
    from safetensors.torch import save_file

    tensors: Dict[str, torch.Tensor] = {}
    config = {
        "text_emb_layers": list(maps.shape.layers), "num_visual_tokens": maps.shape.visual_tokens, "dim": maps.shape.dim,
        "encoders": list(maps.shape.encoders), "normalize_features": False,
    }  # fmt: skip

    def put(name: str, ops: List[tuple]) -> list:
        for j, (_, weight, bias) in enumerate(ops):
            if weight is not None:
                tensors[f"{name}.{j}.weight"], tensors[f"{name}.{j}.bias"] = weight, bias
        return [[op] for op, _, _ in ops]

    norms = [*maps.text_in] * 2
    per_layer = [put(f"text_hidden_fcs.{i}", folded(n, fc)) for i, (n, fc) in enumerate(zip(norms, maps.text_maps()))]
    config["text_emb_layers"] = list(maps.shape.layers) * (2 if len(maps.direct) else 1)
    config["text_hidden_fcs"], config["visual_fc"] = per_layer if len(maps.direct) else per_layer[0], put("visual_fc", folded(maps.visual_in, maps.visual))
    if maps.tokens is not None:
        config["visual_embeddings"] = put("visual_embeddings", folded(maps.visual_in, maps.tokens))
    tensors["logit_scale"] = maps.log_scale.detach().view(1)
    tensors.update(extras)
    for name, value in tensors.items():
        value = value.detach().contiguous()
        small = value.half() if half and value.ndim == 2 else value.float()
        if not torch.isfinite(small).all():
            raise ValueError(f"{name} does not fit half precision")
        tensors[name] = small
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, str(path), metadata={"config": json.dumps(config), "note": json.dumps(note or {})})
