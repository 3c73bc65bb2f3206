"""From titles and icon names to captions: lower case, English, a thing one can see, with its article.

A caption is a short noun phrase without an article ("red car"); `phrase` adds one ("a red car"), because the model
reads sentences and not labels. What cannot be seen (clock times, card backs, keycaps) is dropped by `seen`.

Read next: `sources.py` (who calls this), `split.py` (`heads`).
"""

from __future__ import annotations

import re
from typing import List, Optional

from .wordnet import WordNet

SMALL = {"a", "an", "the", "of", "with", "in", "on", "and", "or", "at", "to", "for", "from", "by", "over", "under", "no", "not", "without", "behind"}
NOISE = {
    "clipart", "clip", "art", "svg", "icon", "icons", "iconset", "theme", "openclipart", "ver", "version", "vector", "simple", "image", "remix",
    "final", "contour", "architetto", "part", "the", "my", "nice", "set", "rpg", "elements", "outline", "drawing", "cartoon", "stylized", "generic", "design",
}  # fmt: skip
UNSEEN = re.compile(
    r"skin tone|keycap|o'?clock|thirty|regional indicator|japanese|^(input|squared|circled|negative|copyright|registered)\b|"
    r"families|^family \w|couple with heart \w|^kiss \w+ \w|^hairstyle| tone\d|-tone|letters?$|^number|^\d"
)
VAGUE = {"face", "symbol", "sign", "button", "head", "emblem", "logo", "picture", "mark", "badge", "silhouette", "style", "color", "side", "shape"}
PLURAL_ENDINGS = ("s",)
SINGULAR_S = ("ss", "us", "is", "lens", "bus", "gas", "atlas", "cactus", "compass", "series", "chess", "tennis")
MASS = {"rice", "bread", "water", "milk", "money", "snow", "fire", "fog", "rain", "cheese", "bacon", "honey", "grass", "wine", "beer", "tea", "coffee", "music", "art", "meat"}


def words_of(title: str) -> List[str]:
    """The words of a title or file name: camel case and underscores split, digits and punctuation gone."""
    title = re.sub(r"^Clipart by Nicu Buculei - ", "", title)
    title = re.sub(r"(?<=[a-z])(?=[A-Z][a-z])", " ", title)
    title = re.sub(r"\(.*?\)|\[.*?\]", " ", title)
    title = title.replace("'s ", "s ").replace("’", "'")
    return [w for w in re.split(r"[^a-z]+", title.lower()) if w]


def clean(title: str, wordnet: WordNet) -> Optional[str]:
    """A caption of one to five English words whose last noun is a thing, or None."""
    words = [w for w in words_of(title) if w not in NOISE]
    while words and words[-1] in SMALL:
        words.pop()
    while words and (words[0] in SMALL or len(words[0]) == 1):
        words.pop(0)
    if not 1 <= len(words) <= 5 or any(len(w) == 1 and w != "a" for w in words):
        return None
    if not all(w in SMALL or wordnet.is_word(w) for w in words):
        return None
    caption = " ".join(words)
    return caption if heads(caption, wordnet) and not UNSEEN.search(caption) else None


def seen(name: str) -> bool:
    """Whether an icon's name is about something that the picture alone shows."""
    return not UNSEEN.search(name.replace("-", " "))


def heads(caption: str, wordnet: WordNet) -> List[str]:
    """The base form of the phrase's head noun: the last noun before a preposition, vague heads looked through."""
    phrase = re.split(r" (?:of|with|in|on|and|at|to|for|from|by|over|under|without|behind) ", caption)[0].split()
    nouns = [w for w in phrase if wordnet.is_noun(w)]
    solid = [w for w in nouns if wordnet.lemma(w) not in VAGUE] or nouns
    return [wordnet.lemma(solid[-1])] if solid else []


def content(caption: str, wordnet: WordNet) -> List[str]:
    """Base forms of all words that carry meaning, in order."""
    return [wordnet.lemma(w) for w in caption.split() if w not in SMALL]


def phrase(caption: str) -> str:
    """The caption with its article: "hedgehog" gives "a hedgehog", "red apples" stays, "flag of France" gets "the"."""
    words = caption.split()
    head = re.split(r" (?:of|with|in|on|and) ", caption)[0].split()[-1]
    if words[0] in SMALL or words[0][0].isupper() or head in MASS:
        return caption
    if caption.startswith("flag of"):
        return "the " + caption
    if head.endswith(PLURAL_ENDINGS) and not head.endswith(SINGULAR_S):
        return caption
    return ("an " if words[0][0] in "aeiou" and not words[0].startswith(("uni", "eu", "one")) else "a ") + caption
