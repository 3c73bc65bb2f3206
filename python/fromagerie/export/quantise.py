"""Weights of 8 or 4 bits: every run of 32 numbers in a row becomes codes and one scale (4 bits: and one zero point).

Weight-only 8 bits kept the demo model's retrieval; dynamic int8 and 4 bits rounded to nearest did not. At 8 bits a
zero point of its own for every block was tried and gave nothing (mean KL to f32 on prompts .0057, .0051 without):
what error there is comes from the activations, which the kernel rounds to 8 bits too. At 4 bits each block has one, and
the range that its 16 steps cover is the one, of a few, that restores the block best.

Read next: `graph.py`, whose `linear` stores the result for ONNX Runtime's MatMulNBits.
"""

from __future__ import annotations

from typing import Tuple

import numpy as np

BLOCK = 32
MIDDLE = 128  # the 8-bit code of zero; MatMulNBits assumes it when no zero points are given
STEPS = 15  # between the smallest and the largest 4-bit code
SHRINKS = (1.0, 0.95, 0.9, 0.85, 0.8, 0.7)  # shares of a block's range that 4 bits may cover; what is outside is clipped
ROWS_AT_ONCE = 2048  # bounds the memory of the search


def quantise_rows(weight: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """Splits `weight` [rows, columns] (columns a multiple of 32) into blocks of 32 along the row.

    Returns `codes` u8 [rows, columns/32, 32] and `scales` f32 [rows * columns/32], such that a weight is near
    (code - 128) * scale: at most half a scale away, and a scale is the block's largest magnitude / 127.
    """
    rows, columns = weight.shape
    blocks = weight.astype(np.float32).reshape(rows, columns // BLOCK, BLOCK)
    scales = np.abs(blocks).max(axis=2) / np.float32(127)
    scales = np.where(scales > 0, scales, np.float32(1)).astype(np.float32)
    codes = (np.rint(blocks / scales[:, :, None]) + MIDDLE).astype(np.uint8)
    return codes, scales.reshape(-1)


def restore_rows(codes: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """The f32 weights that `quantise_rows`' result stands for."""
    rows, blocks, block = codes.shape
    values = (codes.astype(np.float32) - MIDDLE) * scales.reshape(rows, blocks, 1)
    return values.reshape(rows, blocks * block)


def quantise_rows_4(weight: np.ndarray) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """As `quantise_rows`, with codes 0 to 15 and zero points: a weight is near (code - zero) * scale.

    Returns `codes` u8 [rows, columns/32, 16], two codes a byte, the lower half first; `scales` f32 [rows * columns/32];
    `zeros` u8 [rows * ceil(columns/64)], two a byte, each row padded to a whole byte.
    """
    rows, columns = weight.shape
    count = columns // BLOCK
    codes = np.empty((rows, count, BLOCK), np.uint8)
    scales, zeros = np.empty((rows, count), np.float32), np.zeros((rows, count + count % 2), np.uint8)
    for start in range(0, rows, ROWS_AT_ONCE):
        part = slice(start, min(start + ROWS_AT_ONCE, rows))
        blocks = weight[part].astype(np.float32).reshape(-1, count, BLOCK)
        codes[part], scales[part], zeros[part, :count] = _best_4(blocks)
    packed = codes[:, :, 0::2] | codes[:, :, 1::2] << 4
    return packed, scales.reshape(-1), (zeros[:, 0::2] | zeros[:, 1::2] << 4).reshape(-1)


def restore_rows_4(packed: np.ndarray, scales: np.ndarray, zeros: np.ndarray) -> np.ndarray:
    """The f32 weights that `quantise_rows_4`'s result stands for."""
    rows, count, half = packed.shape
    codes = np.stack([packed & 15, packed >> 4], axis=-1).reshape(rows, count, 2 * half)
    zeros = np.stack([zeros & 15, zeros >> 4], axis=-1).reshape(rows, -1)[:, :count]
    values = (codes.astype(np.float32) - zeros[:, :, None]) * scales.reshape(rows, count, 1)
    return values.reshape(rows, count * 2 * half)


def _best_4(blocks: np.ndarray) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Codes, scales and zero points of `blocks` [rows, count, 32]: of each block's tries, the one with least error."""
    low, high = np.minimum(blocks.min(axis=2), 0), np.maximum(blocks.max(axis=2), 0)
    best = None
    for shrink in SHRINKS:
        scale = ((high - low) * np.float32(shrink / STEPS)).astype(np.float32)
        scale = np.where(scale > 0, scale, np.float32(1))
        zero = np.clip(np.rint(-low * np.float32(shrink) / scale), 0, STEPS)
        code = np.clip(np.rint(blocks / scale[:, :, None]) + zero[:, :, None], 0, STEPS)
        error = (((code - zero[:, :, None]) * scale[:, :, None] - blocks) ** 2).sum(axis=2)
        if best is None:
            best = [code, scale, zero, error]
            continue
        better = error < best[3]
        best[0] = np.where(better[:, :, None], code, best[0])
        best[1:] = [np.where(better, new, old) for new, old in zip((scale, zero, error), best[1:])]
    return best[0].astype(np.uint8), best[1], best[2].astype(np.uint8)
