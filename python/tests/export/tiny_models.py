"""Tiny models with random weights in every shape that the exporter knows, as the files that people have of them.

Weights, tokenizers, pictures and prompts all come from seeds, in NumPy alone: the test writes the same files that
`make_golden.py` gave to PyTorch and transformers, and only the answers are kept in the repository.
"""

from __future__ import annotations

import json
import struct
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List

import numpy as np
from torch_file import state_dict

from fromagerie.export.maps import write_safetensors

LETTERS = [chr(c) for c in range(ord("a"), ord("z") + 1)]
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]
MERGES = ["a t", "c at", "Ġ d", "o g", "Ġd og", "r e", "re d", "t h", "th e", "Ġ the"]
BOS = 2  # </s>, as OPT has it
POSITIONS = 192


def vocabulary() -> Dict[str, int]:
    """The four control tokens, the alphabet and the merges: 46 tokens."""
    words = [*SPECIAL, *LETTERS, "Ġ", "Ċ", "?", ".", ",", ":", *(merge.replace(" ", "") for merge in MERGES)]
    return {word: index for index, word in enumerate(words)}


@dataclass(frozen=True)
class Tiny:
    """One shape: what is written, and what the maps are."""

    name: str
    seed: int
    config: Dict[str, Any]
    visual_tokens: int = 1
    layers: List[int] = field(default_factory=lambda: [-1])
    shared: Any = 12
    vision: Dict[str, Any] = field(default_factory=dict)
    files: str = "safetensors"
    prompts: int = 18

    @property
    def opt(self) -> bool:
        return self.config["model_type"] == "opt"

    @property
    def tied(self) -> bool:
        return self.config["tie_word_embeddings"]


def _opt(**changes: Any) -> Dict[str, Any]:
    return {"model_type": "opt", "vocab_size": 56, "hidden_size": 32, "ffn_dim": 48, "num_hidden_layers": 3,
            "num_attention_heads": 4, "max_position_embeddings": POSITIONS, "do_layer_norm_before": True,
            "word_embed_proj_dim": 32, "activation_function": "relu", "bos_token_id": BOS, "eos_token_id": BOS,
            "pad_token_id": 1, "tie_word_embeddings": True, **changes}  # fmt: skip


def _llama(**changes: Any) -> Dict[str, Any]:
    return {"model_type": "llama", "vocab_size": 46, "hidden_size": 32, "intermediate_size": 48,
            "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8,
            "max_position_embeddings": POSITIONS, "rms_norm_eps": 1e-5, "rope_theta": 1e4, "hidden_act": "silu",
            "bos_token_id": BOS, "eos_token_id": 0, "pad_token_id": 1, "tie_word_embeddings": False, **changes}  # fmt: skip


SHAPES = [
    Tiny("opt", 1, _opt(), prompts=100),
    Tiny("opt-post-norm", 2, _opt(do_layer_norm_before=False, word_embed_proj_dim=20), visual_tokens=4,
         layers=[-1, 1], files="bin"),
    Tiny("opt-without-biases", 3, _opt(enable_bias=False, activation_function="gelu", vocab_size=46), visual_tokens=2,
         shared=None, vision={"hidden_act": "gelu"}, files="shards"),
    Tiny("llama", 4, _llama(), visual_tokens=8, layers=[1, 3]),
    Tiny("qwen2", 5, _llama(model_type="qwen2", num_key_value_heads=4, tie_word_embeddings=True), visual_tokens=2,
         vision={"image_size": 24, "hidden_size": 24}),
]  # fmt: skip


class Random:
    """Weights from one seed, drawn in the order of the calls."""

    def __init__(self, seed: int) -> None:
        self.generator, self.tensors = np.random.default_rng(seed), {}

    def normal(self, name: str, *shape: int, scale: float = 0.0, about: float = 0.0) -> None:
        values = self.generator.standard_normal(shape) * (scale or shape[-1] ** -0.5) + about
        self.tensors[name] = values.astype(np.float32)

    def linear(self, name: str, rows: int, columns: int, bias: bool = True) -> None:
        self.normal(f"{name}.weight", rows, columns, scale=1.6 * columns**-0.5)
        if bias:
            self.normal(f"{name}.bias", rows, scale=0.3)

    def norm(self, name: str, width: int, bias: bool = True) -> None:
        self.normal(f"{name}.weight", width, scale=0.2, about=1.0)
        if bias:
            self.normal(f"{name}.bias", width, scale=0.2)


