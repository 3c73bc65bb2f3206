"""Goal: what is said of a picture depends on it alone, and words in common are counted. Method: a tiny random Llama."""

import pytest

torch = pytest.importorskip("torch")

from fromagerie.train import captioning  # noqa: E402
from fromagerie.train.captioning import describe, loss_of, shared  # noqa: E402
from fromagerie.train.lm import generate  # noqa: E402

from tiny_llama import VOCABULARY, llama  # noqa: E402


def encode(text):
    """One id a letter, BOS and EOS left free."""
    return [3 + ord(c) % (VOCABULARY - 3) for c in text]


@pytest.fixture
def short(monkeypatch):
    """A chat of a few letters: a tiny model forgets a picture in a long one."""
    for name, value in {"END": ".", "ASSISTANT": ":"}.items():
        monkeypatch.setattr(captioning, name, value)
    return encode("What is this?.:This is")


def pictures(lm, n):
    """Random visual tokens `[n, 3, H]`."""
    return torch.randn(n, 3, lm.hidden, generator=torch.Generator().manual_seed(2)) * 10


def test_several_pictures_at_once_are_described_as_each_alone(short):
    lm = llama()
    tokens, past = pictures(lm, 8), lm.prefix(encode("abu"))
    said = describe(lm, past, tokens, encode, lambda ids: " ".join(map(str, ids)), 5)
    alone = []
    for own in tokens:
        read = lm.forward(torch.cat([own, lm.embeddings[short[:-1]]])[None], past).past
        alone.append(" ".join(map(str, generate(lm, short[-1:], 5, read))))
    assert said == alone
    assert len(set(said)) > 1, "the picture matters"


def test_the_caption_loss_is_that_of_the_answer_read_word_by_word(short):
    lm = llama()
    tokens, past, ids = pictures(lm, 2), lm.prefix(encode("abu")), torch.tensor([[5, 9, 2], [7, 7, 2]])
    total = 0.0
    for own, answer in zip(tokens, ids):
        step = lm.forward(torch.cat([own, lm.embeddings[short]])[None], past)
        for token in answer:
            total -= lm.logits(step.final[0, -1]).log_softmax(0)[token]
            step = lm.forward(lm.embeddings[token][None, None], step.past)
    assert loss_of(lm, past, short, ids, tokens).item() == pytest.approx(total.item() / 6, rel=1e-4)


def test_words_in_common_are_counted():
    assert shared(["red car", "cat"], ["a blue car", "a dog"], lambda c: set(c.split())) == 0.5
