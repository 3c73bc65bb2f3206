"""GGUF's quantisations: how many weights a block of bytes holds, and how to get them back as f32.

Each function takes whole tensors, one block a row, so a model of 100 MB is restored in a second. Layouts are those
of GGUF files in the wild; kinds that no supported model uses are not here.

Read next: `gguf.py`, which finds the blocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Dict

import numpy as np


@dataclass(frozen=True)
class Kind:
    """A quantisation: `block` weights lie in `nbytes` bytes; `expand` turns [n, nbytes] u8 into [n, block] f32."""

    name: str
    block: int
    nbytes: int
    expand: Callable[[np.ndarray], np.ndarray]


def _half(raw: np.ndarray, start: int) -> np.ndarray:
    """The f16 at byte `start` of every block, as a column of f32."""
    return np.ascontiguousarray(raw[:, start : start + 2]).view("<f2").astype(np.float32)


def _nibbles(raw: np.ndarray) -> np.ndarray:
    """The two 4-bit numbers of each byte; GGUF puts all low ones before all high ones in a block."""
    return np.concatenate([raw & 15, raw >> 4], axis=1)


def _fifth_bits(raw: np.ndarray, start: int) -> np.ndarray:
    """The 32 high bits of a 5-bit block, one a weight, shifted into place."""
    return np.unpackbits(raw[:, start : start + 4], axis=1, bitorder="little") << 4


def _f32(raw: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(raw).view("<f4").astype(np.float32)


def _f16(raw: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(raw).view("<f2").astype(np.float32)


def _bf16(raw: np.ndarray) -> np.ndarray:
    return (np.ascontiguousarray(raw).view("<u2").astype(np.uint32) << 16).view(np.float32)


def _q4_0(raw: np.ndarray) -> np.ndarray:
    return _half(raw, 0) * (_nibbles(raw[:, 2:]).astype(np.float32) - 8)


def _q4_1(raw: np.ndarray) -> np.ndarray:
    return _half(raw, 0) * _nibbles(raw[:, 4:]).astype(np.float32) + _half(raw, 2)


def _q5_0(raw: np.ndarray) -> np.ndarray:
    return _half(raw, 0) * ((_nibbles(raw[:, 6:]) | _fifth_bits(raw, 2)).astype(np.float32) - 16)


def _q5_1(raw: np.ndarray) -> np.ndarray:
    return _half(raw, 0) * (_nibbles(raw[:, 8:]) | _fifth_bits(raw, 4)).astype(np.float32) + _half(raw, 2)


def _q8_0(raw: np.ndarray) -> np.ndarray:
    return _half(raw, 0) * np.ascontiguousarray(raw[:, 2:]).view(np.int8).astype(np.float32)


def _q6_k(raw: np.ndarray) -> np.ndarray:
    """256 weights: 128 bytes of low nibbles, 64 of high pairs, 16 signed scales, one f16 over all."""
    low = raw[:, :128].reshape(-1, 2, 1, 64)
    high = raw[:, 128:192].reshape(-1, 2, 1, 32)
    scales = np.ascontiguousarray(raw[:, 192:208]).view(np.int8).astype(np.float32)
    shift4 = np.array([0, 4], np.uint8).reshape(1, 1, 2, 1)
    shift2 = np.array([0, 2, 4, 6], np.uint8).reshape(1, 1, 4, 1)
    four = ((low >> shift4) & 15).reshape(-1, 8, 32)
    two = ((high >> shift2) & 3).reshape(-1, 8, 32)
    weights = (four | (two << 4)).astype(np.float32) - 32
    scale = (_half(raw, 208) * scales)[:, :, None]
    return (weights.reshape(-1, 16, 16) * scale).reshape(-1, 256)


KINDS: Dict[int, Kind] = {
    0: Kind("F32", 1, 4, _f32),
    1: Kind("F16", 1, 2, _f16),
    2: Kind("Q4_0", 32, 18, _q4_0),
    3: Kind("Q4_1", 32, 20, _q4_1),
    6: Kind("Q5_0", 32, 22, _q5_0),
    7: Kind("Q5_1", 32, 24, _q5_1),
    8: Kind("Q8_0", 32, 34, _q8_0),
    14: Kind("Q6_K", 256, 210, _q6_k),
    30: Kind("BF16", 1, 2, _bf16),
}
