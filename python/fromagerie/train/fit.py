"""Trains FROMAGe's maps around the demo's frozen models and writes the files that the export reads.

    python -m fromagerie.train demo --data .cache/train-data --out python/fromagerie/demo

What is missing of the data and features is computed first, then `[RET]`'s input row (`ret_row.py`) and the states read with it. Then:
  1. the start, in closed form on what is cached: retrieval (`regression.py`) and visual tokens (`captioning.start`);
  2. FROMAGe's weighted sum of captioning and InfoNCE from there on (`joint.py`);
  3. the decision: `[RET]`'s output row against the model's own vocabulary (`decision.py`).
One seed; settings come from `config.json`, which validation chose. The default trains on everything, which is what ships;
`--splits train` holds validation and test out and writes validation's figures into the log as it goes. Writes
`maps.safetensors`, `run_card.json`, `log.csv`, `dialogue.json`.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from pathlib import Path
from typing import Optional, Sequence, Tuple

import numpy as np
import torch

from . import captioning, decision, dialogues, regression, ret_row, states, wordings
from .config import CONFIG, read_config
from .data import report
from .joint import Joint, train
from .judge import Judge
from .lm import generate, load_lm
from .maps import Maps, shape_of, write
from .prepare import prepare
from .problem import Cache, Pairs
from .retrieval import Contrast

EVERYTHING = ("train", "validation", "test", "purged")


def start(cache: Cache, config: dict, splits: Sequence[str], hide: Sequence[str]) -> Tuple[Pairs, Maps]:
    """Retrieval's pairs of `splits` and the maps in closed form; concepts of the splits `hide` do not come in through ImageNet's names."""
    pairs = cache.pairs(splits, config["wordings"], hide, config["without"])
    return pairs, regression.fit(pairs, shape_of(config, cache.features.shape[1]), regression.Start(**config["start"]))


def start_tokens(maps: Maps, pairs: Pairs, ridge: float, lm, encode) -> captioning.Captions:
    """Sets visual tokens in closed form, and gives what captioning learns from."""
    named, each = dict(zip(pairs.captions, pairs.pictures)), np.array([len(p) for p in pairs.pictures])
    target = captioning.word_targets(lm, list(named), encode, maps.shape.visual_tokens).repeat_interleave(torch.from_numpy(each), 0)
    features = torch.from_numpy(pairs.features[np.concatenate(pairs.pictures)])
    captioning.start(maps, features, target, torch.from_numpy(np.repeat(1 / each, each)).float(), ridge)
    return captioning.Captions.of(lm, encode, named, pairs.features)


def decision_data(cache: Cache, config: dict, maps: Maps, lm, encode, tokenizer, splits: Sequence[str], count: int, seed: int):
    """Dialogues over captions of `splits`, read by the frozen model: the positions of stage 3."""
    pictures = {c: rows[0] for c, rows in cache.pictures(splits, config["without"]).items()}
    with torch.inference_mode():
        tokens = maps.visual_tokens(torch.from_numpy(cache.features[list(pictures.values())]))
    k, at = tokens.shape[1], {c: n for n, c in enumerate(pictures)}
    captions = [c for c in at if not c.startswith("flag of")]
    past = lm.prefix(encode(wordings.PREAMBLE))
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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `demo`."""
    parser.add_argument("--data", type=Path, default=Path(".cache/train-data"), help="what `fromagerie.train.data` assembled; caches live there too")
    parser.add_argument("--out", type=Path, default=Path("python/fromagerie/demo"), help="where the maps and the run card are written")
    parser.add_argument("--config", type=Path, default=CONFIG, help="settings (default: the committed ones)")
    parser.add_argument("--splits", default=",".join(EVERYTHING), help="what to train on; with 'train', validation is judged as training goes on")
    parser.add_argument("--threads", type=int, default=2)


def main(args: argparse.Namespace) -> None:
    """Runs what the options say."""
    torch.set_num_threads(args.threads)
    run(args.data, args.out, read_config(args.config), args.splits.split(","))


