"""The figure: trains on the train split with the committed settings and seed, and looks at the test split once.

    python -m fromagerie.train.eval --data .cache/train-data

Assembles the data if missing, computes features and hidden states if missing (and then they are cached), trains retrieval,
and prints recall on concepts that training never named, for every wording, before and after InfoNCE, beside chance and beside
text sides without the transformer. Settings were chosen on validation (`--split validation` prints the same table for
it); nothing here may be tuned on what `--split test` says. `--seeds 3` repeats InfoNCE with other seeds and prints the spread.

`--split concepts` holds out head nouns but lets synonyms through, `--split captions` holds out no more than captions: to compare
with figures that were taken on such splits. `--split style` holds out no concept but a whole source, Emoji One: things that training
names, drawn as it never saw them.

With `--look` the maps of a file are judged on what nobody trained on: OpenMoji, ten photographs of things ImageNet knows,
hidden among OpenMoji's pictures, and what the model says is on sixty of those.

Read next: `docs/DEMO_MODEL.md` (the figures), `fit.py` (the recipe).
"""

from __future__ import annotations

import argparse
import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Callable, Dict, List

import numpy as np
import torch

from . import captioning, features, regression, ret_row, states
from .captions import content, words_of
from .config import read_config
from .data import CORE, SEED, TEST_PICTURES, load
from .fit import start
from .joint import Joint, train
from .lm import load_lm
from .maps import Written, shape_of
from .metrics import ranks, recall
from .prepare import prepare
from .problem import Cache, Pairs, scores
from .retrieval import Contrast
from .sources import Item
from .split import dictionary, head_of, leaky
from .sentences import embed
from .wordings import PREAMBLE, USER

LEAKY = ("concepts", "captions")
STYLE, LOOKED_AT, DESCRIBED = "emojione", "openmoji", 60
MAPS = Path("python/fromagerie/demo/maps.safetensors")
PHOTOGRAPHS = {  # chosen by looking at the pictures, before any score was seen
    "strawberry": "food/fruit/Strawberry2.png", "koala": "animals/marsupials/koala.png", "tiger": "animals/mammals/cats/tiger.png",
    "violin": "hobbies/music/string/violin.png", "zebra": "animals/mammals/equines/zebra.png", "pineapple": "food/fruit/pineapple.png",
    "hippopotamus": "animals/mammals/hippopotamus.png", "basketball": "sports/basketball.png", "fire truck": "vehicles/emergency/firetruck.png",
    "teapot": "household/dishes/teapot.png",
}  # fmt: skip


def resplit(data: Path, rows: List[dict], by: str) -> List[dict]:
    """The rows under another split: "style" (a source), or one that leaks, by "concepts" (head nouns) or "captions"; what is only looked at stays so."""
    if by == "style":
        named = {r["caption"] for r in rows if r["split"] == "train" and r["source"] != STYLE}
        drawn = lambda r: r["source"] == STYLE and r["split"] == "train" and r["caption"] in named
        stays = lambda r: r["split"] == "look" or r["split"] == "train" and r["source"] != STYLE
        return [{**r, "split": "test" if drawn(r) else r["split"] if stays(r) else "purged"} for r in rows]
    kept = [r for r in rows if r["split"] != "look"]
    items = [Item(r["source"], r["licence"], r["where"], r["caption"]) for r in kept]
    names = {r["caption"] for r in kept}
    group = head_of(names, dictionary(data)) if by == "concepts" else {c: c for c in names}
    splits = leaky(items, group, CORE, TEST_PICTURES, SEED)
    return [{**r, "split": s} for r, s in zip(kept, splits)] + [r for r in rows if r["split"] == "look"]


def averaged_words(captions: List[str]) -> np.ndarray:
    """Mean of the caption's input embeddings: what the language model knows before it reads."""
    lm, encode, _ = load_lm()
    return np.stack([lm.embeddings[encode(" " + c)].mean(0).numpy() for c in captions])


def baseline(cache: Cache, config: dict, pairs: Pairs, split: str, words: Callable[[List[str]], np.ndarray]) -> Dict[str, float]:
    """The same pictures and the same training with another text side: `words(captions)` `[n, width]` in place of `[RET]`."""
    other = replace(pairs, states=words(pairs.captions)[:, None, None].astype(np.float32))
    maps = regression.fit(other, replace(shape_of(config, cache.features.shape[1]), layers=(0,), hidden=other.states.shape[3]), regression.Start(**config["start"]))
    train(maps, None, Contrast(maps, other), Joint(**config["joint"]))
    pictures = cache.pictures([split])
    rows = np.concatenate(list(pictures.values()))
    names = [cache.rows[i]["caption"] for i in rows]
    return recall(ranks(scores(maps, words(list(pictures))[:, None].astype(np.float32), cache.features[rows]), list(pictures), names))


