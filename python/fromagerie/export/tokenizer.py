"""Rebuilds `tokenizer.json` from a GGUF file's metadata, with `[RET]` added at the end.

A GGUF file carries the vocabulary and merges of a byte-level BPE but not the splitting rules, only their name
(`tokenizer.ggml.pre`). This module knows the rules of the names in `PRE_TOKENIZERS` and refuses others: a wrong
split would give plausible, slightly wrong ids, the kind of error nobody notices.

Read next: `bundle.py`, which writes the result.
"""

from __future__ import annotations

import json
from typing import Any, Dict, List

from .gguf import GgufError

RET = "[RET]"
CONTROL, USER_DEFINED = 3, 4  # tokenizer.ggml.token_type

_BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
_DIGITS_THEN_BYTES = {
    "type": "Sequence",
    "pretokenizers": [{"type": "Digits", "individual_digits": True}, _BYTE_LEVEL],
}
PRE_TOKENIZERS: Dict[str, Dict[str, Any]] = {
    "smollm": _DIGITS_THEN_BYTES,
    "gpt-2": _BYTE_LEVEL,
}


def added_token(index: int, content: str) -> Dict[str, Any]:
    """A special token as `tokenizer.json` lists it."""
    return {
        "id": index, "content": content, "single_word": False, "lstrip": False, "rstrip": False,
        "normalized": False, "special": True,
    }  # fmt: skip


def tokenizer_json(metadata: Dict[str, Any], extra: List[str]) -> str:
    """The text of `tokenizer.json`: GGUF's vocabulary, then the `extra` tokens with the next free ids.

    All control tokens and the extras are marked special, so that an encoder can be told to read them as plain
    text (what a user typed must not become a control token).

    Raises `GgufError` for another tokenizer than byte-level BPE, or splitting rules not known here.
    """
    model, pre = metadata.get("tokenizer.ggml.model"), metadata.get("tokenizer.ggml.pre")
    if model != "gpt2" or pre not in PRE_TOKENIZERS:
        raise GgufError(f"tokenizer {model!r} with splitting rules {pre!r} is not known")
    tokens: List[str] = metadata.get("tokenizer.ggml.tokens", [])
    kinds: List[int] = metadata.get("tokenizer.ggml.token_type", [1] * len(tokens))
    merges = [merge.split(" ") for merge in metadata.get("tokenizer.ggml.merges", [])]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    if len(vocabulary) != len(tokens) or len(kinds) != len(tokens):
        raise GgufError(f"{len(tokens)} tokens, {len(vocabulary)} distinct, {len(kinds)} kinds")
    if any(len(merge) != 2 for merge in merges):
        raise GgufError("a merge does not have two halves")
    added = [added_token(i, t) for i, (t, kind) in enumerate(zip(tokens, kinds)) if kind in (CONTROL, USER_DEFINED)]
    added += [added_token(len(tokens) + i, token) for i, token in enumerate(extra)]
    document = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": PRE_TOKENIZERS[pre],
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {
            "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
            "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
            "vocab": vocabulary, "merges": merges,
        },
    }  # fmt: skip
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def build_tokenizer(metadata: Dict[str, Any]) -> str:
    """`tokenizer_json` with `[RET]` as the one extra token (SmolLM2: id 49152)."""
    return tokenizer_json(metadata, [RET])
