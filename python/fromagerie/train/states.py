"""Hidden states of `[RET]` as the decoder that ships computes them: 8-bit weights, activations rounded to 8 bits too.

    python -m fromagerie.train.states --kind reply --draw 1 [--row ROW.npy]

The maps stretch directions in which the states hardly differ, and there the rounding of the shipped decoder is not
small (mean cosine of the finished query to the unrounded one: .97), so the maps train on rounded states. The graph is
the export's own, with maps that copy the wanted layers side by side, cut off after the last of them; embeddings are
the 8-bit ones too. `[RET]`'s input row is trained before and stays (`ret_row.py`), so no training changes a state: each text is read
once and cached. `states/ROW/KIND-DRAW.npz`, where ROW is a digest of that row, so that no other row's states are ever taken for it:
`captions`, `layers`, `states` f16 `[captions, layers, hidden]`. Texts of one length share a batch, so nothing is padded.

Read next: `wordings.py` (the texts), `problem.py` (who reads the cache).
"""

from __future__ import annotations

import argparse
import hashlib
from collections import defaultdict
from pathlib import Path
from typing import Dict, List, Sequence

import numpy as np
import torch

from .config import read_config
from .data import load
from .lm import gguf_path, load_lm
from .sources import imagenet_names
from .wordings import PLAIN, PREAMBLE, REPLY, named, text

BATCH, CHUNK = 16, 512


class Decoder:
    """The cut decoder in ONNX Runtime."""

    def __init__(self, ret: np.ndarray, layers: Sequence[int], threads: int) -> None:
        import onnxruntime

        from ..export.gguf import read_llama
        from ..export.llama import embed_graph
        from ..export.maps import Maps

        config, tensors = read_llama(gguf_path())
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        open_ = lambda model: onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.embed = open_(embed_graph(tensors, Maps({}, {"ret_input_embedding": ret}), 8).bytes())
        self.start, self.run = open_(graph(config, tensors, layers)), open_(graph(config, tensors, layers, presents=False))
        self.layers, self.hidden = list(layers), config["hidden_size"]
        self.past = {i.name: np.zeros([1, i.shape[1], 0, i.shape[3]], np.float32) for i in self.run.get_inputs() if i.name.startswith("past")}

    def read(self, session, ids: np.ndarray, past: Dict[str, np.ndarray]) -> Dict[str, np.ndarray]:
        """All outputs of `session` by name, for `ids` `[B, S]` after `past` of batch B."""
        embeds = self.embed.run(None, {"input_ids": ids})[0]
        length = next(iter(past.values())).shape[2]
        feeds = {**past, "inputs_embeds": embeds, "attention_mask": np.ones((len(ids), length + ids.shape[1]), np.int64)}
        known = {i.name for i in session.get_inputs()}
        out = session.run(None, {k: v for k, v in feeds.items() if k in known})
        return {o.name: v for o, v in zip(session.get_outputs(), out)}

    def prefix(self, ids: Sequence[int]) -> Dict[str, np.ndarray]:
        """Keys and values of a shared prefix."""
        named = self.read(self.start, np.array([ids], np.int64), self.past)
        return {name: named[name.replace("past_key_values", "present")] for name in self.past}

    def last(self, sequences: Sequence[List[int]], past: Dict[str, np.ndarray]) -> np.ndarray:
        """f16 `[n, layers, hidden]` at the last token of each sequence."""
        groups: Dict[int, List[int]] = defaultdict(list)
        for i, s in enumerate(sequences):
            groups[len(s)].append(i)
        out = np.zeros((len(sequences), len(self.layers), self.hidden), np.float16)
        spread = {}  # the past for a batch of so many: copied once, not every time
        for size, rows in sorted(groups.items()):
            step = BATCH
            for start in range(0, len(rows), step):
                part = rows[start : start + step]
                if len(part) not in spread:
                    spread = {len(part): {k: np.repeat(v, len(part), 0) for k, v in past.items()}}
                hidden = self.read(self.run, np.array([sequences[i] for i in part], np.int64), spread[len(part)])["retrieval_embedding"][:, -1]
                out[part] = hidden.reshape(len(part), len(self.layers), self.hidden)
        return out


