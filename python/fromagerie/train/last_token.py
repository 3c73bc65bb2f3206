"""What the frozen model makes of a last token, when all that comes before it was read once.

Nothing looks at a last token but itself. So the keys and values of a text's other tokens do not depend on it, and with those kept
another `[RET]` costs one token a text, and gradients reach it. They are kept in half precision, up to the highest layer
that the maps read; those of the preamble, which replies share, once.

Read next: `ret_row.py` (who trains that token), `lm.py` (the model).
"""

from __future__ import annotations

from collections import defaultdict
from typing import Dict, List, Sequence, Tuple

import torch

from .lm import Llama, Past

BATCH = 64


class Texts:
    """Keys and values of texts without their last token: `kept` f16 `[tokens, layers, 2, kv_heads, head_dim]`, rotated."""

    @torch.inference_mode()
    def __init__(self, lm: Llama, texts: Sequence[List[int]], after: Sequence[bool], prefix: Past, layers: Sequence[int]) -> None:
        """`texts`: ids, without the last token; `after`: whether a text follows the `prefix`; `layers`: whose hidden states are wanted."""
        self.lm, self.layers, self.prefix = lm, list(layers), [(k[0], v[0]) for k, v in prefix[: max(layers)]]
        self.after, self.length = torch.tensor(list(after)), torch.tensor([len(t) for t in texts])
        self.first = self.length.cumsum(0) - self.length
        self.kept = torch.empty(int(self.length.sum()), max(layers), 2, lm.kv_heads, lm.head_dim, dtype=torch.float16)
        groups: Dict[Tuple[bool, int], List[int]] = defaultdict(list)
        for i, t in enumerate(texts):
            groups[bool(after[i]), len(t)].append(i)
        for (follows, length), rows in groups.items():
            for start in range(0, len(rows), BATCH):
                part = rows[start : start + BATCH]
                past = lm.forward(lm.embeddings[torch.tensor([texts[i] for i in part])], prefix if follows else None, [max(layers)]).past
                own = torch.stack([torch.stack(kv)[:, :, :, -length:] for kv in past])  # [layers, 2, B, kv_heads, S, head_dim]
                places = self.first[part][:, None] + torch.arange(length)
                self.kept[places] = own.permute(2, 4, 0, 1, 3, 5).half()

    def __len__(self) -> int:
        return len(self.length)

    def states(self, row: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
        """Hidden states `[n, layers, H]` of the input embedding `row` `[H]` at the end of the `chosen` texts."""
        lm, length, follows = self.lm, self.length[chosen], self.after[chosen]
        shared = self.prefix[0][0].shape[1]
        steps = torch.arange(int(length.max()))
        there = steps < length[:, None]
        own = self.kept[torch.where(there, self.first[chosen][:, None] + steps, 0)]
        seen = torch.cat([follows[:, None].expand(-1, shared), there, torch.ones(len(chosen), 1, dtype=torch.bool)], 1)
        cos, sin = lm.rotation((length + follows * shared)[:, None])
        x, found = row.expand(len(chosen), 1, -1), []
        for i in range(max(self.layers)):
            p = f"model.layers.{i}."
            q, k, v = lm.heads_of(lm.norm(x, p + "input_layernorm.weight"), p + "self_attn.", cos, sin)
            a = attend(q, k, v, self.prefix[i], own[:, :, i].permute(2, 0, 3, 1, 4).float(), seen)
            x = lm.mlp(x + (a @ lm.w[p + "self_attn.o_proj.weight"].T)[:, None], p)
            if i + 1 in self.layers:
                found.append(x[:, 0])
        return torch.stack(found, 1)

    @torch.inference_mode()
    def all_states(self, row: torch.Tensor, batch: int = 512) -> torch.Tensor:
        """The same of all texts, without gradients."""
        return torch.cat([self.states(row, part) for part in torch.arange(len(self)).split(batch)])


def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, prefix: Tuple[torch.Tensor, torch.Tensor], own: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
    """Attention `[n, heads * head_dim]` of one query `q` `[n, heads, 1, d]` over the shared `prefix` `[kv_heads, P, d]`, the text's `own`
    keys and values `[2, n, kv_heads, S, d]` and the token's, where `seen` `[n, P + S + 1]` holds.

    The prefix is one matrix for all texts, so it is multiplied and not copied.
    """
    n, heads, _, d = q.shape
    groups, shared = k.shape[1], prefix[0].shape[1]
    q = q.view(n, groups, heads // groups, d) / d**0.5
    over = [torch.einsum("nghd,gsd->nghs", q, prefix[0]), q @ own[0].transpose(2, 3), q @ k.transpose(2, 3)]
    share = torch.cat(over, 3).masked_fill(~seen[:, None, None], -torch.inf).softmax(3)
    out = torch.einsum("nghs,gsd->nghd", share[..., :shared], prefix[1]) + share[..., shared:-1] @ own[1] + share[..., -1:] * v
    return out.reshape(n, heads * d)
