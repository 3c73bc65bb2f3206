"""Goal: the contrastive loss is what the paper says. Method: compare with ten lines of NumPy."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from fromagerie.train.losses import info_nce, targets  # noqa: E402


def by_hand(q, v, scale, target):
    """Both directions, row by row."""
    q = q / np.linalg.norm(q, axis=1, keepdims=True)
    v = v / np.linalg.norm(v, axis=1, keepdims=True)
    logits, total = scale * q @ v.T, 0.0
    for side, t in ((logits, target), (logits.T, target.T / target.T.sum(1, keepdims=True))):
        for row, share in zip(side, t):
            shifted = row - row.max()
            total -= (share * (shifted - np.log(np.exp(shifted).sum()))).sum() / len(side) / 2
    return total


@pytest.mark.parametrize("share", [0.0, 0.4])
def test_loss_equals_numpy(share):
    draw = np.random.default_rng(0)
    q, v, taught = draw.normal(size=(6, 5)), draw.normal(size=(6, 5)), draw.normal(size=(6, 3))
    taught /= np.linalg.norm(taught, axis=1, keepdims=True)
    same = np.eye(6, dtype=bool)
    same[0, 1] = same[1, 0] = True
    target = targets(torch.from_numpy(same), torch.from_numpy(taught @ taught.T), share, 0.1)
    loss = info_nce(torch.from_numpy(q), torch.from_numpy(v), torch.tensor(7.0), target.double())
    assert loss.item() == pytest.approx(by_hand(q, v, 7.0, target.double().numpy()), rel=1e-6)


def test_targets_share_equally_among_positives_and_sum_to_one():
    same = torch.tensor([[1, 1, 0], [1, 1, 0], [0, 0, 1]]).bool()
    target = targets(same, None, 0.0, 1.0)
    assert target[0].tolist() == [0.5, 0.5, 0.0]
    softened = targets(same, torch.eye(3), 0.5, 0.1)
    assert torch.allclose(softened.sum(1), torch.ones(3)) and softened[0, 2] > 0


def test_loss_falls_when_pairs_agree():
    x = torch.randn(8, 4, generator=torch.Generator().manual_seed(1))
    eye = targets(torch.eye(8).bool(), None, 0.0, 1.0)
    assert info_nce(x, x, torch.tensor(10.0), eye) < info_nce(x, x.roll(1, 0), torch.tensor(10.0), eye)
