"""Goal: `[RET]` reads the text and the text never reads `[RET]`. Method: a tiny random Llama, with and without marks."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from fromagerie.train.states import RET, marked_states, positions, visibility  # noqa: E402

from tiny_llama import llama  # noqa: E402


@pytest.fixture
def tiny():
    """A random Llama."""
    return llama()


def test_marks_are_invisible_and_take_no_place():
    ids = torch.tensor([[1, RET, 5, RET]])
    assert positions(ids).tolist() == [[0, 1, 1, 2]]
    assert visibility(ids)[0].int().tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [1, 0, 1, 0], [1, 0, 1, 1]]


def test_one_pass_with_two_marks_equals_two_passes(tiny):
    both = marked_states(tiny, [[1, 7, RET, 9, 4, RET]], [1, 2, 3])
    early = marked_states(tiny, [[1, 7, RET]], [1, 2, 3])
    late = marked_states(tiny, [[1, 7, 9, 4, RET]], [1, 2, 3])
    assert np.allclose(both[:, 0], early[:, 0], atol=2e-3) and np.allclose(both[:, 1], late[:, 0], atol=2e-3)


def test_a_cached_prefix_changes_nothing(tiny):
    whole = marked_states(tiny, [[1, 3, 7, 9, RET]], [3])
    split = marked_states(tiny, [[7, 9, RET]], [3], tiny.prefix([1, 3]))
    assert np.allclose(whole, split, atol=2e-3)


def test_stopping_at_the_highest_wanted_layer_gives_the_same(tiny):
    assert np.allclose(marked_states(tiny, [[1, 7, RET]], [1])[:, :, 0], marked_states(tiny, [[1, 7, RET]], [1, 3])[:, :, 0])
