"""`python -m fromagerie.train fromage`: learns maps between a frozen language model and a frozen CLIP encoder.

Only `visual_embeddings`, `visual_fc`, `text_hidden_fcs`, the temperature and the row of `[RET]` learn. Pictures go through the encoder
once. What is written to `--out`:

  model_args.json, pretrained_ckpt.pth.tar   the maps, for `python -m fromagerie.export fromage --model-dir`
  curves.csv                                 losses by step, and what the validation pairs said after each epoch
  run_card.json                              every setting, the data, and the last judgement
  state.pt, features-*                       for going on: run the same command again

Read next: `steps.py` (the losses), `model.py` (what learns).
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence

import numpy as np
import torch

from fromagerie.export.weights import find_model

from .features import read_features
from .judge import judge
from .model import Language, Maps, write_directory
from .pairs import read_pairs
from .steps import Batch, Ids, captioning, retrieval

STATE = "state.pt"


class RunError(ValueError):
    """A run that cannot go on: why, and the remedy."""


@dataclass(frozen=True)
class Settings:
    """The recipe's numbers; defaults are the paper's."""

    epochs: int = 10
    batch: int = 180
    rate: float = 3e-4
    betas: List[float] = field(default_factory=lambda: [0.9, 0.95])
    warmup: int = 100
    clip: float = 1.0
    captioning_weight: float = 1.0
    retrieval_weight: float = 1.0
    concat_probability: float = 0.5
    visual_tokens: int = 1
    shared_dim: int = 256
    layers: List[int] = field(default_factory=lambda: [-1])
    caption_tokens_max: int = 24
    validation_share: float = 0.05
    seed: int = 0


@dataclass(frozen=True)
class Data:
    """Pairs as the loop wants them: tokens, and features `[n, F]`."""

    ids: List[Ids]
    features: torch.Tensor

    def batch(self, rows: Sequence[int]) -> Batch:
        """The pairs of these numbers."""
        return Batch([self.ids[row] for row in rows], self.features[list(rows)])


class Run:
    """One training: what it knows between two steps, all of it in `state.pt`."""

    def __init__(self, language: Language, maps: Maps, settings: Settings, data: Data, held: Data, out: Path) -> None:
        self.language, self.maps, self.settings, self.data, self.held, self.out = language, maps, settings, data, held, out
        self.optimiser = torch.optim.AdamW(maps.parameters(), settings.rate, betas=tuple(settings.betas), weight_decay=0.0)
        self.step, self.rows = 0, []  # type: int, List[Dict[str, Any]]
        self.subject = fingerprint(language, data, held)

    @property
    def steps_an_epoch(self) -> int:
        """The last batch may be short, but has at least two pairs: one alone has no negatives."""
        whole, rest = divmod(len(self.data.ids), self.settings.batch)
        return max(1, whole + (rest > 1))

    def save(self) -> None:
        """Writes all that the next step depends on, whole or not at all."""
        draft = self.out / (STATE + ".part")
        state = {"settings": asdict(self.settings), "subject": self.subject, "step": self.step, "rows": self.rows, "maps": self.maps.state_dict()}
        torch.save({**state, "optimiser": self.optimiser.state_dict()}, draft)
        draft.replace(self.out / STATE)

    def resume(self) -> bool:
        """Takes up what an earlier run left; false when there is nothing. Raises `RunError` if that was another recipe."""
        path = self.out / STATE
        if not path.is_file():
            return False
        state = torch.load(path, map_location=self.language.device, weights_only=True)
        wanted = {**asdict(self.settings), "epochs": state["settings"]["epochs"]}
        differ = [f"{k} was {state['settings'].get(k)!r}, not {v!r}" for k, v in wanted.items() if state["settings"].get(k) != v]
        if differ:
            raise RunError(f"{path} is of a run with other settings ({'; '.join(differ)}): give those again, or another --out")
        if state["subject"] != self.subject:
            raise RunError(f"{path} is of a run with other pairs or another frozen model: give those again, or another --out")
        self.maps.load_state_dict(state["maps"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.rows = state["step"], state["rows"]
        return True

    def take_step(self) -> Dict[str, Any]:
        """One step. Its pairs and draws come from the seed and the step's number alone, so that a run that was stopped goes on
        as if it had not been."""
        s, epoch, at = self.settings, *divmod(self.step, self.steps_an_epoch)
        order = np.random.default_rng([s.seed, epoch]).permutation(len(self.data.ids))
        batch = self.data.batch(order[at * s.batch : (at + 1) * s.batch])
        joined = np.random.default_rng([s.seed, epoch, at]).random() < s.concat_probability
        for group in self.optimiser.param_groups:
            group["lr"] = s.rate * min(1.0, (self.step + 1) / max(1, s.warmup))
        said, found = captioning(self.language, self.maps, batch, bool(joined)), retrieval(self.language, self.maps, batch)
        loss = s.captioning_weight * said + s.retrieval_weight * found
        if not torch.isfinite(loss):
            raise RunError(f"the loss of step {self.step + 1} is {loss.item()}: try a lower --rate")
        self.optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.maps.parameters(), s.clip)
        self.optimiser.step()
        self.maps.hold_norm()
        self.step += 1
        return {"step": self.step, "captioning": said.item(), "infonce": found.item(), "logit_scale": self.maps.logit_scale.exp().item()}

    def go(self, save_every: int, say: Callable[[str], None] = print, stop_after: Optional[int] = None) -> None:
        """All steps that are left, or `stop_after` of them, and a judgement after each epoch."""
        total, begun, first = self.settings.epochs * self.steps_an_epoch, time.monotonic(), self.step
        while self.step < total and self.step - first != stop_after:
            row = self.take_step()
            epoch, rest = divmod(self.step, self.steps_an_epoch)
            if rest == 0 and self.held.ids:
                row.update(judge(self.language, self.maps, self.held.ids, self.held.features, self.settings.batch))
                say(f"epoch {epoch}: " + ", ".join(f"{k} {v}" for k, v in row.items() if "@" in k or k == "caption_loss"))
            self.rows.append(row)
            if self.step % 10 == 0 or self.step == total:
                left = (total - self.step) * (time.monotonic() - begun) / (self.step - first)
                say(f"step {self.step} of {total}: captioning {row['captioning']:.3f}, InfoNCE {row['infonce']:.3f}, scale {row['logit_scale']:.1f}, {left:.0f} s left")
            if rest == 0 or self.step % save_every == 0:
                self.save()
        self.save()

    def write_curves(self) -> None:
        """`curves.csv`: a row a step; what was not judged at a step is empty."""
        columns = list(dict.fromkeys(name for row in self.rows for name in row))
        with (self.out / "curves.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, columns, restval="")
            writer.writeheader()
            writer.writerows(self.rows)


def fingerprint(language: Language, *sides: Data) -> str:
    """Of the frozen language model and of all pairs, in their order."""
    digest = hashlib.sha256(language.table.float().cpu().numpy().tobytes())
    for side in sides:
        digest.update(json.dumps(side.ids).encode())
        digest.update(side.features.cpu().numpy().tobytes())
    return digest.hexdigest()


def tokens_of(language: Language, captions: Sequence[str], most: int) -> List[Ids]:
    """Each caption's tokens, `[RET]` last."""
    return [language.ids(caption, most) for caption in captions]


