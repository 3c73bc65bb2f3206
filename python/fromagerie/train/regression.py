"""Trains the retrieval maps in closed form: pictures first, then texts towards where their pictures lie.

1. `visual_fc`: linear discriminants of the captions (canonical correlation with one indicator a caption): directions in
   which pictures of different captions differ and pictures of one caption, drawn in different styles, do not.
   ImageNet's classifier rows are further captions with one picture each. Features are standardised, so embeddings
   are centred, and no picture is near everything.
2. `text_hidden_fcs`: a random first matrix, GELU, and a second matrix, and a plain matrix besides, by ridge regression from all wordings of a caption to
   the mean direction of its pictures. With states as the shipped decoder rounds them (`shipped.py`) among the wordings, the
   map learns to ignore what rounding and wording change.

Measured against InfoNCE from canonical correlation (`retrieval.py`): known concepts are found more often, at a fraction
of the time. Read next: `fit.py`.
"""

from __future__ import annotations

from typing import List, Tuple

import numpy as np
import torch
import torch.nn.functional as F

from .maps import Maps, Shape
from .retrieval import Pairs, Settings, moments

UNIT = 1e-9


def unit(x: np.ndarray) -> np.ndarray:
    """Rows of norm one."""
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), UNIT)


def discriminants(means: np.ndarray, total: np.ndarray, ridge: float, power: float, dim: int) -> np.ndarray:
    """`[F, dim]`: directions that tell the captions' `means` apart in the metric of `total`, weighted by correlation to the `power`."""
    back = np.linalg.inv(np.linalg.cholesky(total + ridge * np.eye(len(total), dtype=np.float32))).T
    inner = means @ back
    squares, directions = np.linalg.eigh(inner.T @ inner)
    best = np.argsort(-squares)[:dim]
    out = np.zeros((len(total), dim), np.float32)
    out[:, : len(best)] = back @ (directions[:, best] * np.clip(squares[best], 1e-9, None) ** (power / 2))
    return out


def image_side(pairs: Pairs, s: Settings, dim: int) -> Tuple[np.ndarray, tuple, np.ndarray]:
    """The matrix `[F, dim]` on standardised features, their moments, and each caption's mean direction `[captions, dim]`."""
    real = min(pairs.pseudo_from, len(pairs.captions))
    rows = np.concatenate(pairs.pictures[:real])
    count = np.array([len(p) for p in pairs.pictures[:real]])
    stats = moments(pairs.features[rows])
    f = ((pairs.features[rows] - stats[0]) / stats[1]).astype(np.float32)
    ends = np.cumsum(count)[:-1]
    means = np.stack([part.mean(0) for part in np.split(f, ends)])
    total = (f / np.repeat(count, count)[:, None].astype(np.float32)).T @ f
    pseudo = pairs.pseudo if pairs.pseudo is not None else np.zeros((0, f.shape[1]), np.float32)
    total = total + s.pseudo_weight * pseudo.T @ pseudo
    matrix = discriminants(np.concatenate([means, np.sqrt(s.pseudo_weight) * pseudo]).astype(np.float32), total.astype(np.float32), s.ridge_image, s.power, dim)
    places = np.stack([part.mean(0) for part in np.split(unit(f @ matrix), ends)])
    return matrix, stats, unit(np.concatenate([places, pseudo @ matrix]))


def fit(pairs: Pairs, shape: Shape, s: Settings) -> Maps:
    """The trained maps; `shape.text_hidden` is the width of the random layer, for each language model layer."""
    matrix, image_stats, places = image_side(pairs, s, shape.dim)
    words = pairs.states.shape[1]
    x = pairs.states.reshape(-1, *pairs.states.shape[2:])
    stats = [moments(x[:, i]) for i in range(x.shape[1])]
    draw = np.random.default_rng(s.seed)
    first = [(draw.normal(size=(shape.hidden, shape.text_hidden)) / np.sqrt(shape.hidden)).astype(np.float32) for _ in stats]
    act = lambda i, m, d: F.gelu(torch.from_numpy((x[:, i] - m) / d) @ torch.from_numpy(first[i])).numpy()
    hidden = [act(i, m, d) for i, (m, d) in enumerate(stats)]
    plain = [(x[:, i] - m) / d for i, (m, d) in enumerate(stats)] if shape.text_direct else []
    parts = np.cumsum([p.shape[1] for p in (*hidden, *plain)])[:-1]
    h = np.concatenate([*hidden, *plain], 1)
    y = np.repeat(places, words, 0).astype(np.float32)
    centre, middle = h.mean(0), y.mean(0)
    h -= centre
    second = np.linalg.solve(h.T @ h + s.ridge_text * np.eye(h.shape[1], dtype=np.float32), h.T @ (y - middle))
    maps = Maps(shape, [tuple(map(torch.from_numpy, t)) for t in stats], tuple(map(torch.from_numpy, image_stats)))
    install(maps, first, np.split(second.astype(np.float32), parts), middle - centre @ second, matrix)
    return maps.eval()


@torch.no_grad()
def install(maps: Maps, first: List[np.ndarray], second: List[np.ndarray], bias: np.ndarray, image: np.ndarray) -> None:
    """Puts the matrices (input by output) into `maps`; the bias is shared out among the layers."""
    put = lambda linear, matrix: linear.weight.copy_(torch.from_numpy(np.ascontiguousarray(matrix.T)))
    for fc, a, b in zip(maps.text, first, second):
        put(fc[0], a)
        fc[0].bias.zero_()
        put(fc[-1], b)
        fc[-1].bias.copy_(torch.from_numpy((bias / len(first)).astype(np.float32)))
    for fc, b in zip(maps.direct, second[len(first) :]):
        put(fc[-1], b)
        fc[-1].bias.zero_()
    put(maps.visual[-1], image)
    maps.visual[-1].bias.zero_()
