"""Writes a bundle directory: the graphs, the configs, and `fromagerie.json` with a digest of every file.

The directory appears whole or not at all: it is written beside its place and renamed. The same contents give the
same bytes, so two people who export the same model have the same retrieval-space fingerprint.

Read next: `fromage.py` and `demo.py`, which gather the contents.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, Iterator, Tuple, Union

from .graph import Graph

Contents = Union[bytes, Callable[[], Union[bytes, Graph]]]

MANIFEST = "fromagerie.json"
VISION_ENCODER = "onnx/vision_encoder.onnx"
REQUIRED = ("tokenizer.json", "preprocessor_config.json", "generation_config.json", VISION_ENCODER)
BICUBIC = 3  # Pillow's number


def pretty(document: Any) -> bytes:
    """JSON as people read it, keys in the order given."""
    return (json.dumps(document, ensure_ascii=False, indent=2) + "\n").encode()


#: The variants of a bundle's language model, with the bits of their weights (see `Graph.linear`).
VARIANTS = {"fp32": 32, "fp16": 16, "int8": 8, "q4": 4}


def variant_files(variant: str) -> Dict[str, str]:
    """A variant's files in the manifest's terms, named as the Hugging Face ONNX community names them."""
    suffix = {"fp32": "", "fp16": "_fp16", "int8": "_int8", "q4": "_q4"}[variant]
    # Looking up input embeddings gains nothing from 4 bits: the table of 8 serves both.
    table = "_int8" if variant == "q4" else suffix
    return {"decoder": f"onnx/decoder_model_merged{suffix}.onnx", "embed_tokens": f"onnx/embed_tokens{table}.onnx"}


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
    """Writes `files` (path to bytes, or to a call giving them or a graph) and the manifest; returns the manifest written.

    Calls are made one by one, so the memory of one graph is free before the next is drawn. A bundle that is
    already there is replaced.
    """
    variants = manifest.get("variants") or {"fp32": variant_files("fp32")}
    wanted = [*REQUIRED, *(name for paths in variants.values() for name in paths.values())]
    missing = [name for name in dict.fromkeys(wanted) if name not in files]
    if missing:
        raise ValueError(f"a bundle needs {', '.join(missing)}")
    directory = Path(directory).absolute()
    directory.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
    try:
        digests = {}
        for name, contents in files.items():
            for path, pieces in _files(name, contents() if callable(contents) else contents):
                digests[path] = _store(work / path, pieces)
        written = dict(manifest, files=dict(sorted(digests.items())))
        _store(work / MANIFEST, [pretty(written)])
        os.chmod(work, 0o755)
        _swap(work, directory)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return written


def _files(name: str, contents: Union[bytes, Graph]) -> Iterator[Tuple[str, Iterable[bytes]]]:
    return contents.files(name) if isinstance(contents, Graph) else iter([(name, [contents])])


def _store(path: Path, pieces: Iterable[bytes]) -> Dict[str, Any]:
    """Writes and syncs a file; what the manifest says of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    digest, length = hashlib.sha256(), 0
    with open(path, "wb") as file:
        for piece in pieces:
            file.write(piece)
            digest.update(piece)
            length += len(piece)
        file.flush()
        os.fsync(file.fileno())
    return {"sha256": digest.hexdigest(), "bytes": length}


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
