"""From an item to the pixels the encoder sees: the bundle's preprocessing, done with Pillow.

Transparent pictures are composited on white, cropped tightly, and centred on a square with a margin of 4%, then
resized (bicubic, shortest side) and centre-cropped; pixels become `(value - 127) / 128`. SVGs are drawn first.

Read next: `features.py`.
"""

from __future__ import annotations

import io
import json
import math
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

MARGIN = 0.04
DRAWN_PX = 288  # an SVG's width when drawn: a little more than any encoder's input


@lru_cache(maxsize=16)
def _icon_set(root: str) -> dict:
    return json.loads((Path(root) / "package" / "icons.json").read_text("utf-8"))


def _draw(svg: str) -> Image.Image:
    import resvg_py

    data = resvg_py.svg_to_bytes(svg_string=svg, width=DRAWN_PX)
    return Image.open(io.BytesIO(bytes(data)))


def open_item(where: str) -> Image.Image:
    """The picture at `where`: a PNG, an SVG, or `FOLDER#slug` in an Iconify package."""
    if "#" in where:
        root, slug = where.rsplit("#", 1)
        icons = _icon_set(root)
        icon = icons["icons"][slug]
        left, top = icon.get("left", 0), icon.get("top", 0)
        width, height = icon.get("width", icons.get("width", 16)), icon.get("height", icons.get("height", 16))
        body = icon["body"].replace("currentColor", "#222222")
        box = f'viewBox="{left} {top} {width} {height}" width="{width}" height="{height}"'
        return _draw(f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" {box}>{body}</svg>')
    if where.endswith(".svg"):
        return _draw(Path(where).read_text("utf-8"))
    image = Image.open(where)
    if max(image.size) > 1200:
        image.draft("RGB", (600, 600))
    image.load()
    return image


def square(image: Image.Image) -> Image.Image:
    """Composites a transparent picture on a white square around its visible part; opaque pictures stay as they are."""
    if image.mode not in ("RGBA", "LA", "PA") and "transparency" not in image.info:
        return image.convert("RGB")
    rgba = image.convert("RGBA")
    alpha = np.asarray(rgba)[..., 3]
    if alpha.min() == 255:
        return rgba.convert("RGB")
    rows, columns = np.flatnonzero(alpha.any(1)), np.flatnonzero(alpha.any(0))
    if len(rows):
        rgba = rgba.crop((columns[0], rows[0], columns[-1] + 1, rows[-1] + 1))
    w, h = rgba.size
    side = math.ceil(max(w, h) * (1 + 2 * MARGIN))
    canvas = Image.new("RGBA", (side, side), (255, 255, 255, 255))
    canvas.alpha_composite(rgba, ((side - w) // 2, (side - h) // 2))
    return canvas.convert("RGB")


def fit(image: Image.Image, size: int) -> np.ndarray:
    """`uint8` `[size, size, 3]`: bicubic, shortest side, centre crop."""
    w, h = image.size
    short = min(w, h)
    wide, high = (size, int(size * h / w)) if w <= h else (int(size * w / h), size)
    if (wide, high) != (w, h):
        image = image.resize((wide, high), Image.BICUBIC)
    left, top = (wide - size) // 2, (high - size) // 2
    assert short > 0
    return np.asarray(image.crop((left, top, left + size, top + size)))


def normalise(pixels: np.ndarray) -> np.ndarray:
    """`float32` `[..., 3, size, size]` from `uint8` `[..., size, size, 3]`."""
    return np.moveaxis((pixels.astype(np.float32) - 127.0) / 128.0, -1, -3)
