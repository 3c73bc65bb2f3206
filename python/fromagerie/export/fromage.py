"""A FROMAGe bundle: a model directory's maps between a pretrained language model and a CLIP vision encoder.

The directory is FROMAGe's own: `model_args.json` and `pretrained_ckpt.pth.tar`, whose tensors are `model.visual_fc.*`,
`model.visual_embeddings.*`, `model.text_hidden_fcs.N.0.*`, `model.logit_scale`, and `ret_input_embeddings.weight`, the
row of `[RET]`. As there, the vocabulary is the tokenizer's with `<|image|>` and `[RET]` appended, and the language
model's tables are cut or extended to it.

Source: Koh et al. 2023 (arXiv:2301.13823). Read next: `language_model.py`, `clip_model.py`, `maps.py`, `bundle.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Dict, List, Sequence

import numpy as np

from .bundle import VARIANTS, VISION_ENCODER, Contents, pretty, variant_files, write_bundle
from .checkpoint import read_checkpoint
from .clip import vision_graph
from .clip_model import ClipModel
from .graph import Graph
from .language_model import LanguageModel
from .maps import Maps, MapsError
from .pretrained_tokenizer import PretrainedTokenizer
from .weights import find_model, read_json

ARGUMENTS, CHECKPOINT = "model_args.json", "pretrained_ckpt.pth.tar"
TOKENS = ("<|image|>", "[RET]")
VISUAL_TOKENS_MAX = 8
MAX_NEW_TOKENS = 32


def read_maps(directory: Path, model: LanguageModel, features: int) -> Maps:
    """The maps of a FROMAGe directory, held to the language model's and the encoder's sizes. Raises `MapsError`."""
    arguments = read_json(directory / ARGUMENTS)
    tensors = {_plain(name): array for name, array in read_checkpoint(directory / CHECKPOINT).items()}
    layers = arguments.get("text_emb_layers", [-1])
    if not isinstance(layers, list) or not layers or not all(type(layer) is int for layer in layers):
        raise MapsError(f"{ARGUMENTS}: text_emb_layers is {layers!r}, expected a list of layers")
    tokens = arguments.get("n_visual_tokens", 1)
    if type(tokens) is not int or not 1 <= tokens <= VISUAL_TOKENS_MAX:
        raise MapsError(f"{ARGUMENTS}: n_visual_tokens is {tokens!r}, expected 1 to {VISUAL_TOKENS_MAX}")
    shared = arguments.get("shared_emb_dim", 256)
    states = model.state_widths
    outside = [layer for layer in layers if not -len(states) <= layer < len(states)]
    if outside:
        raise MapsError(f"{ARGUMENTS}: text_emb_layers names {outside[0]}, and the model has {len(states) - 1} layers")
    dim = states[layers[0]] if shared is None else shared
    # Without a shared dimension the hidden states are the retrieval space, as they are.
    ops: List[str] = [] if shared is None else ["linear"]
    config = {
        "dim": dim,
        "num_visual_tokens": tokens,
        "text_emb_layers": layers,
        "text_hidden_fcs": ops,
        "visual_fc": ["linear"],
        "visual_embeddings": ["linear"],
    }
    maps = Maps(config, tensors)
    try:
        maps.check_maps(states, features, model.hidden)
    except MapsError as error:
        raise MapsError(f"{directory / CHECKPOINT}: {error}") from None
    return maps


def _plain(name: str) -> str:
    """A tensor's name as `Maps` has it: without the wrappers' prefixes, single maps as the first of their list."""
    for prefix in ("module.", "model."):
        name = name[len(prefix) :] if name.startswith(prefix) else name
    for single in ("visual_fc.", "visual_embeddings."):
        if name in (single + "weight", single + "bias"):
            return f"{single}0.{name[len(single) :]}"
    return name


def _row(maps: Maps, name: str, width: int) -> np.ndarray:
    if name not in maps.tensors:
        raise MapsError(f"{CHECKPOINT} has no {name!r}")
    if maps.tensors[name].size != width:
        raise MapsError(f"{CHECKPOINT}: {name!r} is {list(maps.tensors[name].shape)}; it must hold {width} numbers")
    return maps.tensors[name].reshape(-1)


def _enlarge(model: LanguageModel, maps: Maps, ret: int) -> None:
    """Puts the row of `[RET]` into the language model's tables, which end with it."""
    row = _row(maps, "ret_input_embeddings.weight", model.hidden)
    # A tied head is the same table. An untied one has a row of its own, which the checkpoint must bring.
    outputs = {} if model.tied else {ret: _row(maps, "ret_output_embeddings.weight", model.hidden)}
    model.resize(ret + 1, {ret: row}, outputs)


