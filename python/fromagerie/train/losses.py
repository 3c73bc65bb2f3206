"""InfoNCE in both directions with several positives and, if wanted, a teacher's soft targets.

The contrastive loss of FROMAGe takes every other pair of the batch for a negative. Here a batch holds many pictures of
one caption, so all of them are positives of it, with equal shares. A teacher that knows which captions mean nearly
the same may spread a part of the target over them, so that a concept never seen lands near its neighbours.

Read next: `retrieval.py`.
"""

from __future__ import annotations

from typing import Optional

import torch
import torch.nn.functional as F


def targets(same: torch.Tensor, likeness: Optional[torch.Tensor], share: float, temperature: float) -> torch.Tensor:
    """Rows that sum to one: equal shares over `same` (bool `[n, n]`), mixed with a softmax of the teacher's cosines."""
    hard = same.float() / same.sum(1, keepdim=True)
    if likeness is None or share == 0:
        return hard
    return (1 - share) * hard + share * F.softmax(likeness / temperature, 1)


def info_nce(query: torch.Tensor, image: torch.Tensor, scale: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean of both directions' cross-entropy against `target` `[n, n]` (symmetric in its pattern).

    `query`, `image`: `[n, dim]`, normalised here. `scale`: the inverse temperature.
    """
    logits = scale * F.normalize(query, dim=1) @ F.normalize(image, dim=1).T
    to_images = -(target * F.log_softmax(logits, 1)).sum(1).mean()
    back = target.T / target.T.sum(1, keepdim=True)
    to_texts = -(back * F.log_softmax(logits.T, 1)).sum(1).mean()
    return 0.5 * (to_images + to_texts)


def caption_loss(logits: torch.Tensor, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of the caption's tokens, `[n, s, vocabulary]` against `[n, s]` where `mask` holds."""
    return F.cross_entropy(logits[mask], ids[mask])
