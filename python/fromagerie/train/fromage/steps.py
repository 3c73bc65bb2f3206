"""The two losses of a batch of pairs: captioning cross-entropy and InfoNCE both ways, each read by the frozen model.

- Captioning reads a picture's visual tokens and then its caption with `[RET]` at the end; every token after the visual ones is a
  target. With a given probability two pairs are read one after the other, so that the model learns to tell pictures apart.
- Retrieval reads the caption alone; the state at its `[RET]` is held against the picture's map.

Source: Koh, Salakhutdinov, Fried 2023, section 3 (arXiv:2301.13823). Read next: `run.py`, `judge.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import List, Sequence, Tuple

import torch
from torch.nn.utils.rnn import pad_sequence

from ..losses import caption_loss, info_nce, targets
from .model import Language, Maps

Ids = List[int]


@dataclass(frozen=True)
class Batch:
    """Captions as tokens, `[RET]` last, with their pictures' features `[B, F]`."""

    ids: List[Ids]
    features: torch.Tensor


def padded(ids: Sequence[Ids], language: Language) -> Tuple[torch.Tensor, torch.Tensor]:
    """`[B, S]` tokens and mask, padded at the end."""
    rows = [torch.tensor(row, device=language.device) for row in ids]
    return pad_sequence(rows, batch_first=True), pad_sequence([torch.ones_like(row) for row in rows], batch_first=True)


def captioning(language: Language, maps: Maps, batch: Batch, joined: bool) -> torch.Tensor:
    """The loss a token. `joined`: two pairs are one sequence."""
    visual = maps.visual(batch.features)
    groups = [[row] for row in range(len(batch.ids))]
    if joined and len(groups) > 1:
        groups = [[row for pair in groups[at : at + 2] for row in pair] for at in range(0, len(groups), 2)]
    embeds, labels = [], []
    for group in groups:
        parts, known = [], []
        for row in group:
            ids = torch.tensor(batch.ids[row], device=language.device)
            parts += [visual[row], maps.words(language, ids)]
            known += [torch.full((maps.visual_tokens,), -1, device=language.device), ids]
        embeds.append(torch.cat(parts)[: language.positions])
        labels.append(torch.cat(known)[: language.positions])
    inputs, wanted = pad_sequence(embeds, batch_first=True), pad_sequence(labels, batch_first=True, padding_value=-1)
    mask = pad_sequence([torch.ones_like(row) for row in labels], batch_first=True)
    state = language.run(inputs, mask)[-1][:, :-1]
    asked = wanted[:, 1:] >= 0
    logits = maps.logits(language, state[asked])
    return caption_loss(logits[None], wanted[:, 1:][asked][None], torch.ones(1, len(logits), dtype=torch.bool, device=logits.device))


def queries(language: Language, maps: Maps, ids: Sequence[Ids]) -> torch.Tensor:
    """`[B, dim]`: the mapped state at each caption's `[RET]`, not normalised."""
    tokens, mask = padded(ids, language)
    return maps.queries(language.run(maps.words(language, tokens), mask), mask.sum(1) - 1)


def retrieval(language: Language, maps: Maps, batch: Batch) -> torch.Tensor:
    """InfoNCE in both directions; pairs of one caption are positives of each other."""
    numbers = {caption: number for number, caption in enumerate(dict.fromkeys(map(tuple, batch.ids)))}
    same = targets([numbers[tuple(ids)] for ids in batch.ids]).to(language.device)
    found = queries(language, maps, batch.ids)
    return info_nce(found, maps.visual_fc(batch.features), maps.logit_scale.exp(), same)
