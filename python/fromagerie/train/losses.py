"""FROMAGe's loss: captioning cross-entropy plus InfoNCE in both directions, as a weighted sum.

The paper takes every other pair of a batch for a negative. Pictures of one caption come in several drawings, so a batch
may hold the same caption twice: such pairs are positives of each other, with equal shares, and never negatives.

Source: Koh, Salakhutdinov, Fried 2023, section 3.2 (arXiv:2301.13823). Read next: `joint.py` (who minimises it).
"""

from __future__ import annotations

from typing import Sequence

import torch
import torch.nn.functional as F


def targets(captions: Sequence[int]) -> torch.Tensor:
    """`[n, n]`, rows that sum to one: equal shares over the pairs that bear the same caption."""
    number = torch.as_tensor(captions)
    same = (number[:, None] == number[None]).float()
    return same / same.sum(1, keepdim=True)


def info_nce(query: torch.Tensor, image: torch.Tensor, scale: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean of both directions' cross-entropy against `target` `[n, n]`.

    `query`, `image`: `[n, dim]`, normalised here. `scale`: the inverse temperature.
    """
    logits = scale * F.normalize(query, dim=1) @ F.normalize(image, dim=1).T
    to_images = -(target * F.log_softmax(logits, 1)).sum(1).mean()
    to_texts = -(target.T * F.log_softmax(logits.T, 1)).sum(1).mean()
    return 0.5 * (to_images + to_texts)


def caption_loss(logits: torch.Tensor, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of the caption's tokens, `[n, s, vocabulary]` against `[n, s]` where `mask` holds."""
    return F.cross_entropy(logits[mask], ids[mask])


def weighted(captioning: torch.Tensor, contrast: torch.Tensor, captioning_weight: float, contrast_weight: float) -> torch.Tensor:
    """The sum that one step minimises."""
    return captioning_weight * captioning + contrast_weight * contrast
