"""The encoder's features of every picture, computed once and kept beside the run: `[pictures, width]`, f32.

A picture that cannot be read has no row: it is left out and told, and stops nothing. What was computed stays when the run
is stopped; the next one goes on behind it.

Read next: `run.py`.
"""

from __future__ import annotations

import hashlib
import io
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, List, Sequence, Tuple

import numpy as np
import torch
from PIL import Image, ImageOps

from fromagerie.export.clip_model import ClipModel

from .pairs import Pair

CHUNK = 64


@dataclass(frozen=True)
class Features:
    """`[pairs, width]` of those that could be read, whose numbers are `kept`."""

    values: np.ndarray
    kept: List[int]


def prepare(data: bytes, config: Dict[str, Any]) -> np.ndarray:
    """`[3, height, width]`: a picture as the encoder reads it, by its `preprocessor_config.json`."""
    with Image.open(io.BytesIO(data)) as opened:
        picture = ImageOps.exif_transpose(opened).convert("RGB")
    if config["do_resize"]:
        short, (width, height) = config["size"]["shortest_edge"], picture.size
        ratio = short / min(width, height)
        sides = (short, int(height * ratio)) if width <= height else (int(width * ratio), short)
        picture = picture.resize(sides, config["resample"])
    if config["do_center_crop"]:
        high, wide = config["crop_size"]["height"], config["crop_size"]["width"]
        top, left = (picture.height - high) // 2, (picture.width - wide) // 2
        picture = picture.crop((left, top, left + wide, top + high))
    values = np.asarray(picture, np.float32)
    if config["do_rescale"]:
        values = values * np.float32(config["rescale_factor"])
    if config["do_normalize"]:
        values = (values - np.float32(config["image_mean"])) / np.float32(config["image_std"])
    return values.transpose(2, 0, 1)


class Encoder:
    """A frozen CLIP vision model."""

    def __init__(self, directory: Path, device: str) -> None:
        from transformers import CLIPVisionModel

        clip = ClipModel(directory)
        self.width, self.config = int(clip.vision["hidden_size"]), clip.preprocessing()
        self.model = CLIPVisionModel.from_pretrained(directory).to(device).eval()
        self.device = device

    @torch.inference_mode()
    def __call__(self, pictures: Sequence[np.ndarray]) -> np.ndarray:
        """`[pictures, width]`: pooled outputs."""
        batch = torch.from_numpy(np.stack(pictures)).to(self.device)
        return self.model(batch).pooler_output.float().cpu().numpy()


def fingerprint(directory: Path, pairs: Sequence[Pair]) -> str:
    """Of the encoder's files and the pictures' names: features of others are never taken for these."""
    digest = hashlib.sha256()
    for path in sorted(p for p in directory.iterdir() if p.suffix in (".json", ".safetensors", ".bin")):
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    for pair in pairs:
        digest.update(json.dumps([pair.key, str(pair.file.absolute()), pair.start]).encode())
    return digest.hexdigest()[:16]


def read_features(
    pairs: Sequence[Pair], directory: Path, cache: Path, device: str = "cpu", say: Callable[[str], None] = print
) -> Features:
    """The features of `pairs` by the encoder in `directory`: from `cache`, or computed into it."""
    cache.mkdir(parents=True, exist_ok=True)
    name = f"features-{fingerprint(directory, pairs)}"
    table, notes = cache / f"{name}.f32", cache / f"{name}.json"
    state: Dict[str, Any] = {"done": 0, "failures": []}
    if table.is_file() and notes.is_file():
        state = json.loads(notes.read_text("utf-8"))
    width = ClipModel(directory).vision["hidden_size"]
    if state["done"] < len(pairs):
        _compute(pairs, Encoder(directory, device), table, notes, state, say)
    failed = {number for number, _ in state["failures"]}
    for number, reason in state["failures"]:
        say(f"left out: {pairs[number].key}: {reason}")
    kept = [number for number in range(len(pairs)) if number not in failed]
    values = np.fromfile(table, np.float32).reshape(-1, width)
    return Features(values[kept], kept)


def _compute(pairs: Sequence[Pair], encoder: Encoder, table: Path, notes: Path, state: Dict[str, Any], say: Callable[[str], None]) -> None:
    begun, before = time.monotonic(), state["done"]
    with table.open("r+b" if table.is_file() else "w+b") as file:
        file.truncate(state["done"] * encoder.width * 4)
        file.seek(0, io.SEEK_END)
        for start in range(state["done"], len(pairs), CHUNK):
            numbers = range(start, min(start + CHUNK, len(pairs)))
            read, failures = _read(pairs, numbers, encoder.config)
            rows = np.zeros((len(numbers), encoder.width), np.float32)
            if read:
                rows[[number - start for number, _ in read]] = encoder([picture for _, picture in read])
            file.write(rows.tobytes())
            file.flush()
            state["done"], state["failures"] = numbers.stop, state["failures"] + failures
            draft = notes.with_suffix(".part")
            draft.write_text(json.dumps(state), "utf-8")
            draft.replace(notes)
            rate = (numbers.stop - before) / (time.monotonic() - begun)
            say(f"features: {numbers.stop} of {len(pairs)}, {rate:.1f}/s, {(len(pairs) - numbers.stop) / rate:.0f} s left")


def _read(pairs: Sequence[Pair], numbers: range, config: Dict[str, Any]) -> Tuple[List[Tuple[int, np.ndarray]], List[Tuple[int, str]]]:
    read, failures = [], []
    for number in numbers:
        try:
            read.append((number, prepare(pairs[number].read(), config)))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            failures.append((number, str(error)))
    return read, failures
