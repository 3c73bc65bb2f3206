"""Trains the two maps of retrieval on cached states and features: seconds, so that settings can be compared.

Both maps are matrices, and they start where a closed form puts them: regularised canonical correlation between `[RET]`'s
states and the pictures' features, every caption weighing the same however many pictures and wordings it has, with
ImageNet's classifier rows as further pictures. From there InfoNCE in both directions goes on (learnable temperature,
AdamW 0.9 / 0.95, warm-up, clipping), in the canonical coordinates, where few steps at a small rate suffice: with
thousands of pairs and not millions, training from nothing overfits before it arrives.

Read next: `losses.py`, `fit.py` (the command).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, List, Optional, Tuple

import numpy as np
import torch
import torch.nn.functional as F

from .losses import info_nce, targets
from .maps import Maps, Shape


@dataclass(frozen=True)
class Settings:
    """Settings of one run. `ridge_*`: the closed form's regularisation, in captions; `power`: weight of a canonical
    direction as a power of its correlation; `width`: canonical directions kept; `steps` 0: the closed form alone."""

    ridge_text: float = 3000.0
    ridge_image: float = 3000.0
    power: float = 0.5
    width: int = 512
    pseudo_weight: float = 1.0
    steps: int = 100
    batch: int = 768
    rate: float = 3e-4
    decay: float = 0.0
    warmup: int = 20
    clip: float = 1.0
    dropout: float = 0.5
    scale: float = 20.0
    teacher_share: float = 0.3
    teacher_temperature: float = 0.05
    pseudo_share: float = 0.0
    seed: int = 0


@dataclass
class Pairs:
    """What a run trains on. `states`: `[captions, wordings, layers, hidden]`; `pictures[i]`: rows of `features`.

    Captions from `pseudo_from` on have no pictures but a classifier's row each, in `pseudo`, standardised already.
    """

    captions: List[str]
    states: np.ndarray
    pictures: List[np.ndarray]
    features: np.ndarray
    teacher: Optional[np.ndarray] = None
    pseudo_from: int = 10**9
    pseudo: Optional[np.ndarray] = None


@dataclass
class Start:
    """Canonical directions (columns) of both sides, orthonormal in the weighted data, and their correlations."""

    text: np.ndarray
    image: np.ndarray
    correlation: np.ndarray


def moments(x: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """Mean and deviation by column, the deviation never zero."""
    return x.mean(0), np.maximum(x.std(0), 1e-4)


def canonical(x: np.ndarray, caption: np.ndarray, f: np.ndarray, weight: np.ndarray, s: Settings) -> Start:
    """Regularised canonical correlation. `x` `[captions, wordings, T]`; picture row i of `f` shows `caption[i]`."""
    words = x.shape[1]
    own = np.bincount(caption, weight, minlength=len(x))
    text = (x * np.sqrt(own / words)[:, None, None]).reshape(-1, x.shape[2])
    mean = x.mean(1)
    sxx = text.T @ text + s.ridge_text * np.eye(x.shape[2], dtype=np.float32)
    sff = (f * weight[:, None]).T @ f + s.ridge_image * np.eye(f.shape[1], dtype=np.float32)
    sxf = (mean[caption] * weight[:, None]).T @ f
    lx, lf = np.linalg.cholesky(sxx), np.linalg.cholesky(sff)
    u, correlation, vt = np.linalg.svd(np.linalg.solve(lx, np.linalg.solve(lf, sxf.T).T), full_matrices=False)
    k, gain = s.width, np.sqrt(own.sum())
    back = lambda l, m: (np.linalg.solve(l.T, m) * gain).astype(np.float32)
    return Start(back(lx, u[:, :k]), back(lf, vt[:k].T), correlation[:k].astype(np.float32))


def fit(pairs: Pairs, shape: Shape, s: Settings, watch: Optional[Callable[[int, float, float], None]] = None) -> Maps:
    """The trained maps. `watch(step, loss, scale)` is called after every step."""
    real = min(pairs.pseudo_from, len(pairs.captions))
    picture = np.concatenate(pairs.pictures[:real])
    caption = np.concatenate([np.full(len(p), i) for i, p in enumerate(pairs.pictures[:real])])
    text_stats = [moments(pairs.states[:, :, i].reshape(-1, pairs.states.shape[3])) for i in range(pairs.states.shape[2])]
    image_stats = moments(pairs.features[picture])
    x = np.concatenate([(pairs.states[:, :, i] - m) / d for i, (m, d) in enumerate(text_stats)], 2)
    f = (pairs.features[picture] - image_stats[0]) / image_stats[1]
    weight = (1 / np.bincount(caption))[caption]
    if pairs.pseudo is not None and len(pairs.pseudo):
        f = np.concatenate([f, pairs.pseudo])
        caption = np.concatenate([caption, np.arange(real, len(pairs.captions))])
        weight = np.concatenate([weight, np.full(len(pairs.pseudo), s.pseudo_weight)])
    start = canonical(x, caption, f.astype(np.float32), weight.astype(np.float32), s)
    text, image, scale = refine(x @ start.text, f @ start.image, caption, start, pairs.teacher, real, shape.dim, s, watch)
    maps = Maps(shape, [tuple(map(torch.from_numpy, t)) for t in text_stats], tuple(map(torch.from_numpy, image_stats)))
    install(maps, start.text @ text, start.image @ image, scale)
    return maps.eval()


def refine(x, f, caption, start: Start, teacher, real: int, dim: int, s: Settings, watch) -> Tuple[np.ndarray, np.ndarray, float]:
    """InfoNCE from the closed form on: matrices `[width, dim]` of both sides in canonical coordinates, and the scale."""
    torch.manual_seed(s.seed)
    draw = np.random.default_rng(s.seed)
    first = torch.zeros(start.text.shape[1], dim)
    first[:dim] = torch.diag(torch.from_numpy(start.correlation[:dim] ** s.power))
    text, image = first.clone().requires_grad_(), first.clone().requires_grad_()
    log_scale = torch.tensor(float(np.log(s.scale)), requires_grad=True)
    optimiser = torch.optim.AdamW([{"params": [text, image], "weight_decay": s.decay}, {"params": [log_scale], "weight_decay": 0.0}], lr=s.rate, betas=(0.9, 0.95))
    x, f = torch.from_numpy(x).float(), torch.from_numpy(f).float()
    rows_of = [np.flatnonzero(caption == i) for i in range(len(x))] if s.steps else []
    taught = None if teacher is None else torch.from_numpy(teacher).float()
    for step in range(s.steps):
        for group in optimiser.param_groups:
            group["lr"] = s.rate * min(1.0, (step + 1) / s.warmup) * (0.1 + 0.9 * (1 - step / s.steps))
        fake = min(int(s.batch * s.pseudo_share), len(x) - real)
        chosen = draw.choice(real, min(real, s.batch - fake), replace=False)
        if fake:
            chosen = np.concatenate([chosen, real + draw.choice(len(x) - real, fake, replace=False)])
        words = x[chosen, torch.from_numpy(draw.integers(x.shape[1], size=len(chosen)))]
        seen = f[[rows_of[i][draw.integers(len(rows_of[i]))] for i in chosen]]
        like = None if taught is None else taught[chosen] @ taught[chosen].T
        target = targets(torch.eye(len(chosen), dtype=torch.bool), like, s.teacher_share, s.teacher_temperature)
        loss = info_nce(F.dropout(words, s.dropout) @ text, F.dropout(seen, s.dropout) @ image, log_scale.exp().clamp(max=100), target)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_([text, image, log_scale], s.clip)
        optimiser.step()
        if watch:
            watch(step + 1, loss.item(), log_scale.exp().item())
    return text.detach().numpy(), image.detach().numpy(), log_scale.exp().item()


@torch.no_grad()
def install(maps: Maps, text: np.ndarray, image: np.ndarray, scale: float) -> None:
    """Puts matrices `[layers * hidden, dim]` and `[F, dim]` on standardised inputs into `maps`."""
    hidden = maps.shape.hidden
    for i, fc in enumerate(maps.text):
        fc[-1].weight.copy_(torch.from_numpy(text[i * hidden : (i + 1) * hidden].T.copy()))
        fc[-1].bias.zero_()
    maps.visual[-1].weight.copy_(torch.from_numpy(image.T.copy()))
    maps.visual[-1].bias.zero_()
    maps.log_scale.fill_(float(np.log(scale)))


@torch.inference_mode()
def scores(maps: Maps, states: np.ndarray, features: np.ndarray) -> np.ndarray:
    """Cosines `[queries, pictures]` of `[q, layers, hidden]` states and `[p, F]` features."""
    q = F.normalize(maps.query(torch.from_numpy(states).float()), dim=1)
    v = F.normalize(maps.image(torch.from_numpy(features).float()), dim=1)
    return (q @ v.T).numpy()
