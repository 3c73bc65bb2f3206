"""A pretrained CLIP: its parts' configurations, its weights, and how it wants pictures prepared.

Read next: `clip.py` (its graphs), `fromage.py` and `dual.py` (who ask for it).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Mapping

import numpy as np

from .bundle import BICUBIC
from .weights import Weights, WeightsError, read_json

# What Hugging Face leaves out of a config.json when it is the default.
_VISION: Dict[str, Any] = {
    "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
    "image_size": 224, "patch_size": 32,
}  # fmt: skip
_TEXT: Dict[str, Any] = {
    "hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 12, "num_attention_heads": 8,
    "max_position_embeddings": 77, "vocab_size": 49408, "bos_token_id": 49406, "eos_token_id": 49407,
}  # fmt: skip
MEAN, STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
KNOWN = ("clip", "clip_vision_model")


class ClipModel:
    """Configuration and weights of a CLIP, or of its vision half alone."""

    def __init__(self, directory: Path) -> None:
        self.directory = Path(directory)
        config = read_json(self.directory / "config.json")
        kind = config.get("model_type")
        if kind not in KNOWN:
            raise WeightsError(f"{directory}: a vision model of type {kind!r}; known are {', '.join(KNOWN)}")
        self.vision = {**_VISION, **(config.get("vision_config") or {} if kind == "clip" else config)}
        self.text = {**_TEXT, **(config.get("text_config") or {})} if kind == "clip" else None
        self.dim = config.get("projection_dim", 512)
        self.tensors: Mapping[str, np.ndarray] = Weights(directory)

    def preprocessing(self) -> Dict[str, Any]:
        """`preprocessor_config.json`: the model's own, or CLIP's at the size of its pictures."""
        path = self.directory / "preprocessor_config.json"
        found = read_json(path) if path.is_file() else {}
        side = self.vision["image_size"]
        size, crop = found.get("size", side), found.get("crop_size", side)
        config = {
            "do_convert_rgb": True,
            "do_resize": found.get("do_resize", True),
            "size": size if isinstance(size, dict) else {"shortest_edge": size},
            "resample": found.get("resample", BICUBIC),
            "do_center_crop": found.get("do_center_crop", True),
            "crop_size": crop if isinstance(crop, dict) else {"height": crop, "width": crop},
            "do_rescale": found.get("do_rescale", True),
            "rescale_factor": found.get("rescale_factor", 1 / 255),
            "do_normalize": found.get("do_normalize", True),
            "image_mean": found.get("image_mean", MEAN),
            "image_std": found.get("image_std", STD),
        }
        if config["crop_size"] != {"height": side, "width": side}:
            raise WeightsError(f"{path} makes pictures of {config['crop_size']}; the encoder reads {side}x{side}")
        return config
