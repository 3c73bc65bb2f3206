"""The rival's eyes: a vision encoder in PyTorch and the preprocessing that it is used with, Pillow's throughout.

Read next: `weights.py`, which builds it.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Callable, Optional

import numpy as np
import torch
import transformers
from PIL import Image


@dataclass(frozen=True)
class Vision:
    """From a file's bytes to what a prompt and a collection hold of a picture."""

    pixels: Callable[[Image.Image], np.ndarray]
    features: Callable[[torch.Tensor], torch.Tensor]
    like: torch.Tensor
    maps: Optional[Any] = None
    hidden: int = 0

    def with_maps(self, maps: Any, hidden: int) -> "Vision":
        """The same, with the maps behind it."""
        return replace(self, maps=maps, hidden=hidden)

    def encode(self, data: bytes) -> tuple[torch.Tensor, torch.Tensor]:
        """`(retrieval [1, dim], visual tokens [k, H])`."""
        image = Image.open(io.BytesIO(data))
        image.load()
        x = self.maps.prepared(self.features(torch.from_numpy(self.pixels(image)).to(self.like)[None]))
        return self.maps("visual_fc", x), self.maps("visual_embeddings", x).reshape(-1, self.hidden)


def efficientnet(encoder: str, checkpoint: Path, device: torch.device, dtype: torch.dtype) -> Vision:
    """EfficientNet-Lite from its package, preprocessed as in training."""
    from efficientnet_lite_pytorch import EfficientNet
    from fromagerie.export.efficientnet import VARIANTS
    from fromagerie.train.images import fit, normalise, square

    size = VARIANTS[encoder].size
    model = EfficientNet.from_pretrained(encoder.replace("_", "-"), weights_path=str(checkpoint)).eval().to(device, dtype)
    pixels = lambda image: normalise(fit(square(image), size))
    return Vision(pixels, lambda x: model.extract_features(x).mean((2, 3)), torch.empty(0, device=device, dtype=dtype))


def clip(folder: Path, device: torch.device, dtype: torch.dtype) -> Vision:
    """CLIP's vision model and its processor."""
    model = transformers.CLIPVisionModel.from_pretrained(folder, dtype=dtype).eval().to(device)
    side = model.config.image_size
    processor = transformers.CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size={"height": side, "width": side})
    pixels = lambda image: np.asarray(processor(image.convert("RGB"), return_tensors="np")["pixel_values"][0])
    return Vision(pixels, lambda x: model(x).pooler_output, torch.empty(0, device=device, dtype=dtype))
