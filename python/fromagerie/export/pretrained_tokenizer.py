"""A pretrained model's tokenizer as one `tokenizer.json`, with FROMAGe's tokens appended.

A directory has `tokenizer.json`, or GPT-2's pair `vocab.json` and `merges.txt` (OPT), from which the same document is
made. Appended tokens get the next free ids, in their order, as `add_tokens` gives them; one that is there keeps its id.

Read next: `fromage.py`, which appends `<|image|>` and `[RET]`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict, List, Sequence

from .tokenizer import added_token
from .weights import WeightsError, read_json


class PretrainedTokenizer:
    """A `tokenizer.json` that can be added to."""

    def __init__(self, directory: Path) -> None:
        whole, vocabulary, merges = (Path(directory) / n for n in ("tokenizer.json", "vocab.json", "merges.txt"))
        if whole.is_file():
            self.document = read_json(whole)
        elif vocabulary.is_file() and merges.is_file():
            self.document = _byte_level(read_json(vocabulary), merges.read_text("utf-8"), _special(Path(directory)))
        else:
            raise WeightsError(f"{directory} has neither tokenizer.json nor vocab.json with merges.txt")
        self.document.update(truncation=None, padding=None)
        if not isinstance(self.document.get("model"), dict) or "vocab" not in self.document["model"]:
            raise WeightsError(f"{directory}: the tokenizer has no vocabulary")

    @property
    def ids(self) -> Dict[str, int]:
        """Every token's id."""
        vocabulary = self.document["model"]["vocab"]
        pairs = vocabulary.items() if isinstance(vocabulary, dict) else ((t[0], i) for i, t in enumerate(vocabulary))
        return {**dict(pairs), **{token["content"]: token["id"] for token in self.document.get("added_tokens", [])}}

    def append(self, tokens: Sequence[str]) -> List[int]:
        """Adds `tokens` and returns their ids."""
        for token in tokens:
            known = self.ids
            if token not in known:
                added = added_token(max(known.values(), default=-1) + 1, token)
                self.document.setdefault("added_tokens", []).append(added)
        return [self.ids[token] for token in tokens]

    def encode(self) -> bytes:
        """The file's bytes."""
        return json.dumps(self.document, ensure_ascii=False, separators=(",", ":")).encode()


def _special(directory: Path) -> List[str]:
    """The texts of the special tokens that a GPT-2 tokenizer's own files name."""
    path, found = directory / "special_tokens_map.json", []
    for value in (read_json(path) if path.is_file() else {}).values():
        entries = value if isinstance(value, list) else [value]
        found += [entry["content"] if isinstance(entry, dict) else entry for entry in entries]
    return found or ["<s>", "</s>", "<pad>", "<unk>", "<|endoftext|>"]


def _byte_level(vocabulary: Dict[str, Any], merges: str, special: List[str]) -> Dict[str, Any]:
    lines = [line for line in merges.splitlines() if line and not line.startswith("#version")]
    pairs = [line.split(" ") for line in lines]
    if any(len(pair) != 2 for pair in pairs):
        raise WeightsError("merges.txt: a merge does not have two halves")
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0",
        "added_tokens": [added_token(vocabulary[t], t) for t in dict.fromkeys(special) if t in vocabulary],
        "normalizer": None, "pre_tokenizer": level, "post_processor": None, "decoder": level,
        "model": {
            "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
            "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
            "vocab": vocabulary, "merges": pairs,
        },
    }  # fmt: skip
