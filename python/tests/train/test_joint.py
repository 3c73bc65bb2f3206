"""Goal: training minimises the weighted sum and moves nothing else. Method: a tiny random Llama, a hidden rotation, a few steps."""

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from fromagerie.train import captioning, regression  # noqa: E402
from fromagerie.train.joint import Joint, train  # noqa: E402
from fromagerie.train.maps import Shape  # noqa: E402
from fromagerie.train.problem import Pairs, scores  # noqa: E402
from fromagerie.train.retrieval import Contrast  # noqa: E402

from tiny_llama import VOCABULARY, llama  # noqa: E402

SHAPE = Shape(layers=(1, 2), dim=5, text_hidden=24, visual_tokens=3, visual_width=8, token_width=6, hidden=16, features=20)
CAPTIONS, TOLD = 60, 60
WORDS = [f"{chr(97 + i % 26)}{chr(97 + i // 26)}" for i in range(CAPTIONS)]


def encode(text):
    """One id a letter, BOS and EOS left free."""
    return [3 + ord(c) % (VOCABULARY - 3) for c in text]


def problem():
    """Sixty captions with two noisy pictures each, both sides rotations of one secret, and three classifier rows; and the
    same captions' unseen pictures."""
    draw = np.random.default_rng(0)
    secret = draw.normal(size=(CAPTIONS + 3, 6)).astype(np.float32)
    to_states, to_features = draw.normal(size=(6, 32)), draw.normal(size=(6, 20))
    states = (secret @ to_states).reshape(-1, 1, 2, 16).repeat(2, 1).astype(np.float32)
    states += 0.3 * draw.normal(size=states.shape).astype(np.float32)
    seen = lambda n: (np.repeat(secret @ to_features, n, 0) + 0.8 * draw.normal(size=(n * len(secret), 20))).astype(np.float32)
    features, unseen = seen(2), seen(1)
    pairs = Pairs(WORDS + ["xa", "xb", "xc"], states, [np.array([2 * i, 2 * i + 1]) for i in range(CAPTIONS)], features, features[2 * CAPTIONS :: 2])
    return pairs, unseen[:CAPTIONS]


@pytest.fixture
def ready(monkeypatch):
    """The closed form, and both halves of the loss."""
    for name, short in {"PREAMBLE": "ab", "USER": "u", "END": ".", "ASSISTANT": ":"}.items():
        monkeypatch.setattr(captioning, name, short)  # a tiny model forgets a picture in a long chat
    (pairs, unseen), lm = problem(), llama()
    maps = regression.fit(pairs, SHAPE, regression.Start(ridge_text=1.0, ridge_image=1.0))
    target = captioning.word_targets(lm, WORDS, encode, 3).repeat_interleave(2, 0)
    captioning.start(maps, torch.from_numpy(pairs.features[: 2 * CAPTIONS]), target, torch.full((2 * CAPTIONS,), 0.5), 1.0)
    captions = captioning.Captions.of(lm, encode, dict(zip(WORDS, pairs.pictures)), pairs.features)
    return maps, captions, Contrast(maps, pairs), pairs, unseen


def found(maps, pairs, features):
    """Share of captions whose picture is the nearest."""
    return (scores(maps, pairs.states[:CAPTIONS, 0], features).argmax(1) == np.arange(CAPTIONS)).mean()


def test_the_closed_form_finds_a_hidden_rotation_again(ready):
    maps, _, _, pairs, unseen = ready
    assert found(maps, pairs, unseen) > 0.5, "chance is one in sixty"


def test_coordinates_are_white_and_rescaled_queries_have_norm_one(ready):
    maps, _, contrast, pairs, _ = ready
    white = contrast.texts.flatten(0, 1)
    spread = torch.linalg.eigvalsh(white.T @ white / len(white))
    assert spread.max() <= 1.001 and white.mean(0).abs().max() < 1e-2
    before = scores(maps, pairs.states[:9, 0], pairs.features[:9])
    contrast.rescale(maps)
    assert torch.allclose(maps.text(white).norm(dim=1).mean(), torch.tensor(1.0), atol=1e-3)
    assert np.allclose(before, scores(maps, pairs.states[:9, 0], pairs.features[:9]), atol=1e-5)


