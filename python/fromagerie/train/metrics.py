"""Recall@k and mean reciprocal rank from captions to pictures, and chance for the same candidates."""

from __future__ import annotations

from typing import Dict, List, Sequence

import numpy as np


def ranks(scores: np.ndarray, queries: Sequence[str], candidates: Sequence[str]) -> np.ndarray:
    """Rank (1 is best) of the first picture whose caption is the query's; ties count against us."""
    names = np.array(candidates)
    out = np.zeros(len(queries), int)
    for i, q in enumerate(queries):
        right = names == q
        best = scores[i, right].max()
        out[i] = 1 + int((scores[i, ~right] >= best).sum())
    return out


def recall(rank: np.ndarray, at: Sequence[int] = (1, 5, 10)) -> Dict[str, float]:
    """Shares of queries found within the first k, and the mean reciprocal rank."""
    found = {f"R@{k}": float((rank <= k).mean()) for k in at}
    return {**found, "MRR": float((1 / rank).mean())}


def chance(queries: Sequence[str], candidates: Sequence[str], at: Sequence[int] = (1, 5, 10)) -> Dict[str, float]:
    """What a random order would score, exactly: one minus the chance that no right picture is among the first k."""
    n, out = len(candidates), {}
    counts: List[int] = [sum(c == q for c in candidates) for q in queries]
    for k in at:
        misses = [np.prod([(n - m - j) / (n - j) for j in range(k)]) for m in counts]
        out[f"R@{k}"] = float(1 - np.mean(misses))
    return out
