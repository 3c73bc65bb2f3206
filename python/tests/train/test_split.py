"""Goal: nothing held out is named in training, under any word. Method: a small WordNet on disk, and captions that would leak."""

import pytest

pytest.importorskip("numpy")

from fromagerie.train.sources import Item  # noqa: E402
from fromagerie.train.split import assign, concept_groups, head_of, leaks, leaky  # noqa: E402
from fromagerie.train.wordnet import WordNet  # noqa: E402

SYNSETS = [("hedgehog", "porcupine"), ("car", "auto"), ("cat",), ("dog",), ("boat",), ("tree",), ("apple",), ("house", "home")]
IRREGULAR = [("mice", "mouse")]


@pytest.fixture
def wordnet(tmp_path):
    """Eight synsets in WordNet's own format."""
    index, data = [], []
    for number, names in enumerate(SYNSETS):
        offset = f"{number + 1:08d}"
        data.append(f"{offset} 05 n {len(names):02x} " + " ".join(f"{n} 0" for n in names) + " 000 | gloss")
        index += [f"{n} n 1 0 1 0 {offset}" for n in names]
    (tmp_path / "index.noun").write_text("  licence\n" + "\n".join(sorted(index)) + "\n")
    (tmp_path / "data.noun").write_text("  licence\n" + "\n".join(data) + "\n")
    (tmp_path / "noun.exc").write_text("\n".join(" ".join(pair) for pair in IRREGULAR) + "\n")
    for part in ("adj", "verb", "adv"):
        (tmp_path / f"index.{part}").write_text("red a 1 0 1 0 00000001\n")
    return WordNet(tmp_path)


CAPTIONS = ["hedgehog", "porcupine", "red car", "autos", "cat", "cat with hedgehog", "dog", "boat", "red boat", "tree", "apple", "house", "home"]


def items():
    """Every caption in a core source and in another one."""
    return [Item(source, "licence", f"{source}/{c}", c) for source in ("core", "other") for c in CAPTIONS]


def test_synonyms_and_plurals_fall_into_one_group(wordnet):
    groups = concept_groups(CAPTIONS, wordnet)
    assert groups["hedgehog"] == groups["porcupine"]
    assert groups["red car"] == groups["autos"]
    assert groups["cat"] != groups["dog"]


@pytest.mark.parametrize("seed", range(8))
def test_no_held_out_concept_is_named_in_training(wordnet, seed):
    everything = items()
    splits = assign(everything, wordnet, {"core"}, 4, 2, seed)
    assert {"train", "test", "validation"} <= set(splits)
    assert leaks(everything, splits, wordnet) == {}
    assert all(item.source == "core" for item, split in zip(everything, splits) if split in ("test", "validation"))


def test_a_leak_is_found(wordnet):
    pair = [Item("core", "l", "a", "hedgehog"), Item("core", "l", "b", "cat with porcupine")]
    assert leaks(pair, ["test", "train"], wordnet) == {"porcupine": ["cat with porcupine"]}


@pytest.mark.parametrize("by", ["head", "caption"])
def test_the_leaky_split_holds_out_groups_and_lets_synonyms_through(wordnet, by):
    everything, leaked = items(), 0
    group = head_of(CAPTIONS, wordnet) if by == "head" else {c: c for c in CAPTIONS}
    for seed in range(8):
        splits = leaky(everything, group, {"core"}, 4, seed)
        held = {i.caption for i, s in zip(everything, splits) if s == "test"}
        kept = {i.caption for i, s in zip(everything, splits) if s == "train"}
        assert held and not held & kept and all(i.source == "core" for i, s in zip(everything, splits) if s == "test")
        assert by == "caption" or ("boat" in held) == ("red boat" in held), "a head noun is held out as a whole"
        leaked += bool(leaks(everything, splits, wordnet))
    assert leaked, "this split lets synonyms through"
