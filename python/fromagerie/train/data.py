"""Assembles the training data: fetches the packages, cleans, splits, writes `pairs.jsonl`. Deterministic.

    python -m fromagerie.train.data --out .cache/train-data

Needs `npm`, `apt-get` (Debian) and `dpkg-deb` for the packages; pictures stay in `OUT/packages` and only names, licences
and splits are written beside them. Sources and licences are in `sources.py`; the split is in `split.py`.

Read next: `features.py` (pictures to vectors), `states.py` (captions to hidden states).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tarfile
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import List

from . import sources
from .split import assign, leaks, purge_near
from .wordnet import WordNet

DEBIAN = ["openclipart-png", "openclipart-svg", "tuxpaint-stamps-default", "wordnet-base"]
EMOJIBASE = ("emojibase-data", "17.0.0")
CORE = {"noto", "twemoji", "openclipart"}
TEST_PICTURES, VALIDATION_PICTURES, SEED = 1066, 600, 7


def fetch(folder: Path) -> None:
    """Downloads and unpacks what is missing, through `npm pack` and `apt-get download`."""
    folder.mkdir(parents=True, exist_ok=True)
    folder = folder.resolve()  # the commands run in it
    wanted = [(f"@iconify-json/{name}", version) for name, (version, _) in sources.ICONS.items()] + [EMOJIBASE]
    for name, version in wanted:
        target = folder / name.split("/")[-1]
        if not target.exists():
            packed = subprocess.run(["npm", "pack", "--silent", f"{name}@{version}"], cwd=folder, check=True, capture_output=True, text=True)
            with tarfile.open(folder / packed.stdout.split()[-1]) as archive:
                archive.extractall(target, filter="data")
    for name in DEBIAN:
        if not list(folder.glob(f"{name}_*.deb")):
            subprocess.run(["apt-get", "download", name], cwd=folder, check=True, capture_output=True)
        if not (folder / "debian/usr/share/doc" / name).exists():
            subprocess.run(["dpkg-deb", "-x", str(next(folder.glob(f"{name}_*.deb"))), "debian"], cwd=folder, check=True)


def read_items(folder: Path, wordnet: WordNet) -> List[sources.Item]:
    """All training items, in a fixed order."""
    items = list(sources.clipart(folder / "debian/usr/share/openclipart", wordnet))
    for name in sources.ICONS:
        items += sources.icons(folder / name, name, wordnet)
    return items


def evaluation_items(folder: Path, wordnet: WordNet) -> List[sources.Item]:
    """OpenMoji and Tux Paint: nothing is trained on them."""
    labels = folder / "emojibase-data/package/en/data.json"
    return list(sources.openmoji(labels, wordnet)) + list(sources.stamps(folder / "debian/usr/share/tuxpaint/stamps"))


def assemble(out: Path) -> List[dict]:
    """Writes `pairs.jsonl` and `report.json` under `out` and returns the rows."""
    packages = out / "packages"
    fetch(packages)
    wordnet = WordNet(packages / "debian/usr/share/wordnet")
    items = read_items(packages, wordnet)
    splits = assign(items, wordnet, CORE, TEST_PICTURES, VALIDATION_PICTURES, SEED)
    from .sentences import embed

    splits = purge_near(items, splits, embed)
    assert not leaks(items, splits, wordnet), "a held-out concept is named in training"
    extra = evaluation_items(packages, wordnet)
    rows = [dict(asdict(i), split=s) for i, s in zip(items, splits)] + [dict(asdict(i), split="look") for i in extra]
    for row in rows:
        row["where"] = str(Path(row["where"]).absolute().relative_to(out.absolute())) if str(out.absolute()) in str(Path(row["where"]).absolute()) else row["where"]
    (out / "pairs.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows), "utf-8")
    (out / "report.json").write_text(json.dumps(report(rows), indent=1), "utf-8")
    return rows


def report(rows: List[dict]) -> dict:
    """Counts by split and source, and licences."""
    count = Counter((r["split"], r["source"]) for r in rows)
    splits = sorted({r["split"] for r in rows})
    return {
        "pictures": {s: sum(r["split"] == s for r in rows) for s in splits},
        "captions": {s: len({r["caption"] for r in rows if r["split"] == s}) for s in splits},
        "by_source": {s: {k[1]: n for k, n in sorted(count.items()) if k[0] == s} for s in splits},
        "licences": dict(sorted({r["source"]: r["licence"] for r in rows}.items())),
    }


def load(out: Path) -> List[dict]:
    """The rows of `pairs.jsonl`, assembled if missing."""
    path = out / "pairs.jsonl"
    if not path.exists():
        return assemble(out)
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def main() -> None:
    parser = argparse.ArgumentParser(prog="fromagerie.train.data", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(".cache/train-data"), help="folder for packages and pairs.jsonl")
    args = parser.parse_args()
    print(json.dumps(report(assemble(args.out)), indent=1))


if __name__ == "__main__":
    main()
