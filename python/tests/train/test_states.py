"""Goal: the frozen model reads a text the same way in one piece and on a cached prefix; a cache of states goes on where it was
interrupted, and is never taken for that of another row.
Method: a tiny random Llama; a stand-in for the shipped decoder."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from fromagerie.train import states  # noqa: E402
from fromagerie.train.wordings import RET, text  # noqa: E402

from tiny_llama import llama  # noqa: E402


def test_a_cached_prefix_changes_nothing():
    lm = llama()
    rows = lambda *ids: lm.embeddings[torch.tensor([ids])]
    whole = lm.forward(rows(1, 3, 7, 9), layers=[1, 3]).hidden
    split = lm.forward(rows(7, 9), lm.prefix([1, 3]), [1, 3]).hidden
    assert all(torch.allclose(a[:, 2:], b, atol=1e-5) for a, b in zip(whole, split))


def test_stopping_at_the_highest_wanted_layer_gives_the_same():
    lm = llama()
    x = lm.embeddings[torch.tensor([[1, 7, 4]])]
    assert torch.equal(lm.forward(x, layers=[1]).hidden[0], lm.forward(x, layers=[1, 3]).hidden[0])


def test_a_text_ends_in_its_only_mark_and_is_decided_by_caption_and_draw():
    encode = lambda s: [ord(c) for c in s]
    for kind in ("plain", "reply"):
        ids = text(kind, "hedgehog", encode, 0)
        assert ids.count(RET) == 1 and ids[-1] == RET and ids == text(kind, "hedgehog", encode, 0)
    assert bytes(text("reply", "hedgehog", encode, 2)[:-1]).decode().endswith("Here is a hedgehog.")


ROW = torch.ones(576)


class Counting:
    """A decoder whose state is the length of the text, and which dies on its second chunk if told to."""

    past, read, dies = {}, 0, False

    def __init__(self, *_):
        pass

    def prefix(self, _):
        return {}

    def last(self, sequences, _):
        if Counting.dies and Counting.read:
            raise KeyboardInterrupt
        Counting.read += len(sequences)
        return np.array([[[len(s)] * 576] for s in sequences], np.float16)


def test_a_stopped_cache_goes_on_where_it_was(tmp_path, monkeypatch):
    monkeypatch.setattr(states, "Decoder", Counting)
    monkeypatch.setattr(states, "CHUNK", 2)
    monkeypatch.setattr(states, "load_lm", lambda: (llama(), lambda s: [ord(c) for c in s], None))
    captions, Counting.dies, Counting.read = ["cat", "red car", "hedgehog"], True, 0
    with pytest.raises(KeyboardInterrupt):
        states.cached(tmp_path, ROW, "plain", captions, 0, [8])
    Counting.dies = False
    path = states.cached(tmp_path, ROW, "plain", captions, 0, [8])
    with np.load(path) as f:
        found = dict(zip(f["captions"].tolist(), f["states"][:, 0, 0].tolist()))
    assert Counting.read == 3, "nothing is read twice"
    assert found == {c: len(text("plain", c, lambda s: [ord(x) for x in s])) for c in captions}


def test_states_of_another_row_are_read_anew_and_those_of_the_first_stay(tmp_path, monkeypatch):
    monkeypatch.setattr(states, "Decoder", Counting)
    monkeypatch.setattr(states, "load_lm", lambda: (llama(), lambda s: [ord(c) for c in s], None))
    Counting.dies, Counting.read = False, 0
    other = ROW + 1e-6
    states.cached(tmp_path, ROW, "reply", ["cat"], 1, [8])
    assert set(states.known(tmp_path, ROW, [8])["cat"]) == {"reply, draw 1"} and states.known(tmp_path, other, [8]) == {}
    states.cached(tmp_path, other, "reply", ["cat"], 1, [8])
    states.cached(tmp_path, ROW, "reply", ["cat"], 1, [8])
    assert Counting.read == 2, "once for each row"
