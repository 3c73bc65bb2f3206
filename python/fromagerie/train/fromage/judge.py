"""How good the maps are on pairs that they do not learn from: recall both ways, and the caption loss.

Read next: `run.py`.
"""

from __future__ import annotations

from typing import Dict, List

import torch
import torch.nn.functional as F

from .model import Language, Maps
from .steps import Batch, Ids, captioning, queries

RANKS = (1, 5, 10)


@torch.inference_mode()
def judge(language: Language, maps: Maps, ids: List[Ids], features: torch.Tensor, size: int) -> Dict[str, float]:
    """`r@k_to_image`, `r@k_to_text` over all pairs, and `caption_loss` a token. `size`: pairs read at once."""
    texts, pictures, losses = [], [], []
    for start in range(0, len(ids), size):
        batch = Batch(ids[start : start + size], features[start : start + size])
        texts.append(F.normalize(queries(language, maps, batch.ids), dim=1))
        pictures.append(F.normalize(maps.visual_fc(batch.features), dim=1))
        losses.append(captioning(language, maps, batch, joined=False).item() * sum(map(len, batch.ids)))
    scores = torch.cat(texts) @ torch.cat(pictures).T
    out = {}
    for name, table in (("to_image", scores), ("to_text", scores.T)):
        # Ties count against us.
        rank = (table >= table.diagonal()[:, None]).sum(1)
        out.update({f"r@{k}_{name}": round((rank <= k).float().mean().item(), 4) for k in RANKS})
    out["caption_loss"] = round(sum(losses) / sum(map(len, ids)), 4)
    return out
