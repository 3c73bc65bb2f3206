"""Trains `[RET]`'s input row: InfoNCE through the frozen language model, before everything else.

    python -m fromagerie.train.ret_row --data .cache/train-data

The row decides in which state the model ends a sentence, so all states depend on it, and those of the decoder that
ships are dear (`states.py`). So it learns first, with maps of its own, through the unrounded model, and everything after
reads with it.

A map in closed form fits the captions that it was made from whatever the row is, and a row that learns together with it
learns little of use to others. So the captions are halved at random in every round: one half makes the maps, as `regression.py` does, and
the row lowers InfoNCE of the other half through them. As in FROMAGe the row starts as the mean embedding and is brought back
to the mean norm of all embeddings after every step.

It learns from the train split alone, whatever the maps will learn from: one row then serves validation, test and what
ships, and the states are read once. `ret_row/SETTINGS.npy` keeps it.

Read next: `last_token.py` (why a step costs one token a text), `joint.py` (the steps).
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Callable, List, Optional, Tuple

import numpy as np
import torch

from . import features, regression
from .captioning import Encode
from .config import read_config
from .joint import Joint, train
from .last_token import Texts
from .lm import Llama, load_lm
from .maps import Maps, shape_of
from .problem import Cache, Known, Pairs
from .retrieval import Contrast
from .states import captions_of
from .wordings import PLAIN, PREAMBLE, REPLY, named, text

SPLITS, HIDDEN = ("train",), ("validation", "test")
DRAWS = (0, 2)  # of replies: each caption is read in one of them
Wording = Tuple[str, str, int]  # caption, kind, draw
Watch = Callable[[int, int, float, torch.Tensor], None]


@dataclass(frozen=True)
class Settings:
    """`rounds` of `steps` each; none, and the row stays the mean embedding. `batch` in captions; `rate` relative to the row's root mean
    square; `scale`: the inverse temperature, which stays."""

    rounds: int = 2
    steps: int = 40
    batch: int = 256
    rate: float = 0.05
    scale: float = 10.0
    warmup: int = 5
    seed: int = 0

    def joint(self, number: int) -> Joint:
        """The steps of one round, in which nothing but the row moves."""
        still = {"contrast_rate": 0.0, "scale_rate": 0.0, "dropout": 0.0}
        return Joint(steps=self.steps, contrast_batch=self.batch, row_rate=self.rate, scale=self.scale, warmup=self.warmup, seed=self.seed + number, **still)


class Through(Contrast):
    """`Contrast`, but a batch's texts are read anew with the row as it is: gradients reach it."""

    def __init__(self, maps: Maps, pairs: Pairs, texts: Texts, which: torch.Tensor, row: torch.Tensor) -> None:
        """`which` `[captions, wordings]`: the number in `texts` of each of the pairs' states, which `row` gave."""
        super().__init__(maps, pairs)
        self.maps, self.kept = maps, texts
        self.first_read = self.texts.new_zeros(len(texts), self.texts.shape[2])
        self.first_read[which.flatten()], self.texts = self.texts.flatten(0, 1), which
        self.row, self.norm = row.clone().requires_grad_(), row.norm()
        self.learns = [self.row]

    def batch(self, draw: np.random.Generator, size: int) -> tuple:
        """As `Contrast.batch`, less what all plain texts, and all replies, of the batch have moved by together since the maps were made: maps
        made anew would not see it, and these would see little else."""
        chosen, numbers, images = super().batch(draw, size)
        read = self.maps.read(self.kept.states(self.row, numbers))
        moved = read - self.first_read[numbers]
        reply = self.kept.after[numbers][:, None].float()
        for own in (reply, 1 - reply):
            read = read - own * (own * moved).sum(0) / own.sum().clamp(min=1)
        return chosen, read, images

    @torch.no_grad()
    def hold(self) -> None:
        """Brings the row back to its norm."""
        self.row.mul_(self.norm / self.row.norm())


def jobs(data: Path, config: dict) -> List[Wording]:
    """Every text that the row learns from: all captions and ImageNet's names in plain, all captions in one reply each."""
    told = captions_of(data, SPLITS, config["without"])
    plain = captions_of(data, [*SPLITS, "imagenet"], config["without"])
    return [(c, PLAIN, 0) for c in plain] + [(c, REPLY, DRAWS[i % len(DRAWS)]) for i, c in enumerate(told)]