def train(source: str, images: Optional[Path], language_model: str, vision_model: str, out: Path, settings: Settings,
          validation: Optional[str] = None, device: str = "cpu", save_every: int = 200, say: Callable[[str], None] = print) -> Run:  # fmt: skip
    """The whole run; see the module's head. Raises `RunError` or `PairsError`."""
    out.mkdir(parents=True, exist_ok=True)
    pairs, encoder = read_pairs(source, images), find_model(vision_model)
    read = read_features(pairs, encoder, out, device, say)
    captions, values = [pairs[number].caption for number in read.kept], read.values
    held = np.random.default_rng(settings.seed).random(len(captions)) < (0 if validation else settings.validation_share)
    sides = {False: (list(np.flatnonzero(~held)), captions, values), True: (list(np.flatnonzero(held)), captions, values)}
    if validation:
        others = read_pairs(validation, images)
        also = read_features(others, encoder, out, device, say)
        sides[True] = (list(range(len(also.kept))), [others[number].caption for number in also.kept], also.values)
    if len(sides[False][0]) < 2:
        raise RunError(f"{source}: {len(sides[False][0])} pairs to learn from; two at least are needed")
    language = Language(str(find_model(language_model)), device)
    torch.manual_seed(settings.seed)
    maps = Maps(language, values.shape[1], settings.visual_tokens, settings.shared_dim, settings.layers).to(language.device)
    data, aside = (
        Data(tokens_of(language, [texts[row] for row in rows], settings.caption_tokens_max), torch.from_numpy(table[rows]).to(language.device))
        for rows, texts, table in (sides[False], sides[True])
    )
    run = Run(language, maps, settings, data, aside, out)
    if run.resume():
        say(f"going on after step {run.step}")
    say(f"{len(data.ids)} pairs to learn from, {len(aside.ids)} to judge by, {run.steps_an_epoch} steps an epoch")
    run.go(save_every, say)
    run.write_curves()
    write_directory(out, maps, settings.shared_dim, (language_model, vision_model))
    judged = {k: v for row in run.rows for k, v in row.items() if "@" in k or k == "caption_loss"}
    card = {
        "settings": asdict(settings), "source": source, "pairs": len(data.ids), "held_out": len(aside.ids), "left_out": len(pairs) - len(read.kept),
        "language_model": language_model, "vision_model": vision_model, "device": device, "torch": torch.__version__, "judged": judged,
    }  # fmt: skip
    (out / "run_card.json").write_text(json.dumps(card, indent=1) + "\n", "utf-8")
    return run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `fromage`."""
    s = Settings()
    parser.add_argument("--data", required=True, help="a TSV of captions and images, a folder of pictures with .txt beside them, or webdataset shards (shards/{00000..00012}.tar)")
    parser.add_argument("--image-dir", type=Path, help="where a TSV's paths begin (default: its own folder)")
    parser.add_argument("--validation", help="pairs to judge by, of any of these kinds (default: a share of --data, held out)")
    parser.add_argument("--language-model", required=True, help="hub id or directory")
    parser.add_argument("--vision-model", required=True, help="hub id or directory of a CLIP")
    parser.add_argument("--out", type=Path, required=True, help="the model directory; a run that was stopped goes on there")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (there the language model is read in bf16)")
    parser.add_argument("--epochs", type=int, default=s.epochs)
    parser.add_argument("--batch", type=int, default=s.batch, help="pairs a step")
    parser.add_argument("--rate", type=float, default=s.rate, help="AdamW's learning rate")
    parser.add_argument("--warmup", type=int, default=s.warmup, help="steps until the rate is reached")
    parser.add_argument("--clip", type=float, default=s.clip, help="most norm of the gradient")
    parser.add_argument("--captioning-weight", type=float, default=s.captioning_weight)
    parser.add_argument("--retrieval-weight", type=float, default=s.retrieval_weight)
    parser.add_argument("--concat-probability", type=float, default=s.concat_probability, help="how often two pairs are read as one sequence")
    parser.add_argument("--visual-tokens", type=int, default=s.visual_tokens, help="1 to 8 a picture")
    parser.add_argument("--shared-dim", type=int, default=s.shared_dim, help="dimensions of the retrieval space")
    parser.add_argument("--layers", type=lambda text: [int(part) for part in text.split(",")], default=s.layers, help="hidden states that are mapped and summed, such as -1 or -1,-4")
    parser.add_argument("--caption-tokens-max", type=int, default=s.caption_tokens_max)
    parser.add_argument("--validation-share", type=float, default=s.validation_share)
    parser.add_argument("--seed", type=int, default=s.seed)
    parser.add_argument("--save-every", type=int, default=200, help="steps between two copies of what going on needs")


def main(args: argparse.Namespace) -> None:
    """Runs what the options say."""
    known = {name: getattr(args, name) for name in Settings.__dataclass_fields__ if hasattr(args, name)}
    settings = Settings(**known)
    if not 1 <= settings.visual_tokens <= 8:
        raise RunError(f"--visual-tokens is {settings.visual_tokens}, expected 1 to 8")
    if settings.batch < 2 or settings.epochs < 1 or settings.caption_tokens_max < 2:
        raise RunError("--batch and --caption-tokens-max must be 2 at least, --epochs 1")
    train(args.data, args.image_dir, args.language_model, args.vision_model, args.out, settings, args.validation, args.device, args.save_every)
