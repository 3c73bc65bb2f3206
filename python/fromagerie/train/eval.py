"""The figure: trains on the train split with the committed settings and seed, and looks at the test split once.

    python -m fromagerie.train.eval --data .cache/train-data

Assembles the data if missing, computes features and hidden states if missing (about twenty minutes on two free cores, and
then cached), trains (seconds), and prints recall on concepts that training never named, for every wording, beside chance
and beside a text side without the transformer. Settings were chosen on validation (`--split validation` prints the
same table for it); nothing here may be tuned on what `--split test` says.

`--split concepts` holds out head nouns but lets synonyms through, `--split captions` holds out no more than captions: to compare
with figures that were taken on such splits.

With `--look` the maps that ship are judged on two collections nothing was trained on: OpenMoji, and ten photographs
of things ImageNet knows, hidden among OpenMoji's pictures. Their concepts were trained on; their pictures were not.
With `--captions` the model says what is on sixty of OpenMoji's pictures, by the maps of a file.

Read next: `docs/DEMO_MODEL.md` (the figures), `fit.py` (the recipe).
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path
from typing import Dict, List

import numpy as np
import torch

from . import features as vision
from . import states as language
from .captioning import describe, shared
from .captions import content, words_of
from .data import CORE, SEED, TEST_PICTURES, load
from .config import read_config
from .fit import EVERYTHING, open_cache, train_retrieval
from .maps import Shape
from .metrics import ranks, recall
from .prepare import prepare
from .problem import Cache
from .retrieval import Pairs, Settings, fit, scores
from .sources import Item
from .split import dictionary, head_of, leaky
from .wordings import BARE_CHAT, DIRECT, PLAIN, REPLY, WORDINGS

LEAKY = ("concepts", "captions")
MAPS, CAPTIONED = Path("python/fromagerie/demo/maps.safetensors"), 60
SHIPPED_WORDINGS = (*WORDINGS["q8plain"], *WORDINGS["q8chat"])
PHOTOGRAPHS = {  # chosen by looking at the pictures, before any score was seen
    "strawberry": "food/fruit/Strawberry2.png", "koala": "animals/marsupials/koala.png", "tiger": "animals/mammals/cats/tiger.png",
    "violin": "hobbies/music/string/violin.png", "zebra": "animals/mammals/equines/zebra.png", "pineapple": "food/fruit/pineapple.png",
    "hippopotamus": "animals/mammals/hippopotamus.png", "basketball": "sports/basketball.png", "fire truck": "vehicles/emergency/firetruck.png",
    "teapot": "household/dishes/teapot.png",
}  # fmt: skip


def baseline(cache: Cache, config: dict, split: str, embed, width: int) -> Dict[str, float]:
    """The same pictures and the same training with another text side: `embed(captions)` `[n, width]` in place of `[RET]`."""
    pairs = cache.pairs(["train"], [PLAIN], config["pseudo_images"], True, ["validation", "test"], config["without"])
    other = Pairs(pairs.captions, embed(pairs.captions)[:, None, None].astype(np.float32), pairs.pictures, pairs.features, pairs.teacher, pairs.pseudo_from, pairs.pseudo)
    settings = Settings(**{**config["retrieval"], "width": min(width, Settings(**config["retrieval"]).width)})
    maps = fit(other, Shape(layers=(0,), dim=config["dim"], hidden=width, features=cache.features.shape[1]), settings)
    pictures = cache.pictures([split])
    rows = np.concatenate(list(pictures.values()))
    names = [cache.rows[i]["caption"] for i in rows]
    return recall(ranks(scores(maps, embed(list(pictures))[:, None].astype(np.float32), cache.features[rows]), list(pictures), names))


def averaged_words(captions: List[str]) -> np.ndarray:
    """Mean of the caption's input embeddings: what the language model knows before it reads."""
    lm, encode, _ = language.load_lm()
    return np.stack([lm.embeddings[encode(" " + c)].mean(0).numpy() for c in captions])


def table(cache: Cache, config: dict, split: str) -> Dict[str, Dict[str, float]]:
    """Recall of `split` for every wording and baseline."""
    maps = train_retrieval(cache, config, ["train"], ["validation", "test"])
    out = {f"[RET], {w}": cache.judge(maps, split, w) for w in (PLAIN, REPLY, DIRECT, BARE_CHAT, *SHIPPED_WORDINGS) if cache.read_in(w, list(cache.pictures([split])))}
    out["averaged input embeddings"] = baseline(cache, config, split, averaged_words, 576)
    out["MiniLM sentence encoder"] = baseline(cache, config, split, lambda c: cache.taught(c), 384)
    out["chance"] = cache.chance(split)
    return out


