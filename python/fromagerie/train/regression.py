"""Where the retrieval maps start, in closed form: pictures first, then texts towards where their pictures lie.

1. `visual_fc`: linear discriminants of the captions (canonical correlation with one indicator a caption): directions in
   which pictures of different captions differ and pictures of one caption, drawn in different styles, do not.
   ImageNet's classifier rows are further captions with one picture each. Features are standardised, so embeddings
   are centred, and no picture is near everything.
2. `text_hidden_fcs`: a random layer, GELU, and the states besides, by ridge regression from all wordings of a caption to the mean
   direction of its pictures. With states as the shipped decoder rounds them (`states.py`) among the wordings, the map
   learns to ignore what rounding and wording change.

The regularised covariances that these solutions divide by are the coordinates in which training goes on: the inputs are
white in them. From a random start training would overfit its few thousand pairs before it arrived here.

Read next: `joint.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Tuple

import numpy as np
import torch

from .maps import Maps, Shape
from .problem import Pairs

UNIT = 1e-9


@dataclass(frozen=True)
class Start:
    """Settings. `ridge_*`: regularisation, in captions; `power`: weight of a direction as a power of its correlation;
    `pseudo_weight`: of an ImageNet classifier row beside a caption."""

    ridge_text: float = 10.0
    ridge_image: float = 3000.0
    power: float = 0.5
    pseudo_weight: float = 0.5
    seed: int = 0


def unit(x: np.ndarray) -> np.ndarray:
    """Rows of norm one."""
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), UNIT)


def moments(x: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """Mean and deviation by column, the deviation never zero."""
    return x.mean(0), np.maximum(x.std(0), 1e-4)


def discriminants(means: np.ndarray, total: np.ndarray, ridge: float, most: int) -> Tuple[np.ndarray, np.ndarray]:
    """Directions `[F, most]`, white in `total` with the ridge, that tell the captions' `means` apart, best first, and their
    correlations `[most]`; zero where there are no more."""
    back = np.linalg.inv(np.linalg.cholesky(total + ridge * np.eye(len(total), dtype=np.float32))).T
    inner = means @ back
    squares, directions = np.linalg.eigh(inner.T @ inner)
    best = np.argsort(-squares)[:most]
    out, strength = np.zeros((len(total), most), np.float32), np.zeros(most, np.float32)
    out[:, : len(best)] = back @ directions[:, best]
    strength[: len(best)] = np.sqrt(np.clip(squares[best], 1e-9, None))
    return out, strength


@torch.no_grad()
def start_images(maps: Maps, pairs: Pairs, s: Start) -> np.ndarray:
    """Sets the features' moments, both bases and `maps.visual`. Returns each caption's mean direction `[captions, dim]`."""
    rows, count = np.concatenate(pairs.pictures), np.array([len(p) for p in pairs.pictures])
    mean, std = moments(pairs.features[rows])
    f = ((pairs.features[rows] - mean) / std).astype(np.float32)
    ends = np.cumsum(count)[:-1]
    means = np.stack([part.mean(0) for part in np.split(f, ends)])
    total = (f / np.repeat(count, count)[:, None].astype(np.float32)).T @ f + s.pseudo_weight * pairs.pseudo.T @ pairs.pseudo
    told = np.concatenate([means, np.sqrt(s.pseudo_weight) * pairs.pseudo]).astype(np.float32)
    directions, strength = discriminants(told, total.astype(np.float32), s.ridge_image, max(maps.shape.visual_width, maps.shape.token_width))
    weighted = directions * strength**s.power
    size = lambda basis: basis / max(float(np.sqrt(np.mean((f @ basis) ** 2))), UNIT)
    put(maps.feature_mean, mean), put(maps.feature_std, std)
    put(maps.visual_basis, size(directions[:, : maps.shape.visual_width]))
    put(maps.token_basis, size(weighted[:, : maps.shape.token_width]))
    chosen = np.eye(maps.shape.dim, maps.shape.visual_width, dtype=np.float32) * strength[: maps.shape.visual_width] ** s.power
    put(maps.visual.weight, chosen)
    ours = weighted[:, : maps.shape.dim]
    places = np.stack([part.mean(0) for part in np.split(unit(f @ ours), ends)])
    return unit(np.concatenate([places, pairs.pseudo @ ours]))


@torch.no_grad()
def start_texts(maps: Maps, pairs: Pairs, places: np.ndarray, s: Start) -> None:
    """Sets the states' moments, the random layers, the white coordinates and `maps.text`."""
    states = pairs.states.reshape(-1, *pairs.states.shape[2:])
    mean, std = moments(states)
    draw = np.random.default_rng(s.seed)
    put(maps.state_mean, mean), put(maps.state_std, std)
    put(maps.random, draw.normal(size=maps.random.shape) / np.sqrt(maps.shape.hidden))
    h = maps.spread(torch.from_numpy(states))
    maps.text_mean.copy_(h.mean(0))
    h = h - maps.text_mean
    lower = torch.linalg.cholesky((h.T @ h / len(h) + s.ridge_text / len(h) * torch.eye(h.shape[1])).double())
    maps.text_basis.copy_(torch.linalg.solve_triangular(lower.T, torch.eye(len(lower), dtype=torch.double), upper=True))
    y = torch.from_numpy(np.repeat(places, pairs.states.shape[1], 0)).float()
    weight = maps.text_basis.T @ (h.T @ (y - y.mean(0))) / len(h)
    maps.text.weight.copy_(weight.T)
    maps.text.bias.copy_(y.mean(0))


def fit(pairs: Pairs, shape: Shape, s: Start) -> Maps:
    """The maps at their start; `maps.tokens` is left to `captioning.start`."""
    maps = Maps(shape)
    start_texts(maps, pairs, start_images(maps, pairs, s), s)
    return maps.eval()


def put(target: torch.Tensor, value: np.ndarray) -> None:
    """Copies into a tensor of the same shape."""
    target.copy_(torch.from_numpy(np.ascontiguousarray(value)))
