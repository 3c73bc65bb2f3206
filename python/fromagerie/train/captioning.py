"""`visual_embeddings`: a picture becomes `k` tokens that the frozen model reads, trained by captioning.

The matrix reads the discriminants of the captions (`regression.py`): directions in which pictures of different things
differ and drawings of one thing do not. It starts as a ridge regression from there to the embeddings of the
caption's words, and learns by the cross-entropy of the answer "This is X." through the frozen model, in the place where a
picture stands in a chat: after the preamble, in the user's turn, before "What is this?". The place matters more than the
training: given the words' own embeddings for tokens, the model repeats them here (a loss of 1.5 a token), and does not after BOS
and before "a picture of" (7.3). The last of three tokens is a full stop for every picture and stays one: a shown picture
ends its sentence, and the model's turn with it.

Read next: `losses.py`, `joint.py`.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Callable, Dict, List, Sequence, Tuple

import numpy as np
import torch

from .captions import phrase
from .lm import EOS, Llama, Past
from .losses import caption_loss
from .maps import Maps
from .wordings import ASSISTANT, END, PREAMBLE, USER

Encode = Callable[[str], List[int]]
ASKED = ("What is this?", "What is in this picture?", "What do you see here?")
SAID = "This is"


def question(encode: Encode, number: int) -> List[int]:
    """What follows the picture: the rest of the user's turn and how the answer begins."""
    return encode(f"{ASKED[number]}{END}{ASSISTANT}") + encode(SAID)


def word_targets(lm: Llama, captions: Sequence[str], encode: Encode, k: int) -> torch.Tensor:
    """`[n, k, H]`: the mean embedding of all the caption's tokens, then of its last ones, at the mean norm; the last of
    three or more is a full stop."""
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
def start(maps: Maps, features: torch.Tensor, target: torch.Tensor, weight: torch.Tensor, ridge: float) -> None:
    """Sets `maps.tokens` to the ridge solution from `features` `[n, F]` to `target` `[n, k, H]`, scaled so that each output token has
    its target's norm. Pictures weigh `weight`, which sums to their captions' number."""
    x = maps.standard(features) @ maps.token_basis
    y, root = target.flatten(1), weight.sqrt()[:, None]
    mean = (y * weight[:, None]).sum(0) / weight.sum()
    a, b = x * root, (y - mean) * root
    w = torch.linalg.solve(a.T @ a + ridge * torch.eye(x.shape[1]), a.T @ b)
    out = (x @ w + mean).view(target.shape)
    norm = (target.norm(dim=2).mean(0) / out.norm(dim=2).mean(0)).repeat_interleave(target.shape[2])
    maps.tokens.weight.copy_((w * norm).T)
    maps.tokens.bias.copy_(mean * norm)


def loss_of(lm: Llama, past: Past, asked: List[int], ids: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of the answers `ids` `[n, S]` after visual `tokens` `[n, k, H]` and the ids `asked`, on top of `past`."""
    n, k = tokens.shape[:2]
    between = lm.embeddings[asked].expand(n, -1, -1)
    final = lm.forward(torch.cat([tokens, between, lm.embeddings[ids[:, :-1]]], 1), past).final
    return caption_loss(lm.logits(final[:, k + len(asked) - 1 :]), ids, torch.ones_like(ids, dtype=torch.bool))


@dataclass
class Captions:
    """What captioning draws its batches from: pictures by caption, captions by length, so that nothing is padded."""

    lm: Llama
    past: Past
    asked: List[List[int]]
    said: List[List[int]]
    pictures: List[np.ndarray]
    features: torch.Tensor

    @classmethod
    def of(cls, lm: Llama, encode: Encode, pictures: Dict[str, np.ndarray], features: np.ndarray) -> "Captions":
        """`pictures`: rows of `features` by caption."""
        said = [encode(f" {phrase(c)}.") + [EOS] for c in pictures]
        asked = [question(encode, i) for i in range(len(ASKED))]
        return cls(lm, lm.prefix(encode(PREAMBLE + USER)), asked, said, list(pictures.values()), torch.from_numpy(features))

    def batch(self, draw: np.random.Generator, size: int) -> Tuple[torch.Tensor, torch.Tensor]:
        """Token ids `[n, S]` of captions of one length and one picture's features `[n, F]` of each."""
        groups = defaultdict(list)
        for i, s in enumerate(self.said):
            groups[len(s)].append(i)
        same = groups[len(self.said[draw.integers(len(self.said))])]
        chosen = draw.choice(same, min(size, len(same)), replace=False)
        rows = [self.pictures[i][draw.integers(len(self.pictures[i]))] for i in chosen]
        return torch.tensor([self.said[i] for i in chosen]), self.features[rows]

    def loss(self, maps: Maps, draw: np.random.Generator, size: int) -> torch.Tensor:
        """The captioning loss of one batch, under one of the questions."""
        ids, features = self.batch(draw, size)
        return loss_of(self.lm, self.past, self.asked[draw.integers(len(self.asked))], ids, maps.visual_tokens(features))

    def hold(self, maps: Maps) -> None:
        """Takes the gradient from the last of three tokens: the full stop stays as it is."""
        if maps.shape.visual_tokens > 2:
            maps.tokens.weight.grad[-maps.shape.hidden :], maps.tokens.bias.grad[-maps.shape.hidden :] = 0, 0


@torch.inference_mode()
def describe(lm: Llama, past: Past, tokens: torch.Tensor, encode: Encode, decode: Callable[[List[int]], str], new: int = 10) -> List[str]:
    """What the model answers greedily, asked "What is this?" of each picture's visual tokens `[n, k, H]`, after "This is"."""
    n, said = len(tokens), []
    embeds = torch.cat([tokens, lm.embeddings[question(encode, 0)].expand(n, -1, -1)], 1)
    for _ in range(new):
        result = lm.forward(embeds, past)
        said.append(lm.logits(result.final[:, -1]).argmax(1))
        embeds, past = lm.embeddings[said[-1]][:, None], result.past
    ends = (0, EOS)
    cut = lambda ids: ids[: next((i for i, t in enumerate(ids) if t in ends), len(ids))]
    return [decode(cut(ids)).strip() for ids in torch.stack(said, 1).tolist()]


def shared(truth: Sequence[str], said: Sequence[str], content: Callable[[str], set]) -> float:
    """The share of captions that have a content word in common with the truth."""
    return float(np.mean([bool(content(a) & content(b)) for a, b in zip(truth, said)]))
