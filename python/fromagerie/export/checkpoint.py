"""Reads PyTorch checkpoints as numpy arrays without PyTorch, and without running anything in them.

A checkpoint is a pickle, and a pickle is a program. Here the unpickler resolves a few names (the rebuilders of tensors
and parameters, `OrderedDict`, float and integer storages) to our own inert functions and refuses every other, so the
worst a hostile file can do is be refused. Both layouts are read: the zip of today and the stream of torch before 1.6.

Read next: `weights.py` (a language model's checkpoints), `efficientnet.py`, which builds a graph from the result.
"""

from __future__ import annotations

import collections
import io
import pickle
import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Tuple

import numpy as np

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
MAX_BYTES = 1 << 34
_STORAGES = {
    "FloatStorage": np.dtype("<f4"), "HalfStorage": np.dtype("<f2"), "DoubleStorage": np.dtype("<f8"),
    "LongStorage": np.dtype("<i8"), "IntStorage": np.dtype("<i4"), "BoolStorage": np.dtype("?"),
    "ByteStorage": np.dtype("u1"), "BFloat16Storage": np.dtype("<u2"),  # upper halves of f32
}  # fmt: skip


class CheckpointError(ValueError):
    """The file is no checkpoint of plain tensors, or asks for something a checkpoint needs not."""


@dataclass(frozen=True)
class _Storage:
    key: str
    dtype: np.dtype
    count: int


@dataclass(frozen=True)
class _Lazy:
    """A tensor whose bytes are not read yet."""

    storage: _Storage
    offset: int
    shape: Tuple[int, ...]
    strides: Tuple[int, ...]


def _rebuild(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> _Lazy:
    numbers = (offset, *shape, *strides)
    if not isinstance(storage, _Storage) or len(shape) != len(strides) or not all(type(n) is int for n in numbers):
        raise CheckpointError("malformed tensor")
    last = offset + sum((side - 1) * stride for side, stride in zip(shape, strides))
    if min(numbers) < 0 or (0 not in shape and last >= storage.count):
        raise CheckpointError(f"tensor of shape {shape} does not fit its storage of {storage.count} numbers")
    return _Lazy(storage, offset, tuple(shape), tuple(strides))


def _parameter(tensor: Any, *_: Any) -> _Lazy:
    if not isinstance(tensor, _Lazy):
        raise CheckpointError("malformed parameter")
    return tensor


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return _parameter
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        raise CheckpointError(f"refused to load {module}.{name}")

    def persistent_load(self, reference: Any) -> _Storage:
        try:
            kind, dtype, key, _device, count = reference[:5]
        except (TypeError, ValueError):
            raise CheckpointError("malformed storage reference") from None
        if kind != "storage" or not isinstance(dtype, np.dtype) or not isinstance(key, str) or type(count) is not int:
            raise CheckpointError("malformed storage reference")
        if not 0 <= count * dtype.itemsize <= MAX_BYTES:
            raise CheckpointError(f"storage of {count} numbers")
        return _Storage(key, dtype, count)


def _load(file: Any) -> Any:
    try:
        return _Unpickler(file).load()
    except CheckpointError:
        raise
    except Exception as error:  # a damaged pickle raises nearly anything
        raise CheckpointError(f"damaged pickle: {error!r}") from None


def _from_stream(file: io.BufferedReader) -> Tuple[Any, Dict[str, bytes]]:
    """magic, protocol, system info, the object, the list of storage keys, then each storage's count and bytes."""
    if _load(file) != MAGIC or _load(file) != PROTOCOL:
        raise CheckpointError("neither a zip nor a torch stream")
    system = _load(file)
    if not isinstance(system, dict) or not system.get("little_endian", False):
        raise CheckpointError("not little-endian")
    root = _load(file)
    sizes = {lazy.storage.key: lazy.storage.dtype.itemsize for lazy in _lazies(root).values()}
    pieces: Dict[str, bytes] = {}
    for key in _load(file):
        if key not in sizes:
            raise CheckpointError(f"storage {key!r} belongs to no tensor")
        (count,) = struct.unpack("<q", file.read(8).ljust(8, b"\xff"))
        if not 0 <= count * sizes[key] <= MAX_BYTES:
            raise CheckpointError(f"storage {key!r} of {count} numbers")
        pieces[key] = file.read(count * sizes[key])
    return root, pieces


def _from_zip(path: Path) -> Tuple[Any, Dict[str, bytes]]:
    """`NAME/data.pkl` and `NAME/data/KEY` for each storage, stored uncompressed."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            (listing,) = [name for name in names if name.endswith("/data.pkl")]
            root = _load(io.BytesIO(_member(archive, listing)))
            prefix = listing[: -len("data.pkl")] + "data/"
            keys = {lazy.storage.key for lazy in _lazies(root).values()}
            return root, {key: _member(archive, prefix + key) for key in sorted(keys)}
    except (zipfile.BadZipFile, KeyError, ValueError, NotImplementedError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"damaged zip: {error!r}") from None


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    if archive.getinfo(name).file_size > MAX_BYTES:
        raise CheckpointError(f"{name} has {archive.getinfo(name).file_size} bytes")
    return archive.read(name)


def _lazies(root: Any) -> Dict[str, _Lazy]:
    """The tensors of a state dict, also of one wrapped as {"state_dict": ...}."""
    if isinstance(root, dict) and isinstance(root.get("state_dict"), dict):
        root = root["state_dict"]
    if not isinstance(root, dict):
        raise CheckpointError(f"a {type(root).__name__} instead of a state dict")
    return {name: value for name, value in root.items() if isinstance(name, str) and isinstance(value, _Lazy)}


def read_checkpoint(path: Path) -> Dict[str, np.ndarray]:
    """The state dict of a `.pth` file: parameter name to array, floats as f32, integers as i64.

    Raises `CheckpointError` for anything but a dictionary of plain tensors.
    """
    with open(path, "rb") as file:
        zipped = file.read(4) == b"PK\x03\x04"
        file.seek(0)
        root, pieces = _from_zip(path) if zipped else _from_stream(file)
    tensors = {}
    for name, lazy in _lazies(root).items():
        dtype, need = lazy.storage.dtype, lazy.storage.count * lazy.storage.dtype.itemsize
        if len(pieces.get(lazy.storage.key, b"")) < need:
            raise CheckpointError(f"{name!r} is truncated: {need} bytes expected")
        flat = np.frombuffer(pieces[lazy.storage.key], dtype, lazy.storage.count)[lazy.offset :]
        strides = [stride * dtype.itemsize for stride in lazy.strides]
        array = np.lib.stride_tricks.as_strided(flat, lazy.shape, strides, writeable=False)
        tensors[name] = widened(array)
    return tensors


def widened(array: np.ndarray) -> np.ndarray:
    """Floats as f32 (u16 is bfloat16: the upper half of an f32), everything else as i64."""
    if array.dtype == np.uint16:
        return (array.astype(np.uint32) << 16).view(np.float32)
    return array.astype(np.float32 if array.dtype.kind == "f" else np.int64)
