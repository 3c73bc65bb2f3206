"""Reads GGUF files: metadata, tensors, and Llama weights under their Hugging Face names.

The demo's language model comes as a GGUF file (quantised blocks, llama.cpp's layout). This reader gives
numpy arrays back. It trusts nothing: every count, length and offset is checked against the file's size
before memory is taken, so a damaged file is a `GgufError` and never a crash or an endless allocation.

Read next: `gguf_kinds.py` (the quantisations), `llama.py` (what is built from these tensors), `tokenizer.py` (what
is built from the metadata).
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Tuple

import numpy as np

from .gguf_kinds import KINDS

MAGIC = b"GGUF"
MAX_ENTRIES = 1 << 16  # metadata keys and tensors; real files have hundreds
MAX_ARRAY = 1 << 24  # elements in one metadata array; a vocabulary has 2^15 to 2^18
MAX_NESTING = 4
MAX_DIMS = 4


class GgufError(ValueError):
    """The file is not a GGUF file this reader understands; the message names the offset or the tensor."""


@dataclass(frozen=True)
class TensorInfo:
    """Where one tensor lies. `shape` is row-major, as numpy has it (GGUF stores it reversed)."""

    name: str
    shape: Tuple[int, ...]
    kind: int
    offset: int
    nbytes: int


# Metadata value types: struct letter and size. 8 is a string, 9 an array.
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9


class _Cursor:
    """Walks the header; every step is checked against the end of the file."""

    def __init__(self, data: Any) -> None:
        self.data, self.at = data, 0

    def take(self, count: int) -> bytes:
        if count < 0 or count > len(self.data) - self.at:
            raise GgufError(f"truncated at byte {self.at}: {count} more bytes expected")
        piece = self.data[self.at : self.at + count]
        self.at += count
        return piece

    def number(self, letter: str) -> Any:
        return struct.unpack("<" + letter, self.take(struct.calcsize(letter)))[0]

    def text(self) -> str:
        start = self.at
        try:
            return self.take(self.number("Q")).decode("utf-8")
        except UnicodeDecodeError:
            raise GgufError(f"string at byte {start} is not UTF-8") from None

    def value(self, kind: int, depth: int = 0) -> Any:
        if kind in _SCALARS:
            return self.number(_SCALARS[kind])
        if kind == _STRING:
            return self.text()
        if kind == _ARRAY and depth < MAX_NESTING:
            item, count = self.number("I"), self.number("Q")
            if count > min(MAX_ARRAY, len(self.data) - self.at):
                raise GgufError(f"array of {count} elements at byte {self.at}")
            if item in _SCALARS:
                letter = _SCALARS[item]
                return list(struct.unpack(f"<{count}{letter}", self.take(count * struct.calcsize(letter))))
            return [self.value(item, depth + 1) for _ in range(count)]
        raise GgufError(f"unknown metadata type {kind} at byte {self.at}")


class Gguf:
    """An open GGUF file: `metadata` (name to value) and `infos` (name to TensorInfo)."""

    def __init__(self, path: Path) -> None:
        """Reads and checks the header; tensors stay on disk until `tensor` asks for them."""
        with open(path, "rb") as file:
            try:
                self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            except ValueError:
                raise GgufError("empty file") from None
        cursor = _Cursor(self._data)
        if cursor.take(4) != MAGIC:
            raise GgufError("no GGUF magic at byte 0")
        version = cursor.number("I")
        if version not in (2, 3):
            raise GgufError(f"GGUF version {version}, expected 2 or 3")
        tensors, keys = cursor.number("Q"), cursor.number("Q")
        if tensors > MAX_ENTRIES or keys > MAX_ENTRIES:
            raise GgufError(f"{tensors} tensors and {keys} metadata keys, at most {MAX_ENTRIES} expected")
        self.metadata: Dict[str, Any] = {}
        for _ in range(keys):
            name = cursor.text()
            self.metadata[name] = cursor.value(cursor.number("I"))
        headers = [self._header(cursor) for _ in range(tensors)]
        alignment = self.metadata.get("general.alignment", 32)
        if not isinstance(alignment, int) or not 1 <= alignment <= 1 << 16:
            raise GgufError(f"alignment {alignment!r}")
        base = -(-cursor.at // alignment) * alignment
        self.infos: Dict[str, TensorInfo] = {}
        for name, shape, kind, offset in headers:
            self.infos[name] = self._located(name, shape, kind, base + offset)

    @staticmethod
    def _header(cursor: _Cursor) -> Tuple[str, Tuple[int, ...], int, int]:
        name, dims = cursor.text(), cursor.number("I")
        if not 1 <= dims <= MAX_DIMS:
            raise GgufError(f"tensor {name!r} has {dims} dimensions")
        shape = tuple(cursor.number("Q") for _ in range(dims))[::-1]
        return name, shape, cursor.number("I"), cursor.number("Q")

    def _located(self, name: str, shape: Tuple[int, ...], kind: int, offset: int) -> TensorInfo:
        if name in self.infos:
            raise GgufError(f"tensor {name!r} occurs twice")
        if kind not in KINDS:
            raise GgufError(f"tensor {name!r} has unknown type {kind}")
        if 0 in shape or shape[-1] % KINDS[kind].block:
            raise GgufError(f"tensor {name!r}: shape {shape} does not fit {KINDS[kind].name} blocks")
        count = 1
        for side in shape:
            count *= side
        nbytes = count // KINDS[kind].block * KINDS[kind].nbytes
        if offset + nbytes > len(self._data):
            raise GgufError(f"tensor {name!r} ends at byte {offset + nbytes}, the file at {len(self._data)}")
        return TensorInfo(name, shape, kind, offset, nbytes)

    def tensor(self, name: str) -> np.ndarray:
        """The tensor dequantised to f32, in numpy's row-major shape."""
        if name not in self.infos:
            raise GgufError(f"no tensor {name!r}")
        info = self.infos[name]
        kind = KINDS[info.kind]
        raw = np.frombuffer(self._data, np.uint8, info.nbytes, info.offset).reshape(-1, kind.nbytes)
        return kind.expand(raw).astype(np.float32, copy=False).reshape(info.shape)


