"""What training and evaluation read, computed once: features of pictures, states of captions.

Read next: `features.py`, `states.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Sequence

import torch

from . import features, states
from .wordings import PLAIN, READ, REPLY


def prepare(data: Path, config: dict, row: torch.Tensor, splits: Sequence[str], also: Sequence[str] = ()) -> None:
    """Computes what is missing: features of the pictures of `splits`, and states of `[RET]`'s input row `row` after their captions, ImageNet's names
    and the captions `also`."""
    for encoder in config["encoders"]:
        features.cached(data, encoder, splits=splits, without=config["without"])
    captions = {kind: [*states.captions_of(data, [*splits, *more], config["without"]), *also] for kind, more in ((PLAIN, ["imagenet"]), (REPLY, []))}
    for kind, draw in READ:
        states.cached(data, row, kind, captions[kind], draw, config["layers"])