def table(cache: Cache, config: dict, split: str, seeds: int) -> Dict[str, Dict[str, float]]:
    """Recall of `split` for every wording, before and after InfoNCE, and the baselines. Captioning trains no map of these."""
    out, after = {}, []
    for seed in range(seeds):
        pairs, maps = start(cache, {**config, "start": {**config["start"], "seed": seed}}, ["train"], ["validation", "test"])
        judged = lambda: {w: cache.judge(maps, split, w) for w in config["wordings"]}
        if not seed:
            out.update({f"[RET], {w}, closed form": row for w, row in judged().items()})
        train(maps, None, Contrast(maps, pairs), Joint(**{**config["joint"], "seed": seed}))
        after.append(judged())
    for w in config["wordings"]:
        out[f"[RET], {w}, trained"] = after[0][w]
        if seeds > 1:
            out[f"[RET], {w}, least of {seeds} seeds"] = {k: min(a[w][k] for a in after) for k in after[0][w]}
            out[f"[RET], {w}, most of {seeds} seeds"] = {k: max(a[w][k] for a in after) for k in after[0][w]}
    out["averaged input embeddings, trained"] = baseline(cache, config, pairs, split, averaged_words)
    out["MiniLM sentence encoder, trained"] = baseline(cache, config, pairs, split, embed)
    out["chance"] = cache.chance(split)
    return out


def look(cache: Cache, maps: Written, wording: str, photographs: np.ndarray) -> Dict[str, object]:
    """OpenMoji's recall, and the rank of each of the `photographs` (features `[10, F]`) among OpenMoji's pictures."""
    moji = [i for i, r in enumerate(cache.rows) if r["source"] == LOOKED_AT]
    names = [cache.rows[i]["caption"] for i in moji]
    queries = [n for n in sorted(set(names)) if cache.read_in(wording, [n])]
    found = recall(ranks(scores(maps, cache.states(queries, wording), cache.features[moji]), queries, names))
    s = scores(maps, cache.states(list(PHOTOGRAPHS), wording), np.concatenate([cache.features[moji], photographs]))
    places = {n: 1 + int((s[k] > s[k, len(moji) + k]).sum()) for k, n in enumerate(PHOTOGRAPHS)}
    return {"pictures": s.shape[1], "openmoji queries": len(queries), "openmoji": found, "photograph's rank": places}


@torch.inference_mode()
def describe(cache: Cache, maps: Written) -> Dict[str, object]:
    """What the model says of a fixed draw of OpenMoji's pictures, beside the truth, and the share that has a content word in common."""
    rows = {r["caption"]: i for i, r in enumerate(cache.rows) if r["source"] == LOOKED_AT}
    truth = random.Random(SEED).sample(sorted(rows), DESCRIBED)
    lm, encode, tokenizer = load_lm()
    tokens = maps.visual_tokens(torch.from_numpy(cache.features[[rows[c] for c in truth]]))
    said = captioning.describe(lm, lm.prefix(encode(PREAMBLE + USER)), tokens, encode, tokenizer.decode)
    wordnet = dictionary(cache.data)
    return {"share with a word in common": captioning.shared(truth, said, lambda c: set(content(" ".join(words_of(c)), wordnet))), "said": dict(zip(truth, said))}


def main() -> None:
    parser = argparse.ArgumentParser(prog="fromagerie.train.eval", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(".cache/train-data"))
    parser.add_argument("--split", choices=["test", "validation", "style", *LEAKY], default="test", help="what to judge on")
    parser.add_argument("--seeds", type=int, default=1, help="how often to train, with other seeds")
    parser.add_argument("--look", type=Path, nargs="?", const=MAPS, help="judge this file (default: what ships) on OpenMoji and the photographs, and nothing else")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    config, rows, split = read_config(), load(args.data), args.split
    if args.look:
        maps = Written(args.look)
        row = maps.tensors["ret_input_embedding"]
        prepare(args.data, {**config, "without": [*config["without"], "tuxpaint"]}, row, ["look"], list(PHOTOGRAPHS))
        cache = Cache(args.data, config["encoders"], config["layers"], states.known(args.data, row, config["layers"]))
        stamps = args.data / "packages/debian/usr/share/tuxpaint/stamps"
        seen = np.concatenate([features.encode([str(stamps / p) for p in PHOTOGRAPHS.values()], e) for e in config["encoders"]], 1)
        for wording in config["wordings"]:
            print(wording, json.dumps(look(cache, maps, wording, seen)), flush=True)
        print(json.dumps(describe(cache, maps), indent=1))
        return
    row = ret_row.trained(args.data, config)
    prepare(args.data, config, row, ["train", "validation", "test"] + (["purged"] if split in LEAKY else []))
    if split in (*LEAKY, "style"):
        rows, split = resplit(args.data, rows, split), "test"
    cache = Cache(args.data, config["encoders"], config["layers"], states.known(args.data, row, config["layers"]), rows)
    pictures = cache.pictures([split])
    print(f"{args.split}: {len(pictures)} captions, {sum(map(len, pictures.values()))} pictures")
    for name, row in table(cache, config, split, args.seeds).items():
        print(f"{name:50s}" + "  ".join(f"{k} {v:.3f}" for k, v in row.items()), flush=True)


if __name__ == "__main__":
    main()
