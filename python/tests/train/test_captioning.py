"""Goal: what is said of a picture depends on it alone, and words in common are counted. Method: a tiny random Llama."""

import pytest

torch = pytest.importorskip("torch")

from fromagerie.train import captioning  # noqa: E402
from fromagerie.train.captioning import describe, shared  # noqa: E402
from fromagerie.train.lm import generate  # noqa: E402

from tiny_llama import llama  # noqa: E402


def encode(text):
    """One id a letter, BOS and EOS left free."""
    return [3 + ord(c) % 37 for c in text]


def by_hand(lm, tokens):
    """One picture, its whole turn read at once, then word by word."""
    said = encode("What is this?.:This is")
    embeds = torch.cat([lm.embeddings[encode("abu")], tokens, lm.embeddings[said[:-1]]])[None]
    n = embeds.shape[1]
    past = lm.forward(embeds, torch.arange(n)[None], torch.ones(1, n, n, dtype=torch.bool).tril()).past
    return " ".join(map(str, generate(lm, said[-1:], 5, past)))


def test_several_pictures_at_once_are_described_as_each_alone(monkeypatch):
    for name, short in {"PREAMBLE": "ab", "USER": "u", "END": ".", "ASSISTANT": ":"}.items():
        monkeypatch.setattr(captioning, name, short)  # a tiny model forgets a picture in a long chat
    lm = llama()
    tokens = torch.randn(8, 3, lm.hidden, generator=torch.Generator().manual_seed(2)) * 10
    said = describe(lm, tokens, encode, lambda ids: " ".join(map(str, ids)), 5)
    assert said == [by_hand(lm, own) for own in tokens]
    assert len(set(said)) > 1, "the picture matters"


def test_words_in_common_are_counted():
    assert shared(["red car", "cat"], ["a blue car", "a dog"], lambda c: set(c.split())) == 0.5
