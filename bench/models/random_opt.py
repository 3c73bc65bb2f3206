"""An OPT of a given size with random weights, a CLIP beside it, and FROMAGe maps between them, as the files people have.

Speed does not depend on what weights say, only on their shapes. All numbers come from one seed, in NumPy, so that PyTorch
and the exporter read the same files. The tokenizer has a token for every byte and fillers up to OPT's vocabulary: text costs a
token a byte, and no letter is ever two.

    PYTHONPATH=python:bench/models python bench/models/random_opt.py --size 125m --out .cache/models/opt-125m
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any, Dict, Tuple

import numpy as np

sys.path.append(str(Path(__file__).resolve().parents[2] / "python/tests/export"))
from fromagerie.export.maps import write_safetensors  # noqa: E402
from torch_file import state_dict  # noqa: E402

# hidden, layers, heads
SIZES = {
    "tiny": (64, 2, 4),
    "125m": (768, 12, 12),
    "1.3b": (2048, 24, 32),
    "2.7b": (2560, 32, 32),
    "6.7b": (4096, 32, 32),
}
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]
VOCABULARY, ROWS, POSITIONS, SEED = 50265, 50272, 2048, 20230131
VISION = {"125m": (768, 12, 12, 32), "tiny": (64, 2, 4, 32)}  # hidden, layers, heads, patch; else ViT-L/14
VISUAL_TOKENS, SHARED = 1, 256


class Random:
    """Half-precision weights from one seed, drawn in the order of the calls."""

    def __init__(self, seed: int) -> None:
        self.generator = np.random.default_rng(seed)

    def normal(self, *shape: int, scale: float, about: float = 0.0) -> np.ndarray:
        values = self.generator.standard_normal(shape, np.float32)
        return (values * np.float32(scale) + np.float32(about)).astype(np.float16)

    def linear(self, name: str, rows: int, columns: int, bias: bool = True) -> Dict[str, np.ndarray]:
        weight = {f"{name}.weight": self.normal(rows, columns, scale=1.6 * columns**-0.5)}
        return {**weight, f"{name}.bias": self.normal(rows, scale=0.1)} if bias else weight

    def norm(self, name: str, width: int) -> Dict[str, np.ndarray]:
        return {f"{name}.weight": self.normal(width, scale=0.1, about=1.0), f"{name}.bias": self.normal(width, scale=0.1)}

    def layer(self, name: str, hidden: int, norms: Tuple[str, str], feed: Tuple[str, str]) -> Dict[str, np.ndarray]:
        """A transformer layer; `norms` and `feed`: what its two norms and its feed-forward's two matrices are called."""
        tensors: Dict[str, np.ndarray] = {}
        for part in ("k_proj", "v_proj", "q_proj", "out_proj"):
            tensors |= self.linear(f"{name}self_attn.{part}", hidden, hidden)
        for norm in norms:
            tensors |= self.norm(name + norm, hidden)
        tensors |= self.linear(name + feed[0], 4 * hidden, hidden)
        return tensors | self.linear(name + feed[1], hidden, 4 * hidden)


