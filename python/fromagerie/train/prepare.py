"""What training and evaluation read, computed once: features of pictures, states of captions.

Read next: `features.py`, `states.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Sequence

from . import features, states
from .wordings import PLAIN, REPLY

READ = ((PLAIN, 0), (REPLY, 0), (REPLY, 1), (REPLY, 2))  # kinds and draws of wordings


def prepare(data: Path, config: dict, splits: Sequence[str], also: Sequence[str] = ()) -> None:
    """Computes what is missing: features of the pictures and states of the captions of `splits`, of ImageNet's names, and of the captions `also`."""
    for encoder in config["encoders"]:
        features.cached(data, encoder, splits=splits, without=config["without"])
    captions = {kind: [*states.captions_of(data, [*splits, *more], config["without"]), *also] for kind, more in ((PLAIN, ["imagenet"]), (REPLY, []))}
    for kind, draw in READ:
        states.cached(data, kind, captions[kind], draw, config["layers"])
