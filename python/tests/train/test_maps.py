"""Goal: what is written is what was trained. Method: write, read with safetensors alone, multiply by hand."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from fromagerie.train.maps import Maps, Shape, write  # noqa: E402
from fromagerie.train.metrics import chance, ranks, recall  # noqa: E402
from fromagerie.train.retrieval import Pairs, Settings, fit, scores  # noqa: E402


def test_folded_matrices_give_the_trained_numbers(tmp_path):
    from safetensors import safe_open

    torch.manual_seed(0)
    stats = lambda n: (torch.randn(n), torch.rand(n) + 0.5)
    maps = Maps(Shape(layers=(1, 2), dim=4, visual_tokens=2, token_hidden=0, hidden=6, features=5), [stats(6), stats(6)], stats(5)).eval()
    write(tmp_path / "maps.safetensors", maps, {"ret_output_bias": torch.zeros(1)}, half=False)
    with safe_open(str(tmp_path / "maps.safetensors"), "np") as f:
        t, config = {k: f.get_tensor(k) for k in f.keys()}, json.loads(f.metadata()["config"])
    states, features = torch.randn(3, 2, 6), torch.randn(3, 5)
    query = sum(states[:, i].numpy() @ t[f"text_hidden_fcs.{i}.0.weight"].T + t[f"text_hidden_fcs.{i}.0.bias"] for i in range(2))
    tokens = features.numpy() @ t["visual_embeddings.0.weight"].T + t["visual_embeddings.0.bias"]
    assert config["text_emb_layers"] == [1, 2] and config["visual_fc"] == [["linear"]]
    assert np.allclose(query, maps.query(states).detach(), atol=1e-4)
    assert np.allclose(tokens.reshape(3, 2, 6), maps.visual_tokens(features).detach(), atol=1e-4)


def test_training_finds_a_hidden_rotation_again():
    draw = np.random.default_rng(0)
    secret = draw.normal(size=(60, 6)).astype(np.float32)
    states = (secret @ draw.normal(size=(6, 12))).astype(np.float32)[:, None, None] + 0.01
    features = (secret @ draw.normal(size=(6, 10))).astype(np.float32)
    pairs = Pairs([str(i) for i in range(60)], states, [np.array([i]) for i in range(60)], features)
    shape = Shape(layers=(1,), dim=4, hidden=12, features=10)
    maps = fit(pairs, shape, Settings(ridge_text=0.1, ridge_image=0.1, width=6, steps=20, batch=32, dropout=0.0, teacher_share=0.0))
    found = scores(maps, states[:, 0], features).argmax(1)
    assert (found == np.arange(60)).mean() > 0.9


def test_ranks_count_ties_against_us_and_chance_is_exact():
    table = np.array([[0.5, 0.5, 0.1], [0.9, 0.1, 0.2]])
    rank = ranks(table, ["a", "c"], ["a", "b", "c"])
    assert rank.tolist() == [2, 2] and recall(rank, (1, 2))["R@2"] == 1.0
    assert chance(["a"], ["a", "b", "c", "d"], (1, 2))["R@2"] == pytest.approx(0.5)