def _ids(value: Any) -> List[int]:
    return [] if value is None else value if isinstance(value, list) else [value]


def export_fromage(
    directory: Path,
    language_model: str,
    vision_model: str,
    out: Path,
    variants: Sequence[str] = ("fp32",),
    say: Callable[[str], None] = print,
) -> Dict[str, Any]:
    """Writes the bundle to `out` and returns its manifest.

    `language_model`, `vision_model`: directories or hub ids. `variants`: of `bundle.VARIANTS`, the first of them what is
    served when nobody chooses. All of them share one vision encoder, and so one retrieval space. `say`: a line a step.

    Raises `MapsError`, `WeightsError`, `ShapeError` or `CheckpointError`, naming what does not fit.
    """
    directory = Path(directory)
    place = find_model(language_model)
    model, clip, tokenizer = LanguageModel(place), ClipModel(find_model(vision_model)), PretrainedTokenizer(place)
    maps = read_maps(directory, model, clip.vision["hidden_size"])
    known = model.rows
    image, ret = tokenizer.append(TOKENS)
    if ret != max(tokenizer.ids.values()):
        raise MapsError(f"{TOKENS[1]} is token {ret} of a tokenizer whose last is {max(tokenizer.ids.values())}")
    _enlarge(model, maps, ret)
    say(f"read {model.config['model_type']} of {model.shape.layers} layers, {maps.visual_tokens} visual tokens")
    generation: Dict[str, Any] = {
        "bos_token_id": model.config.get("bos_token_id"),
        "bos_position": "first_text",
        "eos_token_id": _ids(model.config.get("eos_token_id")),
        "max_new_tokens": MAX_NEW_TOKENS,
        "ret_scale": 1.0,
        "stop_at_newline": True,
    }
    if image >= known:
        generation["suppress_tokens"] = [image]  # its row is made up here: nobody trained it
    manifest: Dict[str, Any] = {
        "format": "fromagerie-bundle",
        "version": 1,
        "name": Path(directory).absolute().name,
        "architecture": "fromage",
        "language_model": model.manifest(),
        "vision": {"num_visual_tokens": maps.visual_tokens, "feature_dim": clip.vision["hidden_size"]},
        "retrieval": {"dim": maps.dim, "ret_token_ids": [ret]},
        "default_variant": variants[0],
        "variants": {variant: variant_files(variant) for variant in variants},
    }
    if "logit_scale" in maps.tensors:
        manifest["retrieval"]["logit_scale"] = float(np.exp(maps.tensors["logit_scale"].reshape(-1)[0]))
    files: Dict[str, Contents] = {
        "tokenizer.json": tokenizer.encode(),
        "preprocessor_config.json": pretty(clip.preprocessing()),
        "generation_config.json": pretty(generation),
        VISION_ENCODER: lambda: vision_graph(clip.vision, clip.tensors, maps, model.hidden),
    }

    def drawn(name: str, draw: Callable[[], Graph]) -> Callable[[], Graph]:
        def contents() -> Graph:
            say(name)
            return draw()

        return contents

    for variant in variants:
        bits, paths = VARIANTS[variant], variant_files(variant)
        files[paths["decoder"]] = drawn(paths["decoder"], lambda bits=bits: model.decoder(maps, bits))
        files[paths["embed_tokens"]] = drawn(paths["embed_tokens"], lambda bits=bits: model.embed_tokens(bits))
    return write_bundle(out, manifest, files)
