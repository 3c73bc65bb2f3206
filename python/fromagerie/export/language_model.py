"""A pretrained language model, whichever of the known architectures it has, ready to be drawn with a larger vocabulary.

Read next: `opt.py` and `llama.py` (the architectures), `fromage.py` (who asks for it).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional

import numpy as np

from . import llama, opt
from .decoder import ShapeError, table_graph
from .graph import Graph
from .maps import Maps
from .weights import Overlay, Weights, WeightsError, read_json

# What Hugging Face leaves out of a config.json when it is the default.
_OPT: Dict[str, Any] = {
    "vocab_size": 50272, "hidden_size": 768, "num_hidden_layers": 12, "ffn_dim": 3072, "num_attention_heads": 12,
    "max_position_embeddings": 2048, "bos_token_id": 2, "eos_token_id": 2, "tie_word_embeddings": True,
}  # fmt: skip
_LLAMA: Dict[str, Any] = {
    "vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32,
    "num_attention_heads": 32, "max_position_embeddings": 2048, "rms_norm_eps": 1e-6, "bos_token_id": 1,
    "eos_token_id": 2, "tie_word_embeddings": False,
}  # fmt: skip
DEFAULTS = {"opt": _OPT, "llama": _LLAMA, "mistral": dict(
    _LLAMA, max_position_embeddings=131072, sliding_window=4096
), "qwen2": dict(
    _LLAMA, use_sliding_window=False, bos_token_id=None, max_position_embeddings=32768
)}  # fmt: skip


class LanguageModel:
    """Configuration and weights of a pretrained decoder; `vocabulary` is what its tables are resized to."""

    def __init__(self, directory: Path) -> None:
        self.config = read_json(Path(directory) / "config.json")
        kind = self.config.get("model_type")
        if kind not in DEFAULTS:
            raise WeightsError(f"{directory}: a language model of type {kind!r}; known are {', '.join(sorted(DEFAULTS))}")
        self.config = {**DEFAULTS[kind], **self.config}
        self.room = opt if kind == "opt" else llama
        try:
            self.shape = self.room.Shape.of(self.config)
        except (KeyError, ValueError) as error:
            raise WeightsError(f"{directory}/config.json: {error}") from None
        self.tensors: Mapping[str, np.ndarray] = Weights(directory, _aliases)
        self.rows = len(self._table(self.room.EMBEDDINGS))
        self.vocabulary = self.rows

    @property
    def hidden(self) -> int:
        """Width of an input embedding."""
        return self.shape.sizes().embedding

    @property
    def tied(self) -> bool:
        """Whether the output embeddings are the input embeddings."""
        return bool(self.config.get("tie_word_embeddings"))

    @property
    def state_widths(self) -> List[int]:
        """Widths of the hidden states, of the embeddings' to the last: as wide as what the head reads."""
        return [self.shape.hidden] * self.shape.layers + [self.hidden]

    def resize(self, vocabulary: int, rows: Dict[int, np.ndarray], outputs: Dict[int, np.ndarray]) -> None:
        """Cuts or extends the tables to `vocabulary` rows and puts `rows` (and `outputs`, of an untied head) in place.

        A row that neither the weights nor the arguments have is the mean of all, so that no direction is favoured.
        """
        changed = {self.room.EMBEDDINGS: _resized(self._table(self.room.EMBEDDINGS), vocabulary, rows)}
        if not self.tied:
            changed["lm_head.weight"] = _resized(self._table("lm_head.weight"), vocabulary, outputs)
        self.tensors, self.vocabulary = Overlay(self.tensors, changed), vocabulary

    def _table(self, name: str) -> np.ndarray:
        if name not in self.tensors:
            raise ShapeError(f"the weights have no {name!r}")
        table = self.tensors[name]
        if table.ndim != 2 or table.shape[1] != self.hidden:
            raise ShapeError(f"{name!r} is {list(table.shape)}; by the configuration it must be [*, {self.hidden}]")
        return table

    def decoder(self, maps: Optional[Maps], bits: int) -> Graph:
        """The decoder's graph."""
        return self.room.decoder_graph(self.config, self.tensors, maps, bits)

    def embed_tokens(self, bits: int) -> Graph:
        """The graph of the input embeddings."""
        return table_graph(self.tensors[self.room.EMBEDDINGS], bits)

    def manifest(self) -> Dict[str, int]:
        """The manifest's `language_model`."""
        sizes = self.shape.sizes()
        return {
            "hidden_size": sizes.embedding,
            "num_hidden_layers": sizes.layers,
            "num_key_value_heads": sizes.kv_heads,
            "head_dim": sizes.width,
            "vocab_size": self.vocabulary,
            "max_position_embeddings": sizes.positions,
        }


def _aliases(name: str) -> List[str]:
    """A checkpoint of the bare decoder names its tensors without `model.`."""
    return [name, name[len("model.") :]] if name.startswith("model.") else [name]


def _resized(table: np.ndarray, count: int, rows: Dict[int, np.ndarray]) -> np.ndarray:
    new = np.empty((count, table.shape[1]), np.float32)
    kept = min(count, len(table))
    new[:kept] = table[:kept]
    new[kept:] = table.mean(axis=0)
    for row, values in rows.items():
        new[row] = values
    return new
