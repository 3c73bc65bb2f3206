"""WordNet's nouns: which words are English, their base form, and which two words name the same thing.

Used twice: to throw away titles that are not English (half of a clipart library's authors were not), and to keep
synonyms on one side of a split ("hedgehog" in one collection, "porcupine" in another).

Read next: `captions.py` (cleaning), `split.py` (concept groups).
"""

from __future__ import annotations

from pathlib import Path
from typing import Dict, List, Set

SUFFIXES = [("ses", "s"), ("xes", "x"), ("zes", "z"), ("ches", "ch"), ("shes", "sh"), ("men", "man"), ("ies", "y"), ("s", "")]


class WordNet:
    """The dictionary files of WordNet 3 in one folder."""

    def __init__(self, folder: Path) -> None:
        self.senses: Dict[str, List[str]] = _index(folder / "index.noun")
        self.others: Set[str] = set()
        for part in ("adj", "verb", "adv"):
            self.others |= set(_index(folder / f"index.{part}"))
        self.members: Dict[str, List[str]] = {}
        for line in (folder / "data.noun").read_text("utf-8").splitlines():
            if not line.startswith("  "):
                field = line.split(" ")
                count = int(field[3], 16)
                self.members[field[0]] = [field[4 + 2 * i].lower() for i in range(count)]
        exceptions = (line.split()[:2] for line in (folder / "noun.exc").read_text("utf-8").splitlines())
        self.irregular = {plural: single for plural, single in exceptions}

    def lemma(self, word: str) -> str:
        """The noun's base form ("mice" gives "mouse"); the word itself where none is known."""
        if word in self.irregular:
            return self.irregular[word]
        if word in self.senses:
            return word
        for suffix, instead in SUFFIXES:
            stem = word[: -len(suffix)] + instead if word.endswith(suffix) else ""
            if len(stem) > 2 and stem in self.senses:
                return stem
        return word

    def is_noun(self, word: str) -> bool:
        """Whether the word, or its base form, is an English noun."""
        return self.lemma(word) in self.senses

    def is_word(self, word: str) -> bool:
        """Whether the word is an English noun, adjective, verb or adverb, inflected regularly or not at all."""
        stems = [word, word[:-1], word[:-2], word[:-3], word[:-3] + "e", word[:-1] + "e"]
        if word[-3:] in ("ing", "ied") or word.endswith("ed") or word.endswith("s"):
            return self.is_noun(word) or any(s in self.others for s in stems if len(s) > 2)
        return self.is_noun(word) or word in self.others

    def synonyms(self, word: str) -> Set[str]:
        """Words that share the first (most frequent) sense with `word`, single words only, itself included."""
        base = self.lemma(word)
        found = {base}
        for sense in self.senses.get(base, [])[:1]:
            found |= {m for m in self.members.get(sense, []) if "_" not in m}
        return found


def _index(path: Path) -> Dict[str, List[str]]:
    words: Dict[str, List[str]] = {}
    for line in path.read_text("utf-8").splitlines():
        if not line.startswith("  "):
            field = line.split()
            words[field[0]] = field[-int(field[2]) :]
    return words
