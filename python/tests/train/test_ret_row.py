"""Goal: the row learns from the gradient that reading whole texts would give it, at its norm, and what it learns finds more.
Method: a tiny random Llama; texts with and without a prefix, kept and read at once."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from fromagerie.train import last_token, regression, ret_row  # noqa: E402
from fromagerie.train.joint import Joint, train  # noqa: E402
from fromagerie.train.last_token import Texts  # noqa: E402
from fromagerie.train.maps import Shape  # noqa: E402
from fromagerie.train.problem import Pairs  # noqa: E402

from tiny_llama import llama  # noqa: E402

LAYERS, PREFIX = [1, 2], [4, 9, 11, 2, 6]
TEXTS = [([1, 7, 4], False), ([8, 3], True), ([5], True), ([12, 13, 14, 15], True), ([1, 30], False), ([8, 31], True)]
SHAPE = Shape(layers=(1, 2), dim=5, text_hidden=24, visual_width=8, token_width=6, hidden=16, features=20)


def kept(lm, texts=TEXTS):
    return Texts(lm, [ids for ids, _ in texts], [after for _, after in texts], lm.prefix(PREFIX), LAYERS)


def whole(lm, row, ids, after):
    """The states of the last token of one text read at once."""
    before = lm.embeddings[torch.tensor(PREFIX * after + ids)]
    return torch.stack([h[0, -1] for h in lm.forward(torch.cat([before, row[None]])[None], layers=LAYERS).hidden])


def test_states_and_gradients_are_those_of_texts_read_at_once(monkeypatch):
    monkeypatch.setattr(last_token, "BATCH", 1)
    lm, chosen = llama(), torch.tensor([3, 0, 1, 2, 5, 4, 0])
    texts, weights = kept(lm), torch.randn(len(chosen), 2, 16, generator=torch.Generator().manual_seed(1))
    rows = [lm.ret.clone().requires_grad_() for _ in range(2)]
    ours = texts.states(rows[0], chosen)
    theirs = torch.stack([whole(lm, rows[1], *TEXTS[i]) for i in chosen])
    (ours * weights).sum().backward()
    (theirs * weights).sum().backward()
    assert torch.allclose(ours, theirs, atol=5e-3), "keys and values are kept in half precision"
    assert torch.allclose(rows[0].grad, rows[1].grad, rtol=0.02, atol=0.02 * float(rows[1].grad.abs().max()))
    assert float(rows[1].grad.abs().max()) > 0.01
    assert torch.allclose(texts.all_states(lm.ret, 4), texts.states(lm.ret, torch.arange(len(TEXTS))), atol=1e-5)


def problem(lm):
    """Thirty texts of one to three tokens; the pictures are what another row than the first would say of them."""
    draw = np.random.default_rng(0)
    texts = kept(lm, [(draw.integers(3, 40, 1 + i % 3).tolist(), i % 2 == 0) for i in range(30)])
    secret = torch.randn(16, generator=torch.Generator().manual_seed(3))
    seen = texts.all_states(secret / secret.norm() * lm.ret.norm()).flatten(1).numpy() @ draw.normal(size=(32, 20)).astype(np.float32)
    states = texts.all_states(lm.ret)[:, None].numpy()
    return texts, Pairs([str(i) for i in range(30)], states, [np.array([i]) for i in range(30)], seen, np.zeros((0, 20), np.float32))


def test_the_row_learns_at_its_norm_and_nothing_of_the_model_does():
    lm = llama()
    texts, pairs = problem(lm)
    frozen = {name: w.clone() for name, w in lm.w.items()}
    maps = regression.fit(pairs, SHAPE, regression.Start(ridge_text=1.0, ridge_image=1.0))
    contrast = ret_row.Through(maps, pairs, texts, torch.arange(30)[:, None], lm.ret)
    norms, losses = [], []

    def watch(*step):
        contrast.hold()
        norms.append(contrast.row.detach().norm())
        losses.append(step[2])

    train(maps, None, contrast, Joint(steps=40, contrast_batch=30, contrast_rate=0.0, row_rate=0.05, dropout=0.0, warmup=2), watch)
    assert all(torch.isclose(n, lm.ret.norm(), rtol=1e-4) for n in norms)
    assert np.mean(losses[-5:]) < 0.95 * np.mean(losses[:5]), "with the maps held, the row alone lowers the loss"
    assert not torch.allclose(contrast.row.detach(), lm.ret, atol=0.01)
    assert all(torch.equal(frozen[name], w) for name, w in lm.w.items())


def test_a_batch_leaves_out_what_all_plain_texts_and_all_replies_moved_by_together():
    lm = llama()
    texts, pairs = problem(lm)
    maps = regression.fit(pairs, SHAPE, regression.Start(ridge_text=1.0, ridge_image=1.0))
    contrast = ret_row.Through(maps, pairs, texts, torch.arange(30)[:, None], lm.ret)
    first = maps.read(torch.from_numpy(pairs.states[:, 0]))
    for moves in (0.0, 0.1):
        contrast.row.data.add_(moves)
        chosen, read, _ = contrast.batch(np.random.default_rng(0), 20)
        raw = maps.read(texts.states(contrast.row, torch.from_numpy(chosen)))
        for kind in (0, 1):
            own = torch.from_numpy(chosen) % 2 == kind
            assert torch.allclose(read[own].mean(0), first[chosen][own].mean(0), atol=2e-2)
        assert torch.allclose(read, first[chosen], atol=2e-2) == torch.allclose(raw, first[chosen], atol=2e-2) == (moves == 0)


class Shelf:
    """A cache whose pairs are `problem`'s, with the states that it knows."""

    def __init__(self, pairs):
        self.of, self.features, self.known, self.hidden = pairs, pairs.features, {}, None

    def pairs(self, splits, wordings, hide, without):
        self.hidden = tuple(hide)
        return ret_row.replace(self.of, states=np.stack([[self.known[c]["plain"]] for c in self.of.captions]))

    def read_as(self, captions, wordings):
        return [["plain"] for _ in captions]


