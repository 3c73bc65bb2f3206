"""The frozen language model: a plain Llama forward pass that gives the hidden state of `[RET]` at every layer.

Training needs three things of the frozen model that a general library makes slow or awkward: hidden states of all
layers at a few marked positions, `[RET]` tokens that read the text but are invisible to it (so that one pass over
a dialogue serves several places where an image could stand), and a shared prefix computed once. Eighty lines of
matrix products give all three. Numbers follow Hugging Face's `LlamaForCausalLM` (`output_hidden_states`: 0 is the
embeddings, the last is after the final norm).

Read next: `states.py` (what is cached), `wordings.py` (the dialogues).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import List, Optional, Sequence, Tuple

import torch
import torch.nn.functional as F

Past = List[Tuple[torch.Tensor, torch.Tensor]]

BOS, EOS = 1, 2  # <|im_start|>, <|im_end|>


@dataclass(frozen=True)
class Output:
    """`hidden`: one `[batch, seq, hidden]` tensor per wanted layer; `past`: keys and values, rotated."""

    hidden: List[torch.Tensor]
    past: Past


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
        self,
        embeds: torch.Tensor,
        positions: torch.Tensor,
        allowed: torch.Tensor,
        past: Optional[Past] = None,
        keep: Optional[Sequence[int]] = None,
    ) -> Output:
        """Runs `embeds` `[B, S, H]` on top of `past`.

        `positions` `[B, S]`; `allowed` bool `[B, S, P+S]`, True where a row may look. `keep`: the hidden states to
        return (Hugging Face's numbers; default: only the last). A past of batch 1 serves any batch.
        """
        keep = [self.layers] if keep is None else list(keep)
        cos, sin = self.rotation(positions)
        mask = allowed[:, None]
        x, states, new_past = embeds, {0: embeds}, []
        for i in range(self.layers):
            p = f"model.layers.{i}."
            y = self.norm(x, p + "input_layernorm.weight")
            a, kv = self._attention(y, p + "self_attn.", cos, sin, mask, past[i] if past else None)
            new_past.append(kv)
            x = x + a
            y = self.norm(x, p + "post_attention_layernorm.weight")
            gate = F.silu(y @ self.w[p + "mlp.gate_proj.weight"].T)
            x = x + (gate * (y @ self.w[p + "mlp.up_proj.weight"].T)) @ self.w[p + "mlp.down_proj.weight"].T
            if i + 1 in keep and i + 1 < self.layers:
                states[i + 1] = x
            if i + 1 == max(keep) and i + 1 < self.layers:
                return Output([states[k] for k in keep], new_past)
        states[self.layers] = self.norm(x, "model.norm.weight")
        return Output([states[k] for k in keep], new_past)

    def _attention(self, y, p, cos, sin, mask, past):
        b, s, _ = y.shape
        split = lambda name, n: (y @ self.w[p + name].T).view(b, s, n, self.head_dim).transpose(1, 2)
        q, k, v = split("q_proj.weight", self.heads), split("k_proj.weight", self.kv_heads), split("v_proj.weight", self.kv_heads)
        q, k = _rotate(q, cos, sin), _rotate(k, cos, sin)
        if past is not None:
            k = torch.cat([past[0].expand(b, -1, -1, -1), k], 2)
            v = torch.cat([past[1].expand(b, -1, -1, -1), v], 2)
        group = self.heads // self.kv_heads
        a = F.scaled_dot_product_attention(q, k.repeat_interleave(group, 1), v.repeat_interleave(group, 1), attn_mask=mask)
        return a.transpose(1, 2).reshape(b, s, -1) @ self.w[p + "o_proj.weight"].T, (k, v)

    def logits(self, final: torch.Tensor) -> torch.Tensor:
        """Logits over the model's own vocabulary, from hidden states after the final norm."""
        return final @ self.output_rows.T

    def prefix(self, ids: Sequence[int]) -> Past:
        """Keys and values of a shared prefix."""
        n = len(ids)
        causal = torch.ones(n, n, dtype=torch.bool).tril()[None]
        with torch.inference_mode():
            return self.forward(self.embeddings[torch.tensor([list(ids)])], torch.arange(n)[None], causal).past


def _rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    half = x.shape[-1] // 2
    return x * cos + torch.cat([-x[..., half:], x[..., :half]], -1) * sin


@torch.inference_mode()
def generate(lm: Llama, ids: Sequence[int], new: int, past: Optional[Past] = None, stop: Sequence[int] = (EOS, 0)) -> List[int]:
    """Greedy continuation of `ids` on top of `past`, at most `new` tokens, the stop token left out."""
    out: List[int] = []
    start = past[0][0].shape[2] if past else 0
    step = list(ids)
    while len(out) < new:
        n = len(step)
        allowed = torch.cat([torch.ones(n, start, dtype=torch.bool), torch.ones(n, n, dtype=torch.bool).tril()], 1)[None]
        result = lm.forward(lm.embeddings[torch.tensor([step])], torch.arange(start, start + n)[None], allowed, past)
        past, start = result.past, start + n
        token = int(lm.logits(result.hidden[0][:, -1]).argmax())
        if token in stop:
            break
        out.append(token)
        step = [token]
    return out
