"""The rival: FROMAGe's inference in PyTorch and transformers, from the weights that a bundle was drawn from.

Two ways: `rerun`, as FROMAGe's own code does it, where the whole sequence, pictures included, is run again for each token and
logits are made at every position; and `cache`, where a reply is prefilled once and continued from its keys and values. Neither
keeps anything from one reply to the next but what was said.

Asks come as JSON lines and are answered with a JSON line each (`Answers`). `rival.py` runs this with a Python that has
`requirements.txt`.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from pathlib import Path

import torch
from tokenizers import Tokenizer

import vision
from weights import Weights

NEVER = -1000.0


class Speaker:
    """A conversation's model: what was said goes in as rows of embeddings, tokens come out."""

    def __init__(self, weights: Weights, bundle: Path, way: str) -> None:
        self.way, self.lm, self.table, self.maps = way, weights.lm, weights.table, weights.maps
        self.vision = weights.vision
        self.tokenizer = Tokenizer.from_file(str(bundle / "tokenizer.json"))
        manifest = json.loads((bundle / "fromagerie.json").read_text())
        self.generation = json.loads((bundle / "generation_config.json").read_text())
        self.dialogue = manifest.get("dialogue") or {"preamble": "", "user": ["", "\n"], "assistant": ["", "\n"]}
        self.bos, eos = self.generation["bos_token_id"], self.generation["eos_token_id"]
        self.eos = eos if isinstance(eos, list) else [eos]
        self.ret = manifest["retrieval"]["ret_token_ids"][0]

    def ids(self, text: str, special: bool) -> list[int]:
        """The tokens of a template, or of words that people wrote, in which `<|...|>` is no control token."""
        if special:
            return self.tokenizer.encode(text, add_special_tokens=False).ids
        self.tokenizer.encode_special_tokens = True
        ids = self.tokenizer.encode(text, add_special_tokens=False).ids
        self.tokenizer.encode_special_tokens = False
        return ids

    def rows(self, ids: list[int]) -> torch.Tensor:
        """`[n, H]`."""
        return self.table[torch.tensor(ids, dtype=torch.long, device=self.table.device)]

    def generate(self, rows: torch.Tensor, count: int, stops: bool = True) -> list[int]:
        """At most `count` greedy tokens after `rows` [n, H]; the end of text is not among them."""
        said, past = [], None
        fed = rows[None]
        while len(said) < count:
            if self.way == "rerun":
                out = self.lm(inputs_embeds=fed, use_cache=False, output_hidden_states=True)
            else:
                out = self.lm(inputs_embeds=fed, past_key_values=past, use_cache=True, logits_to_keep=1)
                past = out.past_key_values
            logits = out.logits[0, -1].clone()
            logits[self.ret] = NEVER
            token = int(logits.argmax())
            if stops and token in self.eos:
                break
            said.append(token)
            if stops and self.generation.get("stop_at_newline") and "\n" in self.tokenizer.decode([token]):
                break
            new = self.rows([token])[None]
            fed = torch.cat([fed, new], 1) if self.way == "rerun" else new
        return said

    def query(self, rows: torch.Tensor) -> torch.Tensor:
        """`[dim]`, unit: the mapped state of `[RET]`, the last of `rows`."""
        states = self.lm(inputs_embeds=rows[None], use_cache=False, output_hidden_states=True).hidden_states
        mapped = sum(self.maps(f"text_hidden_fcs.{i}", states[layer][0, -1]) for i, layer in enumerate(self.maps.layers))
        return mapped / mapped.norm()


class Shelf:
    """Pictures that may be shown, embedded."""

    def __init__(self, speaker: Speaker, folder: Path) -> None:
        self.keys = sorted(path.name for path in folder.glob("*.png"))
        self.bytes = [(folder / key).read_bytes() for key in self.keys]
        rows = torch.cat([speaker.vision.encode(data)[0] for data in self.bytes])
        self.rows = rows / rows.norm(dim=1, keepdim=True)