def test_rounds_lower_the_loss_of_the_half_that_made_no_map(monkeypatch):
    lm = llama()
    texts, pairs = problem(lm)
    monkeypatch.setattr(ret_row, "shape_of", lambda *_: SHAPE)
    config = {"wordings": ["plain"], "without": [], "start": {"ridge_text": 1.0, "ridge_image": 1.0}}
    shelf, log, asked = Shelf(pairs), [], [(c, "plain", 0) for c in pairs.captions]
    learn = lambda: ret_row.learn(shelf, config, texts, asked, lm.ret, ret_row.Settings(rounds=3, steps=20, batch=15, rate=0.05, warmup=2), lambda *step: log.append(step))
    row = learn()
    assert shelf.hidden == ("validation", "test"), "what is held out does not come in through ImageNet's names"
    assert [entry[:2] for entry in log] == [(r, s) for r in range(3) for s in range(1, 21)]
    each = np.array([entry[2] for entry in log]).reshape(3, 20)
    assert (each[:, -5:].mean(1) < each[:, :5].mean(1)).all(), "every half is new to its maps"
    assert all(torch.isclose(entry[3].norm(), lm.ret.norm(), rtol=1e-4) for entry in log)
    assert torch.equal(row, learn()), "the same settings give the same row"


def test_a_part_of_the_pairs_keeps_what_belongs_together():
    pairs = Pairs(["a", "b", "c", "x", "y"], np.arange(5.0)[:, None, None, None], [np.array([0]), np.array([1, 2]), np.array([3])], np.zeros((4, 2)), np.array([[7.0], [8.0]]))
    own, which = ret_row.part(pairs, torch.arange(10).view(5, 2), np.array([1, 2, 4]))
    assert own.captions == ["b", "c", "y"] and own.states.ravel().tolist() == [1, 2, 4] and own.pseudo.tolist() == [[8.0]]
    assert [p.tolist() for p in own.pictures] == [[1, 2], [3]] and which.tolist() == [[2, 3], [4, 5], [8, 9]]


def test_a_row_is_trained_once_for_its_settings_and_without_rounds_is_the_mean(tmp_path, monkeypatch):
    lm, calls = llama(), []
    monkeypatch.setattr(ret_row, "load_lm", lambda: (lm, None, None))
    monkeypatch.setattr(ret_row, "learn", lambda *_: calls.append(1) or lm.ret * (1 + len(calls)))
    for name in ("jobs", "read", "Cache"):
        monkeypatch.setattr(ret_row, name, lambda *_: [])
    monkeypatch.setattr(ret_row.features, "cached", lambda *_, **__: None)
    config = {"encoders": ["e"], "layers": LAYERS, "wordings": ["plain"], "without": [], "start": {}, "ret_row": {"rounds": 0}}
    assert torch.equal(ret_row.trained(tmp_path, config), lm.ret) and not calls
    config["ret_row"] = {"rounds": 1}
    first = ret_row.trained(tmp_path, config)
    assert torch.equal(first, (lm.ret * 2).half().float()) and torch.equal(first, ret_row.trained(tmp_path, config)) and len(calls) == 1
    ret_row.trained(tmp_path, {**config, "ret_row": {"rounds": 2}})
    assert len(calls) == 2