def byte_letters() -> list[str]:
    """The printable stand-ins that byte-level tokenizers give to the 256 bytes."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = {byte: chr(256 + n) for n, byte in enumerate(b for b in range(256) if b not in kept)}
    return [others.get(byte, chr(byte)) for byte in range(256)]


def write_tokenizer(folder: Path) -> None:
    words = [*SPECIAL, *byte_letters()]
    words += [f"tok{n}" for n in range(len(words), VOCABULARY - 2)]  # `<|image|>` and `[RET]` come last
    (folder / "vocab.json").write_text(json.dumps({word: n for n, word in enumerate(words)}, ensure_ascii=False), "utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n", "utf-8")
    (folder / "special_tokens_map.json").write_text(json.dumps({"bos_token": "</s>", "pad_token": "<pad>"}))


def write_shards(folder: Path, shards: Any) -> None:
    """One file for each dictionary of tensors, and the index over them; one is in memory at a time."""
    places = {}
    for number, tensors in enumerate(shards):
        file = f"model-{number:05}.safetensors"
        write_safetensors(folder / file, tensors, {"format": "pt"})
        places.update(dict.fromkeys(tensors, file))
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))


def write_language_model(size: str, folder: Path) -> None:
    hidden, layers, heads = SIZES[size]
    folder.mkdir(parents=True)
    write_tokenizer(folder)
    config = {"model_type": "opt", "architectures": ["OPTForCausalLM"], "vocab_size": ROWS, "hidden_size": hidden,
              "ffn_dim": 4 * hidden, "num_hidden_layers": layers, "num_attention_heads": heads, "dropout": 0.0,
              "max_position_embeddings": POSITIONS, "do_layer_norm_before": True, "word_embed_proj_dim": hidden,
              "activation_function": "relu", "bos_token_id": 2, "eos_token_id": 2, "pad_token_id": 1,
              "tie_word_embeddings": True}  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    r, p = Random(SEED), "model.decoder."

    def shards():
        table = {p + "embed_tokens.weight": r.normal(ROWS, hidden, scale=hidden**-0.5)}
        yield {**table, p + "embed_positions.weight": r.normal(POSITIONS + 2, hidden, scale=0.3 * hidden**-0.5),
               **r.norm(p + "final_layer_norm", hidden)}  # fmt: skip
        for i in range(layers):
            yield r.layer(f"{p}layers.{i}.", hidden, ("self_attn_layer_norm", "final_layer_norm"), ("fc1", "fc2"))

    write_shards(folder, shards())


def write_vision_model(size: str, folder: Path) -> int:
    """Writes a CLIP vision model; its width."""
    hidden, layers, heads, patch = VISION.get(size, (1024, 24, 16, 14))
    folder.mkdir(parents=True)
    config = {"model_type": "clip_vision_model", "hidden_size": hidden, "intermediate_size": 4 * hidden,
              "num_hidden_layers": layers, "num_attention_heads": heads, "image_size": 224, "patch_size": patch,
              "num_channels": 3, "projection_dim": 512, "hidden_act": "quick_gelu"}  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    r, p = Random(SEED + 1), "vision_model."

    def shards():
        yield {p + "embeddings.class_embedding": r.normal(hidden, scale=0.5),
               p + "embeddings.patch_embedding.weight": r.normal(hidden, 3, patch, patch, scale=0.02),
               p + "embeddings.position_embedding.weight": r.normal((224 // patch) ** 2 + 1, hidden, scale=0.1),
               **r.norm(p + "pre_layrnorm", hidden), **r.norm(p + "post_layernorm", hidden)}  # fmt: skip
        for i in range(layers):
            yield r.layer(f"{p}encoder.layers.{i}.", hidden, ("layer_norm1", "layer_norm2"), ("mlp.fc1", "mlp.fc2"))

    write_shards(folder, shards())
    return hidden


def write_maps(hidden: int, features: int, folder: Path) -> None:
    folder.mkdir(parents=True)
    arguments = {"n_visual_tokens": VISUAL_TOKENS, "shared_emb_dim": SHARED, "text_emb_layers": [-1]}
    (folder / "model_args.json").write_text(json.dumps(arguments))
    r = Random(SEED + 2)
    tensors = r.linear("model.text_hidden_fcs.0.0", SHARED, hidden) | r.linear("model.visual_fc", SHARED, features)
    tensors |= r.linear("model.visual_embeddings", VISUAL_TOKENS * hidden, features)
    tensors |= {"ret_input_embeddings.weight": r.normal(1, hidden, scale=hidden**-0.5)}
    tensors = {name: values.astype(np.float32) for name, values in tensors.items()}
    (folder / "pretrained_ckpt.pth.tar").write_bytes(state_dict(tensors, wrap="state_dict"))


def write_all(size: str, folder: Path) -> None:
    """`lm`, `clip` and `maps` under `folder`."""
    write_language_model(size, folder / "lm")
    features = write_vision_model(size, folder / "clip")
    write_maps(SIZES[size][0], features, folder / "maps")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    write_all(arguments.size, arguments.out)


if __name__ == "__main__":
    main()
