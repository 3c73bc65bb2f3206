"""The trained maps, small beside what is frozen, and the file in which they meet the export.

`text_hidden_fcs`: one map per chosen layer, summed, from the hidden state at `[RET]` to the retrieval space: a fixed random
matrix and GELU beside the state itself, then the matrix that learns. `visual_fc`: from the encoder's features to the same
space. `visual_embeddings`: from features to `k` visual tokens.
Each matrix learns behind a fixed change of coordinates in which its inputs are white: there one rate fits all directions, and
a few hundred pairs of a batch do not drown the weak directions in the strong ones. `write` multiplies everything out, so what
ships is nothing but plain matrices. Names and metadata are those of the bundle's `maps.safetensors`.

Read next: `regression.py` (the coordinates, and where the matrices start), `joint.py` (how they learn).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Optional, Tuple

import torch
import torch.nn.functional as F
from torch import nn


@dataclass(frozen=True)
class Shape:
    """What the maps look like. `text_hidden`: width of the random layer. `visual_width`, `token_width`: directions of the features that
    `visual_fc` and `visual_embeddings` read."""

    encoders: tuple = ("efficientnet_lite0",)
    layers: tuple = (30,)
    dim: int = 256
    text_hidden: int = 640
    visual_width: int = 512
    token_width: int = 384
    visual_tokens: int = 0
    hidden: int = 576
    features: int = 1280

    @property
    def text_width(self) -> int:
        """Numbers that a text's states become before the matrix that learns."""
        return len(self.layers) * (self.text_hidden + self.hidden)


def shape_of(config: dict, features: int) -> Shape:
    """The maps' shape by the settings; `features`: numbers a picture."""
    numbers = {k: config[k] for k in ("dim", "text_hidden", "visual_width", "token_width", "visual_tokens")}
    return Shape(encoders=tuple(config["encoders"]), layers=tuple(config["layers"]), features=features, **numbers)


class Maps(nn.Module):
    """Both sides of the retrieval space and the visual tokens. Parameters learn, buffers are fixed by `regression.py`."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape, n = shape, len(shape.layers)
        fixed = {
            "state_mean": torch.zeros(n, shape.hidden), "state_std": torch.ones(n, shape.hidden), "random": torch.zeros(n, shape.hidden, shape.text_hidden),
            "text_mean": torch.zeros(shape.text_width), "text_basis": torch.zeros(shape.text_width, shape.text_width),
            "feature_mean": torch.zeros(shape.features), "feature_std": torch.ones(shape.features),
            "visual_basis": torch.zeros(shape.features, shape.visual_width), "token_basis": torch.zeros(shape.features, shape.token_width),
        }  # fmt: skip
        for name, value in fixed.items():
            self.register_buffer(name, value)
        self.text = nn.Linear(shape.text_width, shape.dim)
        self.visual = nn.Linear(shape.visual_width, shape.dim, bias=False)
        self.tokens = nn.Linear(shape.token_width, shape.visual_tokens * shape.hidden) if shape.visual_tokens else None
        self.log_scale = nn.Parameter(torch.tensor(2.659))  # log(1 / 0.07)

    def spread(self, states: torch.Tensor) -> torch.Tensor:
        """`[n, layers, hidden]` to `[n, text_width]`: the random layers' units, then the standardised states."""
        x = (states - self.state_mean) / self.state_std
        units = F.gelu(torch.einsum("nlh,lhw->nlw", x, self.random))
        return torch.cat([units.flatten(1), x.flatten(1)], 1)

    def read(self, states: torch.Tensor) -> torch.Tensor:
        """`[n, layers, hidden]` to white coordinates `[n, text_width]`."""
        return (self.spread(states) - self.text_mean) @ self.text_basis

    def standard(self, features: torch.Tensor) -> torch.Tensor:
        """Features `[n, F]`, each with mean 0 and deviation 1 over the training pictures."""
        return (features - self.feature_mean) / self.feature_std

    def query(self, states: torch.Tensor) -> torch.Tensor:
        """`[n, layers, hidden]` to `[n, dim]`, not normalised."""
        return self.text(self.read(states))

    def image(self, features: torch.Tensor) -> torch.Tensor:
        """`[n, F]` to `[n, dim]`, not normalised."""
        return self.visual(self.standard(features) @ self.visual_basis)

    def visual_tokens(self, features: torch.Tensor) -> torch.Tensor:
        """`[n, F]` to `[n, k, hidden]`."""
        return self.tokens(self.standard(features) @ self.token_basis).view(len(features), self.shape.visual_tokens, self.shape.hidden)


Matrix = Tuple[torch.Tensor, torch.Tensor]