def language_tensors(tiny: Tiny) -> Dict[str, np.ndarray]:
    c, r = tiny.config, Random(tiny.seed)
    hidden, vocab = c["hidden_size"], c["vocab_size"]
    if tiny.opt:
        p, narrow, bias = "model.decoder.", c["word_embed_proj_dim"], c.get("enable_bias", True)
        r.normal(p + "embed_tokens.weight", vocab, narrow, scale=0.6)
        r.normal(p + "embed_positions.weight", POSITIONS + 2, hidden, scale=0.3)
        if narrow != hidden:
            r.linear(p + "project_in", hidden, narrow, bias=False)
            r.linear(p + "project_out", narrow, hidden, bias=False)
        if c["do_layer_norm_before"]:
            r.norm(p + "final_layer_norm", hidden)
        for i in range(c["num_hidden_layers"]):
            q = f"{p}layers.{i}."
            for part in ("k_proj", "v_proj", "q_proj", "out_proj"):
                r.linear(f"{q}self_attn.{part}", hidden, hidden, bias)
            r.norm(q + "self_attn_layer_norm", hidden)
            r.linear(q + "fc1", c["ffn_dim"], hidden, bias)
            r.linear(q + "fc2", hidden, c["ffn_dim"], bias)
            r.norm(q + "final_layer_norm", hidden)
        return r.tensors
    width, biased = c["head_dim"], c["model_type"] == "qwen2"
    r.normal("model.embed_tokens.weight", vocab, hidden, scale=0.6)
    r.norm("model.norm", hidden, bias=False)
    if not c["tie_word_embeddings"]:
        r.linear("lm_head", vocab, hidden, bias=False)
    for i in range(c["num_hidden_layers"]):
        q = f"model.layers.{i}."
        for part, rows in (("q", c["num_attention_heads"]), ("k", c["num_key_value_heads"]), ("v", c["num_key_value_heads"])):
            r.linear(f"{q}self_attn.{part}_proj", rows * width, hidden, biased)
        r.linear(q + "self_attn.o_proj", hidden, c["num_attention_heads"] * width, bias=False)
        for part, rows, columns in (("gate", c["intermediate_size"], hidden), ("up", c["intermediate_size"], hidden),
                                    ("down", hidden, c["intermediate_size"])):  # fmt: skip
            r.linear(f"{q}mlp.{part}_proj", rows, columns, bias=False)
        r.norm(q + "input_layernorm", hidden, bias=False)
        r.norm(q + "post_attention_layernorm", hidden, bias=False)
    return r.tensors