def look(cache: Cache, maps, wording: str) -> Dict[str, object]:
    """OpenMoji's recall, and the rank of each photograph among OpenMoji's pictures."""
    moji = [i for i, r in enumerate(cache.rows) if r["source"] == "openmoji"]
    names = [cache.rows[i]["caption"] for i in moji]
    queries = sorted({n for n in names if n in cache.known and wording in cache.known[n]})
    moji_recall = recall(ranks(scores(maps, cache.states(queries, wording), cache.features[moji]), queries, names))
    photos = {n: next(i for i, r in enumerate(cache.rows) if r["where"].endswith("stamps/" + p)) for n, p in PHOTOGRAPHS.items()}
    rows = moji + list(photos.values())
    s = scores(maps, cache.states(list(photos), wording), cache.features[rows])
    found = {n: 1 + int((s[k] > s[k, len(moji) + k]).sum()) for k, n in enumerate(photos)}
    return {"pictures": len(rows), "openmoji queries": len(queries), "openmoji": moji_recall, "photograph's rank": found}


def resplit(data: Path, rows: List[dict], by: str) -> List[dict]:
    """The rows under the leaky split by "concepts" (head nouns) or "captions"; what is only looked at stays so."""
    kept = [r for r in rows if r["split"] != "look"]
    items = [Item(r["source"], r["licence"], r["where"], r["caption"]) for r in kept]
    names = {r["caption"] for r in kept}
    group = head_of(names, dictionary(data)) if by == "concepts" else {c: c for c in names}
    splits = leaky(items, group, CORE, TEST_PICTURES, SEED)
    return [{**r, "split": s} for r, s in zip(kept, splits)] + [r for r in rows if r["split"] == "look"]


def captions(data: Path, path: Path, encoder: str) -> Dict[str, object]:
    """What the model says of sixty OpenMoji pictures by the maps in `path`, beside the truth, and the share with a content word in common."""
    from safetensors.torch import load_file

    rows = {r["caption"]: r for r in load(data) if r["source"] == "openmoji"}
    chosen = random.Random(SEED).sample(sorted(rows), CAPTIONED)
    places = [Path(rows[c]["where"]) for c in chosen]
    seen = vision.encode([str(p if p.is_absolute() else data / p) for p in places], encoder)
    maps = {k: v.float() for k, v in load_file(str(path)).items() if k.startswith("visual_embeddings")}
    lm, encode, tokenizer = language.load_lm()
    tokens = torch.from_numpy(seen) @ maps["visual_embeddings.0.weight"].T + maps["visual_embeddings.0.bias"]
    said = describe(lm, tokens.view(len(chosen), -1, lm.hidden), encode, tokenizer.decode)
    wordnet = dictionary(data)
    return {"share with a word in common": shared(chosen, said, lambda c: set(content(" ".join(words_of(c)), wordnet))), "said": dict(zip(chosen, said))}


def main() -> None:
    parser = argparse.ArgumentParser(prog="fromagerie.train.eval", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(".cache/train-data"))
    parser.add_argument("--split", choices=["test", "validation", *LEAKY], default="test", help="what to judge on")
    parser.add_argument("--captions", type=Path, nargs="?", const=MAPS, help="say what is on pictures by the maps in this file (default: those that ship), and nothing else")
    parser.add_argument("--look", action="store_true", help="also train on everything, and judge on OpenMoji and the photographs")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    config = read_config()
    if args.captions:
        print(json.dumps(captions(args.data, args.captions, config["encoders"][0]), indent=1))
        return
    rows, split = load(args.data), args.split
    if split in LEAKY:
        rows, split = resplit(args.data, rows, split), "test"
    prepare(args.data, config, ["train", "validation", "test"] + (["purged"] if args.look or args.split in LEAKY else []))
    cache = open_cache(args.data, config, rows)
    pictures = cache.pictures([split])
    print(f"{args.split}: {len(pictures)} captions, {sum(map(len, pictures.values()))} pictures")
    for name, row in table(cache, config, split).items():
        print(f"{name:40s}" + "  ".join(f"{k} {v:.3f}" for k, v in row.items()), flush=True)
    if args.look:
        maps = train_retrieval(cache, config, EVERYTHING, [])
        for wording in (PLAIN, REPLY, *SHIPPED_WORDINGS):
            print(wording, json.dumps(look(cache, maps, wording)))


if __name__ == "__main__":
    main()
