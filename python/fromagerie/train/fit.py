"""Trains FROMAGe's maps around the demo's frozen models and writes the files that the export reads.

    python -m fromagerie.train --data .cache/train-data --out python/fromagerie/demo

The recipe is FROMAGe's, in stages, because `[RET]` stays fixed at the mean embedding (mean norm) and so nothing that
one stage learns changes what another one reads:
  1. retrieval, in closed form on cached hidden states (`regression.py`), or by InfoNCE where `text_hidden` is 0 (`retrieval.py`);
  2. captioning: cross-entropy through the frozen model, of captions after the picture and of the end of the turn (`captioning.py`);
  3. the decision: `[RET]`'s output row against the model's own vocabulary (`decision.py`).
AdamW (0.9, 0.95), warm-up, clipping, one seed. Settings come from `config.json`, which validation chose; `--splits train`
trains as `eval` does, the default trains on everything, which is what ships. Writes `maps.safetensors`,
`run_card.json`, `log.csv`, `dialogue.json`.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Dict, List, Optional, Sequence

import numpy as np
import torch

from . import captioning, decision, dialogues, regression, states, wordings
from .config import CONFIG, read_config
from .data import CORE, report
from .maps import Maps, Shape, write
from .prepare import prepare
from .problem import Cache
from .retrieval import Settings, fit as fit_retrieval, scores

EVERYTHING = ("train", "validation", "test", "purged")


def open_cache(data: Path, config: dict, rows: Optional[List[dict]] = None) -> Cache:
    """Cached features and states for the configured encoders and layers; `rows`: of `pairs.jsonl`, under another split perhaps."""
    return Cache(data, config["encoders"], config["layers"], rows)


def train_retrieval(cache: Cache, config: dict, splits: Sequence[str], hide: Sequence[str], log: Optional[list] = None) -> Maps:
    """Stage 1 on `splits`; concepts of the splits `hide` do not come in through ImageNet's names."""
    settings = Settings(**config["retrieval"])
    pairs = cache.pairs(splits, config["wordings"], config["pseudo_images"], settings.teacher_share > 0, hide, config["without"])
    shape = Shape(
        encoders=tuple(config["encoders"]), layers=tuple(config["layers"]), dim=config["dim"], text_hidden=config["text_hidden"], text_direct=config["text_hidden"] > 0,
        visual_hidden=config["visual_hidden"], visual_tokens=config["visual_tokens"], token_hidden=0, features=cache.features.shape[1],
    )  # fmt: skip
    watch = (lambda step, loss, scale: log.append(("retrieval", step, loss, scale))) if log is not None else None
    maps = regression.fit(pairs, shape, settings) if shape.text_hidden else fit_retrieval(pairs, shape, settings, watch)
    rescale(maps, pairs.states)
    return maps


@torch.no_grad()
def rescale(maps: Maps, states_: np.ndarray) -> None:
    """Scales the text maps so that queries have norm 1 on average: an added image vector then weighs what it says."""
    sample = torch.from_numpy(states_[::7].reshape(-1, *states_.shape[2:])).float()
    norm = maps.query(sample).norm(dim=1).mean()
    for fc in maps.text_maps():
        fc[-1].weight.div_(norm)
        fc[-1].bias.div_(norm)


def caption_rows(cache: Cache, splits: Sequence[str]) -> List[int]:
    """One picture of each caption and core source: what captioning sees."""
    chosen: Dict[tuple, int] = {}
    for caption, rows in cache.pictures(splits).items():
        for i in rows:
            if cache.rows[i]["source"] in CORE:
                chosen.setdefault((caption, cache.rows[i]["source"]), int(i))
    return sorted(chosen.values())


def train_captioning(cache: Cache, config: dict, maps: Maps, lm, encode, splits: Sequence[str], log: list) -> None:
    """Stage 2: visual tokens."""
    rows = caption_rows(cache, splits)
    settings = captioning.CaptionSettings(**config["captioning"])

    def note(step: int, said: float, ended: float) -> None:
        log.append(("captioning", step, said * config["captioning_weight"], 0.0))
        log.append(("end of turn", step, ended, 0.0))
        if step % 10 == 0:
            print(f"captioning {step}: caption {said:.3f}, end of turn {ended:.3f}", flush=True)

    captioning.train(lm, maps, [cache.rows[i]["caption"] for i in rows], torch.from_numpy(cache.features[rows]).float(), encode, settings, note)


def decision_data(cache: Cache, config: dict, maps: Maps, lm, encode, tokenizer, splits: Sequence[str], count: int, seed: int):
    """Dialogues over captions of `splits`, read by the frozen model: the positions of stage 3."""
    rows = caption_rows(cache, splits)
    with torch.inference_mode():
        tokens = maps.visual_tokens(torch.from_numpy(cache.features[rows]).float())
    k = tokens.shape[1]
    at = {cache.rows[i]["caption"]: n for n, i in enumerate(rows)}
    captions = [c for c in at if not c.startswith("flag of")]
    past = lm.prefix(encode(wordings.PREAMBLE))
    from .lm import generate

    path, answers = cache.data / "answers.json", {}
    if path.exists():
        answers = json.loads(path.read_text("utf-8"))

    def answer(question: str) -> str:
        if question not in answers:
            answers[question] = tokenizer.decode(generate(lm, dialogues.ask_turn(encode, question), 24, past))
            path.write_text(json.dumps(answers, indent=1), "utf-8")
        return answers[question]

    marks = lambda caption: [wordings.RET] + [-1 - (at.get(caption, at.get(caption.split(" ", 1)[-1], 0)) * k + j) for j in range(k)]
    made = dialogues.make(captions, encode, answer, marks, count, seed)
    return decision.read(lm, past, made, tokens.flatten(0, 1))


