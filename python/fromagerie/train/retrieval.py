"""Retrieval's half of the loss: InfoNCE in both directions on cached states and features.

Both sides' inputs are frozen and cached, in their white coordinates, so a batch of several hundred captions costs less than one
caption through the language model. A batch takes one picture and one wording of each caption; ImageNet's classifier
rows stand in for pictures of its classes (`features.py`). Dropout on both sides' coordinates, because there are
thousands of pairs and not millions.

Read next: `losses.py`, `joint.py`.
"""

from __future__ import annotations

from typing import Sequence

import numpy as np
import torch
import torch.nn.functional as F

from .losses import info_nce, targets
from .maps import Maps
from .problem import Pairs

CHUNK = 1024


class Contrast:
    """Draws batches from `pairs`; `scale_most` bounds the learned inverse temperature, as in CLIP; `learns`: what does besides the maps."""

    scale_most = 100.0
    learns: Sequence[torch.Tensor] = ()

    @torch.no_grad()
    def __init__(self, maps: Maps, pairs: Pairs) -> None:
        wordings, states = pairs.states.shape[1], torch.from_numpy(pairs.states).flatten(0, 1)
        self.texts = torch.cat([maps.read(part) for part in states.split(CHUNK)]).view(len(pairs.captions), wordings, -1)
        rows = torch.from_numpy(pairs.features[np.concatenate(pairs.pictures)])
        self.images = torch.cat([maps.standard(rows), torch.from_numpy(pairs.pseudo)]) @ maps.visual_basis
        self.count = np.array([len(p) for p in pairs.pictures] + [1] * len(pairs.pseudo))
        self.first = np.cumsum(self.count) - self.count

    def batch(self, draw: np.random.Generator, size: int) -> tuple:
        """Numbers of distinct captions, and a row of `texts` `[n, text_width]` and of `images` `[n, visual_width]` for each."""
        chosen = draw.choice(len(self.count), min(size, len(self.count)), replace=False)
        wording = torch.from_numpy(draw.integers(self.texts.shape[1], size=len(chosen)))
        picture = self.first[chosen] + draw.integers(self.count[chosen])
        return chosen, self.texts[chosen, wording], self.images[picture]

    def loss(self, maps: Maps, draw: np.random.Generator, size: int, dropout: float = 0.0) -> torch.Tensor:
        """InfoNCE of one batch; `torch`'s own generator draws what is dropped."""
        chosen, texts, images = self.batch(draw, size)
        texts, images = maps.text(F.dropout(texts, dropout)), maps.visual(F.dropout(images, dropout))
        return info_nce(texts, images, maps.log_scale.exp().clamp(max=self.scale_most), targets(chosen))

    @torch.no_grad()
    def rescale(self, maps: Maps) -> None:
        """Gives queries norm 1 on average: an image vector added to one then weighs what it says. Cosines stay what they are."""
        norm = maps.text(self.texts.flatten(0, 1)).norm(dim=1).mean()
        maps.text.weight.div_(norm)
        maps.text.bias.div_(norm)
