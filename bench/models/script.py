"""What is said and shown in the bench: the same for every contender."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Callable

SHELF = 64
SENT = "1F697"  # a car
PASSAGE = (
    "The old man went down to the sea in the morning and looked at the boats. Some of them were red and some were white, and "
    "one of them was very small. He had a dog with him, and the dog liked the water more than he did. They walked along the "
    "beach until the sun was high, and then they sat down under a tree and had some bread and cheese. "
) * 8
QUESTIONS = [
    "Tell me a long story about a dog.",
    "How is bread made?",
    "Tell me about the history of Rome.",
    "What can I see in a forest?",
    "Why do people like music?",
    "Tell me about the sea.",
    "How does a bicycle work?",
    "What do cats do all day?",
]
SAID = [
    "Tell me about Italy.",
    "What do people eat there?",
    "PICTURE What is this?",
    "Where would I find one?",
    "Can you show me something like that?",
    "Tell me more about it.",
    "Why do people like it?",
    "How is it made?",
    "What else should I know about it?",
    "Tell me a story about it.",
]
SHOWN_AT = 4


def text_of(tokens: int, count: Callable[[str], int]) -> str:
    """The passage's beginning that is `tokens` long by `count`, the beginning of the text included."""
    length, tried = 4 * tokens, set()
    while length not in tried:
        tried.add(length)
        found = count(PASSAGE[:length])
        if found == tokens:
            return PASSAGE[:length]
        length -= max(1, abs(found - tokens)) * (1 if found > tokens else -1)
    raise SystemExit(f"no beginning of the passage has {tokens} tokens")


def pictures(cache: Path) -> tuple[Path, Path]:
    """A folder of some of the demo's pictures, to be shown, and one that is not among them, to be sent. Where set-up did not
    run, generated ones."""
    folder = cache / "models" / "pictures"
    found = sorted((cache / "demo-images").glob("*.png")) or generated(cache / "models" / "generated")
    chosen = found[:: max(1, len(found) // SHELF)][:SHELF]
    if len(list(folder.glob("*.png"))) != SHELF:
        folder.mkdir(parents=True, exist_ok=True)
        for path in chosen:
            shutil.copy(path, folder)
    others = [path for path in found if path not in chosen]
    return folder, next((path for path in others if path.stem == SENT), others[0])


def generated(folder: Path) -> list[Path]:
    """Pictures of soft blobs."""
    from tiny_models import picture, png

    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:02}.png" for number in range(SHELF + 2)]
    for number, path in enumerate(paths):
        path.write_bytes(png(picture(number)))
    return paths


def turns(picture: Path) -> list[tuple[list[dict], bool]]:
    """Ten turns: what the user says, and whether a picture is shown at the end of the reply."""
    said = []
    for words in SAID:
        parts = [{"text": words.removeprefix("PICTURE ")}]
        said.append([{"image": str(picture)}, *parts] if words.startswith("PICTURE") else parts)
    return [(parts, n == SHOWN_AT) for n, parts in enumerate(said)]
