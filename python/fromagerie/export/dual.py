"""A dual-encoder bundle: CLIP's text and vision encoders, to search the same collections without a dialogue.

Read next: `clip.py` (why the text encoder is a decoder), `clip_model.py`, `bundle.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Dict

import numpy as np

from .bundle import VISION_ENCODER, pretty, variant_files, write_bundle
from .clip import TOKENS, dual_text_graph, dual_vision_graph, text_sizes
from .clip_model import ClipModel
from .decoder import table_graph, weight
from .pretrained_tokenizer import PretrainedTokenizer
from .weights import WeightsError, find_model

LEGACY_END = 2  # early configurations say so, and mean the last token of the vocabulary; the one before begins a text


def export_dual(model: str, out: Path, say: Callable[[str], None] = print) -> Dict[str, Any]:
    """Writes the bundle of the CLIP `model` (a directory or hub id) to `out` and returns its manifest.

    Raises `WeightsError`, `ShapeError` or `CheckpointError`, naming what does not fit.
    """
    clip = ClipModel(find_model(model))
    if clip.text is None:
        raise WeightsError(f"{model} is a vision encoder alone; a dual encoder needs the text encoder too")
    tokenizer = PretrainedTokenizer(clip.directory)
    sizes, vocabulary = text_sizes(clip.text), clip.text["vocab_size"]
    bos, end = clip.text["bos_token_id"], clip.text["eos_token_id"]
    if end == LEGACY_END:
        bos, end = vocabulary - 2, vocabulary - 1
    say(f"read CLIP of {sizes.layers} and {clip.vision['num_hidden_layers']} layers")
    table = weight(clip.tensors, TOKENS, vocabulary, sizes.embedding)
    manifest: Dict[str, Any] = {
        "format": "fromagerie-bundle",
        "version": 1,
        "name": clip.directory.absolute().name,
        "architecture": "clip",
        "language_model": {
            "hidden_size": sizes.embedding,
            "num_hidden_layers": sizes.layers,
            "num_key_value_heads": sizes.kv_heads,
            "head_dim": sizes.width,
            "vocab_size": vocabulary,
            "max_position_embeddings": sizes.positions,
        },
        "vision": {"num_visual_tokens": 0, "feature_dim": clip.vision["hidden_size"]},
        "retrieval": {"dim": clip.dim, "ret_token_ids": [end]},
    }
    if "logit_scale" in clip.tensors:
        manifest["retrieval"]["logit_scale"] = float(np.exp(clip.tensors["logit_scale"].reshape(-1)[0]))
    names = variant_files("fp32")
    return write_bundle(
        out,
        manifest,
        {
            "tokenizer.json": tokenizer.encode(),
            "preprocessor_config.json": pretty(clip.preprocessing()),
            "generation_config.json": pretty({"bos_token_id": bos, "eos_token_id": [end]}),
            VISION_ENCODER: lambda: dual_vision_graph(clip.vision, clip.tensors, clip.dim),
            names["decoder"]: lambda: dual_text_graph(clip.text, clip.tensors, clip.dim),
            names["embed_tokens"]: lambda: table_graph(table),
        },
    )
