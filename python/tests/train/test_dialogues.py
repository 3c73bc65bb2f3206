"""Goal: the decision's labels stand where they should, and its fit separates what can be separated."""

import pytest

torch = pytest.importorskip("torch")

from fromagerie.train.decision import Positions, fit, judge  # noqa: E402
from fromagerie.train.dialogues import make, shown  # noqa: E402


def letters(text):
    """One id a character."""
    return [ord(c) for c in text]


def test_only_the_last_token_of_an_announcement_is_followed_by_ret():
    pieces = shown(letters, "Show me a cat.", "Here is a cat.", [99999, -1])
    labels = [label for ids, label in pieces for _ in ids]
    assert labels.count(1) == 1 and labels.count(None) == 2
    spoken = [i for ids, _ in pieces for i in ids]
    assert chr(spoken[labels.index(1)]) == "."


def test_dialogues_are_the_same_for_the_same_seed():
    one, two = (make(["cat", "red car"], letters, lambda q: "Yes.", lambda c: [99999], 5, 3) for _ in range(2))
    assert one == two and any(label == 1 for d in one for _, label in d)


def test_the_row_fires_where_it_was_told_to():
    draw = torch.Generator().manual_seed(0)
    hidden = torch.randn(400, 8, generator=draw)
    label = (hidden[:, 0] > 1.0).long()
    p = Positions(hidden, torch.full((400,), 3.0), torch.full((400,), 2.5), label, torch.zeros(400))
    row, bias = fit(p, positive=1.0)
    found = judge(p, row, bias)
    assert found["precision"] > 0.9 and found["recall"] > 0.9
