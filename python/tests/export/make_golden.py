"""Writes `golden/*.npz`: what PyTorch and transformers answer for the tiny models, in the reference's way.

Run it after a change of the tiny models or prompts, where torch, transformers, tokenizers and Pillow are installed:

    PYTHONPATH=python python python/tests/export/make_golden.py [SHAPE ...]

The reference's way is FROMAGe's inference: the whole sequence is run again for each token, without a cache; the
first text begins with BOS; a picture is its visual tokens; a query is the sum of the mapped hidden states at `[RET]`,
normalised; a log-likelihood is the mean over all tokens that have one before them.
"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers import CLIPConfig, CLIPModel, CLIPVisionConfig, CLIPVisionModel, LlamaConfig, LlamaForCausalLM
from transformers import OPTConfig, OPTForCausalLM, Qwen2Config, Qwen2ForCausalLM

sys.path.insert(0, str(Path(__file__).parent))
import tiny_models as tm  # noqa: E402
from fromagerie.export.clip_model import MEAN, STD  # noqa: E402

STEPS = 64
GOLDEN = Path(__file__).parent / "golden"
KINDS = {"opt": (OPTConfig, OPTForCausalLM), "llama": (LlamaConfig, LlamaForCausalLM), "qwen2": (Qwen2Config, Qwen2ForCausalLM)}


def tokenizer(directory: Path):
    from fromagerie.export.pretrained_tokenizer import PretrainedTokenizer
    from tokenizers import Tokenizer

    made = PretrainedTokenizer(directory)
    ids = made.append(["<|image|>", "[RET]"])
    return Tokenizer.from_str(made.encode().decode()), ids


def load(model, tensors):
    """Every parameter from `tensors`, under either spelling of its name; nothing may be left over or missing."""
    own, used = model.state_dict(), set()
    for name in own:
        found = next((n for n in (name, name.replace("vision_model.", "", 1), "vision_model." + name) if n in tensors), None)
        if found is None:
            if name.endswith("position_ids") or name == "lm_head.weight":
                continue
            raise KeyError(name)
        own[name].copy_(torch.from_numpy(tensors[found]))
        used.add(found)
    assert used >= set(tensors) - {"logit_scale"}, set(tensors) - used
    return model.eval()


class Reference:
    def __init__(self, tiny):
        self.tiny = tiny
        config, kind = KINDS[tiny.config["model_type"]]
        plain = {k: v for k, v in tiny.config.items() if k != "model_type"}
        self.lm = load(kind(config(**plain, attn_implementation="eager")), tm.language_tensors(tiny))
        vision = {k: v for k, v in tm.vision_config(tiny).items() if k != "model_type"}
        self.vision = load(CLIPVisionModel(CLIPVisionConfig(**vision, attn_implementation="eager")),
                           tm.vision_tensors(tm.vision_config(tiny), tiny.seed))  # fmt: skip
        self.maps = {name: torch.from_numpy(a) for name, a in tm.map_tensors(tiny).items()}
        with tempfile.TemporaryDirectory() as scratch:
            tm.write_tokenizer(Path(scratch))
            self.tokenizer, (self.image, self.ret) = tokenizer(Path(scratch))
        self.resize()

    def resize(self):
        old, count = self.lm.get_input_embeddings().weight.data, self.ret + 1
        new = old.mean(0, keepdim=True).repeat(count, 1)
        new[: min(count, len(old))] = old[:count]
        new[self.ret] = self.maps["ret_input_embeddings.weight"].reshape(-1)
        self.table = new
        if self.tiny.tied:
            self.head = new
        else:
            old = self.lm.lm_head.weight.data
            self.head = torch.cat([old, old.mean(0, keepdim=True), self.maps["ret_output_embeddings.weight"]])
        self.known = old.shape[0]

    def linear(self, name, x):
        return x @ self.maps[f"{name}.weight"].T + self.maps[f"{name}.bias"]

    def pooled(self, number):
        side = tm.vision_config(self.tiny)["image_size"]
        return self.vision(pixels(number, side)[None]).pooler_output

    def parts(self, prompt):
        rows, labels, bos = [], [], [tm.BOS]
        for part in prompt:
            if isinstance(part, int):
                tokens = self.linear("model.visual_embeddings", self.pooled(part)).reshape(self.tiny.visual_tokens, -1)
                rows.append(tokens)
                labels += [-100] * len(tokens)
                continue
            ids = bos + ([self.ret] if part is None else self.tokenizer.encode(part, add_special_tokens=False).ids)
            bos = []
            rows.append(self.table[torch.tensor(ids)])
            labels += ids
        return torch.cat(rows)[None], labels

    def run(self, rows):
        body = self.lm.model(inputs_embeds=rows, use_cache=False, output_hidden_states=True)
        states = body.hidden_states
        assert torch.allclose(states[-1], body.last_hidden_state)
        logits = body.last_hidden_state @ self.head.T
        total = 0
        for i, layer in enumerate(self.tiny.layers):
            state = states[layer]
            total = total + (self.linear(f"model.text_hidden_fcs.{i}.0", state) if self.tiny.shared else state)
        return logits[0], (total / total.norm(dim=-1, keepdim=True))[0]

    def all(self):
        out = {k: [] for k in ("logits", "tokens", "loglik", "rets", "ret_counts", "gaps", "generated", "generated_counts")}
        for prompt in tm.prompts(self.tiny):
            rows, labels = self.parts(prompt)
            logits, queries = self.run(rows)
            out["logits"].append(logits[-1])
            ret = [i for i, label in enumerate(labels) if label == self.ret]
            out["rets"] += [queries[i] for i in ret]
            out["ret_counts"].append(len(ret))
            log = torch.log_softmax(logits.double(), -1)
            scored = [log[i - 1, label] for i, label in enumerate(labels) if i and label >= 0]
            out["loglik"].append(sum(scored) / len(scored) if scored else torch.tensor(0.0))
            tokens, gap = [], 1e9
            for _ in range(STEPS):
                step = self.run(rows)[0][-1].clone()
                if self.image >= self.known:
                    step[self.image] = -torch.inf
                best = step.topk(2).values
                gap = min(gap, float(best[0] - best[1]))
                tokens.append(int(step.argmax()))
                rows = torch.cat([rows, self.table[tokens[-1]][None, None]], 1)
            queries = self.run(rows)[1][len(labels) :]
            mine = [queries[i] for i, token in enumerate(tokens) if token == self.ret]
            out["generated"] += mine
            out["generated_counts"].append(len(mine))
            out["tokens"].append(torch.tensor(tokens))
            out["gaps"].append(gap)
        images = torch.cat([self.linear("model.visual_fc", self.pooled(n)) for n in range(tm.PICTURES)])
        out["images"] = images / images.norm(dim=-1, keepdim=True)
        print(self.tiny.name, "smallest gap", min(out["gaps"]), "rets", sum(out["generated_counts"]),
              "distinct", len(torch.stack(out["tokens"]).unique()))  # fmt: skip
        return out


def pixels(number, side):
    from transformers import CLIPImageProcessorPil

    processor = CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size={"height": side, "width": side},
                                      image_mean=MEAN, image_std=STD)  # fmt: skip
    image = Image.open(io.BytesIO(tm.png(tm.picture(number)))).convert("RGB")
    return torch.from_numpy(np.asarray(processor(image, return_tensors="np")["pixel_values"][0]))


def save(name, out):
    arrays = {}
    for key, value in out.items():
        value = torch.stack([torch.as_tensor(v) for v in value]) if isinstance(value, list) and value else torch.as_tensor(value)
        array = value.detach().numpy()
        arrays[key] = array.astype(np.float32) if array.dtype.kind == "f" else array.astype(np.int16)
    np.savez_compressed(GOLDEN / f"{name}.npz", **arrays)


def dual():
    config = tm.clip_config()
    parts = {k: {n: v for n, v in config[k].items() if n != "model_type"} for k in ("text_config", "vision_config")}
    model = load(CLIPModel(CLIPConfig(projection_dim=10, **parts, attn_implementation="eager")), tm.clip_tensors(9))
    with tempfile.TemporaryDirectory() as scratch:
        tm.write_tokenizer(Path(scratch))
        words, _ = tokenizer(Path(scratch))
    texts, images = [], []
    for text in tm.DUAL_TEXTS:
        ids = [0, *words.encode(text, add_special_tokens=False).ids, 3]
        body = model.text_model(torch.tensor([ids]))
        assert torch.allclose(body.pooler_output[0], body.last_hidden_state[0, -1], atol=1e-5), text
        texts.append(model.text_projection(body.pooler_output[0]))
    for number in range(tm.PICTURES):
        pooled = model.vision_model(pixels(number, 16)[None]).pooler_output
        images.append(model.visual_projection(pooled)[0])
    out = {"texts": torch.stack(texts), "images": torch.stack(images)}
    save("clip", {key: value / value.norm(dim=-1, keepdim=True) for key, value in out.items()})


if __name__ == "__main__":
    torch.set_num_threads(1)
    GOLDEN.mkdir(exist_ok=True)
    with torch.no_grad():
        dual()
        for shape in [shape for shape in tm.SHAPES if shape.name in (sys.argv[1:] or shape.name)]:
            out = Reference(shape).all()
            out.pop("gaps")
            save(shape.name, {k: v for k, v in out.items() if len(v)})
