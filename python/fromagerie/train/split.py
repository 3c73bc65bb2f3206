"""Splits by concept: what is held out was never named in training, under any word.

Captions are grouped by their head noun ("a red car" and "a police car" are cars), groups of synonyms are joined by
WordNet's first sense, and whole groups are held out. Then training is purged of every caption that still mentions a
held-out head or one of its synonyms anywhere, or that a sentence encoder finds nearly the same as a held-out caption.
Heads with very many pictures, and flags, always stay in training: holding out "flag" would test nothing.

Read next: `data.py` (who calls this).
"""

from __future__ import annotations

import random
from functools import lru_cache
from pathlib import Path
from collections import Counter, defaultdict
from typing import Callable, Dict, Iterable, List, Optional, Sequence, Set

import numpy as np

from .captions import content, heads
from .sources import Item
from .wordnet import WordNet

COMMON = 40  # pictures of one head above which its group stays in training
NEAR = 0.85  # cosine of two captions' sentence embeddings above which they are taken for the same concept


class Groups:
    """Union-find over head nouns."""

    def __init__(self) -> None:
        self.parent: Dict[str, str] = {}

    def find(self, word: str) -> str:
        """The representative of the word's group."""
        self.parent.setdefault(word, word)
        while self.parent[word] != word:
            self.parent[word] = self.parent[self.parent[word]]
            word = self.parent[word]
        return word

    def join(self, a: str, b: str) -> None:
        """Puts both words' groups together."""
        self.parent[self.find(a)] = self.find(b)


def concept_groups(captions: Iterable[str], wordnet: WordNet) -> Dict[str, str]:
    """Each caption's group: its head noun's representative after joining synonyms."""
    head = head_of(captions, wordnet)
    groups = Groups()
    for word in sorted(set(head.values())):
        for other in sorted(wordnet.synonyms(word)):
            groups.join(word, other)
    return {c: groups.find(h) for c, h in head.items()}


def assign(items: Sequence[Item], wordnet: WordNet, core: Set[str], test: int, validation: int, seed: int) -> List[str]:
    """The split of each item: train, validation, test, or purged.

    Groups are drawn until `test` and `validation` pictures of the `core` sources are held out; pictures of other
    sources with a held-out concept are purged, so that candidates come from the core sources alone.
    """
    group = concept_groups({i.caption for i in items}, wordnet)
    pictures = Counter(group[i.caption] for i in items if i.source in core)
    names = sorted(g for g in set(group.values()) if 0 < pictures[g] <= COMMON and g != group.get("flag", "flag"))
    random.Random(seed).shuffle(names)
    side: Dict[str, str] = {}
    for name, wanted in (("test", test), ("validation", validation)):
        count = 0
        while count < wanted and names:
            taken = names.pop()
            side[taken], count = name, count + pictures[taken]
    words = {"test": set(), "validation": set()}
    for caption, g in group.items():
        if g in side:
            words[side[g]] |= wordnet.synonyms(heads(caption, wordnet)[0])
    held = words["test"] | words["validation"]
    splits = []
    for item in items:
        where = side.get(group[item.caption], "train")
        if where == "train" and held & set(content(item.caption, wordnet)):
            where = "purged"
        if where != "train" and item.source not in core:
            where = "purged"
        if where == "validation" and words["test"] & set(content(item.caption, wordnet)):
            where = "purged"
        splits.append(where)
    return splits


def leaky(items: Sequence[Item], group: Dict[str, str], core: Set[str], test: int, seed: int) -> List[str]:
    """A split through which much leaks: whole groups of captions are held out and nothing else is purged. Grouped by head noun,
    synonyms and phrases that mention it are trained on; by the caption itself, other phrases about the same thing are too. It is here to be
    compared with figures that were taken on such a split."""
    pictures = Counter(group[i.caption] for i in items if i.source in core)
    names = sorted(g for g in pictures if pictures[g] <= COMMON and not g.startswith("flag"))
    random.Random(seed).shuffle(names)
    held: Set[str] = set()
    count = 0
    while count < test and names:
        held.add(names[-1])
        count += pictures[names.pop()]
    side = lambda i: "train" if group[i.caption] not in held else ("test" if i.source in core else "purged")
    return [side(i) for i in items]


def head_of(captions: Iterable[str], wordnet: WordNet) -> Dict[str, str]:
    """Each caption's head noun."""
    return {c: (heads(c, wordnet) or [c])[0] for c in captions}


def purge_near(items: Sequence[Item], splits: List[str], embed: Optional[Callable[[List[str]], np.ndarray]]) -> List[str]:
    """Purges training items whose caption is nearly a held-out caption by the unit rows of `embed`."""
    if embed is None:
        return splits
    train = sorted({i.caption for i, s in zip(items, splits) if s == "train"})
    held = sorted({i.caption for i, s in zip(items, splits) if s in ("test", "validation")})
    if not train or not held:
        return splits
    near = (embed(train) @ embed(held).T).max(1) > NEAR
    out: Set[str] = {c for c, n in zip(train, near) if n}
    return ["purged" if s == "train" and i.caption in out else s for i, s in zip(items, splits)]


def leaks(items: Sequence[Item], splits: Sequence[str], wordnet: WordNet) -> Dict[str, List[str]]:
    """Training captions that name a held-out head or a synonym of it, by head. Empty when the split is clean."""
    heads_held: Set[str] = set()
    for item, split in zip(items, splits):
        if split in ("test", "validation"):
            heads_held |= wordnet.synonyms(heads(item.caption, wordnet)[0])
    found = defaultdict(list)
    for item, split in zip(items, splits):
        if split == "train":
            for word in heads_held & set(content(item.caption, wordnet)):
                found[word].append(item.caption)
    return dict(found)


@lru_cache(maxsize=2)
def dictionary(data: Path) -> WordNet:
    """WordNet from the data folder."""
    return WordNet(data / "packages/debian/usr/share/wordnet")


def content_words_held(data: Path, rows: Sequence[dict], hide: Sequence[str]) -> Set[str]:
    """Heads of the captions in the splits `hide`, with their synonyms."""
    wordnet, held = dictionary(data), set()
    for caption in {r["caption"] for r in rows if r["split"] in hide}:
        held |= wordnet.synonyms(heads(caption, wordnet)[0])
    return held
