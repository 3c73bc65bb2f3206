"""Trains `[RET]`'s input row: InfoNCE through the frozen language model, before everything else.

    python -m fromagerie.train.ret_row --data .cache/train-data

The row decides in which state the model ends a sentence, so all states depend on it, and those of the decoder that
ships are dear (`states.py`). So it learns first, with maps of its own: their start in closed form on the unrounded
states of the row it starts with (the mean embedding), then InfoNCE through them and through the model, which moves the
row and the maps together. The maps are thrown away; the row stays, rounded as the file will have it, and everything
after reads with it. As in FROMAGe the row is brought back to the mean norm of the other embeddings after every step.

It learns from the train split alone, whatever the maps will learn from: one row then serves validation, test and what
ships, and the states are read once. `ret_row/SETTINGS.npy` keeps it.

Read next: `last_token.py` (why a step costs one token a text), `joint.py` (the steps).
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections import defaultdict
from pathlib import Path
from typing import List, Tuple

import numpy as np
import torch

from . import features, regression
from .captioning import Encode
from .config import read_config
from .joint import Joint, train
from .last_token import Texts
from .lm import Llama, load_lm
from .maps import Maps, shape_of
from .problem import Cache, Pairs
from .retrieval import Contrast
from .states import captions_of
from .wordings import PLAIN, PREAMBLE, READ, REPLY, named, text

SPLITS, HIDDEN = ("train",), ("validation", "test")
Wording = Tuple[str, str, int]  # caption, kind, draw


class Through(Contrast):
    """`Contrast`, but a batch's texts are read anew with the row as it is: gradients reach it."""

    def __init__(self, maps: Maps, pairs: Pairs, texts: Texts, which: torch.Tensor, row: torch.Tensor) -> None:
        """`which` `[captions, wordings]`: the number in `texts` of each of the pairs' states."""
        super().__init__(maps, pairs)
        self.maps, self.kept, self.texts = maps, texts, which
        self.row, self.norm = row.clone().requires_grad_(), row.norm()
        self.learns = [self.row]

    def batch(self, draw: np.random.Generator, size: int) -> tuple:
        """As `Contrast.batch`."""
        chosen, numbers, images = super().batch(draw, size)
        return chosen, self.maps.read(self.kept.states(self.row, numbers)), images

    @torch.no_grad()
    def hold(self, *_) -> None:
        """Brings the row back to its norm."""
        self.row.mul_(self.norm / self.row.norm())


def jobs(data: Path, config: dict) -> List[Wording]:
    """Every caption that the row learns from, in every wording it is read in."""
    captions = {kind: captions_of(data, [*SPLITS, *more], config["without"]) for kind, more in ((PLAIN, ["imagenet"]), (REPLY, []))}
    return [(c, kind, draw) for kind, draw in READ for c in captions[kind]]


def trained(data: Path, config: dict) -> torch.Tensor:
    """The row `[hidden]`, from its file or trained now; the model's own mean embedding where the settings name no steps for it."""
    settings = config["ret_row"]
    wanted = json.dumps({k: config[k] for k in ("encoders", "layers", "wordings", "without", "start", "ret_row")}, sort_keys=True)
    path = data / "ret_row" / f"{hashlib.sha256(wanted.encode()).hexdigest()[:16]}.npy"
    if path.exists():
        return torch.from_numpy(np.load(path))
    lm, encode, _ = load_lm()
    row = lm.ret.half().float()
    if settings["steps"]:
        for encoder in config["encoders"]:
            features.cached(data, encoder, splits=SPLITS, without=config["without"])
        row = fit(data, config, lm, encode, row).half().float()
    path.parent.mkdir(exist_ok=True)
    np.save(path, row.numpy())
    return row


def fit(data: Path, config: dict, lm: Llama, encode: Encode, row: torch.Tensor) -> torch.Tensor:
    """Trains from `row` on."""
    asked = jobs(data, config)
    ids = [text(kind, c, encode, draw)[:-1] for c, kind, draw in asked]
    texts = Texts(lm, ids, [kind == REPLY for _, kind, _ in asked], lm.prefix(encode(PREAMBLE)), config["layers"])
    known, number = defaultdict(dict), defaultdict(dict)
    for i, ((c, kind, draw), own) in enumerate(zip(asked, texts.all_states(row).numpy())):
        known[c][named(kind, draw)], number[c][named(kind, draw)] = own, i
    cache = Cache(data, config["encoders"], config["layers"], known)
    pairs = cache.pairs(SPLITS, config["wordings"], HIDDEN, config["without"])
    maps = regression.fit(pairs, shape_of(config, cache.features.shape[1]), regression.Start(**config["start"]))
    which = [[number[c][w] for w in read] for c, read in zip(pairs.captions, cache.read_as(pairs.captions, config["wordings"]))]
    contrast = Through(maps, pairs, texts, torch.tensor(which), row)
    train(maps, None, contrast, Joint(**config["ret_row"]), contrast.watch)
    return contrast.row.detach()