def image_weight(cache: Cache, maps: Maps, split: str, wording: str) -> List[dict]:
    """How a picture in the turn should weigh: recall for "another one like this" and for "X", with a picture of something else there."""
    pictures = cache.pictures([split])
    names = [c for c in pictures if len(pictures[c]) > 1]
    rows = np.concatenate(list(pictures.values()))
    caption_of = np.array([cache.rows[i]["caption"] for i in rows])
    with torch.inference_mode():
        image = torch.nn.functional.normalize(maps.image(torch.from_numpy(cache.features[rows]).float()), dim=1).numpy()
    unit = lambda x: x / np.linalg.norm(x, axis=1, keepdims=True)
    with torch.inference_mode():
        text = unit(maps.query(torch.from_numpy(cache.states(names, wording))).numpy())
        vague = maps.query(torch.from_numpy(cache.states(["thing"], wording))).numpy() if cache.read_in(wording, ["thing"]) else text.mean(0, keepdims=True)
    first = np.array([int(np.flatnonzero(caption_of == c)[0]) for c in names])
    other = np.roll(first, 1)
    table = []
    for w in (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0):
        like = unit(unit(vague) + w * image[first]) @ image.T
        like[np.arange(len(names)), first] = -9
        but = unit(text + w * image[other]) @ image.T
        but[np.arange(len(names)), other] = -9
        hit = lambda s, k: float(np.mean([names[i] in caption_of[np.argsort(-s[i])[:k]] for i in range(len(names))]))
        table.append({"weight": w, "like this R@5": hit(like, 5), "X instead R@5": hit(but, 5)})
    return table


def main() -> None:
    parser = argparse.ArgumentParser(prog="fromagerie.train", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(".cache/train-data"), help="what `fromagerie.train.data` assembled; caches live there too")
    parser.add_argument("--out", type=Path, default=Path("python/fromagerie/demo"), help="where the maps and the run card are written")
    parser.add_argument("--config", type=Path, default=CONFIG, help="settings (default: the committed ones)")
    parser.add_argument("--splits", default=",".join(EVERYTHING), help="what to train on; 'train' leaves validation and test out")
    parser.add_argument("--no-captioning", action="store_true", help="ridge start only: visual tokens without the passes through the frozen model")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    run(args.data, args.out, read_config(args.config), args.splits.split(","), not args.no_captioning)


def run(data: Path, out: Path, config: dict, splits: Sequence[str], captions: bool = True) -> None:
    """All stages; see the module's head."""
    started, log = time.time(), []
    prepare(data, config, list(splits))
    cache = open_cache(data, config)
    maps = train_retrieval(cache, config, splits, [s for s in ("validation", "test") if s not in splits], log)
    print(f"retrieval trained after {time.time() - started:.0f} s", flush=True)
    lm, encode, tokenizer = states.load_lm()
    if not captions:
        config = {**config, "captioning": {**config["captioning"], "steps": 0}}
    train_captioning(cache, config, maps, lm, encode, splits, log)
    print(f"captioning trained after {time.time() - started:.0f} s", flush=True)
    train_on = decision_data(cache, config, maps, lm, encode, tokenizer, splits, config["decision"]["dialogues"], seed=1)
    held_out = decision_data(cache, config, maps, lm, encode, tokenizer, splits, config["decision"]["held_out"], seed=2)
    row, bias = decision.fit(train_on, config["decision"]["decay"], config["decision"]["positive"])
    judged = {b: decision.judge(held_out, row, bias, b) for b in (-2.0, 0.0, 2.0, 4.0)}
    print(json.dumps(judged, indent=1))
    extras = {"ret_input_embedding": lm.ret, "ret_output_embedding": row, "ret_output_bias": bias}
    write(out / "maps.safetensors", maps, extras)
    card = {
        "config": config, "splits": list(splits), "seconds": round(time.time() - started), "pairs": report([r for r in cache.rows if r["split"] in splits and r["source"] not in config["without"]]),
        "decision_on_held_out_dialogues": judged, "logit_scale": maps.log_scale.exp().item(), "torch": torch.__version__,
    }  # fmt: skip
    (out / "run_card.json").write_text(json.dumps(card, indent=1) + "\n", "utf-8")
    with (out / "log.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("stage", "step", "loss", "logit_scale"), *((a, b, f"{c:.4f}", f"{d:.2f}") for a, b, c, d in log)])
    write_dialogue(out, config)


def write_dialogue(out: Path, config: dict) -> None:
    """`dialogue.json`: the preamble and turn marks, as the bundle's manifest has them."""
    shape = {"preamble": wordings.PREAMBLE, "user": [wordings.USER, wordings.END], "assistant": [wordings.ASSISTANT, wordings.END], **config["dialogue"]}
    (out / "dialogue.json").write_text(json.dumps(shape, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
