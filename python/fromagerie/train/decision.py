"""`[RET]`'s output row: a logistic unit on the final hidden state, against the model's own vocabulary.

P([RET]) is a softmax over all logits, so the unit's logit competes with the log-sum-exp of the frozen model's. The row
is fitted by cross-entropy over every judged position of the dialogues (positives weighted, weight decay, full batch),
and judged the way the engine decides: `[RET]` comes when its logit is the largest.

Read next: `dialogues.py` (what is judged).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, List, Sequence, Tuple

import torch

from .dialogues import Piece
from .lm import Llama, Past


@dataclass
class Positions:
    """Final hidden states `[n, H]`, log-sum-exp and largest logit of the frozen vocabulary, and labels."""

    hidden: torch.Tensor
    lse: torch.Tensor
    largest: torch.Tensor
    label: torch.Tensor
    dialogue: torch.Tensor


def embed(lm: Llama, ids: Sequence[int], pictures: torch.Tensor) -> torch.Tensor:
    """Input embeddings; id -1 - n is row n of `pictures`, an id past the vocabulary is `[RET]`."""
    rows = [pictures[-1 - i] if i < 0 else (lm.ret if i >= len(lm.embeddings) else lm.embeddings[i]) for i in ids]
    return torch.stack(rows)[None]


@torch.inference_mode()
def read(lm: Llama, past: Past, dialogues: Sequence[List[Piece]], pictures: torch.Tensor) -> Positions:
    """Runs every dialogue on top of the preamble and collects its judged positions."""
    out = []
    for number, pieces in enumerate(dialogues):
        ids = [i for piece, _ in pieces for i in piece]
        labels = [label for piece, label in pieces for _ in piece]
        hidden = lm.forward(embed(lm, ids, pictures), past).final[0]
        judged = [i for i, label in enumerate(labels) if label is not None]
        logits = lm.logits(hidden[judged])
        out.append((hidden[judged], logits.logsumexp(1), logits.max(1).values, torch.tensor([labels[i] for i in judged]), torch.full((len(judged),), number)))
    return Positions(*(torch.cat(parts) for parts in zip(*out)))


def fit(p: Positions, decay: float = 1e-3, positive: float = 3.0, steps: int = 200) -> Tuple[torch.Tensor, torch.Tensor]:
    """The row `[H]` and its bias `[1]`: hidden states are standardised for the fit and the scaling folded back."""
    mean, std = p.hidden.mean(0), p.hidden.std(0).clamp(min=1e-3)
    x, y = (p.hidden - mean) / std, p.label.float()
    w = torch.zeros(x.shape[1], requires_grad=True)
    b = torch.zeros(1, requires_grad=True)
    optimiser = torch.optim.LBFGS([w, b], max_iter=steps, line_search_fn="strong_wolfe")
    weight = torch.where(y > 0, positive, 1.0)

    def closure():
        optimiser.zero_grad()
        odds = x @ w + b - p.lse
        loss = (weight * torch.nn.functional.binary_cross_entropy_with_logits(odds, y, reduction="none")).mean() + decay * (w @ w)
        loss.backward()
        return loss

    optimiser.step(closure)
    row = (w / std).detach()
    return row, (b - row @ mean).detach()


def judge(p: Positions, row: torch.Tensor, bias: torch.Tensor, ret_bias: float = 0.0) -> Dict[str, float]:
    """Precision, recall and false alarms per dialogue when `[RET]` comes iff its logit is the largest."""
    fires = p.hidden @ row + bias + ret_bias > p.largest
    y = p.label > 0
    right, wrong = int((fires & y).sum()), int((fires & ~y).sum())
    return {
        "precision": right / max(1, right + wrong), "recall": right / max(1, int(y.sum())), "false_alarms": wrong,
        "positions": len(y), "positives": int(y.sum()),
    }  # fmt: skip
