"""Goal: `[RET]` reads the text and the text never reads `[RET]`. Method: a tiny random Llama, with and without marks."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from fromagerie.train import lm as language  # noqa: E402
from fromagerie.train.states import RET, marked_states, positions, visibility  # noqa: E402

CONFIG = {
    "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2, "hidden_size": 16, "head_dim": 4,
    "rope_theta": 10000.0, "rms_norm_eps": 1e-5,
}  # fmt: skip


@pytest.fixture
def tiny():
    """Three layers of sixteen numbers."""
    draw = torch.Generator().manual_seed(0)
    w = {"model.embed_tokens.weight": torch.randn(40, 16, generator=draw), "model.norm.weight": torch.ones(16)}
    for i in range(3):
        p = f"model.layers.{i}."
        for name, shape in {
            "self_attn.q_proj": (16, 16), "self_attn.k_proj": (8, 16), "self_attn.v_proj": (8, 16), "self_attn.o_proj": (16, 16),
            "mlp.gate_proj": (24, 16), "mlp.up_proj": (24, 16), "mlp.down_proj": (16, 24),
        }.items():  # fmt: skip
            w[p + name + ".weight"] = torch.randn(*shape, generator=draw) * 0.3
        w[p + "input_layernorm.weight"] = w[p + "post_attention_layernorm.weight"] = torch.ones(16)
    return language.Llama(CONFIG, w)


def test_marks_are_invisible_and_take_no_place():
    ids = torch.tensor([[1, RET, 5, RET]])
    assert positions(ids).tolist() == [[0, 1, 1, 2]]
    assert visibility(ids)[0].int().tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [1, 0, 1, 0], [1, 0, 1, 1]]


def test_one_pass_with_two_marks_equals_two_passes(tiny):
    both = marked_states(tiny, [[1, 7, RET, 9, 4, RET]], [1, 2, 3])
    early = marked_states(tiny, [[1, 7, RET]], [1, 2, 3])
    late = marked_states(tiny, [[1, 7, 9, 4, RET]], [1, 2, 3])
    assert np.allclose(both[:, 0], early[:, 0], atol=2e-3) and np.allclose(both[:, 1], late[:, 0], atol=2e-3)


def test_a_cached_prefix_changes_nothing(tiny):
    whole = marked_states(tiny, [[1, 3, 7, 9, RET]], [3])
    split = marked_states(tiny, [[7, 9, RET]], [3], tiny.prefix([1, 3]))
    assert np.allclose(whole, split, atol=2e-3)


def test_stopping_at_the_highest_wanted_layer_gives_the_same(tiny):
    assert np.allclose(marked_states(tiny, [[1, 7, RET]], [1])[:, :, 0], marked_states(tiny, [[1, 7, RET]], [1, 3])[:, :, 0])
