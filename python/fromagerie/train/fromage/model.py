"""A frozen language model and the maps that learn: `visual_embeddings`, `visual_fc`, `text_hidden_fcs`, the temperature, and
the row of `[RET]`.

The model's own tables are never written: where a text has `[RET]`, its trained row is put in place of the table's, and at the
output its logit is put in place of the head's. So nothing else of the vocabulary can learn.

Read next: `steps.py`.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Tuple

import torch
from torch import nn

from fromagerie.export.fromage import TOKENS
from fromagerie.export.pretrained_tokenizer import PretrainedTokenizer


class Language:
    """A causal language model of transformers with the two tokens appended, frozen."""

    def __init__(self, directory: str, device: str = "cpu") -> None:
        from tokenizers import Tokenizer
        from transformers import AutoModelForCausalLM

        self.device = torch.device(device)
        kind = torch.bfloat16 if self.device.type == "cuda" else torch.float32
        # The bundle's own tokenizer, so that captions are read as the engine will read them.
        tokenizer = PretrainedTokenizer(Path(directory))
        _, self.ret = tokenizer.append(TOKENS)
        self.tokenizer = Tokenizer.from_str(tokenizer.encode().decode())
        self.model = AutoModelForCausalLM.from_pretrained(directory, dtype=kind).to(self.device).eval()
        known = self.model.get_input_embeddings().num_embeddings
        self.model.resize_token_embeddings(self.ret + 1, mean_resizing=False)
        self.model.requires_grad_(False)
        self.table: torch.Tensor = self.model.get_input_embeddings().weight
        self.head: torch.Tensor = self.model.get_output_embeddings().weight
        self.is_tied = self.head is self.table
        for table in (self.table, self.head):
            # As the exporter has it: what nobody trained is the mean row.
            table.data[known:] = table.data[:known].mean(0)
        self.hidden = self.table.shape[1]
        self.norm = float(self.table[: self.ret].float().norm(dim=1).mean())
        config = self.model.config
        self.bos = [] if config.bos_token_id is None else [int(config.bos_token_id)]
        self.positions = int(config.max_position_embeddings)
        narrow = int(getattr(config, "word_embed_proj_dim", None) or config.hidden_size)
        # Hidden states by layer: OPT with narrow embeddings projects the last one back.
        self.widths = [config.hidden_size] * config.num_hidden_layers + [narrow]

    def ids(self, caption: str, most: int) -> List[int]:
        """BOS, the caption's tokens, and `[RET]`: at most `most`."""
        words = self.tokenizer.encode(caption, add_special_tokens=False).ids
        return [*(self.bos + words)[: most - 1], self.ret]

    def run(self, embeds: torch.Tensor, mask: torch.Tensor) -> Sequence[torch.Tensor]:
        """Hidden states by layer, `[B, S, width]` each; the last is what the head reads."""
        read = self.model.base_model(inputs_embeds=embeds.to(self.table.dtype), attention_mask=mask, output_hidden_states=True, use_cache=False)
        return read.hidden_states


class Maps(nn.Module):
    """What learns. Names are FROMAGe's."""

    def __init__(self, language: Language, features: int, visual_tokens: int, dim: int, layers: Sequence[int]) -> None:
        super().__init__()
        self.layers, self.visual_tokens, self.hidden = list(layers), visual_tokens, language.hidden
        self.visual_embeddings = nn.Linear(features, visual_tokens * language.hidden)
        self.visual_fc = nn.Linear(features, dim)
        self.text_hidden_fcs = nn.ModuleList(nn.Sequential(nn.Linear(language.widths[layer], dim)) for layer in layers)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        mean = language.table[: language.ret].float().mean(0)
        self.ret_input = nn.Parameter(mean / mean.norm() * language.norm)
        self.ret_output: Optional[nn.Parameter] = None
        if not language.is_tied:
            self.ret_output = nn.Parameter(language.head[: language.ret].float().mean(0).clone())
        self.norm = language.norm

    def words(self, language: Language, ids: torch.Tensor) -> torch.Tensor:
        """`[B, S, H]`: input embeddings, `[RET]`'s being the trained row."""
        rows = language.table[ids].float()
        return torch.where((ids == language.ret)[..., None], self.ret_input, rows)

    def visual(self, features: torch.Tensor) -> torch.Tensor:
        """`[B, k, H]`: a picture's tokens."""
        return self.visual_embeddings(features).unflatten(-1, (self.visual_tokens, self.hidden))

    def logits(self, language: Language, state: torch.Tensor) -> torch.Tensor:
        """`[N, vocabulary]` of last hidden states `[N, width]`, `[RET]`'s being the trained row's."""
        others = state.to(language.head.dtype) @ language.head[: language.ret].T
        row = self.ret_input if self.ret_output is None else self.ret_output
        return torch.cat([others.float(), state.float() @ row[:, None]], -1)

    def queries(self, states: Sequence[torch.Tensor], at: torch.Tensor) -> torch.Tensor:
        """`[B, dim]`: the mapped states at position `at` of each row, summed over the layers."""
        rows = torch.arange(len(at), device=at.device)
        return sum(fc(states[layer][rows, at].float()) for fc, layer in zip(self.text_hidden_fcs, self.layers))

    @torch.no_grad()
    def hold_norm(self) -> None:
        """Brings `[RET]` back to the mean norm of the other embeddings."""
        self.ret_input *= self.norm / self.ret_input.norm()

    def checkpoint(self) -> Dict[str, torch.Tensor]:
        """The tensors by the names that FROMAGe's checkpoints have."""
        plain = {name: tensor.detach().cpu() for name, tensor in self.state_dict().items()}
        rows = {"ret_input_embeddings.weight": plain.pop("ret_input")[None]}
        if "ret_output" in plain:
            rows["ret_output_embeddings.weight"] = plain.pop("ret_output")[None]
        return {**{f"model.{name}": tensor for name, tensor in plain.items()}, **rows}


def write_directory(out: Path, maps: Maps, dim: int, names: Tuple[str, str]) -> None:
    """`model_args.json` and `pretrained_ckpt.pth.tar`, as FROMAGe has them. `names`: of the two frozen models."""
    arguments = {
        "opt_version": names[0], "visual_encoder": names[1], "n_visual_tokens": maps.visual_tokens,
        "shared_emb_dim": dim, "text_emb_layers": maps.layers,
    }  # fmt: skip
    (out / "model_args.json").write_text(json.dumps(arguments, indent=1) + "\n", "utf-8")
    draft = out / "pretrained_ckpt.pth.part"
    torch.save({"state_dict": maps.checkpoint()}, draft)
    draft.replace(out / "pretrained_ckpt.pth.tar")