def run(data: Path, out: Path, config: dict, splits: Sequence[str]) -> None:
    """All stages; see the module's head."""
    started, hidden = time.time(), [s for s in ("validation", "test") if s not in splits]
    lm, encode, tokenizer = load_lm()
    lm.ret = ret_row.trained(data, config)
    prepare(data, config, lm.ret, [*splits, *hidden])
    cache = Cache(data, config["encoders"], config["layers"], states.known(data, lm.ret, config["layers"]))
    pairs, maps = start(cache, config, splits, hidden)
    captions = start_tokens(maps, pairs, config["ridge_tokens"], lm, encode)
    judge = Judge.of(cache, config, lm, encode) if "validation" in hidden else None
    log = Log(maps, judge, config["judge_every"], started)
    contrast = Contrast(maps, pairs)
    train(maps, captions, contrast, Joint(**config["joint"]), log.note)
    contrast.rescale(maps)
    print(f"weighted sum after {time.time() - started:.0f} s", flush=True)
    train_on = decision_data(cache, config, maps, lm, encode, tokenizer, splits, config["decision"]["dialogues"], seed=1)
    held_out = decision_data(cache, config, maps, lm, encode, tokenizer, splits, config["decision"]["held_out"], seed=2)
    row, bias = decision.fit(train_on, config["decision"]["decay"], config["decision"]["positive"])
    judged = {b: decision.judge(held_out, row, bias, b) for b in (-2.0, 0.0, 2.0, 4.0)}
    print(json.dumps(judged, indent=1))
    write(out / "maps.safetensors", maps, {"ret_input_embedding": lm.ret, "ret_output_embedding": row, "ret_output_bias": bias})
    card = {
        "config": config, "splits": list(splits), "seconds": round(time.time() - started), "pairs": report([r for r in cache.rows if r["split"] in splits and r["source"] not in config["without"]]),
        "decision_on_held_out_dialogues": judged, "logit_scale": maps.log_scale.exp().item(), "torch": torch.__version__,
    }  # fmt: skip
    (out / "run_card.json").write_text(json.dumps(card, indent=1) + "\n", "utf-8")
    log.write(out / "log.csv")
    write_dialogue(out, config)


class Log:
    """Both losses of every step, and every so many steps what `judge` says of the validation split."""

    def __init__(self, maps: Maps, judge: Optional[Judge], every: int, started: float) -> None:
        self.maps, self.judge, self.every, self.started, self.rows = maps, judge, every, started, []
        if judge:
            self.rows.append({"step": 0, **judge(maps)})
            print(self.rows[0], flush=True)

    def note(self, step: int, said: float, found: float, scale: float) -> None:
        """One step."""
        row = {"step": step, "captioning": said, "infonce": found, "logit_scale": scale}
        row = {k: v for k, v in row.items() if v == v}
        self.rows.append({**row, **(self.judge(self.maps) if self.judge and step % self.every == 0 else {})})
        if step % 10 == 0:
            mean = {k: np.mean([r[k] for r in self.rows[-10:] if k in r] or [0]) for k in ("captioning", "infonce")}
            print(f"step {step}: captioning {mean['captioning']:.3f}, InfoNCE {mean['infonce']:.3f}, scale {scale:.1f}, {time.time() - self.started:.0f} s", flush=True)
        if self.judge and step % self.every == 0:
            print(self.rows[-1], flush=True)

    def write(self, path: Path) -> None:
        """A row a step; what was not judged at a step is empty."""
        columns = list(dict.fromkeys(k for row in self.rows for k in row))
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([columns, *([f"{r[c]:.4f}".rstrip("0").rstrip(".") if c in r else "" for c in columns] for r in self.rows)])


def write_dialogue(out: Path, config: dict) -> None:
    """`dialogue.json`: the preamble and turn marks, as the bundle's manifest has them."""
    shape = {"preamble": wordings.PREAMBLE, "user": [wordings.USER, wordings.END], "assistant": [wordings.ASSISTANT, wordings.END], **config["dialogue"]}
    (out / "dialogue.json").write_text(json.dumps(shape, indent=1) + "\n", "utf-8")