class Conversation:
    """Turns over a shelf, one of whose pictures may be shown at the end of a reply."""

    def __init__(self, speaker: Speaker, shelf: Shelf) -> None:
        self.speaker, self.shelf = speaker, shelf
        self.parts: list = [("template", speaker.dialogue["preamble"])]
        self.seen: dict[bytes, torch.Tensor] = {}
        self.shown: set[str] = set()

    def picture(self, data: bytes) -> torch.Tensor:
        """Its visual tokens `[k, H]`: made anew for each prompt as FROMAGe does, or once with a cache."""
        if self.speaker.way == "rerun" or data not in self.seen:
            self.seen[data] = self.speaker.vision.encode(data)[1]
        return self.seen[data]

    def embed(self, parts: list) -> torch.Tensor:
        """`[n, H]` of a prompt, one BOS before all."""
        s, rows = self.speaker, []
        for kind, value in parts:
            rows.append(self.picture(value) if kind == "picture" else s.rows(value if kind == "ids" else s.ids(value, kind == "template")))
        if parts[0] == ("template", s.dialogue["preamble"]):
            begins = s.ids(s.dialogue["preamble"], True)
            if not begins or begins[0] != s.bos:
                rows.insert(0, s.rows([s.bos]))
        return torch.cat(rows)

    def turn(self, said: list, tokens: int, show: bool) -> dict:
        """One turn: what the user said, at most `tokens` of a reply, and a picture after it if `show`."""
        s = self.speaker
        user = [("template", s.dialogue["user"][0]), *said, ("template", s.dialogue["user"][1])]
        opening = ("template", s.dialogue["assistant"][0])
        reply = s.generate(self.embed([*self.parts, *user, opening]), tokens)
        key, own = None, [("ids", reply)]
        if show:
            before = [self.parts[0]] if s.dialogue.get("query_context") == "exchange" else self.parts
            own.append(("ids", [s.ret]))
            scores = self.shelf.rows @ s.query(self.embed([*before, *user, opening, *own]))
            best = next(n for n in scores.argsort(descending=True).tolist() if self.shelf.keys[n] not in self.shown)
            key = self.shelf.keys[best]
            self.shown.add(key)
            own.append(("picture", self.shelf.bytes[best]))
        self.parts += [*user, opening, *own, ("template", s.dialogue["assistant"][1])]
        return {"text": s.tokenizer.decode(reply), "tokens": len(reply) + show, "shown": key}


class Answers:
    """What each ask is answered with."""

    def __init__(self, speaker: Speaker) -> None:
        self.speaker, self.device = speaker, speaker.table.device
        self.shelf: Shelf | None = None
        self.talk: Conversation | None = None

    def one(self, ask: dict) -> dict:
        """The answer, and the milliseconds it took."""
        begun = time.perf_counter()
        out = getattr(self, {"pass": "pass_"}.get(ask["do"], ask["do"]))(**{k: v for k, v in ask.items() if k != "do"})
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return {"ms": 1e3 * (time.perf_counter() - begun), **out}

    def pass_(self, text: str, tokens: int, image: str | None, ret: bool) -> dict:
        s = self.speaker
        pictures = [s.vision.encode(Path(image).read_bytes())[1]] if image else []
        rows = torch.cat([*pictures, s.rows([s.bos, *s.ids(text, False), *[s.ret] * ret])])
        if ret:
            s.query(rows)
            return {}
        return {"prompt_tokens": len(rows), "tokens": s.generate(rows, max(tokens, 1), stops=False)}

    def collection(self, pictures: str) -> dict:
        self.shelf = Shelf(self.speaker, Path(pictures))
        return {}

    def open(self) -> dict:
        self.talk = Conversation(self.speaker, self.shelf)
        return {}

    def turn(self, said: list, tokens: int, show: bool) -> dict:
        parts = [("words", p["text"]) if "text" in p else ("picture", Path(p["image"]).read_bytes()) for p in said]
        return self.talk.turn(parts, tokens, show)

    def bandwidth(self) -> dict:
        """The best of several ways to read a gigabyte once."""
        x = torch.ones(1 << 14, 1 << 14, device=self.device)
        vector, best = torch.ones(1 << 14, device=self.device), float("inf")
        for read in [torch.sum, torch.amax, lambda x: torch.mv(x, vector)[0]] * 5:
            begun = time.perf_counter()
            float(read(x))
            best = min(best, time.perf_counter() - begun)
        return {"bytes_per_second": x.numel() * x.element_size() / best}

    def memory(self) -> dict:
        status = Path("/proc/self/status").read_text()
        out = {"peak_bytes": 1024 * int(re.search(r"VmHWM:\s+(\d+)", status)[1])}
        if self.device.type == "cuda":
            out["device_peak_bytes"] = torch.cuda.max_memory_allocated(self.device)
        return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--way", choices=["rerun", "cache"], required=True)
    parser.add_argument("--bundle", type=Path, required=True, help="the tokenizer, template and settings")
    parser.add_argument("--weights", required=True, help="`demo:WHEELS:MAPS`, or a folder of lm, clip and maps")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    told, sys.stdout = sys.stdout, sys.stderr  # packages print where answers belong
    with torch.inference_mode():
        weights = Weights.read(arguments.weights, torch.device(arguments.device), getattr(torch, arguments.dtype))
        speaker = Speaker(weights, arguments.bundle, arguments.way)
        print(json.dumps({"torch": torch.__version__, "weight_bytes": weights.bytes()}), file=told, flush=True)
        answers = Answers(speaker)
        for line in sys.stdin:
            print(json.dumps(answers.one(json.loads(line))), file=told, flush=True)


if __name__ == "__main__":
    main()
