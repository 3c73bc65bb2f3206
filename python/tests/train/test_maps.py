"""Goal: what is written is what was trained. Method: write random maps, read them again, compare what they compute."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from fromagerie.export.maps import read_safetensors  # noqa: E402
from fromagerie.train.maps import Maps, Shape, Written, write  # noqa: E402
from fromagerie.train.metrics import chance, ranks, recall  # noqa: E402

SHAPE = Shape(layers=(1, 2), dim=4, text_hidden=7, visual_tokens=2, visual_width=4, token_width=3, hidden=6, features=5)


def random_maps():
    """Maps with coordinates that multiplying out must not lose."""
    torch.manual_seed(0)
    maps = Maps(SHAPE).eval()
    for name, value in maps.named_buffers():
        value.copy_(torch.rand_like(value) + 0.5 if name.endswith("std") else torch.randn_like(value))
    return maps


def test_multiplied_matrices_give_the_trained_numbers(tmp_path):
    maps = random_maps()
    write(tmp_path / "maps.safetensors", maps, {"ret_output_bias": torch.zeros(1)}, half=False)
    again = Written(tmp_path / "maps.safetensors")
    states, features = torch.randn(3, 2, 6), torch.randn(3, 5)
    for side, x in (("query", states), ("image", features), ("visual_tokens", features)):
        assert torch.allclose(getattr(again, side)(x), getattr(maps, side)(x), atol=1e-3), side


def test_names_and_shapes_are_the_bundles(tmp_path):
    write(tmp_path / "maps.safetensors", random_maps(), {"ret_output_bias": torch.zeros(1)})
    t, metadata = read_safetensors(tmp_path / "maps.safetensors")
    config = json.loads(metadata["config"])
    assert config["text_emb_layers"] == [1, 2, 1, 2] and config["num_visual_tokens"] == 2
    assert [len(ops) for ops in config["text_hidden_fcs"]] == [3, 3, 1, 1]
    assert t["text_hidden_fcs.0.2.weight"].shape == (4, 7) and t["text_hidden_fcs.3.0.weight"].shape == (4, 6)
    assert t["visual_fc.0.weight"].shape == (4, 5) and t["visual_embeddings.0.weight"].shape == (12, 5)
    assert {"logit_scale", "ret_output_bias"} < set(t)


def test_a_number_past_half_precision_is_refused(tmp_path):
    maps = random_maps()
    maps.visual_basis.mul_(1e9)
    with pytest.raises(ValueError, match="visual_fc.0.weight"):
        write(tmp_path / "maps.safetensors", maps, {})


def test_ranks_count_ties_against_us_and_chance_is_exact():
    table = np.array([[0.5, 0.5, 0.1], [0.9, 0.1, 0.2]])
    rank = ranks(table, ["a", "c"], ["a", "b", "c"])
    assert rank.tolist() == [2, 2] and recall(rank, (1, 2))["R@2"] == 1.0
    assert chance(["a"], ["a", "b", "c", "d"], (1, 2))["R@2"] == pytest.approx(0.5)