def test_visual_tokens_start_at_the_norm_of_words_and_end_in_a_full_stop(ready):
    maps, captions, _, pairs, _ = ready
    tokens = maps.visual_tokens(torch.from_numpy(pairs.features[: 2 * CAPTIONS])).detach()
    assert torch.allclose(tokens[:, 0].norm(dim=1).mean(), captions.lm.embeddings.norm(dim=1).mean(), rtol=0.1)
    assert torch.allclose(tokens[:, 2], captions.lm.embeddings[encode(".")[0]].expand(2 * CAPTIONS, -1), atol=0.05)


def test_both_losses_fall_and_what_is_frozen_stays(ready):
    maps, captions, contrast, _, _ = ready
    frozen, fixed = copy.deepcopy(captions.lm.w), {n: b.clone() for n, b in maps.named_buffers()}
    still, log = maps.tokens.weight[-16:].detach().clone(), []
    settings = Joint(steps=TOLD, captioning_batch=8, contrast_batch=32, captioning_rate=0.3, contrast_rate=0.05, scale_rate=0.01, dropout=0.0, warmup=5)
    train(maps, captions, contrast, settings, lambda *row: log.append(row))
    first, last = np.mean(log[:10], 0), np.mean(log[-10:], 0)
    assert last[1] < 0.9 * first[1] and last[2] < 0.9 * first[2]
    assert log[0][3] != log[-1][3], "the temperature is learned"
    assert all(torch.equal(frozen[n], w) for n, w in captions.lm.w.items())
    assert all(torch.equal(fixed[n], b) for n, b in maps.named_buffers())
    assert torch.equal(still, maps.tokens.weight[-16:].detach())


def test_a_step_follows_the_gradient_of_the_weighted_sum(ready):
    maps, captions, contrast, _, _ = ready
    text, tokens = maps.text.weight.detach().clone(), maps.tokens.weight.detach().clone()
    train(maps, captions, contrast, Joint(steps=2, captioning_batch=4, contrast_batch=16, contrast_weight=0.0))
    assert torch.equal(text, maps.text.weight.detach()) and not torch.equal(tokens, maps.tokens.weight.detach())
    train(maps, None, contrast, Joint(steps=2, contrast_batch=16))
    assert not torch.equal(text, maps.text.weight.detach())


def test_captioning_joins_every_second_step_when_told_so(ready):
    maps, captions, contrast, _, _ = ready
    log = []
    train(maps, captions, contrast, Joint(steps=4, captioning_every=2, captioning_batch=4, contrast_batch=16), lambda *row: log.append(row))
    assert [np.isnan(row[1]) for row in log] == [False, True, False, True] and all(row[2] > 0 for row in log)


def test_the_same_seed_gives_the_same_maps(ready):
    maps, captions, contrast, _, _ = ready
    pair = [copy.deepcopy(maps) for _ in range(2)]
    for one in pair:
        train(one, captions, contrast, Joint(steps=3, captioning_batch=4, contrast_batch=16))
    assert all(torch.equal(a, b) for a, b in zip(pair[0].state_dict().values(), pair[1].state_dict().values()))


def test_a_batch_pairs_every_caption_with_its_own_pictures_and_wordings(ready):
    maps, captions, contrast, pairs, _ = ready
    chosen, texts, images = contrast.batch(np.random.default_rng(1), 200)
    assert sorted(chosen) == list(range(CAPTIONS + 3)), "no caption twice"
    own = maps.standard(torch.from_numpy(pairs.features)) @ maps.visual_basis
    for number, text, image in zip(chosen, texts, images):
        assert any(torch.equal(text, row) for row in contrast.texts[number])
        rows = own[pairs.pictures[number]] if number < CAPTIONS else torch.from_numpy(pairs.pseudo[[number - CAPTIONS]]) @ maps.visual_basis
        assert any(torch.allclose(image, row, atol=1e-5) for row in rows)
    ids, features = captions.batch(np.random.default_rng(1), 8)
    assert ids.shape[0] == features.shape[0] and (ids[:, -1] == 2).all(), "one length, and the end of the turn"