def read(lm: Llama, encode: Encode, asked: List[Wording], layers: List[int]) -> Texts:
    """Keys and values of the texts `asked`."""
    ids = [text(kind, c, encode, draw)[:-1] for c, kind, draw in asked]
    return Texts(lm, ids, [kind == REPLY for _, kind, _ in asked], lm.prefix(encode(PREAMBLE)), layers)


def part(pairs: Pairs, which: torch.Tensor, chosen: np.ndarray) -> Tuple[Pairs, torch.Tensor]:
    """The pairs numbered `chosen`, in ascending order, and their rows of `which`."""
    told = [i for i in chosen if i < len(pairs.pictures)]
    pseudo = pairs.pseudo[[i - len(pairs.pictures) for i in chosen[len(told) :]]]
    own = replace(pairs, captions=[pairs.captions[i] for i in chosen], states=pairs.states[chosen], pictures=[pairs.pictures[i] for i in told], pseudo=pseudo)
    return own, which[torch.from_numpy(chosen)]


def learn(cache: Cache, config: dict, texts: Texts, asked: List[Wording], row: torch.Tensor, s: Settings, watch: Optional[Watch] = None) -> torch.Tensor:
    """The row after all rounds, from `row` on. `watch(round, step, InfoNCE, row)`. The states that `cache` knows are those of the last round then."""
    draw = np.random.default_rng(s.seed)
    for number in range(s.rounds):
        cache.known, place = known(asked, texts.all_states(row).numpy()), known(asked, np.arange(len(asked)))
        pairs = cache.pairs(SPLITS, config["wordings"], HIDDEN, config["without"])
        which = torch.tensor([[int(place[c][w]) for w in read_as] for c, read_as in zip(pairs.captions, cache.read_as(pairs.captions, config["wordings"]))])
        mixed = draw.permutation(len(pairs.captions))
        half, other = (part(pairs, which, np.sort(own)) for own in np.array_split(mixed, 2))
        maps = regression.fit(half[0], shape_of(config, cache.features.shape[1]), regression.Start(**config["start"]))
        row = lower(maps, Through(maps, other[0], texts, other[1], row), s, number, watch)
    return row


def lower(maps: Maps, contrast: Through, s: Settings, number: int, watch: Optional[Watch]) -> torch.Tensor:
    """The row after the steps of the round `number`."""

    def step(at: int, _: float, found: float, __: float) -> None:
        contrast.hold()
        if watch:
            watch(number, at, found, contrast.row.detach())

    train(maps, None, contrast, s.joint(number), step)
    return contrast.row.detach().clone()


def known(asked: List[Wording], values: np.ndarray) -> Known:
    """`values` of the texts `asked` by caption and wording."""
    out: Known = defaultdict(dict)
    for (caption, kind, draw), own in zip(asked, values):
        out[caption][named(kind, draw)] = own
    return out


def trained(data: Path, config: dict) -> torch.Tensor:
    """The row `[hidden]` by the settings: from its file, or trained now and rounded to half precision; the mean embedding where they ask for no rounds."""
    settings, wanted = Settings(**config["ret_row"]), {k: config[k] for k in ("encoders", "layers", "wordings", "without", "start", "ret_row")}
    path = data / "ret_row" / f"{hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()[:16]}.npy"
    if path.exists():
        return torch.from_numpy(np.load(path))
    lm, encode, _ = load_lm()
    if not settings.rounds:
        return lm.ret
    for encoder in config["encoders"]:
        features.cached(data, encoder, splits=SPLITS, without=config["without"])
    cache, asked = Cache(data, config["encoders"], config["layers"], {}), jobs(data, config)
    row = learn(cache, config, read(lm, encode, asked, config["layers"]), asked, lm.ret, settings, say).half().float()
    path.parent.mkdir(exist_ok=True)
    np.save(path, row.numpy())
    return row


def say(number: int, step: int, found: float, row: torch.Tensor) -> None:
    """A line for every tenth step."""
    if step % 10 == 0:
        print(f"[RET]'s row, round {number + 1}, step {step}: InfoNCE {found:.3f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="fromagerie.train.ret_row", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(".cache/train-data"))
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(trained(args.data, read_config()).norm())


if __name__ == "__main__":
    main()