def behind(mean: torch.Tensor, std: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> Matrix:
    """The matrix `[in, out]` and bias on standardised inputs as a weight `[out, in]` and bias on plain ones."""
    weight = weight.double() / std.double()[:, None]
    return weight.T.float(), (bias.double() - mean.double() @ weight).float()


@torch.no_grad()
def multiplied(maps: Maps) -> Dict[str, Matrix]:
    """Every matrix with its coordinates multiplied in, by the name it has in the file."""
    s, n, out = maps.shape, len(maps.shape.layers), {}
    second = (maps.text_basis.double() @ maps.text.weight.T.double()).float()
    bias = (maps.text.bias.double() - maps.text_mean.double() @ second.double()).float()
    units, plain = second[: n * s.text_hidden].view(n, s.text_hidden, s.dim), second[n * s.text_hidden :].view(n, s.hidden, s.dim)
    nothing = torch.zeros(s.dim)
    for i in range(n):
        inputs = maps.state_mean[i], maps.state_std[i]
        out[f"text_hidden_fcs.{i}.0"] = behind(*inputs, maps.random[i], torch.zeros(s.text_hidden))
        out[f"text_hidden_fcs.{i}.2"] = units[i].T, bias / n
        out[f"text_hidden_fcs.{n + i}.0"] = behind(*inputs, plain[i], nothing)
    out["visual_fc.0"] = behind(maps.feature_mean, maps.feature_std, maps.visual_basis @ maps.visual.weight.T, nothing)
    if maps.tokens is not None:
        out["visual_embeddings.0"] = behind(maps.feature_mean, maps.feature_std, maps.token_basis @ maps.tokens.weight.T, maps.tokens.bias)
    return out


def write(path: Path, maps: Maps, extras: Dict[str, torch.Tensor], half: bool = True, note: Optional[dict] = None) -> None:
    """Writes `maps.safetensors`. `extras`: `[RET]`'s rows. Raises when a value does not survive half precision."""
    from safetensors.torch import save_file

    n, tensors = len(maps.shape.layers), {}
    for name, (weight, bias) in multiplied(maps).items():
        tensors[f"{name}.weight"], tensors[f"{name}.bias"] = weight, bias
    tensors["logit_scale"] = maps.log_scale.detach().view(1)
    tensors.update(extras)
    for name, value in tensors.items():
        value = value.detach().contiguous()
        small = value.half() if half and value.ndim == 2 else value.float()
        if not torch.isfinite(small).all():
            raise ValueError(f"{name} does not fit half precision")
        tensors[name] = small
    config = {
        "text_emb_layers": list(maps.shape.layers) * 2, "num_visual_tokens": maps.shape.visual_tokens, "dim": maps.shape.dim, "encoders": list(maps.shape.encoders),
        "normalize_features": False, "text_hidden_fcs": [[["linear"], ["gelu"], ["linear"]]] * n + [[["linear"]]] * n, "visual_fc": [["linear"]],
        "visual_embeddings": [["linear"]],
    }  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, str(path), metadata={"config": json.dumps(config), "note": json.dumps(note or {})})


class Written:
    """The maps of a file that `write` wrote, and `[RET]`'s rows; computes as `Maps` does."""

    def __init__(self, path: Path) -> None:
        from safetensors import safe_open

        with safe_open(str(path), "pt") as f:
            self.tensors = {k: f.get_tensor(k).float() for k in f.keys()}
            self.config = json.loads(f.metadata()["config"])

    def apply(self, name: str, ops: List[list], x: torch.Tensor) -> torch.Tensor:
        """The operations of one map on `x` `[n, in]`."""
        for j, (op,) in enumerate(ops):
            x = F.gelu(x) if op == "gelu" else x @ self.tensors[f"{name}.{j}.weight"].T + self.tensors[f"{name}.{j}.bias"]
        return x

    def query(self, states: torch.Tensor) -> torch.Tensor:
        """`[n, layers, hidden]`, each layer once, to `[n, dim]`."""
        where = {layer: i for i, layer in enumerate(dict.fromkeys(self.config["text_emb_layers"]))}
        each = zip(self.config["text_emb_layers"], self.config["text_hidden_fcs"])
        return sum(self.apply(f"text_hidden_fcs.{i}", ops, states[:, where[layer]]) for i, (layer, ops) in enumerate(each))

    def image(self, features: torch.Tensor) -> torch.Tensor:
        """`[n, F]` to `[n, dim]`."""
        return self.apply("visual_fc", self.config["visual_fc"], features)

    def visual_tokens(self, features: torch.Tensor) -> torch.Tensor:
        """`[n, F]` to `[n, k, hidden]`."""
        return self.apply("visual_embeddings", self.config["visual_embeddings"], features).view(len(features), self.config["num_visual_tokens"], -1)
