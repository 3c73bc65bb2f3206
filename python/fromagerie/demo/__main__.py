"""`make demo`: ingest, serve, converse, show. Prints what happens; leaves a page and a database that can be used."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from . import conversation, page
from .server import Server

COLLECTION = "openmoji"


def main() -> int:
    parser = argparse.ArgumentParser(prog="fromagerie.demo", description=__doc__)
    parser.add_argument("--binary", type=Path, required=True, help="the fromagerie binary")
    parser.add_argument("--bundle", type=Path, required=True, help="the model's bundle")
    parser.add_argument("--images", type=Path, required=True, help="a folder of pictures with captions.tsv")
    parser.add_argument("--out", type=Path, required=True, help="where the database and the page go")
    args = parser.parse_args()

    begun = time.monotonic()
    database = args.out / "cellar"
    args.out.mkdir(parents=True, exist_ok=True)
    heading(f"Indexing {sum(1 for _ in args.images.glob('*.png'))} pictures")
    ingest = [args.binary, "ingest", "--db", database, "--bundle", args.bundle, "--collection", COLLECTION, args.images]
    code = subprocess.run([str(part) for part in ingest], check=False).returncode
    if code > 1:
        return code

    heading("A conversation over gRPC")
    with Server(args.binary, database, args.bundle) as server:
        turns = conversation.hold(server.address, COLLECTION, args.images)
    out = args.out / "conversation.html"
    out.write_text(page.render(turns), encoding="utf-8")

    heading(f"Done in {time.monotonic() - begun:.1f} s")
    link_bundle(database, args.bundle)
    show = Path(os.path.relpath(args.binary))
    print(f"The page:          {out}")
    print(f"Chat yourself:     {show} chat --db {database} --collection {COLLECTION}")
    print(f"Search:            {show} search --db {database} --collection {COLLECTION} --text 'a red car'")
    print(f"Your own pictures: {show} ingest --db {database} --collection mine FOLDER")
    return 0


def heading(text: str) -> None:
    print(f"\n== {text}", flush=True)


def link_bundle(database: Path, bundle: Path) -> None:
    """Lets the database find its model by itself."""
    link = database / "bundle"
    if not link.exists():
        link.unlink(missing_ok=True)
        link.symlink_to(os.path.relpath(bundle, database), target_is_directory=True)


if __name__ == "__main__":
    sys.exit(main())
