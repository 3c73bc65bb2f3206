"""Opens a Hugging Face model directory: its configuration, and its weights one tensor at a time.

Safetensors files are mapped, so that a model larger than memory can be drawn; `.bin` checkpoints are read by
`checkpoint.py`, which runs nothing in them, a shard at a time. A model is named by its directory, or by its hub id when
it is in the local Hugging Face cache or the `huggingface_hub` package can fetch it.

Read next: `opt.py`, `llama.py` and `clip.py`, which name the tensors; `pretrained_tokenizer.py`.
"""

from __future__ import annotations

import json
import mmap
import os
import struct
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Mapping, Sequence, Tuple

import numpy as np

from .checkpoint import read_checkpoint, widened
from .maps import MAX_HEADER

SAFETENSORS, CHECKPOINT = "model.safetensors", "pytorch_model.bin"
FETCHED = ["*.json", "*.txt", "*.safetensors", "pytorch_model*.bin"]
# BF16 as the u16 that `widened` knows.
_DTYPES = {"F32": "<f4", "F16": "<f2", "BF16": "<u2", "F64": "<f8", "I64": "<i8", "I32": "<i4", "U8": "u1", "BOOL": "?"}


class WeightsError(ValueError):
    """A model directory that is not there, or whose files are not what they should be."""


def find_model(name: str) -> Path:
    """The directory of a model named by path or hub id. Raises `WeightsError`, which says where it was looked for."""
    if Path(name).is_dir():
        return Path(name)
    home = Path(os.environ.get("HF_HOME", Path.home() / ".cache" / "huggingface"))
    cached = home / "hub" / ("models--" + name.replace("/", "--")) / "snapshots"
    for snapshot in sorted(cached.glob("*"), key=lambda path: path.stat().st_mtime, reverse=True):
        if (snapshot / "config.json").is_file():
            return snapshot
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise WeightsError(
            f"{name!r} is no directory here and not in {cached.parent}; download the model and give its directory, "
            "or install huggingface_hub so that it can be fetched"
        ) from None
    try:
        return Path(snapshot_download(name, allow_patterns=FETCHED))
    except Exception as error:  # a network has many ways to fail
        raise WeightsError(f"{name!r} could not be fetched from the hub: {error}") from None


def read_json(path: Path) -> Dict[str, Any]:
    """A JSON object. Raises `WeightsError`, naming the file."""
    try:
        document = json.loads(Path(path).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path}: {error}") from None
    if not isinstance(document, dict):
        raise WeightsError(f"{path} holds no JSON object")
    return document


class Weights(Mapping[str, np.ndarray]):
    """The tensors of a model by name, floats as f32; each is read when it is asked for.

    `aliases`: the names under which files may hold a tensor (a bare decoder's lack `model.`), the likeliest first.
    """

    def __init__(self, directory: Path, aliases: Callable[[str], Sequence[str]] = lambda name: [name]) -> None:
        self.directory = Path(directory)
        self._files = self._list()
        self._aliases = aliases
        self._places: Dict[str, Tuple[Path, Any]] = {}
        self._maps: Dict[Path, mmap.mmap] = {}
        self._shard: Tuple[Path, Dict[str, np.ndarray]] = (Path(), {})
        for path in self._files:
            if path.suffix == ".safetensors":
                self._places.update({name: (path, entry) for name, entry in self._header(path).items()})
            else:
                self._places.update({name: (path, None) for name in self._of_shard(path)})

    def _list(self) -> List[Path]:
        for whole in (SAFETENSORS, CHECKPOINT):
            index = self.directory / f"{whole}.index.json"
            if index.is_file():
                names = sorted(set(read_json(index).get("weight_map", {}).values()))
                if not names or any("/" in name or name.startswith(".") for name in names):
                    raise WeightsError(f"{index} lists no files, or files elsewhere")
                return [self._present(name) for name in names]
            if (self.directory / whole).is_file():
                return [self.directory / whole]
        raise WeightsError(f"{self.directory} has neither {SAFETENSORS} nor {CHECKPOINT}, whole or with an index")

    def _present(self, name: str) -> Path:
        if not (self.directory / name).is_file():
            raise WeightsError(f"{self.directory / name} is missing, and the index lists it")
        return self.directory / name

    def _header(self, path: Path) -> Dict[str, Any]:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            (length,) = struct.unpack("<Q", file.read(8).ljust(8, b"\xff"))
            if length > min(MAX_HEADER, size - 8):
                raise WeightsError(f"{path}: a header of {length} bytes in a file of {size}")
            try:
                header = json.loads(file.read(length))
                header.pop("__metadata__", None)
                entries = {}
                for name, entry in header.items():
                    dtype, shape = np.dtype(_DTYPES[entry["dtype"]]), tuple(int(side) for side in entry["shape"])
                    start, end = entry["data_offsets"]
                    count = int(np.prod(shape, dtype=np.int64))
                    if min(shape, default=0) < 0 or not 0 <= start <= end <= size - 8 - length:
                        raise ValueError(f"{name!r} lies outside of the file")
                    if end - start != count * dtype.itemsize:
                        raise ValueError(f"{name!r}: {end - start} bytes for {list(shape)} of {entry['dtype']}")
                    entries[name] = (dtype, shape, 8 + length + start)
            except (KeyError, TypeError, AttributeError, ValueError) as error:
                raise WeightsError(f"{path}: bad header: {error}") from None
            self._maps[path] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return entries

    def _of_shard(self, path: Path) -> Dict[str, np.ndarray]:
        if self._shard[0] != path:
            self._shard = (path, read_checkpoint(path))
        return self._shard[1]

    def _found(self, name: str) -> str:
        return next((alias for alias in self._aliases(name) if alias in self._places), name)

    def __getitem__(self, name: str) -> np.ndarray:
        path, entry = self._places[self._found(name)]
        if entry is None:
            return self._of_shard(path)[self._found(name)]
        dtype, shape, start = entry
        count = int(np.prod(shape, dtype=np.int64))
        return widened(np.frombuffer(self._maps[path], dtype, count, start).reshape(shape))

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._found(name) in self._places

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


class Overlay(Mapping[str, np.ndarray]):
    """`base` with some tensors replaced."""

    def __init__(self, base: Mapping[str, np.ndarray], changed: Dict[str, np.ndarray]) -> None:
        self._base, self._changed = base, changed

    def __getitem__(self, name: str) -> np.ndarray:
        return self._changed[name] if name in self._changed else self._base[name]

    def __contains__(self, name: object) -> bool:
        return name in self._changed or name in self._base

    def __iter__(self) -> Iterator[str]:
        return iter({**dict.fromkeys(self._base), **self._changed})

    def __len__(self) -> int:
        return len(set(self._base) | set(self._changed))
