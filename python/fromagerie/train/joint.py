"""Trains the maps at once on FROMAGe's weighted sum: captioning and retrieval, one optimiser, from the closed form on.

Every step draws a batch of captions for the frozen language model and a much larger one for InfoNCE, adds the two
losses by weight and takes one AdamW step (0.9, 0.95; warm-up, then linear decay; clipping; learnable temperature). A batch of
captions costs thirty times a batch of InfoNCE, so the sum may hold it at every `captioning_every`-th step only. Rates are
relative: a matrix moves by its rate times the root mean square it starts with. A branch given as None is not computed.
`[RET]`'s input row was trained before (`ret_row.py`) and stays, so retrieval's states stay cached.

Source: Koh, Salakhutdinov, Fried 2023 (arXiv:2301.13823). Read next: `captioning.py`, `retrieval.py`, `regression.py` (the start).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Callable, List, Optional

import numpy as np
import torch

from .captioning import Captions
from .losses import weighted
from .maps import Maps
from .retrieval import Contrast

Watch = Callable[[int, float, float, float], None]


@dataclass(frozen=True)
class Joint:
    """Settings: `*_batch` in captions; `*_rate` relative to each matrix's root mean square; `*_weight` as in the sum;
    `scale`: the inverse temperature at the start."""

    steps: int = 300
    captioning_every: int = 1
    captioning_batch: int = 16
    contrast_batch: int = 512
    captioning_rate: float = 0.02
    contrast_rate: float = 0.02
    row_rate: float = 0.02
    scale_rate: float = 0.002
    captioning_weight: float = 1.0
    contrast_weight: float = 1.0
    scale: float = 10.0
    dropout: float = 0.3
    warmup: int = 20
    clip: float = 1.0
    seed: int = 0


def groups(maps: Maps, s: Joint, captions: bool, contrast: Optional[Contrast]) -> List[dict]:
    """The optimiser's parameter groups, each at its peak rate; only of the branches that are there."""
    size = lambda p: float(p.detach().pow(2).mean().sqrt())
    retrieval = [*maps.text.parameters(), *maps.visual.parameters()] if contrast else []
    tokens, row = list(maps.tokens.parameters()) if captions else [], contrast.learns if contrast else []
    rates = (s.contrast_rate, retrieval), (s.captioning_rate, tokens), (s.row_rate, row)
    out = [{"params": [p], "lr": rate * size(p)} for rate, ps in rates for p in ps]
    return out + ([{"params": [maps.log_scale], "lr": s.scale_rate}] if contrast else [])


def train(maps: Maps, captions: Optional[Captions], contrast: Optional[Contrast], s: Joint, watch: Optional[Watch] = None) -> None:
    """Minimises the weighted sum in place; a branch given as None is 0. `watch(step, captioning, InfoNCE, scale)`, not a number where
    the sum had no captioning."""
    torch.manual_seed(s.seed)
    said, seen = np.random.default_rng(s.seed), np.random.default_rng(s.seed + 1)
    if contrast:
        maps.log_scale.data.fill_(float(np.log(s.scale)))
    chosen = groups(maps, s, captions is not None, contrast)
    optimiser = torch.optim.AdamW(chosen, betas=(0.9, 0.95), weight_decay=0.0)
    peaks = [group["lr"] for group in optimiser.param_groups]
    for step in range(s.steps):
        for group, peak in zip(optimiser.param_groups, peaks):
            group["lr"] = peak * min(1.0, (step + 1) / s.warmup) * (1 - step / s.steps)
        asked = captions is not None and step % s.captioning_every == 0
        caption_loss = captions.loss(maps, said, s.captioning_batch) if asked else torch.zeros(())
        contrast_loss = contrast.loss(maps, seen, s.contrast_batch, s.dropout) if contrast else torch.zeros(())
        optimiser.zero_grad()
        weighted(caption_loss, contrast_loss, s.captioning_weight, s.contrast_weight).backward()
        if asked:
            captions.hold(maps)
        for group in chosen:
            torch.nn.utils.clip_grad_norm_(group["params"], s.clip)
        optimiser.step()
        if watch:
            watch(step + 1, caption_loss.item() if asked else math.nan, contrast_loss.item(), maps.log_scale.exp().item())
