"""Writes a bundle directory: the graphs, the configs, and `fromagerie.json` with a digest of every file.

The directory appears whole or not at all: it is written beside its place and renamed. The same contents give the
same bytes, so two people who export the same model have the same retrieval-space fingerprint.

Read next: `demo.py`, which gathers the contents.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, Callable, Dict, Union

Contents = Union[bytes, Callable[[], bytes]]

MANIFEST = "fromagerie.json"
REQUIRED = (
    "tokenizer.json",
    "preprocessor_config.json",
    "generation_config.json",
    "onnx/vision_encoder.onnx",
    "onnx/embed_tokens.onnx",
    "onnx/decoder_model_merged.onnx",
)
BICUBIC = 3  # Pillow's number


def pretty(document: Any) -> bytes:
    """JSON as people read it, keys in the order given."""
    return (json.dumps(document, ensure_ascii=False, indent=2) + "\n").encode()


def preprocessing(size: int, mean: float, std: float, margin: float) -> Dict[str, Any]:
    """`preprocessor_config.json`: CLIP's steps at `size` pixels; one mean and std for all channels, of 0..1 values.

    `margin`: what is left around a picture cut out of a transparent ground, as a share of its longer side.
    """
    return {
        "do_convert_rgb": True,
        "do_resize": True,
        "size": {"shortest_edge": size},
        "resample": BICUBIC,
        "do_center_crop": True,
        "crop_size": {"height": size, "width": size},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [mean] * 3,
        "image_std": [std] * 3,
        "transparency": {"background": [255, 255, 255], "trim": True, "margin": margin},
    }


def write_bundle(directory: Path, manifest: Dict[str, Any], files: Dict[str, Contents]) -> Dict[str, Any]:
    """Writes `files` (path to bytes, or to a call giving them) and the manifest; returns the manifest written.

    Calls are made one by one, so the memory of one graph is free before the next is drawn. A bundle that is
    already there is replaced.
    """
    missing = [name for name in REQUIRED if name not in files]
    if missing:
        raise ValueError(f"a bundle needs {', '.join(missing)}")
    directory = Path(directory).absolute()
    directory.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
    try:
        digests = {}
        for name, contents in files.items():
            data = contents() if callable(contents) else contents
            digests[name] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
            _store(work / name, data)
        written = dict(manifest, files=dict(sorted(digests.items())))
        _store(work / MANIFEST, pretty(written))
        os.chmod(work, 0o755)
        _swap(work, directory)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return written


def _store(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _swap(new: Path, place: Path) -> None:
    """Renames `new` to `place`. What was there is moved aside first and removed last."""
    if not place.exists():
        os.rename(new, place)
        return
    if not (place / MANIFEST).is_file():
        raise FileExistsError(f"{place} exists and is no bundle")
    aside = Path(tempfile.mkdtemp(prefix=f".{place.name}-old-", dir=place.parent))
    os.rename(place, aside / "bundle")
    os.rename(new, place)
    shutil.rmtree(aside, ignore_errors=True)
