"""What the two drivers' command lines share."""

from __future__ import annotations

import argparse
from typing import Any, Dict, List, Optional, Tuple

from .shards import Embedding, Shard


def arguments_of(description: Optional[str]) -> Tuple[Embedding, List[Shard], int]:
    """`(how, what, workers)` as the command line has it. Unknown options go to `fromagerie embed`."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", required=True, help="the model's directory")
    parser.add_argument("--out", required=True, help="folder of tables")
    parser.add_argument("--binary", default="fromagerie", help="the fromagerie program")
    parser.add_argument("--workers", type=int, default=2, help="shards that are embedded at once")
    parser.add_argument("--parts", type=int, default=1, help="pieces of each source: for folders of pictures")
    parser.add_argument("sources", nargs="+", help="shards")
    options, more = parser.parse_known_args()
    embedding = Embedding(options.bundle, options.out, options.binary, more)
    return embedding, embedding.shards(options.sources, options.parts), options.workers


def say(rows: List[Dict[str, Any]]) -> int:
    """Prints what each shard came to; 1 when records were left out."""
    for row in rows:
        there = " (was there)" if row["was_there"] else ""
        print(f"{row['out']}: {row['written']} written, {row['failed']} left out{there}")
    return 1 if any(row["failed"] for row in rows) else 0
