"""`visual_embeddings`: pictures become `k` tokens that the frozen model can read, trained by captioning.

A ridge regression first maps features to the embeddings of the caption's words (token 1 the mean of all, the last token the
mean of the head's), at the norm of real tokens; then the cross-entropy of "a picture of X" after the tokens goes
through the frozen model. Every step costs a backward pass through it, so on two cores the ridge does most of the work.

Read next: `losses.py`, `fit.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, List, Optional, Sequence

import numpy as np
import torch

from .captions import phrase
from .lm import EOS, Llama, Past
from .losses import caption_loss
from .maps import Maps
from .wordings import ASKS, ASSISTANT, END, PREAMBLE, REPLIES, USER

PROMPT = "<|im_start|>"


@dataclass(frozen=True)
class CaptionSettings:
    """Settings of the captioning stage."""

    steps: int = 150
    batch: int = 8
    rate: float = 2e-4
    bias_rate: float = 5e-3
    end_weight: float = 1.0
    warmup: int = 10
    ridge: float = 300.0
    seed: int = 0


def word_targets(lm: Llama, captions: Sequence[str], encode: Callable[[str], List[int]], k: int) -> torch.Tensor:
    """`[n, k, H]`: mean embedding of all the caption's tokens, then of its last ones, at the mean norm; the last of three
    or more is a full stop, the same for every picture: after it the model ends its turn instead of adding a stop."""
    out = torch.zeros(len(captions), k, lm.hidden)
    for i, c in enumerate(captions):
        rows = lm.embeddings[encode(" " + c)]
        for j in range(k):
            part = rows if j == 0 else rows[-max(1, len(rows) // 2) :]
            out[i, j] = part.mean(0)
    out = out / out.norm(dim=2, keepdim=True) * lm.embeddings.norm(dim=1).mean()
    if k > 2:
        out[:, -1] = lm.embeddings[encode(".")[0]]
    return out


@torch.no_grad()
def ridge_start(maps: Maps, features: torch.Tensor, target: torch.Tensor, strength: float) -> None:
    """Sets the matrix of `maps.tokens` to the ridge solution, scaled so that each output token has its target's norm."""
    x = maps.visual_in(features)
    y = target.flatten(1)
    mean = y.mean(0)
    w = torch.linalg.solve(x.T @ x + strength * torch.eye(x.shape[1]), x.T @ (y - mean))
    out = (x @ w + mean).view(target.shape)
    gain = (target.norm(dim=2).mean(0) / out.norm(dim=2).mean(0)).repeat_interleave(target.shape[2])
    layer = maps.tokens[-1]
    layer.weight.copy_((w * gain).T)
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


def end_loss(lm: Llama, past: Past, captions: Sequence[str], encode, tokens: torch.Tensor, draw: np.random.Generator) -> torch.Tensor:
    """Cross-entropy of the end of the turn after "Here is X.", `[RET]` and the picture's tokens: a shown picture ends
    the sentence, and no stray full stop follows it. Each row runs by itself on the cached preamble."""
    k, start, losses = tokens.shape[1], past[0][0].shape[2], []
    ends = torch.tensor([EOS])
    for caption, own in zip(captions, tokens):
        x = phrase(caption)
        said = encode(f"{USER}{ASKS[draw.integers(len(ASKS))].format(x=x)}{END}{ASSISTANT}{REPLIES[draw.integers(len(REPLIES))].format(x=x)}")
        inputs = torch.cat([lm.embeddings[said], lm.ret[None], own])[None]
        n = inputs.shape[1]
        allowed = torch.cat([torch.ones(n, start, dtype=torch.bool), torch.ones(n, n, dtype=torch.bool).tril()], 1)[None]
        final = lm.forward(inputs, torch.arange(start, start + n)[None], allowed, past).hidden[0][:, -1]
        losses.append(torch.nn.functional.cross_entropy(lm.logits(final), ends))
    return torch.stack(losses).mean()


def train(lm: Llama, maps: Maps, captions: Sequence[str], features: torch.Tensor, encode, s: CaptionSettings, log: Optional[Callable[[int, float, float], None]] = None) -> None:
    """Ridge, then `steps` of AdamW through the frozen model, on the caption's cross-entropy and, weighted, the end of
    the turn in a dialogue. `captions[i]` belongs to `features[i]`; `log(step, caption loss, end loss)`."""
    ridge_start(maps, features, word_targets(lm, captions, encode, maps.shape.visual_tokens), s.ridge)
    if not s.steps:
        return
    draw = np.random.default_rng(s.seed)
    past = [(k.clone(), v.clone()) for k, v in lm.prefix(encode(PREAMBLE))]
    layer = maps.tokens[-1]
    optimiser = torch.optim.AdamW([{"params": [layer.weight], "lr": s.rate}, {"params": [layer.bias], "lr": s.bias_rate}], betas=(0.9, 0.95), weight_decay=0.0)
    peaks = [group["lr"] for group in optimiser.param_groups]
    for step in range(s.steps):
        for group, peak in zip(optimiser.param_groups, peaks):
            group["lr"] = peak * min(1.0, (step + 1) / s.warmup) * (1 - step / s.steps)
        rows = draw.choice(len(captions), s.batch, replace=False)
        tokens, names = maps.visual_tokens(features[rows]), [captions[i] for i in rows]
        said = loss_of(lm, names, encode, tokens)
        ended = end_loss(lm, past, names[:4], encode, tokens[:4], draw) if s.end_weight else torch.zeros(())
        optimiser.zero_grad()
        (said + s.end_weight * ended).backward()
        if maps.shape.visual_tokens > 2:  # the full stop stays as it is
            layer.weight.grad[-lm.hidden :], layer.bias.grad[-lm.hidden :] = 0, 0
        torch.nn.utils.clip_grad_norm_(maps.tokens.parameters(), 1.0)
        optimiser.step()
        if log:
            log(step + 1, said.item(), ended.item())


@torch.inference_mode()
def describe(lm: Llama, tokens: torch.Tensor, encode, decode, new: int = 10) -> List[str]:
    """What the model answers greedily, after "This is", when a user's turn holds a picture (its tokens `[n, k, H]`) and "What is this?"."""
    past, n, said = lm.prefix(encode(PREAMBLE + USER)), len(tokens), []
    asked = lm.embeddings[encode(f"What is this?{END}{ASSISTANT}This is")]
    embeds = torch.cat([tokens, asked.expand(n, -1, -1)], 1)
    for _ in range(new):
        start, length = past[0][0].shape[2], embeds.shape[1]
        allowed = torch.cat([torch.ones(length, start, dtype=torch.bool), torch.ones(length, length, dtype=torch.bool).tril()], 1)
        result = lm.forward(embeds, torch.arange(start, start + length)[None].expand(n, -1), allowed.expand(n, -1, -1), past)
        said.append(lm.logits(result.hidden[0][:, -1]).argmax(1))
        embeds, past = lm.embeddings[said[-1]][:, None], result.past
    ends = (0, EOS)
    cut = lambda ids: ids[: next((i for i, t in enumerate(ids) if t in ends), len(ids))]
    return [decode(cut(ids)).strip() for ids in torch.stack(said, 1).tolist()]


def shared(truth: Sequence[str], said: Sequence[str], content: Callable[[str], set]) -> float:
    """The share of captions that have a content word in common with the truth."""
    return float(np.mean([bool(content(a) & content(b)) for a, b in zip(truth, said)]))
