"""Pictures with captions: a TSV in the reference's format, a folder, or webdataset shards. Pictures are read when needed.

Read next: `features.py` (who reads them).
"""

from __future__ import annotations

import re
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Optional, Tuple

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"}
CAPTION_MAX, PICTURE_BYTES_MAX = 1 << 16, 256 << 20


class PairsError(ValueError):
    """A source that cannot be read: what, where, and the remedy."""


@dataclass(frozen=True)
class Pair:
    """A caption and where its picture lies: `size` bytes from `start` of `file`, or all of it."""

    key: str
    caption: str
    file: Path
    start: int = 0
    size: Optional[int] = None

    def read(self) -> bytes:
        """The picture's bytes."""
        with self.file.open("rb") as opened:
            opened.seek(self.start)
            found = opened.read(PICTURE_BYTES_MAX + 1 if self.size is None else self.size)
        if len(found) > PICTURE_BYTES_MAX:
            raise PairsError(f"{self.file}: a picture of over {PICTURE_BYTES_MAX >> 20} MiB")
        return found


def read_pairs(source: str, images: Optional[Path] = None) -> List[Pair]:
    """The pairs of `source`: a `.tsv`, a folder, or `.tar` shards (`shards/{00000..00012}.tar` names many).

    `images`: the folder that a TSV's paths begin at; the TSV's own when None. Raises `PairsError`.
    """
    path = Path(source)
    if path.is_dir():
        shards = sorted(path.glob("*.tar"))
        pairs = from_shards(shards) if shards else from_folder(path)
    elif path.suffix == ".tar":
        pairs = from_shards(expand(source))
    else:
        pairs = from_tsv(path, images or path.parent)
    if not pairs:
        raise PairsError(f"{source} has no picture with a caption: give a TSV of captions and images, a folder, or .tar shards")
    return pairs


def expand(pattern: str) -> List[Path]:
    """The files that a pattern with one `{first..last}` names."""
    found = re.search(r"\{(\d+)\.\.(\d+)\}", pattern)
    if not found:
        return [Path(pattern)]
    first, last = found.groups()
    numbers = range(int(first), int(last) + 1)
    return [Path(f"{pattern[: found.start()]}{number:0{len(first)}d}{pattern[found.end() :]}") for number in numbers]


def from_tsv(path: Path, images: Path) -> List[Pair]:
    """Lines of a caption, a tab and a picture's path. A first line that names the columns `caption` and `image` may put them in
    any order."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise PairsError(f"{path} cannot be read: {error}") from None
    caption_at, image_at, begin = _columns(lines[0].split("\t")) if lines else (0, 1, 0)
    pairs = []
    for number, line in enumerate(lines[begin:], begin + 1):
        cells = line.split("\t")
        if not line.strip():
            continue
        if len(cells) <= max(caption_at, image_at):
            raise PairsError(f"{path}, line {number}: it has no tab between a caption and an image")
        caption, image = cells[caption_at].strip(), cells[image_at].strip()
        if caption:
            pairs.append(Pair(image, caption[:CAPTION_MAX], images / image))
    return pairs


def _columns(names: List[str]) -> Tuple[int, int, int]:
    """The columns of captions and of images, and the first line that is a pair."""
    known = [name.strip().lower() for name in names]
    if "caption" in known and "image" in known:
        return known.index("caption"), known.index("image"), 1
    return 0, 1, 0


def from_folder(folder: Path) -> List[Pair]:
    """Pictures with a `.txt` beside them, or with a line in `captions.tsv`."""
    table = folder / "captions.tsv"
    if table.is_file():
        return from_tsv(table, folder)
    pairs = []
    for picture in sorted(folder.rglob("*")):
        words = picture.with_suffix(".txt")
        if picture.suffix.lower() in SUFFIXES and words.is_file():
            caption = words.read_text("utf-8", "replace").strip()
            if caption:
                pairs.append(Pair(str(picture.relative_to(folder)), caption[:CAPTION_MAX], picture))
    return pairs


def from_shards(shards: List[Path]) -> List[Pair]:
    """Members of one name but for the suffix: a picture and its `.txt`."""
    pairs = []
    for shard in shards:
        try:
            with tarfile.open(shard, "r:") as tar:
                pairs += _members(shard, tar)
        except (OSError, tarfile.TarError) as error:
            raise PairsError(f"{shard} is no whole, uncompressed tar: {error}") from None
    return pairs


def _members(shard: Path, tar: tarfile.TarFile) -> List[Pair]:
    pictures: Dict[str, tarfile.TarInfo] = {}
    captions: Dict[str, str] = {}
    for member in tar:
        folder, _, name = member.name.rpartition("/")
        stem, _, suffix = name.partition(".")
        key = f"{folder}/{stem}" if folder else stem
        if not member.isfile():
            continue
        if f".{suffix.lower()}" in SUFFIXES:
            pictures.setdefault(key, member)
        elif suffix == "txt" and member.size <= CAPTION_MAX:
            opened = tar.extractfile(member)
            captions[key] = opened.read().decode("utf-8", "replace").strip() if opened else ""
    named = ((key, captions.get(key), member) for key, member in pictures.items())
    return [Pair(f"{shard.name}/{key}", words, shard, member.offset_data, member.size) for key, words, member in named if words]
