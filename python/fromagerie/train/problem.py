"""Puts cached states and features together into what a run trains on and what it is judged by.

Only cached numbers are touched here; nothing is computed by a frozen model (see `states.py`, `features.py`).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Optional, Sequence

import numpy as np

from . import features as vision
from . import states as language
from .data import load
from .metrics import chance, ranks, recall
from .maps import Maps
from .retrieval import Pairs, scores
from .sources import imagenet_names
from .split import content_words_held
from .wordings import WORDINGS


class Cache:
    """Everything cached under one data folder, addressed by caption and row."""

    def __init__(self, data: Path, encoders: Sequence[str], layers: Sequence[int], rows: Optional[List[dict]] = None) -> None:
        self.data, self.encoders, self.layers = data, tuple(encoders), tuple(layers)
        self.rows = load(data) if rows is None else rows
        self.features = np.concatenate([vision.cached(data, e, splits=()) for e in encoders], 1)
        self.known: Dict[str, Dict[str, np.ndarray]] = {}
        for path in sorted((data / "states").glob("*.npz")):
            with np.load(path) as f:
                at = [f["layers"].tolist().index(layer) for layer in layers]
                kind, draw = path.stem.rsplit("-", 1)
                picked = f["states"][:, :, at]
                for caption, marks in zip(f["captions"].tolist(), picked):
                    for name, value in zip(WORDINGS[kind], marks):
                        self.known.setdefault(caption, {})[name if draw == "0" else f"{name}, draw {draw}"] = value

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

    def pairs(self, splits: Sequence[str], wordings: Sequence[str], pseudo: bool, teacher: bool, hide: Sequence[str] = (), without: Sequence[str] = ()) -> Pairs:
        """Training pairs of `splits`. `hide`: splits whose concepts must not come in through ImageNet's names either."""
        pictures = self.pictures(splits, without)
        captions = list(pictures)
        rows, where = None, len(captions)
        lists = [pictures[c] for c in captions]
        if pseudo:
            held = content_words_held(self.data, self.rows, hide)
            names = imagenet_names()
            keep = [i for i, n in enumerate(names) if not held & held_words(self.data, n) and n in self.known]
            weights = np.concatenate([vision.classifier_rows(e) for e in self.encoders], 1)
            weights = (weights - weights.mean(0)) / weights.std(0)
            captions += [names[i] for i in keep]
            lists += [np.zeros(0, int)] * len(keep)
            rows = weights[keep].astype(np.float32)
        stacked = np.zeros((len(captions), len(wordings), len(self.layers), 576), np.float32)
        for i, c in enumerate(captions):
            have = [w for w in wordings if w in self.known[c]] or list(self.known[c])
            for j, w in enumerate(wordings):
                stacked[i, j] = self.known[c][w if w in have else have[i % len(have)]]
        taught = self.taught(captions) if teacher else None
        return Pairs(captions, stacked, lists, self.features, taught, where, rows)

    def taught(self, captions: Sequence[str]) -> np.ndarray:
        """The teacher's unit rows, kept on disk."""
        from .teacher import embed

        path = self.data / "teacher.npz"
        known: Dict[str, np.ndarray] = {}
        if path.exists():
            with np.load(path) as f:
                known = dict(zip(f["captions"].tolist(), f["rows"]))
        new = sorted(set(captions) - set(known))
        if new:
            known.update(zip(new, embed(new)))
            np.savez(path, captions=np.array(list(known)), rows=np.stack(list(known.values())))
        return np.stack([known[c] for c in captions])

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
