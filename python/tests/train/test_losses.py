"""Goal: the loss is what the paper says. Method: compare with ten lines of NumPy on random tensors."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from fromagerie.train.losses import caption_loss, info_nce, targets, weighted  # noqa: E402


def log_softmax(x):
    """Along the last axis."""
    shifted = x - x.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def by_hand(q, v, scale, captions):
    """InfoNCE both ways, row by row; pairs of one caption share the target."""
    q, v = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (q, v))
    total = 0.0
    for logits in (scale * q @ v.T, scale * v @ q.T):
        for i, row in enumerate(log_softmax(logits)):
            same = [j for j, c in enumerate(captions) if c == captions[i]]
            total -= row[same].mean() / len(q) / 2
    return total


def test_the_weighted_sum_equals_numpy():
    draw = np.random.default_rng(0)
    q, v, captions = draw.normal(size=(6, 5)), draw.normal(size=(6, 5)), [3, 3, 1, 0, 2, 7]
    logits, ids, mask = draw.normal(size=(2, 4, 9)), draw.integers(9, size=(2, 4)), np.array([[1, 1, 1, 0], [0, 1, 1, 1]], bool)
    said = -np.mean([log_softmax(logits)[i, j, ids[i, j]] for i, j in zip(*np.nonzero(mask))])
    torched = caption_loss(*map(torch.from_numpy, (logits, ids, mask)))
    found = info_nce(torch.from_numpy(q), torch.from_numpy(v), torch.tensor(7.0), targets(captions).double())
    assert found.item() == pytest.approx(by_hand(q, v, 7.0, captions), rel=1e-6)
    assert weighted(torched, found, 0.5, 2.0).item() == pytest.approx(0.5 * said + 2.0 * by_hand(q, v, 7.0, captions), rel=1e-6)


def test_pictures_of_one_caption_are_never_negatives():
    assert targets([4, 4, 9])[0].tolist() == [0.5, 0.5, 0.0]
    assert torch.allclose(targets([1, 2, 1, 1]).sum(1), torch.ones(4))


def test_loss_falls_when_pairs_agree():
    x = torch.randn(8, 4, generator=torch.Generator().manual_seed(1))
    each = targets(range(8))
    assert info_nce(x, x, torch.tensor(10.0), each) < info_nce(x, x.roll(1, 0), torch.tensor(10.0), each)
