"""What each precision of the demo's language model keeps: recall among OpenMoji's pictures, and the loss of their captions.

    PYTHONPATH=python:bench/models .cache/venv-models/bin/python bench/models/quality.py --out bench/results/model_quality.json

Nobody trained on these pictures. Queries are read at `[RET]` after "a picture of X" (search) and after "Show me a picture of X." with its
reply "Here is X." (chat); the loss is that of the answer "This is X.", a token, about a picture in the user's turn. All of it by the
graphs of the bundles themselves, in ONNX Runtime; they share one vision encoder.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import re
from collections import defaultdict
from pathlib import Path

import bundles
import numpy as np
import onnxruntime
from fromagerie.train.captioning import question
from fromagerie.train.captions import phrase, seen
from fromagerie.train.images import fit, normalise, square
from fromagerie.train.metrics import ranks, recall
from fromagerie.train.wordings import ASSISTANT, END, PREAMBLE, USER
from PIL import Image
from tokenizers import Tokenizer

SEED, BATCH, EOS = 0, 8, 2
SEARCH, CHAT = "search", "chat"
PLAIN = re.compile("[a-z]+( [a-z]+){0,4}")  # captions of one to five plain words


class Speaker:
    """A bundle's language model."""

    def __init__(self, bundle: Path, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        opened = lambda name: onnxruntime.InferenceSession(bundle / "onnx" / name, options, providers=["CPUExecutionProvider"])
        self.decoder, self.table = opened("decoder_model_merged.onnx"), opened("embed_tokens.onnx")
        self.nothing = {i.name: np.zeros([1, i.shape[1], 0, i.shape[3]], np.float32) for i in self.decoder.get_inputs() if i.name.startswith("past")}

    def rows(self, ids: list) -> np.ndarray:
        """`[B, S, H]` of `[B, S]` tokens."""
        return self.table.run(None, {"input_ids": np.array(ids, np.int64)})[0]

    def read(self, rows: np.ndarray, past: dict, wanted: list[str]) -> list[np.ndarray]:
        """The outputs `wanted` for `rows` [B, S, H] after `past`, logits at every position."""
        length = next(iter(past.values())).shape[2]
        mask = np.ones((len(rows), length + rows.shape[1]), np.int64)
        spread = {name: np.repeat(kept, len(rows), 0) for name, kept in past.items()}
        feeds = {**spread, "inputs_embeds": rows, "attention_mask": mask, "num_logits_to_keep": np.array(0, np.int64)}
        return self.decoder.run(wanted, feeds)

    def prefix(self, ids: list[int]) -> dict:
        """Keys and values of what many texts begin with."""
        kept = self.read(self.rows([ids]), self.nothing, [name.replace("past_key_values", "present") for name in self.nothing])
        return dict(zip(self.nothing, kept))

    def queries(self, texts: list[list[int]], past: dict) -> np.ndarray:
        """Unit embeddings `[n, dim]` at the last token of each text."""
        groups, found = defaultdict(list), {}
        for n, ids in enumerate(texts):
            groups[len(ids)].append(n)
        for group in groups.values():
            for part in (group[i : i + BATCH] for i in range(0, len(group), BATCH)):
                (mapped,) = self.read(self.rows([texts[n] for n in part]), past, ["retrieval_embedding"])
                found.update(zip(part, mapped[:, -1] / np.linalg.norm(mapped[:, -1], axis=1, keepdims=True)))
        return np.stack([found[n] for n in range(len(texts))])

    def loss(self, before: np.ndarray, asked: list[int], said: list[int], past: dict) -> float:
        """Cross-entropy a token of `said` after the rows `before` [k, H] and the tokens `asked`."""
        rows = np.concatenate([before, self.rows([asked + said[:-1]])[0]])
        (logits,) = self.read(rows[None], past, ["logits"])
        logits = logits[0, -len(said) :].astype(np.float64)
        top = logits.max(1, keepdims=True)
        return float(np.mean(np.log(np.exp(logits - top).sum(1)) + top[:, 0] - logits[np.arange(len(said)), said]))


def judged(speaker: Speaker, encode, ret: int, names: list[str], shown: np.ndarray, tokens: np.ndarray) -> dict:
    """One precision's figures for the pictures `names`: `shown` [n, dim] unit, `tokens` [m, k, H] of the first m."""
    search = [encode(f"<|im_start|>a picture of {phrase(name)}") + [ret] for name in names]
    chat = [encode(f"{USER}Show me a picture of {phrase(n)}.{END}{ASSISTANT}") + encode(f"Here is {phrase(n)}.") + [ret] for n in names]
    found = {}
    for wording, texts, past in ((SEARCH, search, speaker.nothing), (CHAT, chat, speaker.prefix(encode(PREAMBLE)))):
        found[wording] = recall(ranks(speaker.queries(texts, past) @ shown.T, names, names))
    past, asked = speaker.prefix(encode(PREAMBLE + USER)), question(encode, 0)
    losses = [speaker.loss(rows, asked, encode(f" {phrase(name)}.") + [EOS], past) for name, rows in zip(names, tokens)]
    return {**found, "caption_loss": float(np.mean(losses))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, default=Path(".cache"))
    parser.add_argument("--variants", default="fp32,fp16,int8,q4")
    parser.add_argument("--pictures", type=int, default=300, help="as many queries, as many candidates")
    parser.add_argument("--described", type=int, default=96)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    model = bundles.demo(arguments.cache.absolute(), tuple(arguments.variants.split(",")))
    tokenizer = Tokenizer.from_file(str(model.any_bundle / "tokenizer.json"))
    encode = lambda text: tokenizer.encode(text, add_special_tokens=False).ids
    ret = json.loads((model.any_bundle / "fromagerie.json").read_text())["retrieval"]["ret_token_ids"][0]
    size = json.loads((model.any_bundle / "preprocessor_config.json").read_text())["size"]["shortest_edge"]
    with open(arguments.cache / "demo-images/captions.tsv", encoding="utf-8", newline="") as file:
        rows = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        captions = {caption: name for name, caption in rows if PLAIN.fullmatch(caption) and seen(caption)}
    names = random.Random(SEED).sample(sorted(captions), arguments.pictures)
    eyes = onnxruntime.InferenceSession(model.any_bundle / "onnx/vision_encoder.onnx", providers=["CPUExecutionProvider"])
    shown, tokens = [], []
    for name in names:
        pixels = normalise(fit(square(Image.open(arguments.cache / "demo-images" / captions[name])), size))[None]
        vector, visual = eyes.run(["retrieval_embedding", "visual_tokens"], {"pixel_values": pixels})
        shown.append(vector[0] / np.linalg.norm(vector[0]))
        tokens.append(visual[0])
    found = {"pictures": len(names), "described": arguments.described, "seed": SEED, "variants": {}}
    for variant, (bundle, _) in model.bundles.items():
        told = judged(Speaker(bundle, arguments.threads), encode, ret, names, np.stack(shown), np.stack(tokens[: arguments.described]))
        found["variants"][variant] = told
        print(variant, json.dumps(told), flush=True)
        if arguments.out:
            arguments.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
