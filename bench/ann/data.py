"""Images asked for in words, generated: rows, queries like the rows, queries like text, and what is nearest to them.

Rows are clusters of uneven size and tightness, each with some strong directions, around one mean. Text has a mean of its
own, sees the latent turned and damped in its finer parts, and has more noise. Everything follows from a seed.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

DIM = 256
QUERIES = 2000
TRUTHS = 10
SEED = 7


@dataclass
class World:
    """What rows and queries are drawn from."""

    rng: np.random.Generator
    spectrum: np.ndarray
    centres: np.ndarray
    bases: np.ndarray
    weights: np.ndarray
    image_mean: np.ndarray
    text_mean: np.ndarray

    def latent(self, count: int, flatten: float) -> np.ndarray:
        weights = self.weights**flatten
        cluster = self.rng.choice(len(self.centres), size=count, p=weights / weights.sum())
        local = self.rng.standard_normal((count, self.bases.shape[1])).astype(np.float32)
        z = self.centres[cluster] + 0.35 * self.spectrum * self.rng.standard_normal((count, DIM)).astype(np.float32)
        for basis in range(len(self.bases)):
            of_basis = cluster % len(self.bases) == basis
            z[of_basis] += 0.12 * local[of_basis] @ self.bases[basis]
        return z

    def images(self, count: int) -> np.ndarray:
        return unit(self.latent(count, 1.0) + self.image_mean)

    def texts(self, count: int) -> np.ndarray:
        z = self.latent(count, 0.75)
        turned = 0.94 * z + 0.34 * np.stack([-z[:, 1::2], z[:, 0::2]], axis=2).reshape(count, DIM)
        damped = turned / (1 + (np.arange(DIM, dtype=np.float32) / 192) ** 2)
        noise = self.spectrum * self.rng.standard_normal((count, DIM)).astype(np.float32)
        return unit(damped + 0.3 * noise + self.text_mean)


def unit(x: np.ndarray) -> np.ndarray:
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def world(rows: int) -> World:
    rng = np.random.default_rng(SEED)
    spectrum = (1 / (np.arange(DIM) + 32) ** 0.69).astype(np.float32)
    spectrum /= np.linalg.norm(spectrum)
    clusters = max(8, rows // 250)
    centres = 0.75 * spectrum * rng.standard_normal((clusters, DIM)).astype(np.float32)
    bases = unit(rng.standard_normal((32 * 24, DIM)).astype(np.float32) * spectrum).reshape(32, 24, DIM)
    weights = 1 / (np.arange(clusters) + 20.0) ** 0.9
    means = 0.75 * unit(rng.standard_normal((2, DIM)))
    return World(rng, spectrum, centres, bases, weights, means[0], means[1])


def nearest(queries: np.ndarray, base: np.ndarray) -> np.ndarray:
    """The `TRUTHS` nearest rows of each query, by scanning."""
    ids = np.zeros((len(queries), 0), np.int64)
    scores = np.zeros((len(queries), 0), np.float32)
    for start in range(0, len(base), 50_000):
        block = queries @ base[start : start + 50_000].T
        best = np.argpartition(-block, min(TRUTHS, block.shape[1] - 1), axis=1)[:, :TRUTHS]
        ids = np.hstack([ids, best + start])
        scores = np.hstack([scores, np.take_along_axis(block, best, axis=1)])
    order = np.argsort(-scores, axis=1, kind="stable")[:, :TRUTHS]
    return np.take_along_axis(ids, order, axis=1).astype(np.int32)


def make(folder: Path, rows: int) -> None:
    """Writes the set, unless it is there."""
    if (folder / "truth_text.npy").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    drawn = world(rows)
    base = np.vstack([drawn.images(min(50_000, rows - start)) for start in range(0, rows, 50_000)])
    np.save(folder / "base.npy", base)
    np.save(folder / "train.npy", drawn.texts(rows // 5))
    for kind, queries in (("rows", drawn.images(QUERIES)), ("text", drawn.texts(QUERIES))):
        np.save(folder / f"queries_{kind}.npy", queries)
        np.save(folder / f"truth_{kind}.npy", nearest(queries, base))
