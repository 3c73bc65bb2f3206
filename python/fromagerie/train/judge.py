"""What the validation split says of maps while they train: recall both ways and the caption loss.

Read next: `fit.py` (the log), `metrics.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, List

import numpy as np
import torch

from .captioning import Captions, Encode
from .lm import Llama
from .maps import Maps
from .metrics import ranks, recall
from .problem import Cache, scores

SAID, BATCH = 96, 16


@dataclass(frozen=True)
class Judge:
    """Validation's texts in the product's wording, its pictures, and some of them to describe."""

    states: np.ndarray
    queries: List[str]
    features: np.ndarray
    names: List[str]
    captions: Captions

    @classmethod
    def of(cls, cache: Cache, config: dict, lm: Llama, encode: Encode) -> "Judge":
        """Over the validation split of `cache`."""
        pictures = cache.pictures(["validation"])
        rows = np.concatenate(list(pictures.values()))
        names = [cache.rows[i]["caption"] for i in rows]
        return cls(cache.states(list(pictures), config["judge_wording"]), list(pictures), cache.features[rows], names, Captions.of(lm, encode, pictures, cache.features))

    @torch.inference_mode()
    def __call__(self, maps: Maps) -> Dict[str, float]:
        """`text_image_R@k`, `image_text_R@k`, and the mean `caption_loss` of the same batches every time."""
        table, draw = scores(maps, self.states, self.features), np.random.default_rng(0)
        found = {f"text_image_{k}": v for k, v in recall(ranks(table, self.queries, self.names)).items()}
        back = {f"image_text_{k}": v for k, v in recall(ranks(table.T, self.names, self.queries)).items()}
        said = [float(self.captions.loss(maps, draw, BATCH)) for _ in range(SAID // BATCH)]
        return {**found, **back, "caption_loss": float(np.mean(said))}
