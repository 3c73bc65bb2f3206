"""A random Llama of three layers of sixteen numbers, for tests."""

import torch

from fromagerie.train.lm import Llama

CONFIG = {
    "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2, "hidden_size": 16, "head_dim": 4,
    "rope_theta": 10000.0, "rms_norm_eps": 1e-5,
}  # fmt: skip
VOCABULARY = 40


def llama() -> Llama:
    """The same numbers every time."""
    draw = torch.Generator().manual_seed(0)
    w = {"model.embed_tokens.weight": torch.randn(VOCABULARY, 16, generator=draw), "model.norm.weight": torch.ones(16)}
    for i in range(3):
        p = f"model.layers.{i}."
        for name, shape in {
            "self_attn.q_proj": (16, 16), "self_attn.k_proj": (8, 16), "self_attn.v_proj": (8, 16), "self_attn.o_proj": (16, 16),
            "mlp.gate_proj": (24, 16), "mlp.up_proj": (24, 16), "mlp.down_proj": (16, 24),
        }.items():  # fmt: skip
            w[p + name + ".weight"] = torch.randn(*shape, generator=draw) * 0.3
        w[p + "input_layernorm.weight"] = w[p + "post_attention_layernorm.weight"] = torch.ones(16)
    return Llama(CONFIG, w)
