"""Puts cached states and features together into what a run trains on and what it is judged by.

Only cached numbers are touched here; nothing is computed by a frozen model (see `states.py`, `features.py`).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Optional, Sequence

import numpy as np
import torch

from . import features as vision
from .data import load
from .maps import Maps
from .metrics import chance, ranks, recall
from .sources import imagenet_names
from .split import content_words_held

Known = Dict[str, Dict[str, np.ndarray]]


@dataclass
class Pairs:
    """What a run trains on. `states`: `[captions, wordings, layers, hidden]`; `pictures[i]`: rows of `features` of caption i.

    The captions after the last of `pictures` have a classifier's row each, in `pseudo`, standardised already.
    """

    captions: List[str]
    states: np.ndarray
    pictures: List[np.ndarray]
    features: np.ndarray
    pseudo: np.ndarray


class Cache:
    """Everything cached under one data folder, addressed by caption and row. `known`: states by caption and wording (`states.known`)."""

    def __init__(self, data: Path, encoders: Sequence[str], layers: Sequence[int], known: Known, rows: Optional[List[dict]] = None) -> None:
        self.data, self.encoders, self.layers, self.known = data, tuple(encoders), tuple(layers), known
        self.rows = load(data) if rows is None else rows
        self.features = np.concatenate([vision.cached(data, e, splits=()) for e in encoders], 1)

    def states(self, captions: Sequence[str], wording: str) -> np.ndarray:
        """`[n, layers, hidden]` f32. Raises `KeyError` for a caption not read in that wording."""
        return np.stack([self.known[c][wording] for c in captions]).astype(np.float32)

    def read_in(self, wording: str, captions: Sequence[str]) -> bool:
        """Whether all captions were read in that wording."""
        return all(wording in self.known.get(c, {}) for c in captions)

    def pictures(self, splits: Sequence[str], without: Sequence[str] = ()) -> Dict[str, np.ndarray]:
        """Rows of `features` by caption, sources named in `without` left out."""
        found: Dict[str, List[int]] = defaultdict(list)
        for i, r in enumerate(self.rows):
            if r["split"] in splits and r["source"] not in without and r["caption"] in self.known and not np.isnan(self.features[i, 0]):
                found[r["caption"]].append(i)
        return {c: np.array(v) for c, v in sorted(found.items())}

    def pairs(self, splits: Sequence[str], wordings: Sequence[str], hide: Sequence[str] = (), without: Sequence[str] = ()) -> Pairs:
        """Training pairs of `splits`, less the sources `without`. `hide`: splits whose concepts must not come in through ImageNet's names either."""
        pictures = self.pictures(splits, without)
        held, names = content_words_held(self.data, self.rows, hide), imagenet_names()
        keep = [i for i, n in enumerate(names) if not held & held_words(self.data, n) and n in self.known]
        weights = np.concatenate([vision.classifier_rows(e) for e in self.encoders], 1)
        weights = (weights - weights.mean(0)) / weights.std(0)
        captions = [*pictures, *(names[i] for i in keep)]
        stacked = np.zeros((len(captions), len(wordings), len(self.layers), 576), np.float32)
        for i, (c, read) in enumerate(zip(captions, self.read_as(captions, wordings))):
            for j, w in enumerate(read):
                stacked[i, j] = self.known[c][w]
        return Pairs(captions, stacked, list(pictures.values()), self.features, weights[keep].astype(np.float32))

    def read_as(self, captions: Sequence[str], wordings: Sequence[str]) -> List[List[str]]:
        """For each caption the wordings that it was read in, one that it was standing in for each that it was not."""
        out = []
        for i, c in enumerate(captions):
            have = [w for w in wordings if w in self.known[c]] or list(self.known[c])
            out.append([w if w in have else have[i % len(have)] for w in wordings])
        return out

    def judge(self, maps: Maps, split: str, wording: str) -> Dict[str, float]:
        """Recall of the split's captions among the split's pictures."""
        pictures = self.pictures([split])
        queries = list(pictures)
        rows = np.concatenate(list(pictures.values()))
        names = [self.rows[i]["caption"] for i in rows]
        return recall(ranks(scores(maps, self.states(queries, wording), self.features[rows]), queries, names))

    def chance(self, split: str) -> Dict[str, float]:
        """Chance for the same queries and candidates."""
        pictures = self.pictures([split])
        return chance(list(pictures), [c for c, rows in pictures.items() for _ in rows])


def held_words(data: Path, name: str) -> set:
    """Base forms of a name's words."""
    from .captions import content
    from .split import dictionary

    return set(content(name.lower(), dictionary(data)))


@torch.inference_mode()
def scores(maps: Maps, states: np.ndarray, features: np.ndarray) -> np.ndarray:
    """Cosines `[queries, pictures]` of `[q, layers, hidden]` states and `[p, F]` features."""
    q = torch.nn.functional.normalize(maps.query(torch.from_numpy(states)), dim=1)
    v = torch.nn.functional.normalize(maps.image(torch.from_numpy(features)), dim=1)
    return (q @ v.T).numpy()