def unpermute(weight: np.ndarray, heads: int) -> np.ndarray:
    """Undoes llama.cpp's reordering of query and key rows.

    llama.cpp rotates neighbouring pairs (0,1), (2,3)...; Hugging Face rotates row i with row i + D/2.
    `weight`: [heads * D, hidden] as llama.cpp has it. Returns the same shape as Hugging Face has it.
    """
    rows, columns = weight.shape
    pairs = weight.reshape(heads, rows // heads // 2, 2, columns)
    return np.ascontiguousarray(pairs.swapaxes(1, 2).reshape(rows, columns))


def llama_config(metadata: Dict[str, Any]) -> Dict[str, Any]:
    """The model's dimensions under Hugging Face's `config.json` names."""

    def need(key: str, kind: type = int) -> Any:
        value = metadata.get(key)
        if not isinstance(value, kind) or isinstance(value, bool) or not value > 0:
            raise GgufError(f"metadata {key!r} is {value!r}")
        return value

    if metadata.get("general.architecture") != "llama":
        raise GgufError(f"architecture {metadata.get('general.architecture')!r}, expected 'llama'")
    heads, hidden = need("llama.attention.head_count"), need("llama.embedding_length")
    tokens = metadata.get("tokenizer.ggml.tokens", [])
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": hidden,
        "intermediate_size": need("llama.feed_forward_length"),
        "num_hidden_layers": need("llama.block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": metadata.get("llama.attention.head_count_kv", heads),
        "head_dim": metadata.get("llama.rope.dimension_count", hidden // heads),
        "rms_norm_eps": need("llama.attention.layer_norm_rms_epsilon", float),
        "rope_theta": metadata.get("llama.rope.freq_base", 10000.0),
        "max_position_embeddings": need("llama.context_length"),
        "vocab_size": len(tokens),
        "bos_token_id": metadata.get("tokenizer.ggml.bos_token_id", 1),
        "eos_token_id": metadata.get("tokenizer.ggml.eos_token_id", 2),
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
    }


_LAYER_NAMES: List[Tuple[str, str]] = [
    ("attn_norm", "input_layernorm"),
    ("attn_q", "self_attn.q_proj"),
    ("attn_k", "self_attn.k_proj"),
    ("attn_v", "self_attn.v_proj"),
    ("attn_output", "self_attn.o_proj"),
    ("ffn_norm", "post_attention_layernorm"),
    ("ffn_gate", "mlp.gate_proj"),
    ("ffn_up", "mlp.up_proj"),
    ("ffn_down", "mlp.down_proj"),
]


def read_llama(path: Path) -> Tuple[Dict[str, Any], Dict[str, np.ndarray]]:
    """Reads a Llama GGUF as `(config, tensors)`, both by their Hugging Face names, tensors in f32.

    `config["tie_word_embeddings"]` is true, and `lm_head.weight` absent, when the file has no output matrix.

    Raises `GgufError` when a tensor is missing or has another shape than the metadata says.
    """
    file = Gguf(Path(path))
    config = llama_config(file.metadata)
    heads, kv_heads, width = config["num_attention_heads"], config["num_key_value_heads"], config["head_dim"]
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    shapes = {
        "attn_q": (heads * width, hidden), "attn_k": (kv_heads * width, hidden), "attn_v": (kv_heads * width, hidden),
        "attn_output": (hidden, heads * width), "ffn_gate": (inner, hidden), "ffn_up": (inner, hidden),
        "ffn_down": (hidden, inner), "attn_norm": (hidden,), "ffn_norm": (hidden,),
    }  # fmt: skip

    def checked(name: str, shape: Tuple[int, ...]) -> np.ndarray:
        tensor = file.tensor(name)
        if tensor.shape != shape:
            raise GgufError(f"tensor {name!r} has shape {tensor.shape}, expected {shape}")
        return tensor

    tensors = {
        "model.embed_tokens.weight": checked("token_embd.weight", (config["vocab_size"], hidden)),
        "model.norm.weight": checked("output_norm.weight", (hidden,)),
    }
    config["tie_word_embeddings"] = "output.weight" not in file.infos
    if not config["tie_word_embeddings"]:
        tensors["lm_head.weight"] = checked("output.weight", (config["vocab_size"], hidden))
    for layer in range(config["num_hidden_layers"]):
        for theirs, ours in _LAYER_NAMES:
            tensor = checked(f"blk.{layer}.{theirs}.weight", shapes[theirs])
            if theirs in ("attn_q", "attn_k"):
                tensor = unpermute(tensor, heads if theirs == "attn_q" else kv_heads)
            tensors[f"model.layers.{layer}.{ours}.weight"] = tensor
    return config, tensors
