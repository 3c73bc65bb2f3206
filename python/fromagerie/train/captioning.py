"""`visual_embeddings`: pictures become `k` tokens that the frozen model can read, trained by captioning.

A ridge regression first maps features to the embeddings of the caption's words (token 1 the mean of all, the last token the
mean of the head's), at the norm of real tokens; then the cross-entropy of "a picture of X" after the tokens goes
through the frozen model. Every step costs a backward pass through it, so on two cores the ridge does most of the work.

Read next: `losses.py`, `fit.py`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Callable, Dict, List, Optional, Sequence, Tuple

import numpy as np
import torch

from .captions import phrase
from .lm import EOS, Llama, generate
from .losses import caption_loss
from .maps import Maps, stack

PROMPT = "<|im_start|>"


@dataclass(frozen=True)
class CaptionSettings:
    """Settings of the captioning stage."""

    steps: int = 150
    batch: int = 16
    rate: float = 2e-4
    warmup: int = 10
    ridge: float = 300.0
    seed: int = 0


def word_targets(lm: Llama, captions: Sequence[str], encode: Callable[[str], List[int]], k: int) -> torch.Tensor:
    """`[n, k, H]`: mean embedding of all the caption's tokens, then of its last ones, each at the mean norm."""
    out = torch.zeros(len(captions), k, lm.hidden)
    for i, c in enumerate(captions):
        rows = lm.embeddings[encode(" " + c)]
        for j in range(k):
            part = rows if j == 0 else rows[-max(1, len(rows) // 2) :]
            out[i, j] = part.mean(0)
    norm = lm.embeddings.norm(dim=1).mean()
    return out / out.norm(dim=2, keepdim=True) * norm


@torch.no_grad()
def ridge_start(maps: Maps, features: torch.Tensor, target: torch.Tensor, strength: float) -> None:
    """Sets the matrix of `maps.tokens` to the ridge solution, scaled so that its outputs have the targets' norm."""
    x = maps.visual_in(features)
    y = target.flatten(1)
    mean = y.mean(0)
    w = torch.linalg.solve(x.T @ x + strength * torch.eye(x.shape[1]), x.T @ (y - mean))
    out = (x @ w + mean).view(target.shape)
    gain = target.norm(dim=2).mean() / out.norm(dim=2).mean()
    layer = maps.tokens[-1]
    layer.weight.copy_(w.T * gain)
    layer.bias.copy_(mean * gain)


def sequences(lm: Llama, captions: Sequence[str], encode, tokens: torch.Tensor):
    """Inputs `[n, S, H]`, target ids and mask `[n, S]`: BOS, the k tokens, then the caption and the end of turn."""
    k = tokens.shape[1]
    said = [encode("a picture of " + phrase(c)) + [EOS] for c in captions]
    width = max(map(len, said))
    ids = torch.tensor([s + [EOS] * (width - len(s)) for s in said])
    mask = torch.tensor([[True] * len(s) + [False] * (width - len(s)) for s in said])
    mask[:, :3] = False  # "a picture of" is always there
    start = lm.embeddings[encode(PROMPT)].expand(len(captions), -1, -1)
    inputs = torch.cat([start, tokens, lm.embeddings[ids[:, :-1]]], 1)
    return inputs, ids, mask, start.shape[1] + k - 1


def loss_of(lm: Llama, captions: Sequence[str], encode, tokens: torch.Tensor) -> torch.Tensor:
    """Captioning cross-entropy of `captions` after visual `tokens` `[n, k, H]`."""
    inputs, ids, mask, at = sequences(lm, captions, encode, tokens)
    n = inputs.shape[1]
    causal = torch.ones(n, n, dtype=torch.bool).tril()[None].expand(len(inputs), -1, -1)
    final = lm.forward(inputs, torch.arange(n)[None].expand(len(inputs), -1), causal).hidden[0]
    return caption_loss(lm.logits(final[:, at:][mask])[None], ids[mask][None], torch.ones(1, int(mask.sum()), dtype=torch.bool))


def train(lm: Llama, maps: Maps, captions: Sequence[str], features: torch.Tensor, encode, s: CaptionSettings, log: Optional[Callable[[int, float], None]] = None) -> None:
    """Ridge, then `steps` of AdamW on the cross-entropy through the frozen model. `captions[i]` belongs to `features[i]`."""
    ridge_start(maps, features, word_targets(lm, captions, encode, maps.shape.visual_tokens), s.ridge)
    draw = np.random.default_rng(s.seed)
    optimiser = torch.optim.AdamW(maps.tokens.parameters(), lr=s.rate, betas=(0.9, 0.95), weight_decay=0.01)
    for step in range(s.steps):
        for group in optimiser.param_groups:
            group["lr"] = s.rate * min(1.0, (step + 1) / s.warmup) * (1 - step / s.steps)
        rows = draw.choice(len(captions), s.batch, replace=False)
        loss = loss_of(lm, [captions[i] for i in rows], encode, maps.visual_tokens(features[rows]))
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(maps.tokens.parameters(), 1.0)
        optimiser.step()
        if log:
            log(step + 1, float(loss))


@torch.inference_mode()
def evaluate(lm: Llama, maps: Maps, captions: Sequence[str], features: torch.Tensor, encode, decode, content: Callable[[str], set], say: int = 60) -> Dict[str, object]:
    """Caption loss, and the share of the first `say` pictures whose greedy caption shares a content word with the truth."""
    tokens = maps.visual_tokens(features)
    losses = [float(loss_of(lm, captions[i : i + 32], encode, tokens[i : i + 32])) for i in range(0, len(captions), 32)]
    said = []
    for i in range(min(say, len(captions))):
        embeds = torch.cat([lm.embeddings[encode(PROMPT)], tokens[i]])[None]
        n = embeds.shape[1]
        past = lm.forward(embeds, torch.arange(n)[None], torch.ones(n, n, dtype=torch.bool).tril()[None]).past
        said.append(decode(generate(lm, encode("a picture of"), 8, past)))
    shared = [bool(content(c) & content(t)) for c, t in zip(captions, said)]
    return {"loss": float(np.mean(losses)), "shared_word": float(np.mean(shared)), "examples": list(zip(captions, said))[:12]}
