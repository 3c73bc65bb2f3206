"""The committed settings of training."""

from __future__ import annotations

import json
from pathlib import Path

CONFIG = Path(__file__).with_name("config.json")


def read_config(path: Path = CONFIG) -> dict:
    """The committed settings."""
    return json.loads(path.read_text("utf-8"))
