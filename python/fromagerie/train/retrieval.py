"""Trains the two maps of retrieval on cached states and features: half a minute, so that settings can be compared.

Every step draws captions, one of their pictures each (all renderings of an icon are its positives), and one wording of
each caption; ImageNet's classifier rows come in as pictures of their class. The maps' last weights are averaged over
the end of the run. AdamW with betas 0.9 and 0.95, warm-up then cosine, clipping, a seed.

Read next: `losses.py`, `fit.py` (the command).
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Callable, Dict, List, Optional, Sequence

import numpy as np
import torch

from .losses import info_nce, targets
from .maps import Maps, Shape


@dataclass(frozen=True)
class Settings:
    """Settings of one run; the defaults are what validation chose."""

    steps: int = 1500
    batch: int = 1024
    rate: float = 1e-3
    decay: float = 0.1
    warmup: int = 50
    clip: float = 1.0
    text_dropout: float = 0.1
    visual_dropout: float = 0.1
    teacher_share: float = 0.3
    teacher_temperature: float = 0.05
    pseudo_share: float = 0.2
    text_noise: float = 0.0
    visual_noise: float = 0.0
    average_from: float = 0.5
    fixed_scale: float = 0.0
    seed: int = 0


@dataclass
class Pairs:
    """What a run trains on. `states`: `[captions, wordings, layers, hidden]`; `pictures[i]`: rows of `features`."""

    captions: List[str]
    states: np.ndarray
    pictures: List[np.ndarray]
    features: np.ndarray
    teacher: Optional[np.ndarray] = None
    pseudo_from: int = 10**9  # captions from here on have only a classifier row, standardised already, in `pseudo`
    pseudo: Optional[np.ndarray] = None
    source_of_picture: Optional[np.ndarray] = None


def moments(x: torch.Tensor):
    """Mean and deviation by column, the deviation never zero."""
    return x.mean(0), x.std(0).clamp(min=1e-4)


def rate_at(step: int, s: Settings) -> float:
    """Warm-up, then a cosine to a twentieth."""
    if step < s.warmup:
        return (step + 1) / s.warmup
    return 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * (step - s.warmup) / max(1, s.steps - s.warmup)))


def fit(pairs: Pairs, shape: Shape, s: Settings, watch: Optional[Callable[[Maps, int, float], None]] = None, every: int = 0) -> Maps:
    """The trained maps, averaged over the end of the run. `watch(maps, step, loss)` every `every` steps."""
    torch.manual_seed(s.seed)
    draw = np.random.default_rng(s.seed)
    states = torch.from_numpy(pairs.states).float()
    features = torch.from_numpy(pairs.features).float()
    teacher = None if pairs.teacher is None else torch.from_numpy(pairs.teacher).float()
    used = np.unique(np.concatenate([p for p in pairs.pictures if len(p)]))
    stats = [moments(states[:, :, i].flatten(0, 1)) for i in range(states.shape[2])]
    maps = Maps(shape, stats, moments(features[used]), s.text_dropout, s.visual_dropout)
    with torch.no_grad():
        features = maps.visual_in(features)
        pseudo = None if pairs.pseudo is None else torch.from_numpy(pairs.pseudo).float()
    weights = [p for n, p in maps.named_parameters() if p.ndim == 2]
    others = [p for n, p in maps.named_parameters() if p.ndim != 2 and not (s.fixed_scale and n == "log_scale")]
    if s.fixed_scale:
        maps.log_scale.data.fill_(math.log(s.fixed_scale))
    optimiser = torch.optim.AdamW([{"params": weights, "weight_decay": s.decay}, {"params": others, "weight_decay": 0.0}], lr=s.rate, betas=(0.9, 0.95))
    real = np.array([i for i in range(len(pairs.captions)) if i < pairs.pseudo_from])
    fake = np.array([i for i in range(len(pairs.captions)) if i >= pairs.pseudo_from])
    average: Dict[str, torch.Tensor] = {}
    averaged = 0
    maps.train()
    for step in range(s.steps):
        for group in optimiser.param_groups:
            group["lr"] = s.rate * rate_at(step, s)
        n_fake = min(len(fake), int(s.batch * s.pseudo_share))
        rows = draw.choice(real, min(len(real), s.batch - n_fake), replace=False)
        seen = features[[pairs.pictures[i][draw.integers(len(pairs.pictures[i]))] for i in rows]]
        if n_fake:
            more = draw.choice(fake, n_fake, replace=False)
            rows = np.concatenate([rows, more])
            seen = torch.cat([seen, pseudo[more - pairs.pseudo_from]])
        words = states[rows, draw.integers(states.shape[1], size=len(rows))]
        if s.visual_noise:
            seen = seen + s.visual_noise * torch.randn_like(seen)
        if s.text_noise:
            words = words + s.text_noise * torch.randn_like(words) * torch.stack([std for _, std in stats])
        same = torch.eye(len(rows), dtype=torch.bool)
        like = None if teacher is None else teacher[rows] @ teacher[rows].T
        target = targets(same, like, s.teacher_share, s.teacher_temperature)
        loss = info_nce(maps.query(words), maps.image(seen, standard=True), maps.log_scale.exp().clamp(max=100), target)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(maps.parameters(), s.clip)
        optimiser.step()
        if step >= s.average_from * s.steps:
            averaged += 1
            for name, value in maps.state_dict().items():
                average[name] = value.clone() if averaged == 1 else average[name] + (value - average[name]) / averaged
        if watch and every and (step + 1) % every == 0:
            watch(maps, step + 1, float(loss))
    maps.load_state_dict(average)
    return maps.eval()


@torch.inference_mode()
def scores(maps: Maps, states: np.ndarray, features: np.ndarray) -> np.ndarray:
    """Cosines `[queries, pictures]` of `[q, layers, hidden]` states and `[p, F]` features."""
    q = torch.nn.functional.normalize(maps.query(torch.from_numpy(states).float()), dim=1)
    v = torch.nn.functional.normalize(maps.image(torch.from_numpy(features).float()), dim=1)
    return (q @ v.T).numpy()
