"""What training and evaluation read, computed once: features of pictures, states of captions."""

from __future__ import annotations

from pathlib import Path
from typing import List

from . import features as vision
from . import shipped
from . import states as language

SHIPPED = (("plain", 0), ("chat", 0), ("chat", 1), ("chat", 2))  # kinds and draws read by the 8-bit decoder


def prepare(data: Path, config: dict, splits: List[str]) -> None:
    """Computes what is missing: features of the pictures and states of the captions of `splits`."""
    for encoder in config["encoders"]:
        vision.cached(data, encoder, splits=[*splits, "look"], without=config["without"])
    for kind in ("plain", "chat", "bare"):
        wanted = language.captions_of(data, [*splits, "imagenet"] if kind != "bare" else [s for s in splits if s in ("validation", "test")], config["without"])
        language.cached(data, kind, wanted)
    wanted = language.captions_of(data, [*splits, "look"], [*config["without"], "tuxpaint"])
    for kind, draw in SHIPPED:
        shipped.cached(data, kind, wanted, draw, config["layers"])