def vision_config(tiny: Tiny) -> Dict[str, Any]:
    return {"model_type": "clip_vision_model", "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
            "num_attention_heads": 2, "image_size": 16, "patch_size": 8, "num_channels": 3, "projection_dim": 12,
            "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5, **tiny.vision}  # fmt: skip


def _tower(r: Random, prefix: str, c: Dict[str, Any]) -> None:
    hidden = c["hidden_size"]
    for i in range(c["num_hidden_layers"]):
        q = f"{prefix}encoder.layers.{i}."
        for part in ("k_proj", "v_proj", "q_proj", "out_proj"):
            r.linear(f"{q}self_attn.{part}", hidden, hidden)
        r.norm(q + "layer_norm1", hidden)
        r.linear(q + "mlp.fc1", c["intermediate_size"], hidden)
        r.linear(q + "mlp.fc2", hidden, c["intermediate_size"])
        r.norm(q + "layer_norm2", hidden)


def vision_tensors(c: Dict[str, Any], seed: int) -> Dict[str, np.ndarray]:
    r, p, hidden, patch = Random(seed + 100), "vision_model.", c["hidden_size"], c["patch_size"]
    r.normal(p + "embeddings.class_embedding", hidden, scale=0.5)
    r.normal(p + "embeddings.patch_embedding.weight", hidden, 3, patch, patch, scale=0.2)
    r.normal(p + "embeddings.position_embedding.weight", (c["image_size"] // patch) ** 2 + 1, hidden, scale=0.5)
    r.norm(p + "pre_layrnorm", hidden)
    _tower(r, p, c)
    r.norm(p + "post_layernorm", hidden)
    return r.tensors


def clip_config() -> Dict[str, Any]:
    text = {"model_type": "clip_text_model", "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
            "num_attention_heads": 2, "max_position_embeddings": 32, "vocab_size": 46, "bos_token_id": 0,
            "eos_token_id": 3, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5, "projection_dim": 10}  # fmt: skip
    vision = {**vision_config(SHAPES[0]), "projection_dim": 10}
    return {"model_type": "clip", "projection_dim": 10, "text_config": text, "vision_config": vision,
            "logit_scale_init_value": 2.6592}  # fmt: skip


def clip_tensors(seed: int) -> Dict[str, np.ndarray]:
    config = clip_config()
    text, r = config["text_config"], Random(seed + 200)
    hidden = text["hidden_size"]
    r.normal("text_model.embeddings.token_embedding.weight", text["vocab_size"], hidden, scale=0.6)
    r.normal("text_model.embeddings.position_embedding.weight", text["max_position_embeddings"], hidden, scale=0.3)
    _tower(r, "text_model.", text)
    r.norm("text_model.final_layer_norm", hidden)
    r.linear("text_projection", config["projection_dim"], hidden, bias=False)
    r.linear("visual_projection", config["projection_dim"], config["vision_config"]["hidden_size"], bias=False)
    r.tensors["logit_scale"] = np.array(2.5, np.float32)
    return {**r.tensors, **vision_tensors(config["vision_config"], seed)}


def map_tensors(tiny: Tiny) -> Dict[str, np.ndarray]:
    """The checkpoint, by FROMAGe's names."""
    r, c, features = Random(tiny.seed + 300), tiny.config, vision_config(tiny)["hidden_size"]
    embedding, last = c.get("word_embed_proj_dim", c["hidden_size"]), c["num_hidden_layers"]
    dim = embedding if tiny.shared is None else tiny.shared
    for i, layer in enumerate(tiny.layers if tiny.shared else []):
        r.linear(f"model.text_hidden_fcs.{i}.0", dim, embedding if layer in (-1, last) else c["hidden_size"])
    r.linear("model.visual_embeddings", tiny.visual_tokens * embedding, features)
    r.linear("model.visual_fc", dim, features)
    r.tensors["model.logit_scale"] = np.array(2.3 + 0.1 * tiny.seed, np.float32)
    r.normal("ret_input_embeddings.weight", 1, embedding, scale=0.7)
    if not tiny.tied:
        r.normal("ret_output_embeddings.weight", 1, embedding, scale=0.3)
    return r.tensors


def write_tokenizer(directory: Path) -> None:
    """GPT-2's pair of files, as OPT's repositories have them."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "vocab.json").write_text(json.dumps(vocabulary()), "utf-8")
    (directory / "merges.txt").write_text("#version: 0.2\n" + "\n".join(MERGES) + "\n", "utf-8")
    (directory / "special_tokens_map.json").write_text(json.dumps({"bos_token": "</s>", "pad_token": "<pad>",
                                                                   "unk_token": {"content": "<unk>"}}))  # fmt: skip


def write_language_model(tiny: Tiny, directory: Path) -> None:
    write_tokenizer(directory)
    (directory / "config.json").write_text(json.dumps(tiny.config))
    tensors = language_tensors(tiny)
    if tiny.files == "bin":  # the bare decoder's names, as early checkpoints have them
        bare = {name[len("model.") :]: array for name, array in tensors.items()}
        (directory / "pytorch_model.bin").write_bytes(state_dict(bare))
    elif tiny.files == "shards":
        names = sorted(tensors)
        parts = {f"model-0000{i + 1}-of-00002.safetensors": names[i::2] for i in range(2)}
        for file, part in parts.items():
            write_safetensors(directory / file, {name: tensors[name] for name in part}, {"format": "pt"})
        places = {name: file for file, part in parts.items() for name in part}
        (directory / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    else:
        write_safetensors(directory / "model.safetensors", tensors, {"format": "pt"})


def write_vision_model(tiny: Tiny, directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    config = vision_config(tiny)
    (directory / "config.json").write_text(json.dumps(config))
    write_safetensors(directory / "model.safetensors", vision_tensors(config, tiny.seed), {"format": "pt"})


def write_clip(directory: Path, seed: int = 9) -> None:
    from fromagerie.export.pretrained_tokenizer import PretrainedTokenizer

    write_tokenizer(directory)
    (directory / "tokenizer.json").write_bytes(PretrainedTokenizer(directory).encode())
    (directory / "config.json").write_text(json.dumps(clip_config()))
    write_safetensors(directory / "model.safetensors", clip_tensors(seed), {"format": "pt"})


def write_fromage(tiny: Tiny, directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    arguments = {"opt_version": "tiny", "visual_encoder": "clip-tiny", "n_visual_tokens": tiny.visual_tokens,
                 "shared_emb_dim": tiny.shared, "text_emb_layers": tiny.layers}  # fmt: skip
    (directory / "model_args.json").write_text(json.dumps(arguments))
    (directory / "pretrained_ckpt.pth.tar").write_bytes(state_dict(map_tensors(tiny), wrap="state_dict"))


def write_all(tiny: Tiny, directory: Path) -> None:
    """`lm`, `clip` and `maps` under `directory`."""
    write_language_model(tiny, directory / "lm")
    write_vision_model(tiny, directory / "clip")
    write_fromage(tiny, directory / "maps")


PICTURES = 24
DUAL_TEXTS = ["the dog", "a red cat", "quiz? the bat, a dog.", "z", "cat cat cat dog", "the red bat the cat"]


def picture(number: int) -> np.ndarray:
    """A picture of soft blobs, [height, width, 3] u8, of a size of its own, and never taller than wide.

    Of some tall pictures Pillow 13 resizes the rows first; older ones, with which encoders were trained, and the engine
    always begin with the columns. The difference is one level of 255.
    """
    r = np.random.default_rng(7000 + number)
    height, width = sorted(int(side) for side in r.integers(20, 60, 2))
    y, x = np.mgrid[0:height, 0:width]
    image = np.full((height, width, 3), r.integers(0, 256, 3), np.float64)
    for _ in range(6):
        cy, cx, size = r.integers(0, height), r.integers(0, width), r.integers(3, 20)
        inside = (y - cy) ** 2 + (x - cx) ** 2 < size**2
        image[inside] = r.integers(0, 256, 3)
    return image.astype(np.uint8)


def png(pixels: np.ndarray) -> bytes:
    """`pixels` [height, width, 3] u8 as a PNG."""
    height, width, _ = pixels.shape

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    lines = b"".join(b"\0" + row.tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


def prompts(tiny: Tiny) -> List[List[Any]]:
    """Random prompts: words are strings, pictures their numbers, `[RET]` itself None.

    In turn: text only, picture only, a picture between texts, several pictures, `[RET]` in the middle, picture first.
    """
    r = np.random.default_rng(tiny.seed * 1000)

    def words() -> str:
        return " ".join(r.choice(["the", "dog", "cat", "red", "a", "bat", "z", "thered", "quiz?"], r.integers(1, 7)))

    def image() -> int:
        return int(r.integers(0, PICTURES))

    kinds = [
        lambda: [words()],
        lambda: [image()],
        lambda: [words(), image(), words()],
        lambda: [image(), words(), image(), image(), words()],
        lambda: [words(), None, words(), image(), words(), None],
        lambda: [image(), words()],
    ]
    return [kinds[i % len(kinds)]() for i in range(tiny.prompts)]