def graph(config: dict, tensors: dict, layers: Sequence[int], bits: int = 8, presents: bool = True) -> bytes:
    """The export's decoder with the hidden states `layers` side by side as `retrieval_embedding`, and nothing after them."""
    from ..export.llama import decoder_graph
    from ..export.maps import Maps

    hidden = config["hidden_size"]
    copies = {f"text_hidden_fcs.{i}.0.weight": np.eye(len(layers) * hidden, hidden, -i * hidden, dtype=np.float32) for i in range(len(layers))}
    ret = {"ret_output_embedding": np.zeros(hidden, np.float32), "ret_output_bias": np.zeros(1, np.float32)}
    maps = Maps({"dim": len(layers) * hidden, "text_emb_layers": list(layers), "text_hidden_fcs": [["linear"]]}, {**copies, **ret})
    cut = {**config, "num_hidden_layers": max(layers) + 1, "max_position_embeddings": 2048}
    model = decoder_graph(cut, tensors, maps, bits).model()
    last = f"present.{max(layers)}."
    keep = [o for o in model.graph.output if o.name == "retrieval_embedding" or presents and o.name.startswith("present") and not o.name.startswith(last)]
    del model.graph.output[:]
    model.graph.output.extend(keep)
    wanted, nodes = {o.name for o in keep}, []
    for node in reversed(model.graph.node):
        if wanted & set(node.output):
            wanted |= set(node.input)
            nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(reversed(nodes))
    for values in (model.graph.initializer, model.graph.input):
        kept = [v for v in values if v.name in wanted]
        del values[:]
        values.extend(kept)
    return model.SerializeToString()


def captions_of(data: Path, which: Sequence[str], without: Sequence[str] = ()) -> List[str]:
    """Distinct captions of the named splits less the sources `without`, sorted; `imagenet` names the classes."""
    found = {r["caption"] for r in load(data) if r["split"] in which and r["source"] not in without}
    return sorted(found | (set(imagenet_names()) if "imagenet" in which else set()))


def folder(data: Path, row: torch.Tensor) -> Path:
    """Where the states of `[RET]`'s input row `row` `[hidden]` are cached."""
    return data / "states" / hashlib.sha256(row.detach().float().numpy().tobytes()).hexdigest()[:16]


def known(data: Path, row: torch.Tensor, layers: Sequence[int]) -> Dict[str, Dict[str, np.ndarray]]:
    """All cached states of `row` `[layers, hidden]`, by caption and wording."""
    found: Dict[str, Dict[str, np.ndarray]] = defaultdict(dict)
    for path in sorted(folder(data, row).glob("*.npz")):
        kind, draw = path.stem.rsplit("-", 1)
        with np.load(path) as f:
            at = [f["layers"].tolist().index(layer) for layer in layers]
            for caption, own in zip(f["captions"].tolist(), f["states"][:, at]):
                found[caption][named(kind, int(draw))] = own
    return dict(found)


def cached(data: Path, row: torch.Tensor, kind: str, captions: Sequence[str], draw: int, layers: Sequence[int], threads: int = 2) -> Path:
    """Computes what `states/ROW/KIND-DRAW.npz` lacks of `captions`, and keeps it. Returns the file."""
    path = folder(data, row) / f"{kind}-{draw}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    have, old = [], np.zeros((0, len(layers), 576), np.float16)
    if path.exists():
        with np.load(path) as f:
            have, old = f["captions"].tolist(), f["states"]
    new = sorted(set(captions) - set(have))
    if new:
        _, encode, _ = load_lm()
        decoder = Decoder(row.numpy(), layers, threads)
        past = decoder.prefix(encode(PREAMBLE)) if kind == REPLY else decoder.past
        for start in range(0, len(new), CHUNK):  # what is read is kept after every chunk, so that a stopped run goes on
            part = new[start : start + CHUNK]
            old = np.concatenate([old, decoder.last([text(kind, c, encode, draw) for c in part], past)])
            have += part
            with path.with_suffix(".part").open("wb") as file:
                np.savez(file, captions=np.array(have), layers=np.array(layers), states=old)
            path.with_suffix(".part").replace(path)
            print(f"{path.stem}: {len(have)} captions", flush=True)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(prog="fromagerie.train.states", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(".cache/train-data"))
    parser.add_argument("--kind", choices=(PLAIN, REPLY), default=REPLY)
    parser.add_argument("--draw", type=int, default=0, help="which draw of wordings")
    parser.add_argument("--splits", default="train,validation,test,purged,look", help="whose captions")
    parser.add_argument("--without", default="game-icons,tuxpaint", help="sources to leave out")
    parser.add_argument("--row", type=Path, help="`[RET]`'s input row, `.npy` (default: the mean embedding)")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    row = torch.from_numpy(np.load(args.row)) if args.row else load_lm()[0].ret
    captions = captions_of(args.data, args.splits.split(","), args.without.split(","))
    print(cached(args.data, row, args.kind, captions, args.draw, read_config()["layers"], args.threads))


if __name__ == "__main__":
    main()
